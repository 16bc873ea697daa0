//! The value of a replica manager, as the protocol core sees it: ratings, each with the update that wrote it.

use crate::clock::Stamp;
use crate::ids::{MovieId, UpdateId};
use crate::rating::{RatingKey, Stars};
use crate::replica_manager::Changes;
use crate::request::{Answer, Query};

/// Rating or deletion marker of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `None` is a deletion marker.
    pub stars: Option<Stars>,
    /// Unix seconds.
    pub timestamp: i64,
    /// The stamp of the update that wrote it; 0 for what the data set came with.
    pub stamp: Stamp,
    /// The update that wrote it; `None` for what the data set came with.
    pub update_id: Option<UpdateId>,
}

impl Row {
    /// Order of concurrent updates of one key: the greater stays.
    ///
    /// Stamp and id decide. The content comes after them, only so that replicas agree even if a client sent two
    /// different updates under one id.
    pub fn order(&self) -> (Stamp, Option<UpdateId>, Option<Stars>, i64) {
        (self.stamp, self.update_id, self.stars, self.timestamp)
    }
}

/// The store failed: a disk error, a corrupted file. Never the caller's fault; the replica manager must stop serving.
#[derive(Debug, thiserror::Error)]
#[error("the store failed while {doing}: {reason}")]
pub struct ValueError {
    /// Work during which the store failed.
    pub doing: &'static str,
    /// Error of the store.
    pub reason: String,
}

/// Reason why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The data set has no such movie.
    #[error("there is no movie {0}")]
    MovieNotFound(MovieId),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] ValueError),
}

/// 64 bits over the ratings as they stand (user, movie, rating, timestamp, update id), whatever the order in which the
/// updates arrived. Deletion markers don't count. Shown as 16 hexadecimal characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

/// Progress of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The writes outlive a crash.
    Done,
    /// The disk has yet to confirm it. The shell waits for that, and tells the core with
    /// [`Input::Committed`](crate::replica_manager::Input::Committed). No other commit begins before.
    UnderWay,
}

/// Ratings that updates are applied to and queries read. The store of `database` is one, the simulation has another.
pub trait Value {
    /// The movie's title, or `None` where the data set has no such movie.
    fn title(&self, movie_id: MovieId) -> Option<&str>;

    /// The row of `key`; `None` if there never was one.
    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError>;

    /// Keeps the greater of `row` and the present row of `key`, by [`Row::order`]: commutative, associative,
    /// idempotent. Says whether `row` stands now.
    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError>;

    /// The rows that updates wrote, deletion markers among them, after `after` in the order of (user, movie): at most
    /// `limit`.
    fn changed_after(&self, after: Option<RatingKey>, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError>;

    /// Number of rows that updates wrote, about.
    fn changed_count(&self) -> u64;

    /// Keeps rows of a snapshot aside: nothing shows them before they are merged.
    fn stage(&mut self, rows: &mut dyn Iterator<Item = (RatingKey, Row)>) -> Result<(), ValueError>;

    /// Drops what was kept aside.
    fn clear_stage(&mut self) -> Result<(), ValueError>;

    /// Takes out the first rows of what was kept aside, at most `limit`; none when nothing is left.
    fn take_staged(&mut self, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError>;

    /// Saves `changes` in one transaction with what was done to the ratings since the last one. A value in memory has nothing
    /// to save.
    fn commit_turn(&mut self, changes: &Changes) -> Result<Commit, ValueError>;

    /// Answers a query from the ratings as they stand.
    fn answer(&self, query: &Query) -> Result<Answer, QueryError>;

    /// Over the ratings as they stand.
    fn digest(&self) -> Digest;
}
