//! A state of a small cluster, and what leads to the next one.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::hash::Hasher;

use natter_common::clock::Now;
use natter_common::cluster::ClusterId;
use natter_common::edge::ClientRequest;
use natter_common::frontend::{self, Frontend};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::label::Label;
use natter_common::replica_manager::{self, ReplicaManager};
use natter_common::wire::Format;

use super::action::Action;
use super::checks::{Broken, Checks};
use super::process::{Core, Replica, Replicas, Stopped, frontend_config, replica_config};
use super::turns::Inputs;
use crate::simulation::client::{Asked, Operation};
use crate::simulation::disk::{Disk, Sync};
use crate::simulation::message::{ClientAnswer, Message};
use crate::simulation::process::now;
use crate::simulation::value::MemoryValue;
use crate::simulation::wire::{Form, Question};

/// Time that passes in one `Action::Tick`, in milliseconds: more than gossip takes, less than a frontend waits before
/// it asks another replica.
const STEP_MS: u64 = 120;
/// Time by which all processes have found each other, in milliseconds.
const FOUND_MS: u64 = 3000;
/// Time after the last action by which every session is answered and all replicas are equal, in milliseconds.
const FINISH_MS: u64 = 6000;

/// Maximum commits of a turn before its store fails. A turn commits once for each exchange between the halves, mostly
/// once or twice.
const COMMITS_MAX: usize = 1;

/// Operations of a session, in order, each with the number of the frontend that is asked.
pub type Script = Vec<(usize, Asked)>;

/// The cluster, sessions and faults of a search.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Number of replicas.
    pub replicas: usize,
    /// Number of these replicas that are frontends as well. They come first among the frontends.
    pub colocated: usize,
    /// Number of frontends that are processes of their own.
    pub frontends: usize,
    /// Number of replicas that must hold an update before it is acknowledged.
    pub fault_tolerance: u32,
    /// The sessions.
    pub scripts: Vec<Script>,
    /// Maximum crashes of replicas.
    pub crashes: u32,
    /// Maximum power losses of replicas, each at any commit of a turn. If not 0, all replicas keep their state on
    /// disks, and go on with these in the end.
    pub power_losses: u32,
    /// Maximum messages that are lost.
    pub losses: u32,
    /// Maximum times that time passes.
    pub ticks: u32,
    /// Whether a process may handle messages of several links in one turn.
    pub shared_turns: bool,
}

#[derive(Clone, Debug)]
struct Session {
    name: ReplicaId,
    label: Label,
    script: VecDeque<(usize, Asked)>,
    asked: u64,
    waits_for: Option<Operation>,
    /// The place of the frontend that it asked last.
    frontend: usize,
}

/// A state.
#[derive(Clone, Debug)]
pub struct State {
    now_ms: u64,
    fault_tolerance: u32,
    pub(super) replicas: Replicas,
    /// Replica managers without power.
    pub(super) stopped: BTreeMap<ReplicaId, Stopped>,
    /// Frontends in processes of their own.
    pub(super) frontends: BTreeMap<ReplicaId, Frontend>,
    /// Frontends in the process of a replica manager, with that.
    halves: BTreeMap<ReplicaId, ReplicaId>,
    /// All frontends, as sessions find them.
    entrances: Vec<ReplicaId>,
    links: BTreeMap<(ReplicaId, ReplicaId), VecDeque<Message>>,
    sessions: Vec<Session>,
    crashes: u32,
    power_losses: u32,
    losses: u32,
    ticks: u32,
    shared_turns: bool,
    pub(super) checks: Checks,
}

fn id(kind: char, n: usize) -> ReplicaId {
    ReplicaId::new(&format!("{kind}{n}")).expect("a name")
}

