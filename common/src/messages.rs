//! Messages between frontends and replica managers; what both show of themselves is in [`crate::presence`], snapshots are
//! in `snapshot`. `docs/REPLICA_PROTOCOL.md` describes them for any language.

mod records;
mod replies;
mod requests;
mod rows;
mod snapshot;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId};
use crate::label::Label;
use crate::rating::RatingKey;
use crate::record::{Record, RecordRef};
use crate::request::{Answer, Query, Update};
use crate::timestamp::Timestamp;
use crate::value::Digest;

pub use crate::presence::{Mode, Presence, Role, Status, StatusReply, StatusRequest};
pub use rows::Alike;
pub use snapshot::{SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest, SnapshotRow};

/// Maximum replicas that a request names as not heard; there may be more where it names so many.
pub const UNHEARD_MAX: usize = 100;

/// Requests of one kind that go to one replica manager in one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Alike")]
pub struct Requests<T> {
    /// In the order in which they were sent.
    #[serde(serialize_with = "rows::write_list", deserialize_with = "rows::read_list")]
    pub requests: Vec<T>,
}

/// A frontend asks a replica manager to accept an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// The sender's number for this attempt: the reply repeats it.
    pub n: u64,
    /// The update's id: the same in every attempt.
    pub id: UpdateId,
    /// Timestamp that the session and the frontend have seen.
    pub prev: Timestamp,
    /// Whether the frontend has seen all of `prev` itself, in labels of replica managers: a client's word proves nothing.
    #[serde(default)]
    pub proven: bool,
    /// Replicas in `prev` that the frontend does not hear. Missing records of other origins are never given up as lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<ReplicaId>,
    /// The update itself.
    pub request: Update,
    /// The frontend's stamp: the same in every attempt, unless a replica manager had it stamped again.
    pub stamp: Stamp,
    /// Number of replicas that must hold the record before any of them shows it.
    pub copies: u32,
    /// Whether no replica manager was asked to accept this id before, so that it may be stamped again.
    pub fresh: bool,
    /// Maximum time for which the replica may keep it waiting, in milliseconds.
    pub wait_ms: u64,
}

/// A frontend asks a replica manager a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryRequest {
    /// The sender's number for this attempt: the reply repeats it.
    pub n: u64,
    /// Timestamp that the session and the frontend have seen: the answer reflects it.
    pub prev: Timestamp,
    /// Whether the frontend has seen all of `prev` itself, in labels of replica managers: a client's word proves nothing.
    #[serde(default)]
    pub proven: bool,
    /// Replicas in `prev` that the frontend does not hear. Missing records of other origins are never given up as lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<ReplicaId>,
    /// The query itself.
    pub request: Query,
    /// Maximum time for which the replica may keep it waiting, in milliseconds.
    pub wait_ms: u64,
}

/// A frontend asks a replica manager to say when it holds an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfirmRequest {
    /// The sender's number for this attempt: the reply repeats it.
    pub n: u64,
    /// Id of the update.
    pub id: UpdateId,
    /// Replica that was asked to accept it, whose log has it if gossip does not bring it; `None` to only look it up.
    #[serde(default)]
    pub acceptor: Option<ReplicaId>,
    /// Maximum time for which the replica may keep it waiting, in milliseconds; 0 to answer at once.
    pub wait_ms: u64,
}

/// A replica's replies to requests that came in one message. Replies to requests that had to wait come in later
/// messages to the same reply subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replies {
    /// Id of the replica that answers.
    pub id: ReplicaId,
    /// Each with the number of its request.
    #[serde(serialize_with = "rows::write_list", deserialize_with = "rows::read_list")]
    pub replies: Vec<NumberedReply>,
}

/// A reply and the number of its request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedReply {
    /// The request's number.
    pub n: u64,
    /// The answer.
    pub reply: Reply,
}

