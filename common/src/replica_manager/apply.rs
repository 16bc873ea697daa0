//! Holding records, and applying those that are stable.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{Notice, ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::messages::Reply;
use crate::record::Record;
use crate::roster::Member;
use crate::timestamp::Timestamp;
use crate::value::ValueError;

/// Number up to which enough replicas hold the records of an origin, as last found, with everything that it rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldUntil {
    /// Origin of the records.
    origin: Option<ReplicaId>,
    /// Copies that the records ask for.
    copies: u32,
    /// Number of the record for which the answer was sought.
    seq: u64,
    /// The answer; below `seq` if too few replicas hold that record.
    until: u64,
    /// [`super::TimestampTable::changes`] and [`super::Roster::changes`] then.
    table: u64,
    roster: u64,
    /// [`ReplicaManager::proven`] then, as a copy: it is another as soon as that changes.
    proven: Timestamp,
}

impl ReplicaManager {
    /// Puts a record into the log. Every record that is held because of it is known from now on, and confirmed to the
    /// frontends that wait for it.
    pub(super) fn hold(&mut self, record: Arc<Record>, step: &mut Step<'_>) -> super::update_log::Inserted {
        let mut held = std::mem::take(&mut step.held);
        let inserted = self.log.insert(record, &mut held);
        self.note_held(held, step);
        inserted
    }

    /// Holds the first `seq` records of `origin` without having them, as the value reflects them, or will.
    pub(super) fn jump(&mut self, origin: &ReplicaId, seq: u64, step: &mut Step<'_>) {
        let mut held = std::mem::take(&mut step.held);
        self.log.jump(origin, seq, &mut held);
        self.note_held(held, step);
    }

    /// These records are held from now on.
    fn note_held(&mut self, mut held: Vec<Arc<Record>>, step: &mut Step<'_>) {
        for record in held.drain(..) {
            self.clock = self.clock.max(record.stamp);
            self.executed.insert(&*record, step.now.monotonic_ms);
            if self.config.durable {
                self.changes.held.push(Arc::clone(&record));
            }
            for confirm in self.confirms.take(&record.id) {
                let records = self.executed.names(&record.id);
                step.reply(confirm.to, Reply::Held { records, clock: self.clock });
            }
            if record.request.is_none() {
                self.retirements.insert(record.name(), (record.retires.clone(), step.now.monotonic_ms));
            }
            if record.i != self.config.id {
                self.acknowledge_to_all |= record.copies > 2;
                if !self.unacknowledged.contains(&record.i) {
                    self.unacknowledged.insert(record.i.clone());
                }
                step.detail(|| Notice::Held(record));
            }
        }
        step.held = held;
    }

    /// Applies every record that is stable and outlives a crash, in causal order. Says whether there was one.
    pub(super) fn apply_ready(&mut self, step: &mut Step<'_>) -> Result<bool, ValueError> {
        let mut any = false;
        // Copies cannot be counted until membership is known.
        if self.phase.is_starting() {
            return Ok(false);
        }
        loop {
            self.prove_retired();
            if self.value_timestamp.covers(self.committed_timestamp()) {
                return Ok(any);
            }
            let mut progress = false;
            let held = self.committed_timestamp().clone();
            for (origin, count) in held.iter() {
                if self.value_timestamp.get(origin) < count {
                    progress |= self.apply_stable(origin, count, step)?;
                }
            }
            if !progress {
                return Ok(any);
            }
            any = true;
        }
    }

