//! Retiring: replica managers that are gone for good leave the timestamps.
//!
//! A replica manager in memory takes a new id at each start, so that without this every timestamp, record and message
//! would carry every id that ever was. One of those present says in a **record of its own** that an id is retired, with
//! the number of its last update: the record depends on that update (its `prev` names it), so whoever has applied the
//! record has applied all of the retired one's updates too. From then on the record's own entry stands for them, and the
//! entry of the retired id is left out of timestamps. Equal value timestamps still mean equal ratings, because what a
//! timestamp leaves out follows from what it has; a session that saw a retired id's updates and then anything of
//! somebody who has retired it, has the record in its `prev`, which nobody who lacks those updates covers.
//!
//! An old label may still name a retired id: up to the number of its last update that asks for nothing. Should a higher
//! number turn up (somebody who was away had more of its updates), the entry comes back, and is retired again later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Notice, ReplicaManager, Step};
use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::record::{Record, RecordRef};
use crate::timestamp::Timestamp;

/// Maximum retired replica managers that are remembered, for the sake of old labels. Beyond it the first ones are forgotten: a
/// session that has done nothing since ends as STALE.
const RETIRED_MAX: usize = 65_536;
/// Maximum replicas that one record retires.
const RETIRED_AT_ONCE_MAX: usize = 100;
/// Time within which a log brings its records of a retired origin, in milliseconds. After it a snapshot is needed.
const LOG_BRINGS_MS: u64 = 500;
/// Maximum replicas that are named as gone in one message.
const GONE_MAX: usize = 200;
/// Maximum replicas that are remembered as being in memory.
const MORTAL_MAX: usize = 4096;
/// Interval of the search for replicas to retire, in milliseconds; longer for greater ids.
const EVERY_MS: u64 = 1000;
/// Number of replicas that must hold the record before it is applied.
const COPIES: u32 = 2;

/// The retired replicas, each with the number of its last update, which is applied here.
#[derive(Clone, Debug, Default)]
pub(super) struct Retired {
    counts: BTreeMap<ReplicaId, u64>,
    /// Replicas whose entry is kept, or came back, with the number at which others have retired them.
    kept: BTreeMap<ReplicaId, u64>,
    /// In the order in which they were retired; some may count again.
    order: VecDeque<ReplicaId>,
}

impl Retired {
    pub(super) fn from_counts(counts: &Timestamp) -> Self {
        Self {
            counts: counts.iter().map(|(id, count)| (id.clone(), count)).collect(),
            kept: BTreeMap::new(),
            order: counts.iter().map(|(id, _)| id.clone()).collect(),
        }
    }

    /// Returns the ids that are forgotten for it.
    fn insert(&mut self, id: &ReplicaId, count: u64) -> Vec<ReplicaId> {
        if self.counts.insert(id.clone(), count).is_none() {
            self.order.push_back(id.clone());
        }
        let mut forgotten = Vec::new();
        while self.counts.len() > RETIRED_MAX
            && let Some(first) = self.order.pop_front()
        {
            forgotten.extend(self.counts.remove(&first).map(|_| first));
        }
        if self.order.len() > 2 * RETIRED_MAX {
            let counts = &self.counts;
            self.order.retain(|id| counts.contains_key(id));
        }
        forgotten
    }

    /// Others have retired `id`, whose entry is kept here.
    fn keep(&mut self, id: &ReplicaId, count: u64) {
        if self.kept.len() < RETIRED_MAX {
            self.kept.insert(id.clone(), count);
        }
    }

    /// The number of its last update; 0 where it is not retired.
    pub(super) fn get(&self, id: &ReplicaId) -> u64 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// The retired after `after`, in the order of their ids.
    pub(super) fn after(&self, after: Option<&ReplicaId>) -> impl Iterator<Item = (&ReplicaId, u64)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.counts.range::<ReplicaId, _>((start, Unbounded)).map(|(id, count)| (id, *count))
    }

    /// Retired replicas that `timestamp` names, each with the number that it names. All of these updates are applied here.
    pub(super) fn of(&self, timestamp: &Timestamp) -> Timestamp {
        if self.counts.is_empty() {
            return Timestamp::new();
        }
        timestamp.iter().filter(|(id, count)| *count <= self.get(id)).map(|(id, count)| (id.clone(), count)).collect()
    }

    /// Leaves out of `timestamp` what retired replica managers accepted: it is applied here.
    pub(super) fn strip(&self, timestamp: &mut Timestamp) {
        for (id, _) in self.of(timestamp).iter() {
            timestamp.set(id, 0);
        }
    }
}

