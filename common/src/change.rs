//! Changes: the messages of the change feed, one for each record of a rating.

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::cluster::ClusterId;
use crate::ids::{MovieId, UpdateId, UserId};
use crate::label::Label;
use crate::rating::Stars;
use crate::record::{Record, RecordRef};
use crate::request::Method;

/// Change of a rating, as the replica that accepted it tells it once enough replicas hold it.
///
/// The first six fields are those of [`Rating`](crate::rating::Rating), as a read shows the rating that the update leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Id of the user.
    pub user_id: UserId,
    /// Id of the movie.
    pub movie_id: MovieId,
    /// The movie's title.
    pub title: String,
    /// The rating; `None` after a delete.
    pub rating: Option<Stars>,
    /// Unix seconds of the update.
    pub timestamp: i64,
    /// Id of the update. Two records can have the same one, after a retry.
    pub update_id: UpdateId,
    /// Kind of the update.
    pub method: Method,
    /// Decides, with the update's id, between concurrent updates of one rating: the greater one stands.
    pub stamp: Stamp,
    /// Name of the record. No other change has it.
    pub record: RecordRef,
    /// Label of the record and all that it depends on: a read with it as `prev` shows at least that. A change depends on
    /// another one where its label covers the other's record.
    pub label: Label,
    /// Identity of the cluster that the label belongs to, once the replica knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
}

impl Change {
    /// The change that `record` makes; `None` for a record that changes no rating. `clock` is at least the stamp of each
    /// record that its origin held when it applied this one.
    pub fn of(record: &Record, title: &str, clock: Stamp, cluster: Option<&ClusterId>) -> Option<Self> {
        let request = record.request.as_ref()?;
        let key = request.key();
        let mut label = Label { replicas: record.prev.clone(), clock: clock.max(record.stamp) };
        label.replicas.raise(&record.i, record.seq);
        Some(Self {
            user_id: key.user_id,
            movie_id: key.movie_id,
            title: title.to_owned(),
            rating: request.stars(),
            timestamp: record.stamp.seconds(),
            update_id: record.id,
            method: request.kind(),
            stamp: record.stamp,
            record: record.name(),
            label,
            cluster: cluster.cloned(),
        })
    }

    /// Order of the changes of one rating: the rating of the greatest one stands.
    pub fn order(&self) -> (Stamp, UpdateId) {
        (self.stamp, self.update_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplicaId;
    use crate::request::Update;
    use crate::timestamp::Timestamp;
    use crate::wire::{decode, encode};

    fn record(request: Option<Update>) -> Record {
        let stamp = Stamp::new(1_795_449_242_123, 7);
        let (a, b) = (ReplicaId::new("a").unwrap(), ReplicaId::new("b").unwrap());
        let prev: Timestamp = [(a.clone(), 2), (b, 5)].into_iter().collect();
        let id = UpdateId::from_stamp(stamp, 9);
        Record { id, i: a, seq: 4, prev, request, retires: Timestamp::new(), stamp, copies: 2, deleted: None }
    }

    #[test]
    fn change_has_the_rating_that_a_read_shows_and_a_label_of_all_that_it_depends_on() {
        let (user_id, movie_id) = (UserId::new(42).unwrap(), MovieId::new(2).unwrap());
        let rating = Stars::try_from(4.5).unwrap();
        for request in [Update::Create { user_id, movie_id, rating }, Update::Delete { user_id, movie_id }] {
            let record = record(Some(request));
            let clock = record.stamp.next();
            let change = Change::of(&record, "A", clock, None).unwrap();
            let (_, row) = record.row().unwrap();
            assert_eq!(
                (change.rating, change.timestamp, Some(change.update_id)),
                (row.stars, row.timestamp, row.update_id)
            );
            assert_eq!(change.label.replicas.to_string(), "{a:4, b:5}");
            assert_eq!(change.label.clock, clock);
            assert_eq!(decode::<Change>(&encode(&change).unwrap()).unwrap(), change);
        }
        assert!(Change::of(&record(None), "A", Stamp::ZERO, None).is_none(), "it changes no rating");
    }
}
