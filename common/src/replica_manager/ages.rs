//! The ages of what a directory keeps: which updates the next life need not remember.
//!
//! Each life would remember all that it finds for [`RETENTION_MS`], so that replica managers that restart often would
//! remember all updates for ever. No clock tells their age: a stamp is what a client's clock showed, and the clock here
//! may have been ahead in one life and right in the next. So the time is measured that the lives ran, one after the
//! other, and it is noted now and then which updates were known by then.

use super::durable::KnownAt;
use super::executed_operations::RETENTION_MS;
use super::{ReplicaManager, Step};
use crate::clock::Now;
use crate::ids::ReplicaId;
use crate::messages::Replicas;

/// Updates by the time at which they were known, as counted by all lives of a directory together.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    /// Running time of earlier lives, in milliseconds.
    earlier_ms: u64,
    /// Time on this life's clock when it started, in milliseconds.
    started_ms: u64,
    /// At most two, [`RETENTION_MS`] apart or more, the earlier one first.
    known: Vec<KnownAt>,
    /// Running time of all lives at the last look at what is known, in milliseconds.
    looked_ms: u64,
}

impl Ages {
    /// Ages for a life that starts `now`, after lives that ran for `ran_ms`.
    pub(super) fn recovered(ran_ms: u64, known: Vec<KnownAt>, now: Now) -> Self {
        let looked_ms = known.last().map_or(0, |last| last.ran_ms);
        Self { earlier_ms: ran_ms, started_ms: now.monotonic_ms, known, looked_ms }
    }

    /// Time for which all lives have run, in milliseconds.
    pub(super) fn ran_ms(&self, now: Now) -> u64 {
        self.earlier_ms.saturating_add(now.monotonic_ms.saturating_sub(self.started_ms))
    }

    /// Whether the update was known [`RETENTION_MS`] before `now` or earlier. One that was not is younger, or its age is
    /// unknown.
    pub(super) fn is_long_ago(&self, origin: &ReplicaId, seq: u64, now: Now) -> bool {
        let latest_ms = self.ran_ms(now).saturating_sub(RETENTION_MS);
        self.known.iter().any(|known| known.ran_ms <= latest_ms && seq <= known.updates.replicas.get(origin))
    }

    /// Whether it is time to look again at what is known: as often where nothing changes.
    fn is_due(&self, now: Now) -> bool {
        self.ran_ms(now).saturating_sub(self.looked_ms) >= RETENTION_MS
    }

    /// Notes what is known, if that is more than last time. Gives all that is to be kept for the next life.
    fn note(&mut self, updates: Replicas, now: Now) -> Option<Vec<KnownAt>> {
        self.looked_ms = self.ran_ms(now);
        let is_same = |last: &KnownAt| last.updates == updates;
        if self.known.last().map_or(updates.replicas.is_empty(), is_same) {
            return None;
        }
        self.known.push(KnownAt { ran_ms: self.looked_ms, updates });
        if self.known.len() > 2 {
            self.known.remove(0);
        }
        Some(self.known.clone())
    }
}

impl ReplicaManager {
    /// Notes for the next life which updates are known here by now.
    pub(super) fn note_ages(&mut self, step: &mut Step<'_>) {
        if !self.config.durable || !self.ages.is_due(step.now) {
            return;
        }
        // A retired origin's updates are known too, though the timestamp leaves them out.
        let mut known = self.log.replica_timestamp().clone();
        for (id, count) in self.retired.after(None) {
            known.raise(id, count);
        }
        if let Some(known) = self.ages.note(Replicas::from(&known), step.now) {
            self.changes.known = Some(known);
        }
    }
}
