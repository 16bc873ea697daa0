//! The store of a process, and the commit that waits for the disk on another thread.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use natter_common::value::ValueError;
use natter_database::Store;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::metrics::ReplicaMetrics;

/// One second, in ticks: the interval at which the files of the store are checked, and unanswered requests dropped.
pub(crate) const SECOND_TICKS: u64 = 50;
/// Time without a write after which the store is idle, in ticks.
const IDLE_TICKS: u64 = 250;

/// A store, and the commit of it that is under way.
pub(crate) struct Disk {
    pub(crate) store: Store,
    /// The wait for the disk, on another thread, while a commit is under way.
    sync: Option<JoinHandle<Result<(), ValueError>>>,
    /// Time of the last write to the store, in ticks.
    written_ticks: u64,
}

impl Disk {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, sync: None, written_ticks: 0 }
    }

    /// Whether a commit is under way.
    pub(crate) fn is_committing(&self) -> bool {
        self.sync.is_some()
    }

    /// Notes a write to the store.
    pub(crate) fn note_write(&mut self, ticks: u64) {
        self.written_ticks = ticks;
    }

    /// Waits for the disk on another thread, from now on.
    pub(crate) fn begin_commit(&mut self, metrics: Option<Arc<ReplicaMetrics>>) {
        self.sync = self.store.log_sync().map(|log| {
            spawn_blocking(move || {
                let begun = Instant::now();
                let synced = log.wait();
                if let Some(metrics) = metrics {
                    metrics.store.sync.observe(begun.elapsed().as_secs_f64());
                }
                synced
            })
        });
    }

    /// Completes when the disk has the commit that is under way, or failed. Cancel safe.
    pub(crate) async fn synced(&mut self) -> Result<(), ValueError> {
        match &mut self.sync {
            Some(sync) => {
                let synced = outcome(sync.await);
                self.sync = None;
                synced
            }
            None => pending().await,
        }
    }

    /// Waits for the disk, if a commit is under way; `None` if not.
    pub(crate) async fn end_commit(&mut self) -> Option<Result<(), ValueError>> {
        if self.is_committing() { Some(self.synced().await) } else { None }
    }

    /// Does the work of every second and of idle times, between turns.
    pub(crate) fn look_after(&mut self, ticks: u64) -> Result<(), ValueError> {
        if ticks.is_multiple_of(SECOND_TICKS) {
            self.store.check_files()?;
        }
        if ticks == self.written_ticks + IDLE_TICKS && !self.is_committing() {
            self.store.checkpoint_if_idle()?;
        }
        Ok(())
    }

    /// Closes the store when the last commit has ended.
    pub(crate) async fn close(mut self) -> Result<(), ValueError> {
        self.end_commit().await.transpose()?;
        self.store.close_cleanly()
    }
}

/// The outcome of a wait for the disk.
fn outcome(synced: Result<Result<(), ValueError>, JoinError>) -> Result<(), ValueError> {
    match synced {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(ValueError { doing: "waiting for the disk", reason: error.to_string() }),
        },
    }
}
