//! The executed-operation table: which updates are known here, so that none takes effect twice.

mod places;
mod queue;

use crate::ids::{ReplicaId, UpdateId};
use crate::record::{ExecutedOperation, RecordRef};

use places::{Place, Places};
use queue::Queue;

/// How long an update is remembered after it was taken in, in milliseconds: the minute within which a client may retry
/// it, and some, so that a slow message doesn't matter.
pub const RETENTION_MS: u64 = 75_000;

/// Known updates by id. An update that is held here is known, applied or not; after a retry it may stand in several
/// records. The table answers retries and tells duplicates from news; it never decides which stamp stands.
///
/// Bounded: a record is forgotten after [`RETENTION_MS`], when the log has let it go. That is safe because a later retry
/// of an id that carries its stamp writes what it wrote before, with the same (stamp, id), and so changes nothing, and
/// because frontends refuse any other id whose version shows that it is older than a minute.
#[derive(Clone, Debug, Default)]
pub struct ExecutedOperations {
    /// In the order in which they were taken in, with the time.
    operations: Queue<(u64, ExecutedOperation)>,
    /// Where those of an id are, the first one first.
    places: Places,
}

impl ExecutedOperations {
    /// `operation` is known from now on. Says whether that is news.
    pub fn insert(&mut self, operation: ExecutedOperation, now_ms: u64) -> bool {
        let mut at = self.places.start_of(operation.id);
        while let Some(place) = self.places.get(at).filter(|place| place.id == operation.id) {
            let is_known = |known: &ExecutedOperation| known.seq == operation.seq && known.i == operation.i;
            if self.get(place).is_some_and(is_known) {
                return false;
            }
            at = self.places.after(at);
        }
        self.places.insert(at, Place { id: operation.id, number: self.operations.next_number() });
        self.operations.push((now_ms, operation));
        true
    }

    fn get(&self, place: &Place) -> Option<&ExecutedOperation> {
        self.operations.get(place.number).map(|(_, operation)| operation)
    }

    fn of(&self, id: UpdateId) -> impl Iterator<Item = &ExecutedOperation> {
        let places = self.places.iter_from(self.places.start_of(id));
        places.take_while(move |place| place.id == id).filter_map(|place| self.get(place))
    }

    /// The first record of `id` that is known here.
    pub fn first(&self, id: &UpdateId) -> Option<&ExecutedOperation> {
        self.of(*id).next()
    }

    /// The names of the records of `id`, the first one first; empty where it is unknown.
    pub fn names(&self, id: &UpdateId) -> Vec<RecordRef> {
        self.of(*id).map(ExecutedOperation::name).collect()
    }

    /// How many records are known.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets records that were taken in longer than [`RETENTION_MS`] ago, but those that are `in_log`, which are asked
    /// about again after as long. Gives what it forgot.
    pub fn expire(&mut self, now_ms: u64, in_log: impl Fn(&ReplicaId, u64) -> bool) -> Vec<RecordRef> {
        let mut forgotten = Vec::new();
        let is_old = |(since_ms, _): &(u64, ExecutedOperation)| now_ms.saturating_sub(*since_ms) >= RETENTION_MS;
        while let Some((number, (_, operation))) = self.operations.pop_if(is_old) {
            let place = Place { id: operation.id, number };
            if in_log(&operation.i, operation.seq) {
                self.places.renumber(place, self.operations.next_number());
                self.operations.push((now_ms, operation));
            } else {
                self.places.remove(place);
                forgotten.push(operation.name());
            }
        }
        forgotten
    }

    /// Known records in the order of their ids, after all of `after`.
    pub fn after(&self, after: Option<UpdateId>) -> impl Iterator<Item = &ExecutedOperation> {
        let start = after.map_or_else(Default::default, |id| self.places.start_of(id));
        let places = self.places.iter_from(start).skip_while(move |place| Some(place.id) == after);
        places.filter_map(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::ids::{MovieId, UserId};
    use crate::request::Update;

    fn operation(n: u64, i: &str, seq: u64) -> ExecutedOperation {
        ExecutedOperation {
            id: UpdateId::from_stamp(Stamp(n), n),
            i: ReplicaId::new(i).unwrap(),
            seq,
            request: Some(Update::Delete { user_id: UserId::new(1).unwrap(), movie_id: MovieId::new(1).unwrap() }),
            stamp: Stamp(n),
            deleted: None,
        }
    }

    #[test]
    fn an_update_is_remembered_for_more_than_a_minute_and_as_long_as_its_record_is_in_the_log() {
        let mut table = ExecutedOperations::default();
        assert!(table.insert(operation(1, "a", 1), 0));
        assert!(table.insert(operation(1, "b", 1), 10));
        assert!(!table.insert(operation(1, "a", 1), 20), "the same record again");
        assert!(table.expire(60_000, |_, _| false).is_empty());
        let id = operation(1, "a", 1).id;
        assert_eq!(table.names(&id).len(), 2);
        let forgotten = table.expire(RETENTION_MS + 10, |i, _| i.as_str() == "a");
        assert_eq!(forgotten, [operation(1, "b", 1).name()]);
        assert_eq!(table.first(&id).map(ExecutedOperation::name), Some(operation(1, "a", 1).name()));
        assert_eq!(table.expire(3 * RETENTION_MS, |_, _| false).len(), 1);
        assert!(table.is_empty() && table.first(&id).is_none());
    }

    #[test]
    fn records_are_given_in_the_order_of_their_ids_however_they_were_taken_in() {
        let mut table = ExecutedOperations::default();
        for n in [5, 2, 9, 2, 7] {
            table.insert(operation(n, "a", n), 0);
            table.insert(operation(n, "b", n), 0);
        }
        let names = |after| -> Vec<_> { table.after(after).map(|operation| operation.name().to_string()).collect() };
        assert_eq!(names(None), ["a:2", "b:2", "a:5", "b:5", "a:7", "b:7", "a:9", "b:9"]);
        assert_eq!(names(Some(operation(5, "a", 5).id)), ["a:7", "b:7", "a:9", "b:9"]);
        assert_eq!(names(Some(operation(6, "a", 6).id)), ["a:7", "b:7", "a:9", "b:9"]);
        assert!(names(Some(operation(9, "a", 9).id)).is_empty());
    }

    #[test]
    fn what_stays_because_of_the_log_keeps_its_place_among_the_records_of_its_id() {
        let mut table = ExecutedOperations::default();
        for i in ["a", "b", "c"] {
            table.insert(operation(1, i, 1), 0);
        }
        table.expire(RETENTION_MS, |i, _| i.as_str() != "b");
        let id = operation(1, "a", 1).id;
        assert_eq!(table.names(&id), [operation(1, "a", 1).name(), operation(1, "c", 1).name()]);
        assert!(!table.insert(operation(1, "a", 1), RETENTION_MS), "known still");
        assert_eq!(table.expire(2 * RETENTION_MS, |_, _| false).len(), 2);
        assert!(table.is_empty() && table.names(&id).is_empty());
    }
}
