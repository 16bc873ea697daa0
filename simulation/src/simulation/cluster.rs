//! A cluster in virtual time: one queue of events, ordered by (virtual time, sequence number).

pub(crate) mod perform;

use std::collections::BTreeMap;

use fastrand::Rng;
use natter_common::edge::ClientRequest;
use natter_common::frontend::{self, Frontend};
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Role, Status};
use natter_common::replica_manager::{self, ReplicaManager};

use super::disk::{Disk, Sync};
use super::message::{ClientAnswer, Message};
use super::network::{Link, Network, Weather};
use super::process::{Caller, Core, Life, Process, now};
use super::value::MemoryValue;

/// How long the broker takes to say that nobody listens, in microseconds.
const NO_RESPONDERS_US: u64 = 500;

/// What all processes of a cluster are started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By how many replica managers an update must be held.
    pub fault_tolerance: u32,
    /// How long a frontend tries, in milliseconds.
    pub timeout_ms: u64,
    /// How often replica managers gossip at least, in milliseconds.
    pub gossip_interval_ms: u64,
    /// Who is gone for so long is forgotten, in milliseconds.
    pub forget_after_ms: u64,
    /// The broker's largest payload, in bytes: decides how many rows a chunk of a snapshot has.
    pub message_bytes_max: usize,
    /// How often a process's clock ticks, in microseconds.
    pub tick_us: u64,
    /// How long a message waits in an inbox at most before it is handled, in microseconds.
    pub processing_us_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fault_tolerance: 2,
            timeout_ms: 2000,
            gossip_interval_ms: 500,
            forget_after_ms: 600_000,
            message_bytes_max: 1 << 20,
            tick_us: 20_000,
            processing_us_max: 0,
        }
    }
}

/// What an event was.
#[derive(Debug)]
pub enum Happened {
    /// A message is on its way, or waits.
    Nothing,
    /// A process handled a batch of inputs.
    Stepped {
        /// Which.
        process: ReplicaId,
        /// A replica manager's notices.
        notices: Vec<replica_manager::Notice>,
        /// A frontend's notices.
        frontend_notices: Vec<frontend::Notice>,
        /// A frontend's answers, as they leave it.
        answers: Vec<(Caller, ClientAnswer)>,
    },
    /// A client hears a frontend.
    Answered {
        /// The client.
        client: ReplicaId,
        /// The frontend.
        frontend: ReplicaId,
        /// The client's number for its request.
        n: u64,
        /// The answer.
        answer: ClientAnswer,
    },
    /// An alarm that was set goes off.
    Alarm(u64),
}

enum Event {
    Arrive { link: Link, message: Box<Message> },
    Handle(ReplicaId),
    Tick(ReplicaId),
    Alarm(u64),
}

/// A cluster.
pub struct Cluster {
    /// Every process that ever was, by name.
    pub processes: BTreeMap<ReplicaId, Process>,
    /// The network between them.
    pub network: Network,
    /// What they are started with.
    pub settings: Settings,
    now_us: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    generator: Rng,
    /// Those that began another life since somebody last looked.
    pub reborn: Vec<ReplicaId>,
    trace: Option<Vec<String>>,
}

impl Cluster {
    /// Nobody yet. With `traced`, everything that happens is written down.
    pub fn new(settings: Settings, weather: Weather, seed: u64, traced: bool) -> Self {
        Self {
            processes: BTreeMap::new(),
            network: Network::new(weather),
            settings,
            now_us: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            generator: Rng::with_seed(seed),
            reborn: Vec::new(),
            trace: traced.then(Vec::new),
        }
    }