    /// Applies the next records of `origin`, up to number `last`, as long as they are stable: their dependencies are all in the value
    /// timestamp, and enough replica managers hold them. Says whether there was one.
    fn apply_stable(&mut self, origin: &ReplicaId, last: u64, step: &mut Step<'_>) -> Result<bool, ValueError> {
        let mut any = false;
        // A prev that was covered stays so, until somebody is retired.
        let mut covered: Option<Arc<Record>> = None;
        while let Some(record) = self.log.get(origin, self.value_timestamp.get(origin) + 1).cloned() {
            if record.seq > last || !self.is_held_by_enough(&record) {
                break;
            }
            let is_covered = covered.as_ref().is_some_and(|before| before.prev.is_shared_with(&record.prev));
            if !is_covered && !self.covers(&record.prev, step) {
                break;
            }
            self.apply(&record, step)?;
            any = true;
            covered = Some(record).filter(|record| record.request.is_some());
        }
        Ok(any)
    }

    /// Whether everything in `prev` is applied, but for what is lost.
    pub(super) fn covers(&mut self, prev: &Timestamp, step: &mut Step<'_>) -> bool {
        self.value_timestamp.covers(prev) || {
            let required = self.required(prev, true, None, step);
            self.value_timestamp.covers(&required)
        }
    }

    /// Whether so many replica managers hold the record as it asks for, or all that are up.
    fn is_held_by_enough(&mut self, record: &Record) -> bool {
        let found = &self.held_until;
        let is_same = found.copies == record.copies
            && (found.table, found.roster) == (self.table.changes(), self.roster.changes())
            && found.origin.as_ref() == Some(&record.i)
            && found.proven.is_shared_with(&self.proven);
        // The answer for one record mostly holds for the next one.
        if !is_same || (record.seq > found.until && record.seq < found.seq) {
            let (copies, seq) = (record.copies, record.seq);
            self.held_until = HeldUntil {
                origin: Some(record.i.clone()),
                copies,
                seq,
                until: self.held_until(&record.i, copies, seq),
                table: self.table.changes(),
                roster: self.roster.changes(),
                proven: self.proven.clone(),
            };
        }
        let is_held = record.seq <= self.held_until.until;
        debug_assert_eq!(is_held, record.seq <= self.held_until(&record.i, record.copies, record.seq));
        is_held
    }

    /// The number up to which the records of `origin` that ask for so many copies are held by as many replicas, or by
    /// all that are up; a number below `seq` if that one is not.
    fn held_until(&self, origin: &ReplicaId, copies: u32, seq: u64) -> u64 {
        let enough = (copies as usize).min(1 + self.roster.up().count());
        // An absent replica may never come back with the records that it holds.
        let keeps = |id: &ReplicaId| self.roster.get(id).is_some_and(Member::is_holder);
        let own = &self.config.id;
        let known = 1 + usize::from(origin != own && keeps(origin));
        let Some(lacking) = enough.checked_sub(known).filter(|lacking| *lacking > 0) else { return u64::MAX };
        let shown = self.proven.get(origin).max(self.table.applied_by_someone(origin));
        let of_interest = seq.max(shown.saturating_add(1));
        let holders = self.table.iter().filter_map(|(id, entry)| {
            let held = entry.replica_timestamp.get(origin);
            (held >= of_interest && id != origin && id != own && keeps(id)).then_some(held)
        });
        let mut held: Vec<u64> = holders.collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        held.get(lacking - 1).copied().unwrap_or(shown)
    }

    fn apply(&mut self, record: &Arc<Record>, step: &mut Step<'_>) -> Result<(), ValueError> {
        let mut stands = true;
        if let Some((key, row)) = record.row() {
            self.snapshots.before_write(key, step.value)?;
            stands = step.value.apply(key, row)?;
            if record.i == self.config.id
                && let Entry::Occupied(entry) = self.accepted.entry(key)
                && entry.get().0 == record.seq
            {
                entry.remove();
            }
        }
        self.value_timestamp.set(&record.i, record.seq);
        if record.request.is_none() {
            self.retirements.remove(&record.name());
            self.apply_retirement(&record.retires, step);
        }
        step.detail(|| Notice::Applied {
            record: Arc::clone(record),
            stands,
            value_timestamp: self.value_timestamp.clone(),
        });
        Ok(())
    }
}