impl ReplicaManager {
    /// Retires origins that are gone for good: they kept their state in memory, or will not use their id again, and are
    /// forgotten. Every awaited replica must have applied the same number of the origin's updates, and the log here
    /// must have let them go. Then no replica needs its entry any more.
    pub(super) fn retire(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        // A replica unknown to a newcomer may be absent only briefly; one with a state of its own remembers it.
        let is_newcomer = !self.is_recovered && now_ms < self.started_ms + self.config.forget_after_ms;
        if now_ms < self.retire_due_ms || is_newcomer {
            return;
        }
        // Replicas with a lesser id come first, so that mostly one of them does it. If several do, nothing is wrong.
        let before = self.roster.present().filter(|(id, _)| **id < self.config.id).count() as u64;
        self.retire_due_ms = now_ms + EVERY_MS * (1 + before);
        self.forget_idle_ids();
        // One that is OFFLINE for so long that nobody awaits it does not hold this up.
        let awaited: Vec<ReplicaId> = self.awaited(now_ms).cloned().collect();
        let everybody_serves =
            self.roster.present().all(|(id, member)| member.is_up() || awaited.binary_search(id).is_err());
        if !self.is_serving() || !everybody_serves || self.leaving {
            return;
        }
        let retires: Timestamp = self
            .value_timestamp
            .iter()
            .filter(|(id, _)| {
                **id != self.config.id && self.mortal.contains(*id) && self.roster.is_forgotten(id, now_ms)
            })
            .filter(|(id, count)| self.log.start(id) == *count && self.log.replica_timestamp().get(id) == *count)
            .filter(|(id, count)| {
                // An entry of 0 has two reasons: the replica has none of the updates, or has retired the origin. It
                // counts as the second only if others are known to have retired it.
                let is_retired = self.retired.kept.get(*id) == Some(count);
                let agrees = |applied| applied == *count || (applied == 0 && is_retired);
                let shown = |peer| self.table.get(peer).map(|entry| entry.value_timestamp.get(id));
                awaited.iter().all(|peer| shown(peer).is_some_and(agrees))
            })
            .take(RETIRED_AT_ONCE_MAX)
            .map(|(id, count)| (id.clone(), count))
            .collect();
        if !retires.is_empty() {
            self.accept_retirement(retires, step);
        }
    }

    /// Forgets what is noted of ids that nothing here names.
    fn forget_idle_ids(&mut self) {
        let (value, held, roster) = (&self.value_timestamp, self.log.replica_timestamp(), &self.roster);
        let is_named = |id: &ReplicaId| value.get(id) > 0 || held.get(id) > 0;
        self.mortal.retain(|id| is_named(id) || roster.get(id).is_some());
        self.retired.kept.retain(|id, _| is_named(id));
    }

    fn accept_retirement(&mut self, retires: Timestamp, step: &mut Step<'_>) {
        let own = self.config.id.clone();
        let stamp = Stamp(self.clock.0.saturating_add(1));
        let record = Arc::new(Record {
            id: UpdateId::from_stamp(stamp, self.status.draw_bits()),
            seq: self.log.replica_timestamp().get(&own) + 1,
            i: own,
            prev: retires.clone(),
            request: None,
            retires,
            stamp,
            copies: COPIES,
            deleted: None,
        });
        step.notice(Notice::Accepted(Arc::clone(&record)));
        self.hold(record, step);
    }

    /// A record that retires is applied: what it names leaves the timestamps, where it is as much as is applied here.
    pub(super) fn apply_retirement(&mut self, retires: &Timestamp, step: &mut Step<'_>) {
        for (id, count) in retires.iter() {
            if !self.is_here(id)
                && self.value_timestamp.get(id) == count
                && self.log.replica_timestamp().get(id) == count
            {
                self.set_retired(id, count);
                step.notice(Notice::Retired { id: id.clone(), count });
            } else {
                self.retired.keep(id, count);
            }
        }
    }

    /// Notes that `id` has gone. If others retired it before this was known, it is retired here too.
    pub(super) fn follow_retirement(&mut self, id: &ReplicaId, step: &mut Step<'_>) {
        if let Some(count) = self.retired.kept.get(id).copied() {
            self.apply_retirement(&[(id.clone(), count)].into_iter().collect(), step);
        }
    }

    /// Merges retired updates into `proven`. A replica that has applied a retiring record has applied all the updates
    /// that it retires, which no timestamp shows any more.
    pub(super) fn prove_retired(&mut self) {
        loop {
            let is_shown = |name: &RecordRef| {
                self.proven.get(&name.i) >= name.seq || self.table.is_applied_by_someone(&name.i, name.seq)
            };
            let mut shown = self.retirements.iter().filter(|(name, _)| is_shown(name)).map(|(_, (retires, _))| retires);
            let Some(news) = shown.find(|retires| !self.proven.covers(retires)).cloned() else { return };
            self.proven.merge(&news);
        }
    }