    /// Virtual time, in microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Writes a line into the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now_us = self.now_us;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9}.{:03}  {}", now_us / 1000, now_us % 1000, line()));
        }
    }

    /// The trace, if there is one.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

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
        self.process_mut(&id).disk = Some(Disk::new(sync));
        id
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

    /// Starts a dead replica manager again from its disk: under its id, or where the disk may have lost what was said,
    /// under a new one. Gives the id.
    pub fn restart(&mut self, id: &ReplicaId) -> ReplicaId {
        let old = self.process_mut(id);
        let skew_ms = old.skew_ms;
        let disk = old.disk.take().expect("it keeps its state on a disk");
        self.begin_life(id.clone(), disk, skew_ms)
    }

    /// Goes on under a new id with what is on the disk.
    fn take_new_id(&mut self, id: &ReplicaId) {
        let since_us = self.now_us;
        let process = self.process_mut(id);
        process.life = Life::Dead { since_us };
        process.inbox.clear();
        let (mut disk, skew_ms) = (process.disk.take().expect("it keeps its state on a disk"), process.skew_ms);
        disk.renamed = true;
        self.begin_life(id.clone(), disk, skew_ms);
    }

    fn begin_life(&mut self, old: ReplicaId, mut disk: Disk, skew_ms: i64) -> ReplicaId {
        let id = if std::mem::take(&mut disk.renamed) {
            disk.former.push(old.clone());
            let base = old.as_str().split('_').next().unwrap_or_default();
            ReplicaId::new(&format!("{base}_{}", disk.former.len())).unwrap()
        } else {
            old
        };
        self.note(|| format!("{id} starts again"));
        let config = self.replica_config(id.clone(), Mode::Measured, true);
        let (saved, value) = disk.contents();
        let manager = ReplicaManager::recover(config, saved, &disk.former, now(self.now_us, skew_ms));
        let manager = manager.unwrap_or_else(|error| panic!("{id}: {error}"));
        let was_ticking = self.processes.remove(&id).is_some_and(|process| process.ticking);
        let core = Core::Replica(Box::new(manager), value);
        self.processes.insert(id.clone(), Process::new(id.clone(), core, skew_ms, self.now_us));
        self.process_mut(&id).disk = Some(disk);
        if !was_ticking {
            self.schedule(0, Event::Tick(id.clone()));
        }
        self.reborn.push(id.clone());
        id
    }

    /// Starts a frontend.
    pub fn start_frontend(&mut self, name: &str, skew_ms: i64) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let config = frontend::Config {
            id: id.clone(),
            version: String::new(),
            fault_tolerance: self.settings.fault_tolerance,
            strict: false,
            timeout_ms: self.settings.timeout_ms,
            queue_length_max: 1000,
            seed: self.generator.u64(..),
        };
        let frontend = Frontend::new(config, now(self.now_us, skew_ms));
        self.start(id.clone(), Core::Frontend(Box::new(frontend)), skew_ms);
        id
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
            disk.lose_power(&mut self.generator);
        }
    }

    /// Has a process die in the middle of sending what its next batch asks for.
    pub fn crash_after_outputs(&mut self, id: &ReplicaId, outputs: usize) {
        self.process_mut(id).dies_after = Some(outputs);
    }

    /// Ends a process that was to die while sending, and sent nothing since: not at some time when nobody reckons with it.
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

    /// Sets a replica manager's mode.
    pub fn set_mode(&mut self, id: &ReplicaId, mode: Mode) {
        let operator = ReplicaId::new("operator").unwrap();
        self.deliver(0, (operator, id.clone()), Message::SetMode(mode));
    }

    /// A client asks a frontend, under a number of its own.
    pub fn ask(&mut self, client: &ReplicaId, frontend: &ReplicaId, n: u64, request: ClientRequest) {
        self.send(client, frontend, Message::Ask(n, request));
    }

    /// An alarm goes off after `delay_us`.
    pub fn set_alarm(&mut self, delay_us: u64, alarm: u64) {
        self.schedule(delay_us, Event::Alarm(alarm));
    }

    /// Those of a role that are not dead.
    pub fn alive(&self, role: Role) -> Vec<ReplicaId> {
        let alive = self.processes.values().filter(|process| process.is_alive());
        alive.filter(|process| process.replica().is_some() == (role == Role::Replica)).map(|p| p.id.clone()).collect()
    }

    /// The process of this name.
    pub fn process(&self, id: &ReplicaId) -> &Process {
        self.processes.get(id).expect("a process of that name was started")
    }

    /// The same, to be changed.
    pub fn process_mut(&mut self, id: &ReplicaId) -> &mut Process {
        self.processes.get_mut(id).expect("a process of that name was started")
    }

    /// A replica manager's core.
    pub fn manager(&self, id: &ReplicaId) -> &ReplicaManager {
        self.process(id).replica().expect("a replica manager").0
    }

    /// Whether a replica manager runs and serves.
    pub fn is_serving(&self, id: &ReplicaId) -> bool {
        self.process(id).is_up() && matches!(self.manager(id).status(), Status::Active | Status::Overloaded)
    }

    /// When the next event is due, in microseconds.
    pub fn next_us(&self) -> Option<u64> {
        self.queue.keys().next().map(|(due_us, _)| *due_us)
    }

    /// Goes on to `until_us` although nothing is due before that.
    pub fn skip_to(&mut self, until_us: u64) {
        self.now_us = self.now_us.max(until_us);
    }

    /// Lets the next event happen; `None` where none is left.
    pub fn step(&mut self) -> Option<Happened> {
        let ((due_us, _), event) = self.queue.pop_first()?;
        self.now_us = due_us;
        Some(match event {
            Event::Alarm(alarm) => Happened::Alarm(alarm),
            Event::Arrive { link, message } => self.arrive(link, *message),
            Event::Handle(id) => {
                let process = self.process_mut(&id);
                process.scheduled = false;
                if process.is_up() {
                    let inbox = std::mem::take(&mut process.inbox);
                    self.handle(&id, inbox, false)
                } else {
                    Happened::Nothing
                }
            }
            Event::Tick(id) => {
                let process = self.process(&id);
                let (alive, up) = (process.is_alive(), process.is_up());
                self.process_mut(&id).ticking = alive;
                if alive {
                    self.schedule(self.settings.tick_us, Event::Tick(id.clone()));
                }
                if up {
                    // What has arrived is read before the clock is looked at.
                    let inbox = std::mem::take(&mut self.process_mut(&id).inbox);
                    self.handle(&id, inbox, true)
                } else {
                    Happened::Nothing
                }
            }
        })
    }

    fn arrive(&mut self, (from, to): Link, message: Message) -> Happened {
        if let Message::Answer(n, answer) = message {
            self.note(|| format!("{to} <- {from}: {}", Message::Answer(n, answer.clone())));
            return Happened::Answered { client: to, frontend: from, n, answer };
        }
        let delay_us = self.processing_us();
        let process = self.processes.get_mut(&to).expect("messages go to processes");
        if !process.is_alive() {
            if let Message::Ask(n, _) = message {
                let error = natter_common::edge::FrontendError::Unavailable;
                self.deliver(NO_RESPONDERS_US, (to, from), Message::Answer(n, Err(error)));
            } else if message.is_request() {
                let broker = ReplicaId::new("broker").unwrap();
                self.deliver(NO_RESPONDERS_US, (broker, from), Message::Unreachable(to, message.numbers()));
            }
            return Happened::Nothing;
        }
        process.inbox.push((from, message));
        if process.is_up() && !process.scheduled {
            process.scheduled = true;
            self.schedule(delay_us, Event::Handle(to));
        }
        Happened::Nothing
    }

    /// Puts a message on its way.
    fn send(&mut self, from: &ReplicaId, to: &ReplicaId, message: Message) {
        let link = (from.clone(), to.clone());
        let arrivals = self.network.send(&link, &message, self.now_us, &mut self.generator);
        if arrivals.is_empty() {
            self.note(|| format!("{from} -> {to}: {message} (does not arrive)"));
        }
        for arrival_us in arrivals {
            self.deliver(arrival_us - self.now_us, link.clone(), message.clone());
        }
    }

    /// Has a message arrive after `delay_us`, whatever the network does.
    pub fn deliver(&mut self, delay_us: u64, link: Link, message: Message) {
        self.schedule(delay_us, Event::Arrive { link, message: Box::new(message) });
    }

    fn processing_us(&mut self) -> u64 {
        self.generator.u64(..=self.settings.processing_us_max)
    }

    fn schedule(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_us + delay_us, self.sequence), event);
    }
}
