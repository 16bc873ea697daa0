//! Recovery: a replica manager goes on where its last life ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ages::Ages;
use super::commits::Commits;
use super::durable::{Merging, Saved, SavedMember, State};
use super::{Config, ReplicaManager};
use crate::clock::Now;
use crate::ids::ReplicaId;
use crate::messages::Replicas;
use crate::record::Record;
use crate::timestamp::Timestamp;

/// Contradiction in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record of the log is not there.
    #[error("record {origin}:{seq} is missing: the log has {held} records of {origin}")]
    RecordMissing {
        /// Its origin.
        origin: ReplicaId,
        /// Its number.
        seq: u64,
        /// Number of records of this origin that should be there.
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
    /// A replica manager that goes on with what an earlier life of it saved, about to join, under an id that nobody had
    /// before. `former` are the ids of earlier lives, the last one last.
    ///
    /// Fails where what was saved does not fit together: a record that the log must have is not there.
    pub fn recover(config: Config, saved: Saved, former: &[ReplicaId], now: Now) -> Result<Self, RecoverError> {
        let now_ms = now.monotonic_ms;
        let mut manager = Self::new(config, now);
        let State { value_timestamp, replica_timestamp, starts, clock, merging, members, cluster, ran_ms } =
            saved.state.clone();
        let (value_timestamp, held_timestamp) = (value_timestamp.replicas, replica_timestamp.replicas);
        let settled = merging.as_ref().map(|merging| &merging.value_timestamp.replicas);
        if !held_timestamp.covers(&value_timestamp) || settled.is_some_and(|settled| !held_timestamp.covers(settled)) {
            return Err(RecoverError::AppliedNotHeld { value: value_timestamp, held: held_timestamp });
        }
        // Of a retired origin, the log holds nothing.
        let is_in_log =
            |origin: &ReplicaId, seq: u64| starts.replicas.get(origin) < seq && seq <= held_timestamp.get(origin);
        let ages = Ages::recovered(ran_ms, saved.known, now);
        let mut records: BTreeMap<(&ReplicaId, u64), &Arc<Record>> = BTreeMap::new();
        for record in &saved.records {
            if is_in_log(&record.i, record.seq) || !ages.is_long_ago(&record.i, record.seq, now) {
                manager.executed.insert(&**record, now_ms);
            } else {
                manager.changes.forgotten.push(record.name());
            }
            records.insert((&record.i, record.seq), record);
        }
        for operation in saved.executed {
            // One that came with a snapshot may have come as a record, too, which the log still needs.
            if ages.is_long_ago(&operation.i, operation.seq, now) && !is_in_log(&operation.i, operation.seq) {
                manager.changes.forgotten.push(operation.name());
            } else {
                manager.executed.insert(&operation, now_ms);
            }
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
        manager.ages = ages;
        manager.gossiped = held_timestamp.get(&manager.config.id);
        manager.value_timestamp = value_timestamp;
        manager.clock = clock;
        manager.merging = merging;
        manager.cluster = cluster;
        manager.retired = super::retire::Retired::from_counts(&saved.retired);
        manager.is_recovered = !held_timestamp.is_empty() || !members.is_empty();
        for SavedMember { id, durable, replica_timestamp, heard_wall_ms } in members {
            if !durable {
                manager.note_mortal(id.clone());
            }
            // A directory of an older version does not say when.
            let heard_wall_ms = if heard_wall_ms == 0 { now.wall_ms } else { heard_wall_ms };
            manager.roster.remember(id.clone(), durable, heard_wall_ms, now);
            if manager.roster.get(&id).is_some() {
                manager.table.heard(&id, &replica_timestamp.replicas, None);
            }
        }
        manager.begin_after(former);
        manager.commits = Commits::recovered(manager.log.replica_timestamp().clone(), clock);
        manager.saved = manager.state(now);
        Ok(manager)
    }

    pub(super) fn state(&self, now: Now) -> State {
        State {
            value_timestamp: Replicas::from(&self.value_timestamp),
            replica_timestamp: Replicas::from(self.log.replica_timestamp()),
            starts: Replicas { replicas: self.log.starts() },
            clock: self.clock,
            merging: self.merging.clone(),
            members: self.members(now),
            cluster: self.cluster.clone(),
            ran_ms: self.ages.ran_ms(now),
        }
    }

    /// Members that may come back, for the next life: it waits for their logs.
    fn members(&self, now: Now) -> Vec<SavedMember> {
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
                heard_wall_ms: member.heard_wall_ms(now),
            })
            .collect()
    }
}

/// Whether `new` has to be saved: that records left the log, that they were applied, or that others said what they hold, can
/// wait.
pub(super) fn must_be_saved(new: &State, saved: &State) -> bool {
    let ids =
        |state: &State| state.members.iter().map(|member| (member.id.clone(), member.durable)).collect::<Vec<_>>();
    let merging = |state: &State| state.merging.as_ref().map(|Merging { rows, .. }| *rows);
    new.replica_timestamp != saved.replica_timestamp
        || new.clock != saved.clock
        || merging(new) != merging(saved)
        || new.cluster != saved.cluster
        || ids(new) != ids(saved)
}
