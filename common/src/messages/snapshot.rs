//! Snapshots on the wire: what differs from the data set, in chunks, as it stood at one value timestamp.

use serde::{Deserialize, Serialize};

use super::Replicas;
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::rating::{RatingKey, Stars};
use crate::record::ExecutedOperation;
use crate::value::Row;

/// Asks a replica manager for a chunk of its snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// The sender.
    pub id: ReplicaId,
    /// Number of the snapshot, as in its first chunk; 0 for a new one.
    pub snapshot: u64,
    /// Place at which the chunk begins.
    pub from: SnapshotPlace,
}

/// A place in a snapshot: first all rows in the order of (user, movie), then the executed updates in the order of their
/// ids, then the retired replica managers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotPlace {
    /// The beginning.
    Start,
    /// After this row.
    AfterRow(UserId, MovieId),
    /// Before the first executed update.
    Executed,
    /// After this executed update.
    AfterExecuted(UpdateId),
    /// Before the first retired replica manager.
    Retired,
    /// After this retired replica manager.
    AfterRetired(ReplicaId),
}

/// The answer to a [`SnapshotRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SnapshotReplyFields")]
pub struct SnapshotReply {
    /// The sender.
    pub id: ReplicaId,
    /// A chunk, or the reason why there is none.
    #[serde(flatten)]
    pub part: SnapshotPart,
}

/// The answer as it is read.
#[derive(Deserialize)]
struct SnapshotReplyFields {
    id: ReplicaId,
    chunk: Option<Box<SnapshotChunk>>,
    unavailable: Option<Unavailable>,
}

#[derive(Deserialize)]
struct Unavailable {
    reason: String,
}

impl TryFrom<SnapshotReplyFields> for SnapshotReply {
    type Error = &'static str;
    fn try_from(fields: SnapshotReplyFields) -> Result<Self, &'static str> {
        let SnapshotReplyFields { id, chunk, unavailable } = fields;
        let part = match (chunk, unavailable) {
            (Some(chunk), None) => SnapshotPart::Chunk(chunk),
            (None, Some(Unavailable { reason })) => SnapshotPart::Unavailable { reason },
            _ => return Err("an answer has either a chunk or the reason why there is none"),
        };
        Ok(Self { id, part })
    }
}

/// Body of the answer to a [`SnapshotRequest`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotPart {
    /// A chunk.
    Chunk(Box<SnapshotChunk>),
    /// The snapshot is not there any more, or none can be had now: begin again, here later or somewhere else.
    Unavailable {
        /// Reason why there is no snapshot now.
        reason: String,
    },
}

/// A chunk of a snapshot. All chunks of one snapshot show the rows as they stood at its value timestamp, however the
/// value moves meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// The snapshot's number at its sender, for the next request.
    pub snapshot: u64,
    /// Place at which the chunk begins, as it was asked for.
    pub from: SnapshotPlace,
    /// Exactly the updates that the rows reflect.
    pub value_timestamp: Replicas,
    /// At least the stamp of every record that the rows reflect.
    pub clock: Stamp,
    /// About how many rows there are in all.
    pub rows_in_all: u64,
    /// Ratings and deletion markers.
    pub rows: Vec<SnapshotRow>,
    /// Updates of the last minutes, so that a retry is known as one.
    pub executed: Vec<ExecutedOperation>,
    /// Replica managers that are retired, with the number of their last update.
    pub retired: Replicas,
    /// Place at which the next chunk begins; `None` after the last.
    pub next: Option<SnapshotPlace>,
}

/// Rating or deletion marker that an update left for a (user, movie).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// Id of the user.
    pub user_id: UserId,
    /// Id of the movie.
    pub movie_id: MovieId,
    /// `None` is a deletion marker.
    pub rating: Option<Stars>,
    /// Unix seconds.
    pub timestamp: i64,
    /// The stamp of the update that wrote it.
    pub stamp: Stamp,
    /// The update that wrote it.
    pub update_id: UpdateId,
}

impl SnapshotRow {
    /// A row that an update wrote; `None` for one that came with the data set.
    pub fn new(key: RatingKey, row: &Row) -> Option<Self> {
        Some(Self {
            user_id: key.user_id,
            movie_id: key.movie_id,
            rating: row.stars,
            timestamp: row.timestamp,
            stamp: row.stamp,
            update_id: row.update_id?,
        })
    }

    /// Its key.
    pub fn key(&self) -> RatingKey {
        RatingKey { user_id: self.user_id, movie_id: self.movie_id }
    }

    /// The value's row for the key.
    pub fn row(&self) -> Row {
        Row { stars: self.rating, timestamp: self.timestamp, stamp: self.stamp, update_id: Some(self.update_id) }
    }
}
