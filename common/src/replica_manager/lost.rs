//! Lost records: accepted by replica managers in memory that died for good, and held by nobody who is left.
//!
//! After more losses than `FAULT_TOLERANCE` covers, a `prev` can name a record that no replica will ever have. A
//! replica that misses it stops waiting after [`crate::roster::LOST_AFTER_MS`], with an error in the log: the
//! alternative is a session that can never be answered again. A replica that is durable, or only OFFLINE, is waited
//! for: it may come back with the record.

use super::former::DEAD_MAX;
use super::update_log::UpdateLog;
use super::{Notice, ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::messages::UNHEARD_MAX;
use crate::presence::{LostRecords, Presence};
use crate::timestamp::Timestamp;

impl ReplicaManager {
    /// Finds out whose records nobody can bring any more.
    pub(super) fn find_lost(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        self.is_somebody_awaited = self.roster.may_somebody_return(now_ms);
        for dead in self.roster.dead(now_ms) {
            self.dead.insert(dead);
        }
        let roster = &self.roster;
        self.dead.retain(|id| !roster.get(id).is_some_and(|member| member.is_present()));
        let mut missed = std::mem::take(&mut self.missed);
        missed.retain(|origin, count| self.is_gone(origin) && self.held_by_those_left(origin) < count);
        self.missed = missed;
    }

    /// Whether `id` was there once, and is not now.
    fn is_gone(&self, id: &ReplicaId) -> bool {
        self.roster.get(id).map_or_else(|| self.dead.contains(id), |member| !member.is_present())
    }

    /// Number of updates of `origin` that present replicas hold.
    fn held_by_those_left(&self, origin: &ReplicaId) -> u64 {
        let shown = self.roster.present().filter_map(|(id, _)| self.table.get(id));
        let held = shown.map(|entry| entry.replica_timestamp.get(origin)).max().unwrap_or(0);
        held.max(self.log.replica_timestamp().get(origin)).max(self.retired.get(origin))
    }

    /// The updates that must be applied for `prev`: `prev` itself, less retired and lost entries. `proven` says that
    /// all of it was once shown; a client's word is no loss. `unheard` are the origins that the asking frontend does
    /// not hear either: any other origin is present, whatever is known here.
    pub(super) fn required(
        &mut self,
        prev: &Timestamp,
        proven: bool,
        unheard: Option<&[ReplicaId]>,
        step: &mut Step<'_>,
    ) -> Timestamp {
        let mut required = prev.clone();
        self.retired.strip(&mut required);
        if self.log.replica_timestamp().covers(&required) {
            return required;
        }
        if let Some(unheard) = unheard.filter(|unheard| unheard.len() < UNHEARD_MAX) {
            for (origin, _) in required.iter().filter(|(origin, _)| !unheard.contains(origin)) {
                self.missed.is_heard(origin);
            }
        }
        let held_here = |log: &UpdateLog, origin: &ReplicaId| log.replica_timestamp().get(origin);
        let missing: Vec<(ReplicaId, u64)> = required
            .iter()
            .filter(|(origin, count)| held_here(&self.log, origin) < *count)
            .filter(|(origin, _)| unheard.is_none_or(|unheard| unheard.contains(origin)))
            .map(|(origin, count)| (origin.clone(), count))
            .collect();
        for (origin, count) in missing {
            if self.lost.get(&origin) >= count {
                required.set(&origin, held_here(&self.log, &origin));
            } else if self.is_gone(&origin) {
                let held = self.held_by_those_left(&origin);
                if held < count && self.is_missed_in_vain(&origin, count, proven, step) {
                    required.set(&origin, held);
                    match proven {
                        true => self.note_lost(origin, held, count, step),
                        false => self.note_claimed_lost(origin, held, count, step),
                    }
                }
            }
        }
        required
    }

    /// Whether update `count` of `origin`, who is gone, and which nobody shows, is lost by now.
    fn is_missed_in_vain(&mut self, origin: &ReplicaId, count: u64, proven: bool, step: &Step<'_>) -> bool {
        let in_vain = self.missed.note(origin, count, proven, step.now.monotonic_ms);
        in_vain && self.dead.contains(origin) && !self.is_somebody_awaited
    }

    /// A session names a record that is lost. This must not make a record that a label proves count as lost sooner. As
    /// far as a replica showed to hold the record, it is certain that it existed; beyond that the session may have made
    /// it up.
    fn note_claimed_lost(&mut self, origin: ReplicaId, held: u64, count: u64, step: &mut Step<'_>) {
        let told = self.lost.get(&origin).max(self.claimed_lost.get(&origin));
        if told >= count {
            return;
        }
        let shown = self.table.iter().map(|(_, entry)| entry.replica_timestamp.get(&origin)).max().unwrap_or(0);
        let (after, certain) = (told.max(held), shown.min(count));
        if certain > after {
            self.lost_records = self.lost_records.saturating_add(certain - after);
            step.notice(Notice::Lost { origin: origin.clone(), after, until: certain });
        }
        if count > certain.max(after) {
            self.lost_records = self.lost_records.saturating_add(1);
            let after = after.max(certain);
            step.notice(Notice::ClaimedLost { origin: origin.clone(), after, until: count });
        }
        if self.claimed_lost.get(&origin) > 0 || self.claimed_lost.len() < DEAD_MAX {
            self.claimed_lost.set(&origin, count);
        }
    }

    fn note_lost(&mut self, origin: ReplicaId, held: u64, count: u64, step: &mut Step<'_>) {
        let known = self.lost.get(&origin).max(self.claimed_lost.get(&origin)).min(count);
        self.lost_records = self.lost_records.saturating_add(count - known.max(held));
        self.lost.set(&origin, count);
        self.lost_after.set(&origin, held);
        step.notice(Notice::Lost { origin, after: held, until: count });
    }

    /// Lost records, for frontends that never heard their origins. Left out are those that turned up all the same.
    pub(super) fn shown_lost(&self) -> Vec<LostRecords> {
        let is_lost = |(origin, last): &(&ReplicaId, u64)| {
            self.log.replica_timestamp().get(origin) < *last
                && !self.roster.get(origin).is_some_and(|member| member.is_present())
        };
        let shown = self.lost.iter().filter(is_lost).take(Presence::LOST_MAX);
        shown
            .map(|(origin, last)| LostRecords { origin: origin.clone(), first: self.lost_after.get(origin) + 1, last })
            .collect()
    }
}
