//! Commits of a replica that keeps its state on disk: what is there already, and what is told only then.
//!
//! Turns change the core at once. Their changes reach the disk together: a commit takes all that has changed since the one
//! before, and the next one begins when it has ended. So each wait for the disk serves everything that waits, and the core
//! goes on meanwhile. Two rules keep what a crash may take away from being told:
//!
//! - **Outputs** that tell of records, or of anything else that is saved, are kept back until the commit that has it.
//! - **Records** are applied only when they are on disk ([`ReplicaManager::committed_timestamp`]). So the value, and with it
//!   each row, average, search result and label of a query, is the last committed state. Queries are answered from it without
//!   a wait; one whose `prev` names a record of an open commit is parked like any other that lacks a record.
//!
//! A crash may take back that a record was applied, never that it is held: the next life applies it again. So the value
//! timestamp alone is no reason for a commit. It is saved with the next one, or after [`APPLIED_UNSAVED_MS_MAX`], and at once
//! while the replica leaves.

use super::durable::Changes;
use super::{Output, ReplicaManager, Step};
use crate::clock::{Now, Stamp};
use crate::messages::{Reply, Status};
use crate::timestamp::Timestamp;
use crate::value::{Commit, Value, ValueError};

/// Maximum time for which the value timestamp is not saved, in milliseconds. It limits what the next life applies again.
const APPLIED_UNSAVED_MS_MAX: u64 = 1000;

/// Maximum number of outputs that are kept back. While a disk does not answer, requests beyond that are refused.
const KEPT_BACK_MAX: usize = 1 << 16;

/// The state on disk, and the outputs that wait for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Commits {
    /// The replica timestamp and the clock on disk.
    replica_timestamp: Timestamp,
    clock: Stamp,
    under_way: Option<UnderWay>,
    /// Outputs of turns that no commit has yet.
    kept_back: Vec<Output>,
    /// The time since which only the value timestamp differs from the one on disk, in milliseconds.
    applied_unsaved_ms: Option<u64>,
}

/// A commit that the disk has not confirmed.
#[derive(Clone, Debug)]
struct UnderWay {
    replica_timestamp: Timestamp,
    clock: Stamp,
    outputs: Vec<Output>,
}

impl Commits {
    /// Commits of a replica whose directory holds these records, and this clock.
    pub(super) fn recovered(replica_timestamp: Timestamp, clock: Stamp) -> Self {
        Self { replica_timestamp, clock, ..Self::default() }
    }

    /// Whether so much waits that nothing more may.
    pub(super) fn are_full(&self) -> bool {
        self.kept_back.len() >= KEPT_BACK_MAX
    }

    fn keep_back(&mut self, said: &mut Vec<Output>, outputs: &mut Vec<Output>) {
        for output in said.drain(..) {
            let to = if tells_committed_state_only(&output) { &mut *outputs } else { &mut self.kept_back };
            to.push(output);
        }
    }
}

/// Whether an output tells nothing that a crash may take back.
fn tells_committed_state_only(output: &Output) -> bool {
    match output {
        Output::Reply(_, reply) => matches!(
            reply,
            Reply::Answered { .. } | Reply::Refused { .. } | Reply::Behind | Reply::NotServing | Reply::NotHeld
        ),
        Output::Notice(_) | Output::Status(..) | Output::Stop(_) => true,
        _ => false,
    }
}

impl ReplicaManager {
    /// Whether a commit waits for the disk. The shell then tells its end with [`super::Input::Committed`].
    pub fn is_committing(&self) -> bool {
        self.commits.under_way.is_some()
    }

    /// The updates that are held, and stay so whatever happens to the process: what is on disk, or in memory for a replica
    /// that has no disk.
    pub fn committed_timestamp(&self) -> &Timestamp {
        if self.config.durable { &self.commits.replica_timestamp } else { self.log.replica_timestamp() }
    }

    /// The greatest stamp of those.
    pub(super) fn committed_clock(&self) -> Stamp {
        if self.config.durable { self.commits.clock } else { self.clock }
    }

    /// Whether everything that has changed so far is on disk, but for the value timestamp.
    pub(super) fn is_all_committed(&self) -> bool {
        !self.config.durable || (!self.is_committing() && self.committed_timestamp() == self.log.replica_timestamp())
    }

    /// The disk has what the commit under way wrote: that is told now.
    pub(super) fn end_commit(&mut self, outputs: &mut Vec<Output>) {
        let Some(ended) = self.commits.under_way.take() else { return };
        self.commits.replica_timestamp = ended.replica_timestamp;
        self.commits.clock = ended.clock;
        self.tell(ended.outputs, outputs);
    }

    /// A replica that has become OFFLINE meanwhile says nothing but that.
    fn tell(&self, kept_back: Vec<Output>, outputs: &mut Vec<Output>) {
        let is_offline = self.status.status() == Status::Offline;
        outputs.extend(kept_back.into_iter().filter(|output| !is_offline || matches!(output, Output::Presence(_))));
    }

    /// Ends a turn of a replica with a disk: commits what is due, unless a commit is under way. `said` is what the turn asks
    /// for. Returns whether there was something to save.
    pub(super) fn end_turn(
        &mut self,
        now: Now,
        value: &mut dyn Value,
        mut said: Vec<Output>,
        outputs: &mut Vec<Output>,
    ) -> Result<bool, ValueError> {
        let mut is_changed = false;
        while !self.is_committing() {
            // One message of gossip and one acknowledgement for all that the commit has.
            self.flush(now, value, &mut said);
            self.commits.keep_back(&mut said, outputs);
            let Some(changes) = self.take_due_changes(now) else {
                let kept_back = std::mem::take(&mut self.commits.kept_back);
                self.tell(kept_back, outputs);
                break;
            };
            is_changed = true;
            let commit = value.commit_turn(&changes)?;
            self.commits.under_way = Some(UnderWay {
                replica_timestamp: self.log.replica_timestamp().clone(),
                clock: self.clock,
                outputs: std::mem::take(&mut self.commits.kept_back),
            });
            if commit == Commit::Done {
                self.end_commit(outputs);
                self.settle(&mut Step::new(now, value, &mut said, self.quiet))?;
            }
        }
        self.commits.keep_back(&mut said, outputs);
        Ok(is_changed)
    }

    /// The changes since the last commit, to be saved with the value; `None` where nothing has to be saved yet.
    fn take_due_changes(&mut self, now: Now) -> Option<Changes> {
        let state = self.state(now);
        let is_applied_unsaved = state.value_timestamp != self.saved.value_timestamp;
        let must_be_saved = super::recover::must_be_saved(&state, &self.saved);
        if self.changes.is_empty() && !must_be_saved {
            if !is_applied_unsaved {
                self.commits.applied_unsaved_ms = None;
                return None;
            }
            let since_ms = *self.commits.applied_unsaved_ms.get_or_insert(now.monotonic_ms);
            if now.monotonic_ms.saturating_sub(since_ms) < APPLIED_UNSAVED_MS_MAX && !self.leaving {
                return None;
            }
        }
        self.commits.applied_unsaved_ms = None;
        // Forgotten records are not asked for at the next start: the log begins after them.
        if is_applied_unsaved || must_be_saved || !self.changes.forgotten.is_empty() {
            self.saved = state.clone();
            self.changes.state = Some(state);
        }
        Some(std::mem::take(&mut self.changes))
    }
}
