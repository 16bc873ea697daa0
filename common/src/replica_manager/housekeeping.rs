//! Housekeeping: what everybody knows leaves the log, and what is old leaves the executed-operation table.

use super::{ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::messages::Status;
use crate::record::RecordRef;
use crate::roster::Member;
use crate::timestamp::Timestamp;

/// Interval of this work, in milliseconds.
const EVERY_MS: u64 = 200;

impl ReplicaManager {
    /// Truncates the log, forgets executed updates and retires replica managers, now and then.
    pub(super) fn keep_house(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        if now_ms < self.house_due_ms {
            return;
        }
        self.house_due_ms = now_ms + EVERY_MS;
        self.note_ages(step);
        self.find_lost(step);
        if self.is_serving() {
            self.truncate(now_ms);
            self.retire(step);
        }
        let log = &self.log;
        // Of a retired origin, the log holds nothing.
        let is_in_log =
            |origin: &ReplicaId, seq: u64| log.start(origin) < seq && seq <= log.replica_timestamp().get(origin);
        let (is_durable, forgotten) = (self.config.durable, &mut self.changes.forgotten);
        self.executed.expire(now_ms, is_in_log, |origin, seq| {
            if is_durable {
                forgotten.push(RecordRef { i: origin.clone(), seq });
            }
        });
        self.snapshots.expire(now_ms);
    }

    /// A record leaves the log when it is applied here and the timestamp table shows it at everybody who is awaited.
    fn truncate(&mut self, now_ms: u64) {
        let mut everywhere = self.value_timestamp.clone();
        for id in self.awaited(now_ms) {
            let holds = self.table.get(id).map(|entry| &entry.replica_timestamp);
            everywhere = holds.map_or_else(Timestamp::new, |holds| everywhere.common(holds));
        }
        for (origin, seq) in everywhere.iter() {
            self.log.truncate(origin, seq);
        }
    }

    /// The replicas that are present, or were less than [`super::Config::forget_after_ms`] ago: they may ask for
    /// records that they lack. A replica in memory that said LEFT is gone.
    pub(super) fn awaited(&self, now_ms: u64) -> impl Iterator<Item = &ReplicaId> {
        let is_awaited = move |member: &Member| {
            let is_recent = now_ms.saturating_sub(member.heard_ms) <= self.config.forget_after_ms;
            let is_dead = member.presence.status == Status::Left && member.presence.durable == Some(false);
            is_recent && !is_dead && !member.is_superseded()
        };
        self.roster.all().filter(move |(_, member)| is_awaited(member)).map(|(id, _)| id)
    }
}
