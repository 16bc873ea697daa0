//! Knowledge of a cluster, without input or output: messages in, events and a view of the whole out.
//!
//! - `event`: one message as the page shows it; `history`: events of the last minute
//! - `processes`: frontends and replicas by presence; `clients`: programs that ask frontends
//! - `pending`: requests that wait for replies, by reply subject
//! - `between`: messages between frontends and replicas; `gossip`: messages among replicas; `edge`: messages of clients
//! - `updates`: the latest updates; `progress`: lag and digests; `rates`: requests per second and latency
//! - `view`: all of that as JSON

mod between;
mod clients;
mod edge;
mod event;
mod gossip;
mod history;
mod pending;
mod processes;
mod progress;
mod rates;
#[cfg(test)]
mod tests;
mod updates;
mod view;

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::subjects::Subjects;
use natter_common::wire::Format;
use serde::de::DeserializeOwned;

pub use event::{Event, Item, Kind};
pub use view::View;

use clients::Clients;
use history::History;
use pending::Pending;
use processes::Processes;
use progress::Progress;
use rates::Rates;
use updates::Updates;

/// A moment, in microseconds of Unix time.
pub type Micros = u64;

/// Microseconds in a millisecond.
pub(crate) const MILLI: Micros = 1_000;
/// Microseconds in a second.
pub(crate) const SECOND: Micros = 1_000_000;

/// A message as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Subject of the message.
    pub subject: &'a str,
    /// Reply subject, where an answer is expected.
    pub reply: Option<&'a str>,
    /// Text of the error header, such as `STALE: ...`.
    pub error: Option<&'a str>,
    /// Body.
    pub payload: &'a [u8],
}

/// Why a message is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl From<&str> for Unreadable {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// A subscription that the observer wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Presence of all processes of a role.
    Presence(Role),
    /// Gossip of one replica.
    Gossip(ReplicaId),
    /// Requests to one replica, and acknowledgements.
    Replica(ReplicaId),
    /// Requests of clients.
    Clients,
    /// Requests of clients with the user in the subject.
    ClientsWithUser,
    /// Replies.
    Replies,
}

/// The observer's knowledge of one cluster.
#[derive(Debug)]
pub struct Model {
    subjects: Subjects,
    processes: Processes,
    clients: Clients,
    pending: Pending,
    history: History,
    updates: Updates,
    progress: Progress,
    rates: Rates,
    malformed: u64,
}

impl Model {
    /// Nothing seen yet.
    pub fn new(subjects: Subjects) -> Self {
        Self {
            subjects,
            processes: Processes::default(),
            clients: Clients::default(),
            pending: Pending::default(),
            history: History::default(),
            updates: Updates::default(),
            progress: Progress::default(),
            rates: Rates::default(),
            malformed: 0,
        }
    }

    /// Takes in a message.
    ///
    /// # Errors
    ///
    /// Where the message is malformed; it is counted and changes nothing else.
    pub fn hear(&mut self, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let heard = self.sort(arrival, now);
        if heard.is_err() {
            self.malformed += 1;
        }
        heard
    }

