//! Recovery: a replica manager goes on where its last life ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::durable::{Changes, Merging, Saved, SavedMember, State};
use super::{Config, Output, ReplicaManager, Step};
use crate::clock::Now;
use crate::ids::ReplicaId;
use crate::messages::Replicas;
use crate::record::Record;
use crate::timestamp::Timestamp;

/// What was saved does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record of the log is not there.
    #[error("record {origin}:{seq} is missing: the log has {held} records of {origin}")]
    RecordMissing {
        /// Its origin.
        origin: ReplicaId,
        /// Its number.
        seq: u64,
        /// How many there should be.
        held: u64,
    },
    /// More is applied than is held.
    #[error("updates {value} are applied, but only {held} are held")]
    AppliedNotHeld {
        /// The value timestamp.
        value: Timestamp,
        /// The replica timestamp.
        held: Timestamp,
    },
}

impl ReplicaManager {
    /// A replica manager that goes on with what an earlier life of it saved, about to join. `former` are the ids of
    /// earlier lives, which are not used any more.
    ///
    /// Fails where what was saved does not fit together: a record that the log must have is not there.
    pub fn recover(config: Config, saved: Saved, former: &[ReplicaId], now: Now) -> Result<Self, RecoverError> {
        let now_ms = now.monotonic_ms;
        let mut manager = Self::new(config, now);
        let State { value_timestamp, replica_timestamp, starts, clock, merging, members, cluster } =
            saved.state.clone();
        let (value_timestamp, held_timestamp) = (value_timestamp.replicas, replica_timestamp.replicas);
        let settled = merging.as_ref().map(|merging| &merging.value_timestamp.replicas);
        if !held_timestamp.covers(&value_timestamp) || settled.is_some_and(|settled| !held_timestamp.covers(settled)) {
            return Err(RecoverError::AppliedNotHeld { value: value_timestamp, held: held_timestamp });
        }
        let mut records: BTreeMap<(&ReplicaId, u64), &Arc<Record>> = BTreeMap::new();
        for record in &saved.records {
            manager.executed.insert(record.executed(), now_ms);
            records.insert((&record.i, record.seq), record);
        }
        for operation in saved.executed {
            manager.executed.insert(operation, now_ms);
        }
        for (origin, held) in held_timestamp.iter() {
            let mut kept = Vec::new();
            manager.log.jump(origin, starts.replicas.get(origin).min(held), &mut kept);
            for seq in manager.log.replica_timestamp().get(origin) + 1..=held {
                let Some(record) = records.get(&(origin, seq)) else {
                    return Err(RecoverError::RecordMissing { origin: origin.clone(), seq, held });
                };
                manager.log.insert(Arc::clone(record), &mut kept);
                if seq > value_timestamp.get(origin) {
                    if *origin == manager.config.id {
                        manager.note_accepted(record);
                    }
                    if record.request.is_none() {
                        manager.retirements.insert(record.name(), (record.retires.clone(), now_ms));
                    }
                }
            }
        }
        manager.gossiped = held_timestamp.get(&manager.config.id);
        manager.value_timestamp = value_timestamp;
        manager.clock = clock;
        manager.merging = merging;
        manager.cluster = cluster;
        manager.retired = super::retire::Retired::from_counts(&saved.retired);
        for SavedMember { id, durable, replica_timestamp } in members {
            if !durable {
                manager.note_mortal(id.clone());
            }
            manager.roster.remember(id.clone(), durable, now_ms);
            manager.table.heard(&id, &replica_timestamp.replicas, None);
        }
        for id in former {
            manager.note_mortal(id.clone());
        }
        manager.saved = manager.state();
        Ok(manager)
    }

    /// The changes of a turn, to be saved with the value before any output is performed. Empty for a replica manager in
    /// memory.
    pub(super) fn take_changes(&mut self) -> Changes {
        if !self.config.durable {
            return Changes::default();
        }
        let state = self.state();
        // What is forgotten is not asked for at the next start: the log begins after it.
        if differs(&state, &self.saved) || !self.changes.forgotten.is_empty() {
            self.saved = state.clone();
            self.changes.state = Some(state);
        }
        std::mem::take(&mut self.changes)
    }

    fn state(&self) -> State {
        State {
            value_timestamp: Replicas::from(&self.value_timestamp),
            replica_timestamp: Replicas::from(self.log.replica_timestamp()),
            starts: Replicas { replicas: self.log.starts() },
            clock: self.clock,
            merging: self.merging.clone(),
            members: self.members(),
            cluster: self.cluster.clone(),
        }
    }

    /// Those who may come back, for the next life: their logs are waited for.
    fn members(&self) -> Vec<SavedMember> {
        let members = self.roster.all().filter(|(_, member)| !member.has_died());
        members
            .map(|(id, member)| SavedMember {
                id: id.clone(),
                durable: member.presence.durable == Some(true),
                replica_timestamp: self
                    .table
                    .get(id)
                    .map(|entry| Replicas::from(&entry.replica_timestamp))
                    .unwrap_or_default(),
            })
            .collect()
    }

    /// Others know of more records under this id than are here: what was saved is older than what was said.
    pub(super) fn check_own_count(&mut self, theirs: &Timestamp, step: &mut Step<'_>) {
        let (known, held) = (theirs.get(&self.config.id), self.log.replica_timestamp().get(&self.config.id));
        if self.config.durable && known > held {
            step.outputs.push(Output::TakeNewId { known, held });
        }
    }
}

/// Whether `new` has to be saved: that records left the log, or others said what they hold, can wait.
fn differs(new: &State, saved: &State) -> bool {
    let ids =
        |state: &State| state.members.iter().map(|member| (member.id.clone(), member.durable)).collect::<Vec<_>>();
    let merging = |state: &State| state.merging.as_ref().map(|Merging { rows, .. }| *rows);
    new.value_timestamp != saved.value_timestamp
        || new.replica_timestamp != saved.replica_timestamp
        || new.clock != saved.clock
        || merging(new) != merging(saved)
        || new.cluster != saved.cluster
        || ids(new) != ids(saved)
}
