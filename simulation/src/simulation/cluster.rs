//! A cluster in virtual time: one queue of events, ordered by (virtual time, sequence number).

mod lives;
pub(crate) mod perform;
pub mod permissions;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use natter_common::cluster::ClusterId;
use natter_common::edge::ClientRequest;
use natter_common::frontend;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Role, Status};
use natter_common::replica_manager::{self, ReplicaManager};
use natter_common::timestamp::Timestamp;

use super::bystanders::Bystanders;
use super::message::{ClientAnswer, Message};
use super::network::{Link, Network, Weather};
use super::process::{Caller, Process};
use super::wire::{Form, Question};

/// Time until the broker says that a subject has no subscriber, in microseconds.
const NO_RESPONDERS_US: u64 = 500;

/// Settings with which all processes of a cluster are started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of replicas that must hold an update.
    pub fault_tolerance: u32,
    /// Maximum time of a request at a frontend, in milliseconds.
    pub timeout_ms: u64,
    /// Maximum interval of gossip, in milliseconds.
    pub gossip_interval_ms: u64,
    /// Time after which an absent replica is forgotten, in milliseconds.
    pub forget_after_ms: u64,
    /// The broker's largest payload, in bytes: decides how many rows a chunk of a snapshot has.
    pub message_bytes_max: usize,
    /// Interval of the ticks of a process's clock, in microseconds.
    pub tick_us: u64,
    /// The longest time for which a process gathers what arrives into one turn, in microseconds. With 0, each message
    /// is a turn of its own.
    pub processing_us_max: u64,
    /// The longest time that a synced disk takes for a commit, in microseconds. With 0, a commit ends at once.
    pub sync_us_max: u64,
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
            sync_us_max: 0,
        }
    }
}

/// Effect of an event.
#[derive(Debug)]
pub enum Happened {
    /// A message is on its way, or waits.
    Nothing,
    /// A process handled a batch of inputs.
    Stepped {
        /// Name of the process.
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
    /// A client hears that updates of its session are lost.
    Lost {
        /// The client.
        client: ReplicaId,
        /// The frontend.
        frontend: ReplicaId,
        /// By replica, the number of the last one.
        lost: Timestamp,
    },
    /// A client hears that its session may leave these replicas out of its label, when it has that of the answer.
    Retired {
        /// The client.
        client: ReplicaId,
        /// The client's number for its request.
        n: u64,
        /// By replica, the number of the last update.
        retired: Timestamp,
    },
    /// An alarm that was set goes off.
    Alarm(u64),
}

/// Number of turns and messages that had more than one input.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// Turns of frontends with requests of several clients.
    pub shared_by_clients: u64,
    /// Messages with several requests.
    pub shared_by_requests: u64,
    /// Messages with several replies.
    pub shared_by_replies: u64,
    /// Turns with messages of several processes that are no clients.
    pub shared_by_senders: u64,
}

impl Turns {
    fn count(&mut self, inbox: &[(ReplicaId, Message)]) {
        let asks = inbox.iter().filter(|(_, message)| matches!(message, Message::Ask(..))).count();
        self.shared_by_clients += u64::from(asks > 1);
        let tells = |message: &Message| !matches!(message, Message::Ask(..) | Message::Presence(_) | Message::Tick);
        let senders: BTreeSet<&ReplicaId> =
            inbox.iter().filter(|(_, message)| tells(message)).map(|(from, _)| from).collect();
        self.shared_by_senders += u64::from(senders.len() > 1);
    }
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
    /// Settings with which the processes are started.
    pub settings: Settings,
    now_us: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    generator: Rng,
    /// Number of requests that clients sent.
    asked: u64,
    /// Turns and messages that had more than one input.
    pub turns: Turns,
    /// By client and number of the request: the cluster that the answer names, as it left the frontend.
    pub named_in_answers: BTreeMap<(ReplicaId, u64), Option<ClusterId>>,
    /// Replicas that began another life since the last look.
    pub reborn: Vec<ReplicaId>,
    /// Other programs on the broker.
    pub bystanders: Bystanders,
    /// Messages that processes ignored.
    pub ignored: u64,
    /// Messages that the broker did not permit.
    pub denied_messages: u64,
    /// Number of times that a process went on that had lacked a permission.
    pub permitted_again: u64,
    trace: Option<Vec<String>>,
}

