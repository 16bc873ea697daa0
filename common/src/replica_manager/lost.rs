//! Lost records: accepted by replica managers in memory that died for good, and held by nobody who is left.
//!
//! With more losses than `FAULT_TOLERANCE` covers, a `prev` can name a record that nobody will ever have. Whoever waits
//! for it stops after [`crate::roster::LOST_AFTER_MS`], loudly: the alternative is a session that can never be answered again. Somebody
//! durable, or only OFFLINE, is waited for: it may come back with the record.

use super::{Notice, ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::timestamp::Timestamp;

/// How many of the dead are remembered.
const LEFT_BEHIND_MAX: usize = 4096;

impl ReplicaManager {
    /// Finds out whose records nobody can bring any more, and how far they are held by those who are left.
    pub(super) fn find_lost(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        self.is_somebody_awaited = self.roster.may_somebody_return(now_ms);
        for dead in self.roster.dead(now_ms) {
            if self.left_behind.len() < LEFT_BEHIND_MAX {
                self.left_behind.insert(dead, 0);
            }
        }
        let (roster, table, log, retired) = (&self.roster, &self.table, &self.log, &self.retired);
        self.left_behind.retain(|dead, held| {
            let shown = roster.present().filter_map(|(id, _)| table.get(id));
            *held = shown.map(|entry| entry.replica_timestamp.get(dead)).max().unwrap_or(0);
            *held = (*held).max(log.replica_timestamp().get(dead)).max(retired.get(dead));
            !roster.get(dead).is_some_and(|member| member.is_present())
        });
    }

    /// What has to be applied for `prev`: `prev` itself, less what is retired or lost. `proven` says that all of it was
    /// once shown; a client's word is no loss.
    pub(super) fn required(&mut self, prev: &Timestamp, proven: bool, step: &mut Step<'_>) -> Timestamp {
        let mut required = prev.clone();
        self.retired.strip(&mut required);
        let lost: Vec<(ReplicaId, u64, u64)> = required
            .iter()
            .filter_map(|(origin, count)| {
                let held_here = self.log.replica_timestamp().get(origin);
                let known_as_lost = || (self.lost.get(origin) >= count).then_some(held_here);
                let left_behind = self.left_behind.get(origin).copied().filter(|_| !self.is_somebody_awaited);
                let held = left_behind.or_else(known_as_lost);
                Some((origin.clone(), held.filter(|held| *held < count)?, count))
            })
            .collect();
        for (origin, held, count) in lost {
            required.set(&origin, held);
            let known = self.lost.get(&origin);
            if proven && known < count {
                self.lost_records = self.lost_records.saturating_add(count - known.max(held));
                self.lost.set(&origin, count);
                step.notice(Notice::Lost { origin, after: held, until: count });
            }
        }
        required
    }
}
