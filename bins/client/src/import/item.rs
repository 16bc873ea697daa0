//! One rating on its way to a frontend, and what comes back.

use natter_common::ids::UpdateId;
use natter_common::rating::Rating;

use super::rows::Row;
use crate::error::ClientError;

/// The operation that is tried for a rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Create,
    /// There is one already: which?
    Read,
    /// It is another.
    Update,
}

/// One rating on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The number of its line in the file, and the line itself.
    pub(super) line: u64,
    pub(super) text: Box<[u8]>,
    pub(super) row: Row,
    /// To create and to update it.
    pub(super) ids: [UpdateId; 2],
    pub(super) stage: Stage,
    /// Number of new starts.
    pub(super) rounds: u32,
    /// The number of its chunk.
    pub(super) chunk: u64,
}

/// The outcome of one operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The update was done.
    Done,
    /// The rating that the replicas hold.
    Read(Rating),
    /// Why it was not done.
    Failed(ClientError),
}