impl Cluster {
    /// A cluster without processes. With `traced`, everything that happens is written down.
    pub fn new(settings: Settings, weather: Weather, seed: u64, traced: bool) -> Self {
        Self {
            processes: BTreeMap::new(),
            network: Network::new(weather),
            settings,
            now_us: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            generator: Rng::with_seed(seed),
            asked: 0,
            turns: Turns::default(),
            named_in_answers: BTreeMap::new(),
            reborn: Vec::new(),
            bystanders: Bystanders::new(seed, false),
            ignored: 0,
            denied_messages: 0,
            permitted_again: 0,
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

    /// Sets a replica manager's mode.
    pub fn set_mode(&mut self, id: &ReplicaId, mode: Mode) {
        let operator = ReplicaId::new("operator").unwrap();
        self.deliver(0, (operator, id.clone()), Message::SetMode(mode));
    }

    /// A client asks a frontend, under a number of its own.
    pub fn ask(&mut self, client: &ReplicaId, frontend: &ReplicaId, n: u64, request: ClientRequest) {
        self.asked += 1;
        self.send(client, frontend, Message::Ask(n, Question::encode(&request, Form::of(self.asked))));
    }

    /// An alarm goes off after `delay_us`.
    pub fn set_alarm(&mut self, delay_us: u64, alarm: u64) {
        self.schedule(delay_us, Event::Alarm(alarm));
    }

    /// Processes of a role that are not dead.
    pub fn alive(&self, role: Role) -> Vec<ReplicaId> {
        let alive = self.processes.values().filter(|process| process.is_alive());
        let has_role = |process: &&Process| match role {
            Role::Replica => process.replica().is_some(),
            Role::Frontend => process.frontend().is_some(),
        };
        alive.filter(has_role).map(|process| process.id.clone()).collect()
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
                    let inbox = self.next_turn(&id);
                    self.handle(&id, inbox)
                } else {
                    Happened::Nothing
                }
            }
            Event::Tick(id) => {
                let process = self.process(&id);
                let (alive, up) = (process.is_alive(), process.is_up());
                if alive {
                    self.schedule(self.settings.tick_us, Event::Tick(id.clone()));
                }
                if !up {
                    return Some(Happened::Nothing);
                }
                // Messages that have arrived are read before the clock is looked at; those that arrive next may share
                // its turn.
                let tick = (id.clone(), Message::Tick);
                self.process_mut(&id).inbox.push(tick);
                if self.settings.processing_us_max > 0 && self.generator.bool() {
                    self.schedule_turn(&id);
                    Happened::Nothing
                } else {
                    let inbox = std::mem::take(&mut self.process_mut(&id).inbox);
                    self.handle(&id, inbox)
                }
            }
        })
    }

    fn arrive(&mut self, (from, to): Link, message: Message) -> Happened {
        if let Message::Answer(n, answer) = message {
            self.note(|| format!("{to} <- {from}: {}", Message::Answer(n, answer.clone())));
            return Happened::Answered { client: to, frontend: from, n, answer };
        }
        if let Message::Lost(_, lost) = message {
            self.note(|| format!("{to} <- {from}: lost {lost}"));
            return Happened::Lost { client: to, frontend: from, lost };
        }
        if let Message::Retired(n, retired) = message {
            self.note(|| format!("{to} <- {from}: retired {retired}"));
            return Happened::Retired { client: to, n, retired };
        }
        let process = self.processes.get_mut(&to).expect("messages go to processes");
        let hears = process.permissions.hears(&message);
        let has_left = matches!(message, Message::Ask(..)) && process.permissions.has_stopped();
        if !process.is_alive() || has_left || (!hears && message.is_request()) {
            if (message.is_request() || matches!(message, Message::Ask(..))) && self.bystanders.hide_absence_of(&to) {
                self.note(|| format!("{from} -> {to}: {message} (silence)"));
                return Happened::Nothing;
            }
            if let Message::Ask(n, _) = message {
                let error = natter_common::edge::FrontendError::Unavailable;
                self.deliver(NO_RESPONDERS_US, (to, from), Message::Answer(n, Err(error)));
            } else if message.is_request() {
                let broker = ReplicaId::new("broker").unwrap();
                self.deliver(NO_RESPONDERS_US, (broker, from), Message::Unreachable(to, message.numbers()));
            }
            return Happened::Nothing;
        }
        if !hears {
            return Happened::Nothing;
        }
        process.inbox.push((from, message));
        self.schedule_turn(&to);
        Happened::Nothing
    }

    /// Has a process that runs handle its inbox when it has gathered for a while.
    fn schedule_turn(&mut self, id: &ReplicaId) {
        let delay_us = self.processing_us();
        let process = self.process_mut(id);
        if process.is_up() && !process.scheduled {
            process.scheduled = true;
            self.schedule(delay_us, Event::Handle(id.clone()));
        }
    }

    /// Takes out what a process handles in its next turn: mostly its whole inbox, now and then a part. The rest waits
    /// for another turn, as where more arrived than a shell reads at once.
    fn next_turn(&mut self, id: &ReplicaId) -> Vec<(ReplicaId, Message)> {
        let waiting = self.process(id).inbox.len();
        let splits = waiting > 1 && self.settings.processing_us_max > 0 && self.generator.u32(..8) == 0;
        let taken = if splits { self.generator.usize(1..waiting) } else { waiting };
        let rest = self.process_mut(id).inbox.split_off(taken);
        let inbox = std::mem::replace(&mut self.process_mut(id).inbox, rest);
        if splits {
            self.schedule_turn(id);
        }
        inbox
    }

    /// Puts a message on its way.
    fn send(&mut self, from: &ReplicaId, to: &ReplicaId, message: Message) {
        if self.refuses(from, to, &message) {
            return;
        }
        let link = (from.clone(), to.clone());
        self.bystanders.record(from, &message);
        if let Some((answer, delay_us, takes)) = self.bystanders.answer(to, &message) {
            if let Some((of, channel, payload)) = answer {
                self.hear_bystander(from, delay_us, Message::Foreign(of, channel, payload));
            }
            if takes {
                self.note(|| format!("{from} -> {to}: {message} (a bystander takes it)"));
                return;
            }
        }
        if matches!(message, Message::Presence(_) | Message::Gossip(_))
            && let Some((of, channel, payload)) = self.bystanders.repeat()
        {
            self.hear_bystander(to, 1_000, Message::Foreign(of, channel, payload));
        }
        let arrivals = self.network.send(&link, &message, self.now_us, &mut self.generator);
        if arrivals.is_empty() {
            self.note(|| format!("{from} -> {to}: {message} (does not arrive)"));
        }
        for arrival_us in arrivals {
            self.deliver(arrival_us - self.now_us, link.clone(), message.clone());
        }
    }

    fn hear_bystander(&mut self, to: &ReplicaId, delay_us: u64, message: Message) {
        let bystander = ReplicaId::new("bystander").unwrap();
        self.deliver(delay_us, (bystander, to.clone()), message);
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
