//! Holding records, and applying those that are stable.

use std::sync::Arc;

use super::{Notice, ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::messages::Reply;
use crate::record::Record;
use crate::timestamp::Timestamp;
use crate::value::ValueError;

impl ReplicaManager {
    /// Puts a record into the log. What is held by that is known from now on, and confirmed to those who wait for it.
    pub(super) fn hold(&mut self, record: Arc<Record>, step: &mut Step<'_>) -> super::update_log::Inserted {
        let mut held = Vec::new();
        let inserted = self.log.insert(record, &mut held);
        self.note_held(held, step);
        inserted
    }

    /// Holds the first `seq` records of `origin` without having them, as the value reflects them, or will.
    pub(super) fn jump(&mut self, origin: &ReplicaId, seq: u64, step: &mut Step<'_>) {
        let mut held = Vec::new();
        self.log.jump(origin, seq, &mut held);
        self.note_held(held, step);
    }

    /// These records are held from now on.
    fn note_held(&mut self, held: Vec<Arc<Record>>, step: &mut Step<'_>) {
        for record in held {
            self.clock = self.clock.max(record.stamp);
            self.executed.insert(record.executed(), step.now.monotonic_ms);
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
                self.unacknowledged.insert(record.i.clone());
                step.detail(|| Notice::Held(record));
            }
        }
    }

    /// Applies every record that is stable, in causal order. Says whether there was one.
    pub(super) fn apply_ready(&mut self, step: &mut Step<'_>) -> Result<bool, ValueError> {
        let mut any = false;
        // Who has not heard yet who is there knows nothing of copies.
        if self.phase.is_starting() {
            return Ok(false);
        }
        loop {
            let mut progress = false;
            self.prove_retired();
            let behind: Vec<ReplicaId> = self
                .log
                .replica_timestamp()
                .iter()
                .filter(|(id, held)| self.value_timestamp.get(id) < *held)
                .map(|(id, _)| id.clone())
                .collect();
            for origin in behind {
                while let Some(record) = self.next_stable(&origin, step) {
                    self.apply(&record, step)?;
                    progress = true;
                }
            }
            if !progress {
                return Ok(any);
            }
            any = true;
        }
    }

    /// The next record of `origin`, if it is stable: its dependencies are all in the value timestamp, and enough
    /// replica managers hold it.
    fn next_stable(&mut self, origin: &ReplicaId, step: &mut Step<'_>) -> Option<Arc<Record>> {
        let record = Arc::clone(self.log.get(origin, self.value_timestamp.get(origin) + 1)?);
        (self.is_held_by_enough(&record) && self.covers(&record.prev, step)).then_some(record)
    }

    /// Whether everything in `prev` is applied, but for what is lost.
    pub(super) fn covers(&mut self, prev: &Timestamp, step: &mut Step<'_>) -> bool {
        self.value_timestamp.covers(prev) || {
            let required = self.required(prev, true, None, step);
            self.value_timestamp.covers(&required)
        }
    }

    /// Whether so many replica managers hold the record as it asks for, or all that are up.
    fn is_held_by_enough(&self, record: &Record) -> bool {
        let (origin, seq) = (&record.i, record.seq);
        let enough = (record.copies as usize).min(1 + self.roster.up().count());
        if enough <= 1 || self.proven.get(origin) >= seq || self.table.is_applied_by_someone(origin, seq) {
            return true;
        }
        // Who is gone may never come back with what it holds.
        let keeps = |id: &ReplicaId| self.roster.get(id).is_some_and(|member| member.is_present());
        let own = &self.config.id;
        let is_others = origin != own;
        let others = self.table.holders(origin, seq).filter(|id| *id != origin && *id != own && keeps(id));
        1 + usize::from(is_others && keeps(origin)) + others.take(enough).count() >= enough
    }

    fn apply(&mut self, record: &Arc<Record>, step: &mut Step<'_>) -> Result<(), ValueError> {
        let mut stands = true;
        if let Some((key, row)) = record.row() {
            self.snapshots.before_write(key, step.value)?;
            stands = step.value.apply(key, row)?;
            if record.i == self.config.id && self.accepted.get(&key).is_some_and(|(seq, _)| *seq == record.seq) {
                self.accepted.remove(&key);
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
