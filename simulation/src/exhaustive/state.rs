//! A state of a small cluster, and what leads to the next one.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::hash::Hasher;

use natter_common::clock::Now;
use natter_common::edge::ClientRequest;
use natter_common::frontend::{self, Frontend};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::label::Label;
use natter_common::messages::{Mode, Presence};
use natter_common::packing::{ReplyPacker, RequestPacker};
use natter_common::replica_manager::{self, Notice, ReplicaManager, ReplyTo};
use natter_common::wire::Format;

use super::action::Action;
use super::checks::{Broken, Checks};
use crate::simulation::client::{Asked, Operation};
use crate::simulation::cluster::perform::{replica_inputs, waits_at};
use crate::simulation::message::{ClientAnswer, Message};
use crate::simulation::process::now;
use crate::simulation::value::MemoryValue;
use crate::simulation::wire::{Form, Question, heard};

/// By so much time passes at once, in milliseconds: more than gossip should take, less than a frontend's patience.
const STEP_MS: u64 = 120;
/// All processes have found each other by then, in milliseconds.
const FOUND_MS: u64 = 3000;
/// So long after the last action all must be answered and equal, in milliseconds.
const FINISH_MS: u64 = 6000;

/// Maximum payload of a message, in bytes: the broker's default.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What a session does, one after the other, each at the frontend of that number.
pub type Script = Vec<(usize, Asked)>;

/// What is searched.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// How many replica managers.
    pub replicas: usize,
    /// How many frontends.
    pub frontends: usize,
    /// By how many replica managers an update is held before it is acknowledged.
    pub fault_tolerance: u32,
    /// The sessions.
    pub scripts: Vec<Script>,
    /// How many replica managers may crash.
    pub crashes: u32,
    /// How many messages may be lost.
    pub losses: u32,
    /// How often time may pass.
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
}

/// A state.
#[derive(Clone, Debug)]
pub struct State {
    now_ms: u64,
    replicas: BTreeMap<ReplicaId, (ReplicaManager, MemoryValue)>,
    frontends: BTreeMap<ReplicaId, Frontend>,
    links: BTreeMap<(ReplicaId, ReplicaId), VecDeque<Message>>,
    sessions: Vec<Session>,
    crashes: u32,
    losses: u32,
    ticks: u32,
    shared_turns: bool,
    checks: Checks,
}

fn id(kind: char, n: usize) -> ReplicaId {
    ReplicaId::new(&format!("{kind}{n}")).expect("a name")
}

