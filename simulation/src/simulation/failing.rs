//! A store that fails: what it committed before stays.

use natter_common::ids::MovieId;
use natter_common::rating::RatingKey;
use natter_common::replica_manager::Changes;
use natter_common::request::{Answer, Query};
use natter_common::value::{Commit, Digest, QueryError, Row, Value, ValueError};

use super::value::MemoryValue;

/// A value in memory whose store fails after some commits.
#[derive(Clone, Debug)]
pub struct FailingValue {
    value: MemoryValue,
    committed: MemoryValue,
    commits_left: usize,
}

impl FailingValue {
    /// The store of `value`, which fails after `commits` more commits.
    pub fn new(value: MemoryValue, commits: usize) -> Self {
        Self { committed: value.clone(), value, commits_left: commits }
    }

    /// The value as it stands.
    pub fn into_value(self) -> MemoryValue {
        self.value
    }

    /// The value as of the last commit.
    pub fn into_committed(self) -> MemoryValue {
        self.committed
    }
}

impl Value for FailingValue {
    fn title(&self, movie_id: MovieId) -> Option<&str> {
        self.value.title(movie_id)
    }

    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError> {
        self.value.row(key)
    }

    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError> {
        self.value.apply(key, row)
    }

    fn changed_after(&self, after: Option<RatingKey>, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        self.value.changed_after(after, limit)
    }

    fn changed_count(&self) -> u64 {
        self.value.changed_count()
    }

    fn stage(&mut self, rows: &mut dyn Iterator<Item = (RatingKey, Row)>) -> Result<(), ValueError> {
        self.value.stage(rows)
    }

    fn clear_stage(&mut self) -> Result<(), ValueError> {
        self.value.clear_stage()
    }

    fn take_staged(&mut self, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        self.value.take_staged(limit)
    }

    fn commit_turn(&mut self, changes: &Changes) -> Result<Commit, ValueError> {
        let Some(left) = self.commits_left.checked_sub(1) else {
            return Err(ValueError { doing: "committing a turn", reason: "the disk is gone".to_owned() });
        };
        self.commits_left = left;
        let commit = self.value.commit_turn(changes)?;
        self.committed = self.value.clone();
        Ok(commit)
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        self.value.answer(query)
    }

    fn digest(&self) -> Digest {
        self.value.digest()
    }
}