    fn sort(&mut self, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let prefix = self.subjects.prefix();
        let rest = arrival.subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
        let Some(rest) = rest else { return self.hear_reply(arrival, now) };
        let mut tokens = rest.split('.');
        match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
            (Some("presence"), Some(role), Some(id), None) => self.hear_presence(role, id, arrival.payload, now),
            (Some("gossip"), Some(id), None, None) => self.hear_gossip(id, arrival.payload, now),
            (Some("replica"), Some(id), Some(endpoint), None) => self.hear_request(id, endpoint, arrival, now),
            (Some("frontend"), Some(operation), user, None) => self.hear_client(operation, user, arrival, now),
            _ => Err("the subject is not one of the contract".into()),
        }
    }

    /// Place of a message among those that arrived in the same instant: causes before effects, as far as subjects tell.
    pub fn phase(&self, subject: &str) -> u8 {
        let prefix = self.subjects.prefix();
        let Some(rest) = subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
            let names_frontend = self.is_to_frontend(subject);
            let is_to_process = self.pending.of(subject).is_some_and(|asked| asked.kind != Kind::Request);
            return if names_frontend || is_to_process { 5 } else { 6 };
        };
        match rest.split('.').next() {
            Some("presence") => 0,
            Some("frontend") => 1,
            Some("gossip") => 3,
            _ if rest.ends_with(".acknowledge") => 4,
            _ => 2,
        }
    }

    /// Answers of replicas and frontends. A reply to a request that was not seen is not looked at.
    fn hear_reply(&mut self, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let Some(asked) = self.pending.of(arrival.subject).cloned() else { return Ok(()) };
        if asked.kind == Kind::Request {
            self.hear_answer(&asked, arrival, now)
        } else {
            self.hear_replies(&asked, arrival, now)
        }
    }

    fn hear_presence(&mut self, role: &str, id: &str, payload: &[u8], now: Micros) -> Result<(), Unreadable> {
        let presence: natter_common::messages::Presence = decode(payload)?;
        if presence.id.as_str() != id || presence.role.to_string() != role {
            return Err("role and id of presence are not those of its subject".into());
        }
        if !presence.is_plausible() {
            return Err("no process shows presence of that size".into());
        }
        if presence.role == Role::Replica {
            self.progress.shows(
                &presence.id,
                presence.replica_timestamp.as_ref().map(|shown| &shown.replicas),
                presence.value_timestamp.as_ref().map(|shown| &shown.replicas),
                presence.digest,
                now,
            );
        }
        self.processes.show(presence, now)
    }

    /// Forgets what is old, and notices processes that fell silent. To be called several times a second.
    pub fn tick(&mut self, now: Micros) {
        for gone in self.processes.expire(now) {
            self.progress.forget(&gone);
        }
        self.pending.expire(now);
        self.history.expire(now);
        self.clients.expire(now);
        self.rates.tick(now);
        self.progress.tick(self.processes.replicas_in_service(), now);
    }

    /// The connection to the broker is there again: silence until now proves nothing.
    pub fn reconnected(&mut self, now: Micros) {
        self.processes.excuse(now);
    }

    /// Shares of the time in which requests of clients are listened to, 1 where nothing is sampled: those without the user
    /// in the subject, then those with it.
    pub fn set_shares(&mut self, shares: [f64; 2]) {
        self.rates.set_shares(shares);
    }

    /// The subscriptions that fit what is there now. Subjects of a process are among them only while it shows itself, so
    /// that the broker's "no responders" still comes after it.
    pub fn wanted(&self) -> Vec<(Wanted, String)> {
        let subjects = &self.subjects;
        let mut wanted: Vec<_> =
            [Role::Frontend, Role::Replica].map(|role| (Wanted::Presence(role), subjects.all_presence(role))).into();
        for replica in self.processes.present(Role::Replica) {
            wanted.push((Wanted::Gossip(replica.clone()), subjects.gossip(replica)));
            wanted.push((Wanted::Replica(replica.clone()), subjects.replica(replica, "*")));
        }
        if self.processes.present(Role::Frontend).next().is_some() {
            let prefix = subjects.prefix();
            wanted.push((Wanted::Clients, format!("{prefix}.frontend.*")));
            wanted.push((Wanted::ClientsWithUser, format!("{prefix}.frontend.*.*")));
        }
        wanted
    }

    /// Events after the one with this number, oldest first.
    pub fn events_after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        self.history.after(seq)
    }

    /// Number of the last event, 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.history.last_seq()
    }

    /// Receivers of events that became known only after the event, with the event's number. Each is given once.
    pub fn take_corrections(&mut self) -> Vec<(u64, String)> {
        self.history.take_corrections()
    }

    /// Whether this is a replica that shows itself.
    pub fn has_replica(&self, id: &ReplicaId) -> bool {
        self.processes.present(Role::Replica).any(|present| present == id)
    }
}

/// Reads a payload in either encoding.
fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unreadable> {
    Format::of(payload).decode(payload).map_err(|error| Unreadable(error.to_string()))
}

/// Reads an id of a subject or a message.
fn id_of(text: &str) -> Result<ReplicaId, Unreadable> {
    ReplicaId::known(text).map_err(|error| Unreadable(error.to_string()))
}