impl State {
    /// All have found each other, and nobody has asked anything.
    pub fn begin(configuration: &Configuration) -> Self {
        let replicas = (1..=configuration.replicas).map(|n| {
            let config = replica_manager::Config {
                id: id('r', n),
                version: String::new(),
                dataset: String::new(),
                mode: Mode::Active,
                gossip_interval_ms: 500,
                forget_after_ms: 600_000,
                durable: false,
                message_bytes_max: MESSAGE_BYTES_MAX,
                seed: n as u64,
            };
            (id('r', n), (ReplicaManager::new(config, now(0, 0)), MemoryValue::new()))
        });
        let frontends = (1..=configuration.frontends).map(|n| {
            let config = frontend::Config {
                id: id('f', n),
                version: String::new(),
                fault_tolerance: configuration.fault_tolerance,
                strict: false,
                timeout_ms: 2000,
                queue_length_max: 100,
                seed: n as u64,
            };
            (id('f', n), Frontend::new(config, now(0, 0)))
        });
        let sessions = configuration.scripts.iter().enumerate().map(|(n, script)| Session {
            name: id('s', n),
            label: Label::new(),
            script: script.iter().cloned().collect(),
            asked: 0,
            waits_for: None,
        });
        let mut state = Self {
            now_ms: 0,
            replicas: replicas.collect(),
            frontends: frontends.collect(),
            links: BTreeMap::new(),
            sessions: Vec::new(),
            crashes: configuration.crashes,
            losses: configuration.losses,
            ticks: configuration.ticks,
            shared_turns: configuration.shared_turns,
            checks: Checks::new(configuration.fault_tolerance),
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
        for ((from, to), messages) in &self.links {
            let Some(message) = messages.front() else { continue };
            if self.losses > 0 && !matches!(message, Message::Ask(..) | Message::Answer(..)) {
                actions.push(Action::Lose(from.clone(), to.clone(), message.kind()));
            }
            actions.push(Action::Deliver(from.clone(), to.clone(), message.kind()));
        }
        if self.shared_turns {
            let cores = self.replicas.keys().chain(self.frontends.keys());
            let shared = cores.filter(|core| self.links.keys().filter(|(_, to)| to == *core).count() > 1);
            actions.extend(shared.cloned().map(Action::DeliverTogether));
        }
        let idle = self.sessions.iter().enumerate().filter(|(_, session)| session.waits_for.is_none());
        actions.extend(idle.filter(|(_, session)| !session.script.is_empty()).map(|(n, _)| Action::Ask(n)));
        actions
    }

    /// Whether nothing is on its way and nobody has more to ask.
    pub fn is_quiet(&self) -> bool {
        self.links.values().all(VecDeque::is_empty)
            && self.sessions.iter().all(|session| session.script.is_empty() || session.waits_for.is_some())
    }

    /// Does it, and checks what comes of it.
    pub fn perform(&mut self, action: &Action) -> Result<(), Broken> {
        match action {
            Action::Ask(session) => self.ask(*session),
            Action::Deliver(from, to, _) => self.deliver(from, to)?,
            Action::DeliverTogether(to) => self.deliver_together(to)?,
            Action::Lose(from, to, _) => {
                self.losses -= 1;
                self.take(from, to);
            }
            Action::Crash(id) => {
                self.crashes -= 1;
                if let Some((manager, _)) = self.replicas.remove(id) {
                    self.checks.crashed(manager.replica_timestamp(), &self.replicas)?;
                }
            }
            Action::Tick => {
                self.ticks -= 1;
                self.pass(STEP_MS)?;
            }
        }
        self.checks.hold(&self.replicas)
    }

    /// Lets everything come to an end without another fault: then all must be answered and equal.
    pub fn finish(mut self) -> Result<(), Broken> {
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
                self.deliver(&from, &to)?;
            } else if self.now_ms >= until_ms {
                return Ok(());
            } else {
                for session in 0..self.sessions.len() {
                    if self.sessions[session].waits_for.is_none() {
                        self.ask(session);
                    }
                }
                self.pass(20)?;
            }
            self.checks.hold(&self.replicas)?;
        }
    }

    fn now(&self) -> Now {
        now(self.now_ms * 1000, 0)
    }

    fn ask(&mut self, n: usize) {
        let wall_ms = self.now().wall_ms;
        let session = &mut self.sessions[n];
        let Some((frontend, asked)) = session.script.pop_front() else { return };
        session.asked += 1;
        let id_bits = (n as u64) << 8 | session.asked;
        let update_id = matches!(asked, Asked::Update(_)).then(|| {
            let mut own = natter_common::session::Session::new();
            own.merge(&session.label);
            let id: UpdateId = own.update_id(wall_ms, id_bits);
            id
        });
        let prev = session.label.clone();
        let request = match &asked {
            Asked::Query(query) => ClientRequest::Query { request: query.clone(), prev: prev.clone(), cluster: None },
            Asked::Update(update) => {
                ClientRequest::Update { request: *update, id: update_id, prev: prev.clone(), cluster: None }
            }
        };
        let (own, seen) = (session.name.clone(), prev.replicas.clone());
        let operation = Operation { session: own, n: id_bits, asked, id: update_id, prev, seen, tries: 1 };
        session.waits_for = Some(operation);
        let from = session.name.clone();
        let form = Form { format: Format::MessagePack, in_subject: false, in_batch: false };
        self.send(&from, &id('f', frontend + 1), Message::Ask(id_bits, Question::encode(&request, form)));
    }

    fn send(&mut self, from: &ReplicaId, to: &ReplicaId, message: Message) {
        self.links.entry((from.clone(), to.clone())).or_default().push_back(message.carried());
    }

    fn take(&mut self, from: &ReplicaId, to: &ReplicaId) -> Option<Message> {
        let link = (from.clone(), to.clone());
        let message = self.links.get_mut(&link)?.pop_front();
        self.links.retain(|_, messages| !messages.is_empty());
        message
    }

    fn deliver(&mut self, from: &ReplicaId, to: &ReplicaId) -> Result<(), Broken> {
        let Some(message) = self.take(from, to) else { return Ok(()) };
        if let Message::Answer(n, answer) = message {
            return self.answered(to, n, &answer);
        }
        if self.replicas.contains_key(to) {
            return self.step_replica(to, replica_inputs(to, from.as_str(), message));
        }
        if self.frontends.contains_key(to) {
            return self.step_frontend(to, frontend_inputs(message)?);
        }
        // Nobody listens there, as the broker says at once to who sent a request.
        if message.is_request() {
            let gone = Message::Unreachable(to.clone(), message.numbers());
            self.links.entry((to.clone(), from.clone())).or_default().push_back(gone);
        }
        Ok(())
    }

    fn deliver_together(&mut self, to: &ReplicaId) -> Result<(), Broken> {
        let senders: Vec<ReplicaId> =
            self.links.keys().filter(|(_, other)| other == to).map(|(from, _)| from.clone()).collect();
        let (mut for_replica, mut for_frontend) = (Vec::new(), Vec::new());
        for from in senders {
            let Some(message) = self.take(&from, to) else { continue };
            if self.replicas.contains_key(to) {
                for_replica.extend(replica_inputs(to, from.as_str(), message));
            } else {
                for_frontend.extend(frontend_inputs(message)?);
            }
        }
        match for_frontend.is_empty() {
            true => self.step_replica(to, for_replica),
            false => self.step_frontend(to, for_frontend),
        }
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
            self.step_replica(&id, vec![replica_manager::Input::Tick { queue_length: 0, listened: true }])?;
        }
        for id in self.frontends.keys().cloned().collect::<Vec<_>>() {
            self.step_frontend(&id, vec![frontend::Input::Tick { listened: true }])?;
        }
        Ok(())
    }

    fn step_replica(&mut self, id: &ReplicaId, inputs: Vec<replica_manager::Input>) -> Result<(), Broken> {
        use replica_manager::Output;
        let now = self.now();
        let Some((manager, value)) = self.replicas.get_mut(id) else { return Ok(()) };
        let mut outputs = Vec::new();
        manager.step(now, inputs, value, &mut outputs).expect("a value in memory does not fail");
        let notices: Vec<Notice> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Notice(notice) => Some(notice.clone()),
                _ => None,
            })
            .collect();
        self.checks.stepped(id, &notices, &self.replicas)?;
        let mut replies = ReplyPacker::default();
        for output in outputs {
            match output {
                Output::Reply(to, reply) => replies.push(to, reply),
                Output::Log(to, page) => self.send_back(id, &to, Message::Log(page)),
                Output::Gossip(gossip) => {
                    let others: Vec<ReplicaId> = self.replicas.keys().filter(|other| *other != id).cloned().collect();
                    others.iter().for_each(|other| self.send(id, other, Message::Gossip(gossip.clone())));
                }
                Output::Acknowledge(to, said) => self.send(id, &to, Message::Acknowledge(said)),
                Output::Pull(to, request) => self.send(id, &to, Message::Pull(request)),
                Output::Presence(presence) => self.show(id, &presence)?,
                _ => {}
            }
        }
        for (subject, replies) in replies.take(id, MESSAGE_BYTES_MAX) {
            self.send_back(id, &ReplyTo { subject, n: 0 }, Message::Replies(replies));
        }
        Ok(())
    }

    fn show(&mut self, id: &ReplicaId, presence: &Presence) -> Result<(), Broken> {
        for other in self.replicas.keys().filter(|other| *other != id).cloned().collect::<Vec<_>>() {
            self.step_replica(&other, vec![replica_manager::Input::Presence(Box::new(presence.clone()))])?;
        }
        for frontend in self.frontends.keys().cloned().collect::<Vec<_>>() {
            self.step_frontend(&frontend, vec![frontend::Input::Presence(Box::new(presence.clone()))])?;
        }
        Ok(())
    }

    fn send_back(&mut self, id: &ReplicaId, to: &ReplyTo, message: Message) {
        if let Some(to) = waits_at(&to.subject) {
            self.send(id, &to, message);
        }
    }

    fn step_frontend(&mut self, id: &ReplicaId, inputs: Vec<frontend::Input>) -> Result<(), Broken> {
        use frontend::Output;
        let now = self.now();
        let Some(frontend) = self.frontends.get_mut(id) else { return Ok(()) };
        let mut outputs = Vec::new();
        frontend.step(now, inputs, &mut outputs);
        let cluster = frontend.cluster().cloned();
        let mut requests = RequestPacker::default();
        for output in outputs {
            let Some(output) = requests.push(output, MESSAGE_BYTES_MAX) else { continue };
            match output {
                Output::Answer(n, answer) => {
                    let answer = heard(&answer, cluster.as_ref(), Format::MessagePack);
                    self.checks.answers(&answer, &self.replicas)?;
                    let session = id_of_session(n);
                    self.send(id, &session, Message::Answer(n, answer));
                }
                Output::BatchAnswer(..) => panic!("nobody sends batches here"),
                _ => {}
            }
        }
        for packed in requests.take() {
            let (to, message) = Message::packed(packed);
            self.send(id, &to, message);
        }
        Ok(())
    }
}

fn frontend_inputs(message: Message) -> Result<Vec<frontend::Input>, Broken> {
    Ok(vec![match message {
        Message::Ask(n, question) => match question.decode() {
            Ok(request) => frontend::Input::Request(n, request),
            Err(error) => return Err(Broken::new("a frontend understands clients", error.to_string())),
        },
        Message::Replies(replies) => frontend::Input::Replies(replies),
        Message::Unreachable(gone, requests) => frontend::Input::Unreachable(gone, requests),
        _ => return Ok(Vec::new()),
    }])
}

/// A request's number says whose it is.
fn id_of_session(n: u64) -> ReplicaId {
    id('s', (n >> 8) as usize)
}
