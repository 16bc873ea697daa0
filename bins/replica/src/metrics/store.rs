//! Time in the store: SQLite and what is cached of it.
//!
//! A step may take less than a microsecond, and reading the clock twice costs a good part of that. So a busy turn times a
//! sample of its steps: all of the first [`TIMED`] of a kind, then one of [`GROUP`], which counts for its group. The number
//! of steps stays exact.

use std::cell::Cell;
use std::time::{Duration, Instant};

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

/// Steps of a kind at the beginning of a turn that are all timed.
const TIMED: u32 = 8;
/// Further steps of a kind of which the last one is timed, for all of them.
const GROUP: u32 = 16;

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

    /// Notes `count` steps that took `time` each.
    fn observe(&self, kind: usize, time: Duration, count: u32) {
        let Some(histogram) = self.steps.get(kind) else { return };
        let seconds = time.as_secs_f64();
        if count == 1 {
            return histogram.observe(seconds);
        }
        let local = histogram.local();
        (0..count).for_each(|_| local.observe(seconds));
        local.flush();
    }
}

/// A store whose steps are timed, for one turn.
pub(crate) struct Timed<'a> {
    store: &'a mut Store,
    steps: Sample<'a>,
}

/// The steps of a turn.
struct Sample<'a> {
    metrics: &'a StoreMetrics,
    /// In the order of [`STEPS`].
    kinds: [Steps; STEPS.len()],
}

/// The steps of a kind in a turn.
#[derive(Default)]
struct Steps {
    count: Cell<u32>,
    /// Steps since the last one that was timed.
    untimed: Cell<u32>,
    /// Time of that one.
    last: Cell<Duration>,
}

impl Sample<'_> {
    /// Begins a step: gives the time, where the step is timed.
    fn begin(&self, kind: Kind) -> Option<Instant> {
        let Steps { count, untimed, .. } = self.kinds.get(kind as usize)?;
        count.set(count.get().saturating_add(1));
        untimed.set(untimed.get() + 1);
        (count.get() <= TIMED || untimed.get() == GROUP).then(Instant::now)
    }

    /// Ends a step that is timed.
    fn end(&self, kind: Kind, begun: Option<Instant>) {
        if let (Some(begun), Some(Steps { untimed, last, .. })) = (begun, self.kinds.get(kind as usize)) {
            last.set(begun.elapsed());
            self.metrics.observe(kind as usize, last.get(), untimed.take());
        }
    }
}

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        for (kind, Steps { untimed, last, .. }) in self.kinds.iter().enumerate() {
            if untimed.get() > 0 {
                self.metrics.observe(kind, last.get(), untimed.get());
            }
        }
    }
}

impl<'a> Timed<'a> {
    pub(crate) fn new(store: &'a mut Store, metrics: &'a StoreMetrics) -> Self {
        Self { store, steps: Sample { metrics, kinds: Default::default() } }
    }

    fn time<T>(&self, kind: Kind, step: impl FnOnce(&Store) -> T) -> T {
        let begun = self.steps.begin(kind);
        let result = step(self.store);
        self.steps.end(kind, begun);
        result
    }

    fn time_change<T>(&mut self, kind: Kind, step: impl FnOnce(&mut Store) -> T) -> T {
        let begun = self.steps.begin(kind);
        let result = step(self.store);
        self.steps.end(kind, begun);
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

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn busy_turn_times_a_sample_and_counts_all_steps() {
        let histogram = |name: &str| Histogram::with_opts(HistogramOpts::new(name, "a test")).unwrap();
        let metrics = StoreMetrics { steps: STEPS.map(histogram).to_vec(), sync: histogram("sync") };
        let count = |kind: Kind| metrics.steps[kind as usize].get_sample_count();
        let mut timed = 0;
        let sample = Sample { metrics: &metrics, kinds: Default::default() };
        for _ in 0..1000 {
            let begun = sample.begin(Kind::Row);
            timed += u32::from(begun.is_some());
            sample.end(Kind::Row, begun);
        }
        let begun = sample.begin(Kind::Commit);
        sample.end(Kind::Commit, begun);
        assert_eq!(timed, TIMED + (1000 - TIMED) / GROUP);
        assert_eq!((count(Kind::Commit), count(Kind::Query)), (1, 0));
        assert_eq!(count(Kind::Row), 1000);
        let begun = sample.begin(Kind::Row);
        assert_eq!((begun, count(Kind::Row)), (None, 1000));
        drop(sample);
        assert_eq!(count(Kind::Row), 1001);
        let sample = Sample { metrics: &metrics, kinds: Default::default() };
        sample.end(Kind::Row, sample.begin(Kind::Row));
        assert_eq!(count(Kind::Row), 1002);
    }
}