/// A replica's reply to an update, a query or a confirm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To an update: these records of it are held here. The first answer, or the same again.
    Accepted {
        /// The rating written, or the one deleted.
        value: Answer,
        /// The records of this id that the replica manager holds; never empty.
        records: Vec<RecordRef>,
        /// At least the stamp of every record held here.
        clock: Stamp,
        /// Retired replicas that the request's `prev` names, each with the number that it names. The record depends on all
        /// of their updates, so it stands for them in labels. Empty in a later answer.
        #[serde(default, skip_serializing_if = "Timestamp::is_empty")]
        retired: Timestamp,
    },
    /// To a query.
    Answered {
        /// Result of the query.
        value: Answer,
        /// Exactly what the answer reflects.
        label: Label,
    },
    /// To a confirm: these records of the id are held here.
    Held {
        /// Never empty.
        records: Vec<RecordRef>,
        /// At least the stamp of every record held here.
        clock: Stamp,
    },
    /// To a confirm: no record of the id is held here, and the wait is over.
    NotHeld,
    /// To an update or a query that the value doesn't allow. Nothing changed.
    Refused {
        /// Reason of the refusal.
        refusal: Refusal,
        /// Label that the refusal rests on.
        label: Label,
    },
    /// To an update: its stamp is not above that of the rating as it stands. Nothing changed.
    StampAgain {
        /// The new stamp must be above this.
        above: Stamp,
    },
    /// To an update: its stamp is more than a minute ahead of the clock here. Nothing changed.
    StampAhead {
        /// The clock here, in Unix milliseconds.
        wall_ms: u64,
        /// The greatest stamp that is held here: above all that the update's `prev` covers.
        #[serde(default)]
        clock: Stamp,
    },
    /// To an update: its id belongs to another update, which is known here. Nothing changed.
    IdInUse,
    /// The wait is over, and something in `prev` is still missing here. Nothing changed.
    Behind,
    /// Not now: it has not caught up yet, or too many requests wait already. Nothing changed.
    NotServing,
}

impl Reply {
    /// The value that it tells.
    pub fn value(&self) -> Option<&Answer> {
        match self {
            Self::Accepted { value, .. } | Self::Answered { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Reason why the value doesn't allow a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The data set has no such movie.
    MovieNotFound,
    /// An update or a delete of a rating that isn't there.
    RatingNotFound,
    /// A create of a rating that is there.
    RatingExists,
}

impl Refusal {
    /// The name in an error.
    pub fn name(self) -> &'static str {
        match self {
            Self::MovieNotFound => "MOVIE_NOT_FOUND",
            Self::RatingNotFound => "RATING_NOT_FOUND",
            Self::RatingExists => "RATING_EXISTS",
        }
    }

    /// The reason in a sentence, naming the rating.
    pub fn explain(self, key: Option<RatingKey>, movie_id: MovieId) -> String {
        let user = key.map_or_else(|| "this user".to_owned(), |key| format!("user {}", key.user_id));
        match self {
            Self::MovieNotFound => format!("there is no movie {movie_id}: search for its number by title"),
            Self::RatingNotFound => {
                format!("{user} has not rated movie {movie_id}: check both numbers; only `create` needs no rating")
            }
            Self::RatingExists => format!("{user} has already rated movie {movie_id}: update or delete that rating"),
        }
    }
}

/// A timestamp as other programs see it: `{replicas: {<replica id>: n}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// The entries.
    pub replicas: Timestamp,
}

impl From<&Timestamp> for Replicas {
    fn from(timestamp: &Timestamp) -> Self {
        Self { replicas: timestamp.clone() }
    }
}

/// Message of a replica to all others: new records at once, and its timestamps at every gossip interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gossip {
    /// The sender.
    pub id: ReplicaId,
    /// Timestamp of the records that the sender holds, those in this message included.
    pub replica_timestamp: Replicas,
    /// Timestamp of the records that the sender has applied.
    pub value_timestamp: Replicas,
    /// Over the sender's ratings at `value_timestamp`.
    pub digest: Digest,
    /// Records that the sender accepted since its last message; empty in an anti-entropy digest.
    #[serde(default, serialize_with = "rows::write_list", deserialize_with = "rows::read_list")]
    pub records: Vec<Arc<Record>>,
}

/// Sent to a record's origin as soon as its gossip was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The sender.
    pub id: ReplicaId,
    /// Timestamp of the records that the sender holds.
    pub replica_timestamp: Replicas,
}

/// Asks a replica manager for records that the sender lacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The sender.
    pub id: ReplicaId,
    /// Timestamp of the records that the sender holds already.
    pub have: Replicas,
}

/// Records from a log: those after `have`, of each origin in ascending order without a gap, as many as fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    /// The sender.
    pub id: ReplicaId,
    /// Timestamp of the records that the sender holds; the page may reach less far.
    pub replica_timestamp: Replicas,
    /// Timestamp of the records that the sender has applied.
    pub value_timestamp: Replicas,
    /// Timestamp that a replica must hold for the sender's log to bring it up to date: earlier records are in the
    /// sender's snapshot only.
    #[serde(default)]
    pub start: Replicas,
    /// Origins in the sender's value timestamp that it knows to be gone for good: they may be retired.
    #[serde(default)]
    pub gone: Vec<ReplicaId>,
    /// The records.
    #[serde(serialize_with = "rows::write_list", deserialize_with = "rows::read_list")]
    pub records: Vec<Arc<Record>>,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u64::from_str_radix(&text, 16) {
            Ok(bits) if text.len() == 16 => Ok(Self(bits)),
            _ => Err(serde::de::Error::custom("a digest has 16 hexadecimal characters")),
        }
    }
}
