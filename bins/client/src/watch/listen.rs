//! Subscriptions of a bystander, and what comes in by them.
//!
//! The broker answers "no responders" only where nobody at all subscribes to a subject. A bystander that subscribes to the
//! request subject of a process would hide that the process is gone. So a listener subscribes to the subjects of a process
//! only while presence shows that process, and to the requests of clients only while presence shows a frontend that serves.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use async_nats::{Client, Message};
use futures_util::StreamExt;
use natter_broker::connection::ConnectionEvent;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Role, Status};
use natter_common::subjects::Subjects;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::message::{Heard, What};
use super::order::in_causal_order;

/// Maximum messages that are read but not yet handled. Beyond it the subscriptions hold what comes, and then lose it.
const WAITING_MAX: usize = 65_536;
/// Maximum messages that are handled together.
const BATCH_MAX: usize = 8192;
/// A process that does not show itself for this long counts as gone: three presence intervals, as for the frontends.
pub const GONE_AFTER: Duration = Duration::from_millis(1500);
/// Interval at which silent processes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time for new subscriptions to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum processes that are remembered. Further ones are shown, but not listened to.
const PROCESSES_MAX: usize = 1024;

/// Subject of all replies to requests of the programs that use the usual inboxes.
pub const INBOXES: &str = "_INBOX.>";

/// Messages that a listener wants beside presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Presence and gossip, from which the state of the cluster can be told.
    State,
    /// Everything that travels, requests and replies too.
    Everything,
}

/// A process as it last showed itself.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The last presence message.
    pub presence: Presence,
    /// Time of that message.
    pub at: Instant,
    /// Number of presence messages so far.
    pub times: u64,
}

/// An event that a listener reports.
#[derive(Debug)]
pub enum Happening {
    /// Messages that came in together, causes before effects.
    Heard(Vec<Heard>),
    /// The connection changed, or the broker refused a subscription.
    Connection(ConnectionEvent),
    /// Time passed; processes that are silent were forgotten.
    Tick,
    /// The subscriptions follow the processes that are there.
    Follows {
        /// Whether requests of clients are heard: a frontend serves.
        frontends: bool,
        /// Number of replicas whose requests are heard.
        replicas: usize,
    },
}

/// A bystander.
pub struct Listener {
    client: Client,
    subjects: Subjects,
    scope: Scope,
    events: UnboundedReceiver<ConnectionEvent>,
    sender: Sender<(usize, Message)>,
    receiver: Receiver<(usize, Message)>,
    /// Tasks that read a subscription, by subject.
    readers: HashMap<String, JoinHandle<()>>,
    sources: usize,
    shown: BTreeMap<(Role, ReplicaId), Shown>,
    looks: tokio::time::Interval,
    is_connected: bool,
    /// Whether a process came or went since the subscriptions were looked at.
    has_changed: bool,
}