    /// Takes over the retirement of `id` together with the value of another replica.
    pub(super) fn take_over_retired(&mut self, id: &ReplicaId, count: u64, step: &mut Step<'_>) {
        let held = self.log.replica_timestamp().get(id);
        if held <= count && !self.is_here(id) {
            self.set_retired(id, count);
        } else {
            // More of it is known here, or will be.
            let count = if *id == self.config.id { count.min(held) } else { count };
            self.jump(id, count, step);
            self.value_timestamp.raise(id, count);
            self.retired.keep(id, count);
        }
    }

    /// Whether `id` is this one, or there after all.
    fn is_here(&self, id: &ReplicaId) -> bool {
        *id == self.config.id || self.roster.get(id).is_some_and(|member| member.is_present())
    }

    /// Leaves `id` out of timestamps from now on: its first `count` updates are applied here, and no others known.
    pub(super) fn set_retired(&mut self, id: &ReplicaId, count: u64) {
        self.value_timestamp.set(id, 0);
        self.proven.set(id, 0);
        self.log.forget(id);
        self.table.forget_origin(id, count);
        self.mortal.remove(id);
        self.just_retired.raise(id, count);
        self.retired.kept.remove(id);
        if self.retired.get(id) < count {
            self.changes.retired.push((id.clone(), Some(count)));
            for forgotten in self.retired.insert(id, count) {
                self.changes.retired.push((forgotten, None));
            }
        }
    }

    /// Leaves what is retired out of what another replica manager says; where it has more, the entry comes back.
    pub(super) fn strip(&mut self, timestamp: &mut Timestamp, step: &mut Step<'_>) {
        self.retired.strip(timestamp);
        if self.retired.counts.is_empty() {
            return;
        }
        let back: Vec<ReplicaId> =
            timestamp.iter().map(|(id, _)| id).filter(|id| self.retired.get(id) > 0).cloned().collect();
        for id in back {
            self.unretire(&id, step);
        }
    }

    /// A replica whose snapshot has updates that a record here depends on and that no log brings any more: their origin
    /// was retired by others.
    pub(super) fn lacks_retired(&self, now_ms: u64) -> Option<ReplicaId> {
        let lacks =
            |(id, count): (&ReplicaId, u64)| self.log.replica_timestamp().get(id).max(self.retired.get(id)) < count;
        let (origin, seq) = self
            .retirements
            .iter()
            .filter(|(_, (_, since_ms))| now_ms.saturating_sub(*since_ms) >= LOG_BRINGS_MS)
            .find(|(_, (retires, _))| retires.iter().any(lacks))
            .map(|(name, _)| (name.i.clone(), name.seq))?;
        let has =
            |peer: &ReplicaId| self.table.get(peer).is_some_and(|entry| entry.value_timestamp.get(&origin) >= seq);
        self.roster.present().map(|(peer, _)| peer).find(|peer| has(peer)).cloned()
    }

    /// Origins in the value timestamp that are gone for good, for the sake of replicas that never heard of them.
    pub(super) fn gone_for_good(&self) -> Vec<ReplicaId> {
        let is_gone =
            |id: &ReplicaId| self.mortal.contains(id) && self.roster.get(id).is_none_or(|member| !member.is_present());
        self.value_timestamp.iter().map(|(id, _)| id).filter(|id| is_gone(id)).take(GONE_MAX).cloned().collect()
    }

    /// Notes origins that another replica knows to be gone for good, should they not be present.
    pub(super) fn note_gone(&mut self, gone: Vec<ReplicaId>) {
        for id in gone {
            if self.value_timestamp.get(&id) > 0 || self.log.replica_timestamp().get(&id) > 0 {
                self.note_mortal(id);
            }
        }
    }

    /// Notes that `id` keeps its state in memory: once gone, it is gone for good.
    pub(super) fn note_mortal(&mut self, id: ReplicaId) {
        if self.mortal.len() < MORTAL_MAX && id != self.config.id {
            self.mortal.insert(id);
        }
    }

    /// The entry of `id` counts again.
    pub(super) fn unretire(&mut self, id: &ReplicaId, step: &mut Step<'_>) {
        if let Some(count) = self.retired.counts.remove(id) {
            self.retired.keep(id, count);
            self.value_timestamp.raise(id, count);
            self.jump(id, count, step);
            self.changes.retired.push((id.clone(), None));
        }
    }
}
