//! Records: accepted updates, as logs hold them and gossip carries them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::rating::{Rating, RatingKey, Stars};
use crate::request::Update;
use crate::timestamp::Timestamp;
use crate::value::Row;

/// Maximum copies that an update may ask for.
pub const COPIES_MAX: u32 = 64;

/// One accepted update (Ladin et al. 1992, §3.3). It never changes after its acceptor gave it a sequence number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The update's id. One id may stand in several records, after a retry.
    pub id: UpdateId,
    /// The replica manager that accepted it: its origin.
    pub i: ReplicaId,
    /// Its number among the updates that the origin accepted, from 1, without gaps.
    pub seq: u64,
    /// Dependencies beside the origin's earlier records: no replica applies it before these.
    pub prev: Timestamp,
    /// Its update of a rating; `None` if it retires replicas.
    #[serde(default)]
    pub request: Option<Update>,
    /// Replica managers that are gone for good, with the number of their last update. Once this record is applied, so are
    /// all theirs, and timestamps leave them out: this record's own entry stands for them.
    #[serde(default, skip_serializing_if = "Timestamp::is_empty")]
    pub retires: Timestamp,
    /// Decides, with the id, between concurrent updates of one rating.
    pub stamp: Stamp,
    /// Number of replicas that must hold it before any of them shows it; if fewer are up, all of these.
    pub copies: u32,
    /// For a DELETE, the rating that it took away, so that any holder can give the first answer again; `prev` covers that
    /// rating. `None` where a rating with a greater stamp stood, and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
}

/// Rating that a DELETE took away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    /// The rating as it was.
    pub rating: Stars,
    /// Its Unix seconds.
    pub timestamp: i64,
    /// The update that had written it; `None` for what the data set came with.
    #[serde(default)]
    pub update_id: Option<UpdateId>,
}

/// Names a record: its origin and its sequence number there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordRef {
    /// The origin.
    pub i: ReplicaId,
    /// The sequence number at the origin.
    pub seq: u64,
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.i, self.seq)
    }
}

impl Record {
    /// The record's name.
    pub fn name(&self) -> RecordRef {
        RecordRef { i: self.i.clone(), seq: self.seq }
    }

    /// The row that the record leaves in the value, if it writes to a rating.
    pub fn row(&self) -> Option<(RatingKey, Row)> {
        let request = self.request.as_ref()?;
        let row = Row {
            stars: request.stars(),
            timestamp: self.stamp.seconds(),
            stamp: self.stamp,
            update_id: Some(self.id),
        };
        Some((request.key(), row))
    }

    /// The part of it that the executed-operation table keeps.
    pub fn executed(&self) -> ExecutedOperation {
        ExecutedOperation {
            id: self.id,
            i: self.i.clone(),
            seq: self.seq,
            request: self.request,
            stamp: self.stamp,
            deleted: self.deleted.map(Box::new),
        }
    }
}

/// Remembered part of a record, so that a retry of its update is recognised and gets the first answer again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutedOperation {
    /// The update's id.
    pub id: UpdateId,
    /// The record's origin.
    pub i: ReplicaId,
    /// Its number there.
    pub seq: u64,
    /// Its update of a rating; `None` if it retired replicas.
    #[serde(default)]
    pub request: Option<Update>,
    /// Its stamp.
    pub stamp: Stamp,
    /// For a DELETE, the rating that it took away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Box<Deleted>>,
}

impl ExecutedOperation {
    /// The record's name.
    pub fn name(&self) -> RecordRef {
        RecordRef { i: self.i.clone(), seq: self.seq }
    }

    /// The answer to `request`, which it did: the rating written, or the one deleted, none where nothing was taken away.
    pub fn answer(&self, request: &Update, title: &str) -> Rating {
        let key = request.key();
        let rating = Rating {
            user_id: key.user_id,
            movie_id: key.movie_id,
            title: title.to_owned(),
            rating: request.stars(),
            timestamp: Some(self.stamp.seconds()),
            update_id: Some(self.id),
        };
        match self.deleted.as_deref().copied() {
            Some(Deleted { rating: stars, timestamp, update_id }) => {
                Rating { rating: Some(stars), timestamp: Some(timestamp), update_id, ..rating }
            }
            None => rating,
        }
    }
}