impl State {
    /// All have found each other, and nobody has asked anything.
    pub fn begin(configuration: &Configuration) -> Self {
        let fault_tolerance = configuration.fault_tolerance;
        let frontend = |n: usize| Frontend::new(frontend_config(id('f', n), n as u64, fault_tolerance), now(0, 0));
        let durable = configuration.power_losses > 0;
        let replicas = (1..=configuration.replicas).map(|n| {
            let manager = ReplicaManager::new(replica_config(id('r', n), n as u64, durable), now(0, 0));
            let half = (n <= configuration.colocated).then(|| frontend(n));
            let disk = durable.then(|| Disk::new(Sync::Full));
            (id('r', n), Replica::new(manager, half, MemoryValue::new(), disk))
        });
        let alone = configuration.colocated + 1..=configuration.colocated + configuration.frontends;
        let sessions = configuration.scripts.iter().enumerate().map(|(n, script)| Session {
            name: id('s', n),
            label: Label::new(),
            script: script.iter().cloned().collect(),
            asked: 0,
            waits_for: None,
            frontend: 0,
        });
        let mut state = Self {
            now_ms: 0,
            fault_tolerance,
            replicas: replicas.collect(),
            stopped: BTreeMap::new(),
            frontends: alone.clone().map(|n| (id('f', n), frontend(n))).collect(),
            halves: (1..=configuration.colocated).map(|n| (id('f', n), id('r', n))).collect(),
            entrances: (1..=*alone.end()).map(|n| id('f', n)).collect(),
            links: BTreeMap::new(),
            sessions: Vec::new(),
            crashes: configuration.crashes,
            power_losses: configuration.power_losses,
            losses: configuration.losses,
            ticks: configuration.ticks,
            shared_turns: configuration.shared_turns,
            checks: Checks::new(fault_tolerance),
        };
        state.settle(FOUND_MS).unwrap_or_else(|broken| panic!("a cluster starts: {broken}"));
        state.sessions = sessions.collect();
        state
    }

