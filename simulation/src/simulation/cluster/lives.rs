//! Starts, pauses and ends of processes.

use natter_common::colocated::Colocated;
use natter_common::frontend::{self, Frontend};
use natter_common::ids::ReplicaId;
use natter_common::messages::Mode;
use natter_common::replica_manager::{self, ReplicaManager};

use super::{Cluster, Event};
use crate::simulation::disk::{Disk, Sync};
use crate::simulation::message::Message;
use crate::simulation::process::{Core, Life, Process, now};
use crate::simulation::value::MemoryValue;

impl Cluster {
    /// Starts a replica manager.
    pub fn start_replica(&mut self, name: &str, mode: Mode, skew_ms: i64) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let config = self.replica_config(id.clone(), mode, false);
        let manager = ReplicaManager::new(config, now(self.now_us, skew_ms));
        self.start(id.clone(), Core::Replica(Box::new(manager), MemoryValue::new()), skew_ms);
        id
    }

    /// Starts a replica manager that keeps its state on a disk.
    pub fn start_durable(&mut self, name: &str, sync: Sync, skew_ms: i64) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let config = self.replica_config(id.clone(), Mode::Measured, true);
        let manager = ReplicaManager::new(config, now(self.now_us, skew_ms));
        self.start(id.clone(), Core::Replica(Box::new(manager), MemoryValue::new()), skew_ms);
        self.give_disk(&id, Disk::new(sync));
        id
    }

    /// Starts a process that is a replica and a frontend. With `sync`, the replica keeps its state on a disk.
    pub fn start_colocated(&mut self, name: &str, sync: Option<Sync>, skew_ms: i64) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let config = self.replica_config(id.clone(), Mode::Measured, sync.is_some());
        let manager = ReplicaManager::new(config, now(self.now_us, skew_ms));
        let core = self.colocated(manager, MemoryValue::new(), skew_ms);
        self.start(id.clone(), core, skew_ms);
        if let Some(sync) = sync {
            self.give_disk(&id, Disk::new(sync));
        }
        id
    }

    /// Has a replica manager keep its state on this disk from now on.
    fn give_disk(&mut self, id: &ReplicaId, disk: Disk) {
        let is_slow = self.settings.sync_us_max > 0 && disk.sync == Sync::Full;
        let process = self.process_mut(id);
        process.be_slow(is_slow);
        process.disk = Some(disk);
    }

    /// Has the disk of a replica manager end no commit from now on, or those again that it was given.
    pub fn stall_disk(&mut self, id: &ReplicaId, is_stalled: bool) {
        let is_slow = is_stalled || self.settings.sync_us_max > 0;
        let process = self.process_mut(id);
        process.be_slow(is_slow);
        process.disk.as_mut().expect("it has a disk").is_stalled = is_stalled;
        if !is_stalled && process.syncing.is_some() {
            self.deliver(0, (id.clone(), id.clone()), Message::Committed);
        }
    }

    /// A frontend beside `manager`, under the same id.
    fn colocated(&mut self, manager: ReplicaManager, value: MemoryValue, skew_ms: i64) -> Core {
        let config = self.frontend_config(manager.id().clone());
        let mut frontend = Frontend::new(config, now(self.now_us, skew_ms));
        frontend.serve();
        Core::Colocated(Box::new(Colocated::new(frontend, manager)), value)
    }

    fn replica_config(&mut self, id: ReplicaId, mode: Mode, durable: bool) -> replica_manager::Config {
        replica_manager::Config {
            id,
            version: String::new(),
            dataset: "sample".to_owned(),
            mode,
            gossip_interval_ms: self.settings.gossip_interval_ms,
            forget_after_ms: self.settings.forget_after_ms,
            durable,
            message_bytes_max: self.settings.message_bytes_max,
            seed: self.generator.u64(..),
        }
    }

    /// Starts a dead replica manager again from its disk, under a new id. Gives the id.
    pub fn restart(&mut self, id: &ReplicaId) -> ReplicaId {
        let old = self.process_mut(id);
        let skew_ms = old.skew_ms;
        let disk = old.disk.take().expect("it keeps its state on a disk");
        self.begin_life(id, disk, skew_ms)
    }

    /// Starts another replica manager from a copy of a dead one's disk. Gives its id.
    pub fn start_copy(&mut self, id: &ReplicaId) -> ReplicaId {
        let process = self.process(id);
        let (disk, skew_ms) = (process.disk.clone().expect("it keeps its state on a disk"), process.skew_ms);
        self.begin_life(id, disk, skew_ms)
    }

    /// Another life with this disk, under an id that nobody had before.
    pub fn begin_life(&mut self, last: &ReplicaId, mut disk: Disk, skew_ms: i64) -> ReplicaId {
        let (base, number) = last.as_str().split_once('_').unwrap_or((last.as_str(), "0"));
        let after: u64 = number.parse().unwrap_or(0);
        let mut ids = (after + 1..).map(|n| ReplicaId::new(&format!("{base}_{n}")).unwrap());
        let id = ids.find(|id| !self.processes.contains_key(id)).unwrap();
        let (saved, value) = disk.contents();
        disk.former = saved.former_of_next(&disk.former, last);
        self.note(|| format!("{id} starts again"));
        let config = self.replica_config(id.clone(), Mode::Measured, true);
        let manager = ReplicaManager::recover(config, saved, &disk.former, now(self.now_us, skew_ms));
        let manager = manager.unwrap_or_else(|error| panic!("{id}: {error}"));
        let core = match self.process(last).frontend() {
            Some(_) => self.colocated(manager, value, skew_ms),
            None => Core::Replica(Box::new(manager), value),
        };
        self.processes.insert(id.clone(), Process::new(id.clone(), core, skew_ms, self.now_us));
        self.give_disk(&id, disk);
        self.schedule(0, Event::Tick(id.clone()));
        self.reborn.push(id.clone());
        id
    }

    /// Starts a frontend.
    pub fn start_frontend(&mut self, name: &str, skew_ms: i64) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let config = self.frontend_config(id.clone());
        let frontend = Frontend::new(config, now(self.now_us, skew_ms));
        self.start(id.clone(), Core::Frontend(Box::new(frontend)), skew_ms);
        id
    }

    fn frontend_config(&mut self, id: ReplicaId) -> frontend::Config {
        frontend::Config {
            id,
            version: String::new(),
            fault_tolerance: self.settings.fault_tolerance,
            strict: false,
            timeout_ms: self.settings.timeout_ms,
            queue_length_max: 1000,
            seed: self.generator.u64(..),
        }
    }

    fn start(&mut self, id: ReplicaId, core: Core, skew_ms: i64) {
        assert!(!self.processes.contains_key(&id), "a name is used once");
        self.note(|| format!("{id} starts"));
        self.processes.insert(id.clone(), Process::new(id.clone(), core, skew_ms, self.now_us));
        let phase_us =
            if self.settings.processing_us_max == 0 { 0 } else { self.generator.u64(..self.settings.tick_us) };
        self.schedule(phase_us, Event::Tick(id));
    }

    /// Ends a process without a word.
    pub fn crash(&mut self, id: &ReplicaId) {
        self.note(|| format!("{id} crashes"));
        let since_us = self.now_us;
        let process = self.process_mut(id);
        process.life = Life::Dead { since_us };
        process.inbox.clear();
        let process = self.processes.get_mut(id).expect("it was there");
        if let Some(disk) = &mut process.disk {
            // Of a commit under way, the disk may have all or nothing.
            let syncing = process.syncing.take();
            if syncing.is_some() && !disk.is_stalled && self.generator.bool() {
                disk.commit(syncing);
            }
            disk.is_stalled = false;
            disk.lose_power(&mut self.generator);
        }
    }

    /// Has a process die in the middle of sending what its next batch asks for.
    pub fn crash_after_outputs(&mut self, id: &ReplicaId, outputs: usize) {
        self.process_mut(id).dies_after = Some(outputs);
    }

    /// Ends a process that was to die while sending, and sent nothing since: not at some time when nobody reckons with
    /// it.
    pub fn crash_if_it_is_to(&mut self, id: &ReplicaId) {
        let process = self.process_mut(id);
        if process.dies_after.take().is_some() && process.is_alive() {
            self.crash(id);
        }
    }

    /// Ends a process that says goodbye.
    pub fn leave(&mut self, id: &ReplicaId) {
        self.note(|| format!("{id} leaves"));
        let now_us = self.now_us;
        let process = self.process_mut(id);
        let now = process.now(now_us);
        match &mut process.core {
            Core::Replica(manager, value) => {
                let mut outputs = Vec::new();
                manager.leave(now, value, &mut outputs);
                self.perform_replica(id, outputs);
            }
            Core::Frontend(frontend) => frontend.leave(now, &mut Vec::new()),
            Core::Colocated(core, value) => {
                let mut outputs = Vec::new();
                core.frontend_mut().leave(now, &mut Vec::new());
                core.replica_mut().leave(now, value, &mut outputs);
                self.perform_replica(id, outputs);
            }
        }
        self.crash(id);
    }

    /// Stops a process until it is woken.
    pub fn pause(&mut self, id: &ReplicaId) {
        self.note(|| format!("{id} is paused"));
        let since_us = self.now_us;
        self.process_mut(id).life = Life::Paused { since_us };
    }

    /// Lets a paused process go on.
    pub fn wake(&mut self, id: &ReplicaId) {
        let now_us = self.now_us;
        let process = self.process_mut(id);
        if matches!(process.life, Life::Paused { .. }) {
            process.life = Life::Up;
            process.woken_us = now_us;
            process.scheduled = true;
            self.note(|| format!("{id} goes on"));
            let delay_us = self.processing_us();
            self.schedule(delay_us, Event::Handle(id.clone()));
        }
    }
}