impl Listener {
    /// Begins to listen over `client`, whose events are `events`.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn start(
        client: Client,
        subjects: Subjects,
        scope: Scope,
        events: UnboundedReceiver<ConnectionEvent>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let (sender, receiver) = channel(WAITING_MAX);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listener = Self {
            client,
            subjects,
            scope,
            events,
            sender,
            receiver,
            readers: HashMap::new(),
            sources: 0,
            shown: BTreeMap::new(),
            looks,
            is_connected: true,
            has_changed: false,
        };
        let subjects = &listener.subjects;
        let mut wanted =
            vec![subjects.all_presence(Role::Replica), subjects.all_presence(Role::Frontend), subjects.all_gossip()];
        if scope == Scope::Everything {
            wanted.extend([INBOXES.to_owned(), subjects.changes(None, None)]);
        }
        for subject in wanted {
            listener.subscribe(subject).await?;
        }
        Ok(listener)
    }

    /// Processes that show themselves, replicas after frontends.
    pub fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.shown.values()
    }

    /// The subjects of the cluster.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for what happens next. `None` when the connection is closed for good. Cancel safe.
    pub async fn next(&mut self) -> Option<Happening> {
        if self.has_changed && self.scope == Scope::Everything {
            let follows = self.follow().await;
            self.has_changed = false;
            if follows.is_some() {
                return follows;
            }
        }
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            event = self.events.recv() => {
                let event = event?;
                match &event {
                    ConnectionEvent::Connected => self.is_connected = true,
                    ConnectionEvent::Disconnected => self.is_connected = false,
                    ConnectionEvent::SlowConsumer { .. } | ConnectionEvent::Denied(_) => {}
                }
                Some(Happening::Connection(event))
            }
            _ = self.receiver.recv_many(&mut batch, BATCH_MAX) => Some(Happening::Heard(self.take_in(batch))),
            _ = self.looks.tick() => {
                self.forget_silent();
                Some(Happening::Tick)
            }
        }
    }

    fn take_in(&mut self, batch: Vec<(usize, Message)>) -> Vec<Heard> {
        let (at, wall) = (Instant::now(), SystemTime::now());
        let decoded = batch.into_iter().map(|(source, message)| (source, Heard::of(&self.subjects, message, at, wall)));
        let heard = in_causal_order(decoded.collect());
        for message in &heard {
            if let What::Presence(presence) = &message.what {
                self.has_changed |= self.note(presence, at);
            }
        }
        heard
    }

    /// Notes a presence message. Returns whether subscriptions may have to change.
    fn note(&mut self, presence: &Presence, at: Instant) -> bool {
        let key = (presence.role, presence.id.clone());
        if presence.status == Status::Left {
            return self.shown.remove(&key).is_some();
        }
        if self.shown.len() >= PROCESSES_MAX && !self.shown.contains_key(&key) {
            return false;
        }
        let before = self.shown.get(&key).map(|shown| (shown.presence.is_serving(), shown.times));
        let times = before.map_or(1, |(_, times)| times + 1);
        self.shown.insert(key, Shown { presence: presence.clone(), at, times });
        before.is_none_or(|(was_serving, _)| was_serving != presence.is_serving())
    }

    /// Forgets processes that do not show themselves any more. While the broker is away, nobody can.
    fn forget_silent(&mut self) {
        let now = Instant::now();
        if !self.is_connected {
            self.shown.values_mut().for_each(|shown| shown.at = now);
            return;
        }
        let before = self.shown.len();
        self.shown.retain(|_, shown| now.duration_since(shown.at) < GONE_AFTER);
        self.has_changed |= self.shown.len() < before;
    }

    /// Subscribes to the subjects of the processes that are there, and to no others. Returns what is heard now, where that
    /// changed.
    async fn follow(&mut self) -> Option<Happening> {
        let before = self.readers.len();
        let prefix = self.subjects.prefix();
        let mut wanted: Vec<String> = self
            .shown
            .keys()
            .filter(|(role, _)| *role == Role::Replica)
            .map(|(_, id)| self.subjects.replica(id, "*"))
            .collect();
        let frontend_serves = |shown: &Shown| shown.presence.role == Role::Frontend && shown.presence.is_serving();
        if self.shown.values().any(frontend_serves) {
            wanted.extend([format!("{prefix}.frontend.*"), format!("{prefix}.frontend.*.*")]);
        }
        let count = wanted.len();
        let (replicas, frontends) = (format!("{prefix}.replica."), format!("{prefix}.frontend."));
        self.readers.retain(|subject, reader| {
            let is_request = subject.starts_with(&replicas) || subject.starts_with(&frontends);
            let stays = !is_request || wanted.contains(subject);
            if !stays {
                // Its subscription ends with the task.
                reader.abort();
            }
            stays
        });
        let has_ended = self.readers.len() < before;
        let new: Vec<String> = wanted.into_iter().filter(|subject| !self.readers.contains_key(subject)).collect();
        if new.is_empty() && !has_ended {
            return None;
        }
        for subject in new {
            self.subscribe(subject).await.ok()?; // closed for good, which the next turn tells
        }
        let _ = timeout(FLUSH_TIMEOUT, self.client.flush()).await;
        let frontends = self.readers.keys().any(|subject| subject.starts_with(&frontends));
        Some(Happening::Follows { frontends, replicas: if frontends { count.saturating_sub(2) } else { count } })
    }

    async fn subscribe(&mut self, subject: String) -> Result<(), async_nats::SubscribeError> {
        let mut messages = self.client.subscribe(subject.clone()).await?;
        let (sender, source) = (self.sender.clone(), self.sources);
        self.sources += 1;
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if sender.send((source, message)).await.is_err() {
                    return;
                }
            }
        });
        self.readers.insert(subject, reader);
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.readers.values().for_each(JoinHandle::abort);
    }
}
