//! Time in the store: SQLite and what is cached of it.

use std::time::Instant;

use natter_broker::metrics::{Definitions, STORE_BUCKETS};
use natter_common::ids::MovieId;
use natter_common::rating::RatingKey;
use natter_common::replica_manager::Changes;
use natter_common::request::{Answer, Query};
use natter_common::value::{Commit, Digest, QueryError, Row, Value, ValueError};
use natter_database::Store;
use prometheus::Histogram;

/// Kinds of steps, as a label names them.
const STEPS: [&str; 5] = ["row", "query", "apply", "commit", "snapshot"];

/// A kind of step.
#[derive(Clone, Copy)]
enum Kind {
    Row,
    Query,
    Apply,
    Commit,
    Snapshot,
}

/// Time of the steps of a store.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    /// In the order of [`STEPS`].
    steps: Vec<Histogram>,
    /// Time of a wait for the disk.
    pub(crate) sync: Histogram,
}

impl StoreMetrics {
    pub(super) fn define(define: Definitions<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            steps: define.histograms(
                "natter_store_step_duration_seconds",
                "Time of one step of the store (SQLite and its caches), by kind: look up a row, answer a query, apply an \
                 update, commit, read or write part of a snapshot.",
                "step",
                &STEPS,
                &STORE_BUCKETS,
            )?,
            sync: define.histogram(
                "natter_store_sync_duration_seconds",
                "Time of one wait for the disk, which happens beside the loop; there is none without --data-dir.",
                &STORE_BUCKETS,
            )?,
        })
    }

    fn observe(&self, kind: Kind, begun: Instant) {
        if let Some(histogram) = self.steps.get(kind as usize) {
            histogram.observe(begun.elapsed().as_secs_f64());
        }
    }
}

/// A store whose steps are timed.
pub(crate) struct Timed<'a> {
    store: &'a mut Store,
    metrics: &'a StoreMetrics,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(store: &'a mut Store, metrics: &'a StoreMetrics) -> Self {
        Self { store, metrics }
    }

    fn time<T>(&self, kind: Kind, step: impl FnOnce(&Store) -> T) -> T {
        let begun = Instant::now();
        let result = step(self.store);
        self.metrics.observe(kind, begun);
        result
    }

    fn time_change<T>(&mut self, kind: Kind, step: impl FnOnce(&mut Store) -> T) -> T {
        let begun = Instant::now();
        let result = step(self.store);
        self.metrics.observe(kind, begun);
        result
    }
}

impl Value for Timed<'_> {
    fn title(&self, movie_id: MovieId) -> Option<&str> {
        self.store.title(movie_id)
    }

    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError> {
        self.time(Kind::Row, |store| store.row(key))
    }

    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError> {
        self.time_change(Kind::Apply, |store| store.apply(key, row))
    }

    fn changed_after(&self, after: Option<RatingKey>, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        self.time(Kind::Snapshot, |store| store.changed_after(after, limit))
    }

    fn changed_count(&self) -> u64 {
        self.store.changed_count()
    }

    fn stage(&mut self, rows: &mut dyn Iterator<Item = (RatingKey, Row)>) -> Result<(), ValueError> {
        self.time_change(Kind::Snapshot, |store| store.stage(rows))
    }

    fn clear_stage(&mut self) -> Result<(), ValueError> {
        self.store.clear_stage()
    }

    fn take_staged(&mut self, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        self.time_change(Kind::Snapshot, |store| store.take_staged(limit))
    }

    fn commit_turn(&mut self, changes: &Changes) -> Result<Commit, ValueError> {
        self.time_change(Kind::Commit, |store| store.commit_turn(changes))
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        self.time(Kind::Query, |store| store.answer(query))
    }

    fn digest(&self) -> Digest {
        self.store.digest()
    }
}
