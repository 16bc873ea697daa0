//! Replica managers of a state, alone or with a frontend in the same process.

use std::collections::BTreeMap;

use natter_common::colocated::Colocated;
use natter_common::frontend::{self, Frontend};
use natter_common::ids::ReplicaId;
use natter_common::messages::Mode;
use natter_common::replica_manager::{self, ReplicaManager};
use natter_common::timestamp::Timestamp;

use crate::simulation::disk::Disk;
use crate::simulation::process::now;
use crate::simulation::value::MemoryValue;

/// Maximum payload of a message, in bytes: the broker's default.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Replica managers by id.
pub(super) type Replicas = BTreeMap<ReplicaId, Replica>;

/// The core of a process with a replica manager.
#[derive(Clone, Debug)]
pub(super) enum Core {
    Replica(Box<ReplicaManager>),
    /// It answers clients too.
    Both(Box<Colocated>),
}

/// A process with a replica manager.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) core: Core,
    pub(super) value: MemoryValue,
    /// The disk, which survives a loss of power. `None` in memory.
    pub(super) disk: Option<Disk>,
}

/// A replica manager without power.
#[derive(Clone, Debug)]
pub(super) struct Stopped {
    pub(super) disk: Disk,
    /// The frontend in the same process.
    pub(super) half: Option<ReplicaId>,
}

impl Replica {
    /// The process of `manager`, with the frontend `half` where it answers clients.
    pub(super) fn new(manager: ReplicaManager, half: Option<Frontend>, value: MemoryValue, disk: Option<Disk>) -> Self {
        let core = match half {
            None => Core::Replica(Box::new(manager)),
            Some(mut half) => {
                half.serve();
                Core::Both(Box::new(Colocated::new(half, manager)))
            }
        };
        Self { core, value, disk }
    }

    pub(super) fn manager(&self) -> &ReplicaManager {
        match &self.core {
            Core::Replica(manager) => manager,
            Core::Both(both) => both.replica(),
        }
    }

    /// The frontend in the same process.
    pub(super) fn half(&self) -> Option<&ReplicaId> {
        match &self.core {
            Core::Replica(_) => None,
            Core::Both(both) => Some(both.frontend().id()),
        }
    }

    /// Keeps what a turn committed.
    pub(super) fn keep(&mut self) {
        let commits = self.value.take_committed();
        if let Some(disk) = &mut self.disk {
            disk.commit(commits);
        }
    }

    /// The records that its disk has, or that it holds in memory.
    pub(super) fn committed(&self) -> Timestamp {
        match &self.disk {
            Some(disk) => disk.contents().0.state.replica_timestamp.replicas,
            None => self.manager().replica_timestamp().clone(),
        }
    }
}

impl Stopped {
    /// The process goes on with its disk, `now_ms` after the beginning: under the id `id`, after `last`.
    pub(super) fn restart(self, last: &ReplicaId, id: ReplicaId, half: Option<Frontend>, now_ms: u64) -> Replica {
        let mut disk = self.disk;
        let (saved, value) = disk.contents();
        disk.former = saved.former_of_next(&disk.former, last);
        let config = replica_config(id, 0, true);
        let manager = ReplicaManager::recover(config, saved, &disk.former, now(now_ms * 1000, 0));
        let manager = manager.expect("what it saved fits together");
        Replica::new(manager, half, value, Some(disk))
    }
}

pub(super) fn replica_config(id: ReplicaId, seed: u64, durable: bool) -> replica_manager::Config {
    replica_manager::Config {
        id,
        version: String::new(),
        dataset: String::new(),
        mode: Mode::Active,
        gossip_interval_ms: 500,
        forget_after_ms: 600_000,
        durable,
        message_bytes_max: MESSAGE_BYTES_MAX,
        seed,
    }
}

pub(super) fn frontend_config(id: ReplicaId, seed: u64, fault_tolerance: u32) -> frontend::Config {
    frontend::Config {
        id,
        version: String::new(),
        fault_tolerance,
        strict: false,
        timeout_ms: 2000,
        queue_length_max: 100,
        seed,
    }
}