    /// Two states with equal fingerprints are taken for the same.
    pub fn fingerprint(&self) -> u64 {
        struct Hashing(DefaultHasher);
        impl Write for Hashing {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        let mut hashing = Hashing(DefaultHasher::new());
        let _ = write!(hashing, "{self:?}");
        hashing.0.finish()
    }

    /// Everything that may happen now.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ticks > 0 {
            actions.push(Action::Tick);
        }
        if self.crashes > 0 {
            actions.extend(self.replicas.keys().cloned().map(Action::Crash));
        }
        let mut turns = Vec::new();
        for ((from, to), messages) in &self.links {
            let Some(message) = messages.front() else { continue };
            if self.losses > 0 && !matches!(message, Message::Ask(..) | Message::Answer(..)) {
                actions.push(Action::Lose(from.clone(), to.clone(), message.kind()));
            }
            turns.push((self.process(to), Action::Deliver(from.clone(), to.clone(), message.kind())));
        }
        if self.shared_turns {
            let cores = self.replicas.keys().chain(self.frontends.keys());
            let is_shared =
                |core: &&ReplicaId| self.links.keys().filter(|(_, to)| self.process(to) == *core).count() > 1;
            let shared = cores.filter(is_shared);
            turns.extend(shared.map(|core| (core, Action::DeliverTogether(core.clone()))));
        }
        if self.power_losses > 0 {
            for (_, turn) in turns.iter().filter(|(process, _)| self.replicas.contains_key(*process)) {
                actions.extend((0..=COMMITS_MAX).map(|commits| Action::LosePower(Box::new(turn.clone()), commits)));
            }
        }
        actions.extend(turns.into_iter().map(|(_, turn)| turn));
        for (n, session) in self.sessions.iter().enumerate() {
            match session.waits_for {
                None if !session.script.is_empty() => actions.push(Action::Ask(n)),
                Some(_) if self.may_retry(session) => actions.push(Action::Retry(n)),
                _ => {}
            }
        }
        actions
    }

    /// Whether nothing is on its way and nobody has more to ask.
    pub fn is_quiet(&self) -> bool {
        self.links.values().all(VecDeque::is_empty)
            && self.sessions.iter().all(|session| match session.waits_for {
                None => session.script.is_empty(),
                Some(_) => !self.may_retry(session),
            })
    }

    /// Whether its frontend is gone, and another one is there.
    fn may_retry(&self, session: &Session) -> bool {
        !self.is_there(session.frontend) && (0..self.entrances.len()).any(|n| self.is_there(n))
    }

    /// Whether the frontend at this place can be asked.
    fn is_there(&self, place: usize) -> bool {
        self.entrances.get(place).is_some_and(|frontend| self.is_alive(self.process(frontend)))
    }

    fn is_alive(&self, process: &ReplicaId) -> bool {
        self.replicas.contains_key(process) || self.frontends.contains_key(process)
    }

    /// The process that listens under this name.
    fn process<'a>(&'a self, name: &'a ReplicaId) -> &'a ReplicaId {
        self.halves.get(name).unwrap_or(name)
    }

    /// The cluster that a frontend belongs to.
    pub(super) fn cluster(&self, frontend: &ReplicaId) -> Option<&ClusterId> {
        match self.halves.get(frontend) {
            None => self.frontends.get(frontend)?.cluster(),
            Some(process) => match &self.replicas.get(process)?.core {
                Core::Replica(_) => None,
                Core::Both(both) => both.frontend().cluster(),
            },
        }
    }

    /// Does it, and checks what comes of it.
    pub fn perform(&mut self, action: &Action) -> Result<(), Broken> {
        match action {
            Action::Ask(session) => self.ask(*session),
            Action::Retry(session) => self.retry(*session),
            Action::Deliver(..) | Action::DeliverTogether(_) => self.take_turn(action, None)?,
            Action::LosePower(turn, commits) => {
                self.power_losses -= 1;
                self.take_turn(turn, Some(*commits))?;
            }
            Action::Lose(from, to, _) => {
                self.losses -= 1;
                self.take(from, to);
            }
            Action::Crash(id) => {
                self.crashes -= 1;
                if let Some(replica) = self.replicas.remove(id) {
                    self.checks.ends(replica.manager().replica_timestamp().clone(), false);
                    self.checks.ended(&self.replicas)?;
                }
            }
            Action::Tick => {
                self.ticks -= 1;
                self.pass(STEP_MS)?;
            }
        }
        self.checks.hold(&self.replicas)
    }

    fn take_turn(&mut self, turn: &Action, commits: Option<usize>) -> Result<(), Broken> {
        match turn {
            Action::Deliver(from, to, _) => self.deliver(from, to, commits),
            Action::DeliverTogether(process) => self.deliver_together(process, commits),
            _ => Ok(()),
        }
    }

    /// Lets everything come to an end without another fault: then all must be answered and equal.
    pub fn finish(mut self) -> Result<(), Broken> {
        for (last, stopped) in std::mem::take(&mut self.stopped) {
            self.restart(&last, stopped);
        }
        self.settle(self.now_ms + FINISH_MS)?;
        let waits = self.sessions.iter().find(|session| session.waits_for.is_some() || !session.script.is_empty());
        if let Some(session) = waits {
            return Err(Broken::new("everybody is answered", format!("{session:?}")));
        }
        self.checks.at_end(&self.replicas)
    }

    /// Delivers everything in order and lets time pass until then.
    fn settle(&mut self, until_ms: u64) -> Result<(), Broken> {
        loop {
            let next = self.links.iter().find(|(_, messages)| !messages.is_empty()).map(|(link, _)| link.clone());
            if let Some((from, to)) = next {
                self.deliver(&from, &to, None)?;
            } else if self.now_ms >= until_ms {
                return Ok(());
            } else {
                for session in 0..self.sessions.len() {
                    match self.sessions[session].waits_for {
                        None => self.ask(session),
                        Some(_) if self.may_retry(&self.sessions[session]) => self.retry(session),
                        Some(_) => {}
                    }
                }
                self.pass(20)?;
            }
            self.checks.hold(&self.replicas)?;
        }
    }

    /// A replica manager goes on with its disk, under another id.
    fn restart(&mut self, last: &ReplicaId, stopped: Stopped) {
        let again = |id: &ReplicaId| ReplicaId::new(&format!("{id}_")).expect("a name");
        let id = again(last);
        let half = stopped.half.as_ref().map(|half| {
            let config = frontend_config(again(half), 0, self.fault_tolerance);
            self.halves.insert(again(half), id.clone());
            self.entrances.iter_mut().filter(|entrance| *entrance == half).for_each(|entrance| *entrance = again(half));
            Frontend::new(config, self.now())
        });
        let replica = stopped.restart(last, id.clone(), half, self.now_ms);
        self.checks.reborn(&id, replica.manager().value_timestamp());
        self.replicas.insert(id, replica);
    }

    pub(super) fn now(&self) -> Now {
        now(self.now_ms * 1000, 0)
    }

    fn ask(&mut self, n: usize) {
        let wall_ms = self.now().wall_ms;
        let session = &mut self.sessions[n];
        let Some((frontend, asked)) = session.script.pop_front() else { return };
        session.asked += 1;
        session.frontend = frontend;
        let id_bits = (n as u64) << 8 | session.asked;
        let update_id = matches!(asked, Asked::Update(_)).then(|| {
            let mut own = natter_common::session::Session::new();
            own.merge(&session.label);
            let id: UpdateId = own.update_id(wall_ms, id_bits);
            id
        });
        let (own, prev) = (session.name.clone(), session.label.clone());
        let seen = prev.replicas.clone();
        session.waits_for = Some(Operation { session: own, n: id_bits, asked, id: update_id, prev, seen, tries: 1 });
        self.send_question(n);
    }

    /// A session whose frontend is gone asks the next one that is there, under the same id.
    fn retry(&mut self, n: usize) {
        let places = self.entrances.len();
        let first = self.sessions[n].frontend;
        let Some(next) = (1..places).map(|by| (first + by) % places).find(|place| self.is_there(*place)) else {
            return;
        };
        let session = &mut self.sessions[n];
        session.asked += 1;
        session.frontend = next;
        if let Some(operation) = &mut session.waits_for {
            operation.n = (n as u64) << 8 | session.asked;
            operation.tries += 1;
        }
        self.send_question(n);
    }

    fn send_question(&mut self, n: usize) {
        let session = &self.sessions[n];
        let Some(Operation { n, asked, id: update_id, prev, .. }) = session.waits_for.clone() else { return };
        let request = match asked {
            Asked::Query(request) => ClientRequest::Query { request, prev, cluster: None },
            Asked::Update(request) => ClientRequest::Update { request, id: update_id, prev, cluster: None },
        };
        let form = Form { format: Format::MessagePack, in_subject: false, in_batch: false };
        let (from, to) = (session.name.clone(), self.entrances[session.frontend].clone());
        self.send(&from, &to, Message::Ask(n, Question::encode(&request, form)));
    }

    pub(super) fn send(&mut self, from: &ReplicaId, to: &ReplicaId, message: Message) {
        self.links.entry((from.clone(), to.clone())).or_default().push_back(message.carried());
    }

    fn take(&mut self, from: &ReplicaId, to: &ReplicaId) -> Option<Message> {
        let link = (from.clone(), to.clone());
        let message = self.links.get_mut(&link)?.pop_front();
        self.links.retain(|_, messages| !messages.is_empty());
        message
    }

    fn deliver(&mut self, from: &ReplicaId, to: &ReplicaId, commits: Option<usize>) -> Result<(), Broken> {
        let Some(message) = self.take(from, to) else { return Ok(()) };
        if let Message::Answer(n, answer) = message {
            return self.answered(to, n, &answer);
        }
        let process = self.process(to).clone();
        if self.is_alive(&process) {
            return self.hear(&process, vec![(from.clone(), to.clone(), message)], commits);
        }
        // The receiver is gone: the broker says so at once to the sender of a request.
        if message.is_request() {
            let gone = Message::Unreachable(to.clone(), message.numbers());
            self.links.entry((to.clone(), from.clone())).or_default().push_back(gone);
        }
        Ok(())
    }

    fn deliver_together(&mut self, process: &ReplicaId, commits: Option<usize>) -> Result<(), Broken> {
        let links: Vec<_> = self.links.keys().filter(|(_, to)| self.process(to) == process).cloned().collect();
        let mut arrived = Vec::new();
        for (from, to) in links {
            arrived.extend(self.take(&from, &to).map(|message| (from, to, message)));
        }
        self.hear(process, arrived, commits)
    }

    fn answered(&mut self, to: &ReplicaId, n: u64, answer: &ClientAnswer) -> Result<(), Broken> {
        let Some(session) = self.sessions.iter_mut().find(|session| session.name == *to) else { return Ok(()) };
        let Some(operation) = session.waits_for.take_if(|operation| operation.n == n) else { return Ok(()) };
        let label = match answer {
            Ok(reply) => Some(&reply.label),
            Err(error) => error.label(),
        };
        if let Some(label) = label {
            session.label.merge(label);
        }
        self.checks.answered(&operation, answer)
    }

    fn pass(&mut self, for_ms: u64) -> Result<(), Broken> {
        self.now_ms += for_ms;
        for id in self.replicas.keys().cloned().collect::<Vec<_>>() {
            let tick = replica_manager::Input::Tick { queue_length: 0, listened: true };
            self.step_replica(&id, Inputs { for_replica: vec![tick], ..Inputs::default() })?;
        }
        for id in self.frontends.keys().cloned().collect::<Vec<_>>() {
            self.step_frontend(&id, vec![frontend::Input::Tick { listened: true }])?;
        }
        Ok(())
    }
}

/// Session that a request belongs to, by the request's number.
pub(super) fn id_of_session(n: u64) -> ReplicaId {
    id('s', (n >> 8) as usize)
}
