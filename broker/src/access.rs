//! Whether the broker hears a process, and permits it what its role needs: tried before the process serves.
//!
//! A subscription is proven by a message of our own that comes back through it. It has to come from a second connection:
//! a connection with `no_echo` does not hear itself, and `flush()` waits for no answer of the broker. An answer from anybody
//! else, or the broker's "no responders", would prove less: other subscribers may listen everywhere and say nothing.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::connection::{Access, ConnectionEvent, Denial};
use crate::publisher::within;

/// Maximum time for the broker to deliver our own message while the connection stands.
const PROOF_LIMIT: Duration = Duration::from_secs(15);
/// Pause before the message is sent again: it can be lost, as when a connection breaks just then, or when another server
/// of the broker's cluster does not know of the subscription yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Maximum time that one message may wait for its connection.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(500);
/// Turns that the task which reads the connection gets, so that what it has read is told to us.
const TURNS: usize = 16;

/// All inboxes, as permissions name them.
const ANY_INBOX: &str = "_INBOX.>";

/// Pause between two checks of a role that runs and was refused something.
pub const RETRY: Duration = Duration::from_secs(2);
/// Time for one such check. Beyond it nothing is known, and the next check follows.
pub const RETRY_LIMIT: Duration = Duration::from_secs(2);

/// Permissions that a role needs from the broker.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The role, for errors: `replica`.
    pub role: &'static str,
    /// A subject of this process alone, which its user may publish and subscribe.
    pub own: String,
    /// Messages that are published to try whether that is permitted. They must be harmless.
    pub publishes: Vec<(String, Bytes)>,
    /// Subjects that the role publishes, and on which no harmless message exists. A message there is only traced: the broker
    /// checks the permission and delivers nothing. Brokers before 2.11 deliver such a message, so they are not asked.
    pub traces: Vec<String>,
    /// Subjects that the role subscribes later.
    pub subscribes: Vec<String>,
    /// The queue group in which it subscribes those.
    pub queue: Option<&'static str>,
    /// Replies that one request may have.
    pub replies: usize,
}

impl Needs {
    /// Adds a subject that was refused. The message that tries it is empty.
    pub fn also_publish(&mut self, subject: &str) {
        if self.publishes.iter().all(|(tried, _)| tried != subject) {
            self.publishes.push((subject.to_owned(), Bytes::new()));
        }
    }
}

/// Why a process cannot do what its role needs.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The broker does not permit everything.
    #[error(
        "the broker does not permit this {role} to {}: permit it for the user of this {role} (docs/PROTOCOL.md lists the \
         subjects of each role)",
        Listed(denials)
    )]
    Denied {
        /// The role.
        role: &'static str,
        /// Everything that was refused.
        denials: Vec<Denial>,
    },
    /// Our own message did not come back.
    #[error(
        "the broker did not deliver a message of this {role} to itself within {} s: is it overloaded, or the network cut? \
         start the {role} again when the broker works", PROOF_LIMIT.as_secs()
    )]
    Silent {
        /// The role.
        role: &'static str,
    },
    /// The connection was closed for good.
    #[error("the connection to the broker is closed")]
    Closed,
}

impl AccessError {
    /// Everything that the broker refused.
    pub fn denials(&self) -> &[Denial] {
        match self {
            Self::Denied { denials, .. } => denials,
            _ => &[],
        }
    }

    /// Whether the broker refused something: then nothing else is unknown.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }
}

/// Events of a connection, of which a check takes the refusals and leaves the others.
#[derive(Debug)]
pub struct Events {
    receiver: UnboundedReceiver<ConnectionEvent>,
    set_aside: VecDeque<ConnectionEvent>,
}

impl From<UnboundedReceiver<ConnectionEvent>> for Events {
    fn from(receiver: UnboundedReceiver<ConnectionEvent>) -> Self {
        Self { receiver, set_aside: VecDeque::new() }
    }
}

impl Events {
    /// The next event; `None` after the connection has ended. Cancel safe.
    pub async fn recv(&mut self) -> Option<ConnectionEvent> {
        match self.set_aside.pop_front() {
            Some(event) => Some(event),
            None => self.receiver.recv().await,
        }
    }

    /// Forgets what a check has left, unless the connection is lost.
    pub fn forget_the_past(&mut self) {
        if self.set_aside.back() != Some(&ConnectionEvent::Disconnected) {
            self.set_aside.clear();
        }
    }
}

struct Listed<'a>(&'a [Denial]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, denial) in self.0.iter().enumerate() {
            write!(f, "{}{denial}", if place == 0 { "" } else { ", " })?;
            if denial.access == Access::Publish && denial.subject == ANY_INBOX {
                f.write_str(" (a reply: allow_responses: {max: -1, expires: \"1m\"})")?;
            }
        }
        Ok(())
    }
}

/// Waits until everything that was subscribed on `client` before is in place, and tries what else the role needs. `events`
/// are those of `client`; `second` is another connection of the same user.
///
/// # Errors
///
/// Where the broker refuses something that the role needs, all of it is listed. Where our own message does not come back,
/// the broker does not hear us.
pub async fn check(client: &Client, events: &mut Events, second: &Client, needs: &Needs) -> Result<(), AccessError> {
    let mut check =
        Check { client, events, second, needs, inbox: None, denials: BTreeSet::new(), rounds_left: rounds() };
    check.try_to_publish().await;
    check.try_to_subscribe().await?;
    if needs.replies > 0 && check.can_try_to_reply() {
        check.try_to_reply().await?;
    }
    if check.denials.is_empty() {
        return Ok(());
    }
    Err(AccessError::Denied { role: needs.role, denials: check.denials.into_iter().collect() })
}

fn rounds() -> u128 {
    PROOF_LIMIT.as_millis() / AGAIN_AFTER.as_millis()
}

struct Check<'a> {
    client: &'a Client,
    events: &'a mut Events,
    second: &'a Client,
    needs: &'a Needs,
    /// Subject of the replies to a request of our own.
    inbox: Option<String>,
    denials: BTreeSet<Denial>,
    rounds_left: u128,
}

impl Check<'_> {
    /// Publishes everything that the role publishes. Each is answered by nothing, or by a refusal before the barrier.
    async fn try_to_publish(&self) {
        for (subject, payload) in &self.needs.publishes {
            publish(self.client, subject, None, payload.clone()).await;
        }
        if self.client.is_server_compatible(2, 11, 0) {
            for subject in &self.needs.traces {
                trace(self.client, subject, &self.needs.own).await;
            }
        }
        publish(self.client, &self.needs.own, None, Bytes::new()).await;
    }

    /// Subscribes what the role subscribes later, and gives it up again. Without the queue group, so that it takes no
    /// requests from processes that serve; in the group only where permissions name that.
    async fn try_to_subscribe(&mut self) -> Result<(), AccessError> {
        let mut tried = Vec::new();
        for subject in &self.needs.subscribes {
            tried.extend(self.subscribe(subject).await);
        }
        self.barrier().await?;
        drop(tried);
        let Some(queue) = self.needs.queue else { return Ok(()) };
        let is_refused =
            |denial: &&Denial| denial.access == Access::Subscribe && self.needs.subscribes.contains(&denial.subject);
        let refused: Vec<Denial> = self.denials.iter().filter(is_refused).cloned().collect();
        if refused.is_empty() {
            return Ok(());
        }
        let mut tried = Vec::new();
        for denial in refused {
            self.denials.remove(&denial);
            let subscribing = self.client.queue_subscribe(denial.subject, queue.to_owned());
            tried.extend(within(PUBLISH_TIMEOUT, subscribing).await.ok().and_then(Result::ok));
        }
        self.barrier().await
    }

    /// Whether a request of our own can arrive, and the replies to it.
    fn can_try_to_reply(&self) -> bool {
        let prevents = |denial: &Denial| {
            denial.subject == self.needs.own || (denial.access == Access::Subscribe && denial.subject == ANY_INBOX)
        };
        !self.denials.iter().any(prevents)
    }

    async fn subscribe(&self, subject: &str) -> Option<Subscriber> {
        match within(PUBLISH_TIMEOUT, self.client.subscribe(subject.to_owned())).await {
            Ok(Ok(subscriber)) => Some(subscriber),
            _ => None,
        }
    }

    /// Waits until the broker has handled everything that was sent on the connection before, and notes what it refused.
    async fn barrier(&mut self) -> Result<(), AccessError> {
        // Refused before, it is refused again: that answer comes in order too.
        let is_refused = |denial: &Denial| denial.subject == self.needs.own;
        let own = &self.needs.own;
        let token = token();
        let mut heard = self.subscribe(own).await.ok_or(AccessError::Closed)?;
        publish(self.client, own, None, Bytes::new()).await;
        let mut again = rounds_of();
        loop {
            tokio::select! {
                biased;
                event = self.events.receiver.recv() => match event {
                    Some(ConnectionEvent::Denied(denial)) => {
                        let is_answer = is_refused(&denial);
                        self.note(denial);
                        if is_answer {
                            break;
                        }
                    }
                    Some(event) => {
                        // Messages in flight when the connection broke are lost, so they are sent again.
                        if event == ConnectionEvent::Connected {
                            self.try_to_publish().await;
                        }
                        self.events.set_aside.push_back(event);
                    }
                    None => return Err(AccessError::Closed),
                },
                message = heard.next() => match message {
                    Some(message) if message.payload == token => break,
                    Some(_) => {}
                    None => return Err(AccessError::Closed),
                },
                _ = again.tick() => {
                    self.count_round()?;
                    publish(self.second, own, None, token.clone()).await;
                }
            }
        }
        self.hear_what_was_read().await;
        Ok(())
    }

    /// Answers a request of our own with as many replies as one may need.
    async fn try_to_reply(&mut self) -> Result<(), AccessError> {
        let (inbox, token) = (self.second.new_inbox(), token());
        self.inbox = Some(inbox.clone());
        let mut replies = self.second.subscribe(inbox.clone()).await.map_err(|_| AccessError::Closed)?;
        let mut requests = self.subscribe(&self.needs.own).await.ok_or(AccessError::Closed)?;
        let mut seen = BTreeSet::new();
        let mut again = rounds_of();
        while seen.len() < self.needs.replies {
            tokio::select! {
                biased;
                event = self.events.receiver.recv() => match event {
                    Some(ConnectionEvent::Denied(denial)) => {
                        let is_answer = denial.subject == inbox;
                        self.note(denial);
                        if is_answer {
                            break;
                        }
                    }
                    Some(event) => self.events.set_aside.push_back(event),
                    None => return Err(AccessError::Closed),
                },
                request = requests.next() => match request {
                    Some(Message { reply: Some(reply), payload, .. }) if payload == token => {
                        for n in 0..self.needs.replies {
                            publish(self.client, &reply, None, format!("{n}").into()).await;
                        }
                    }
                    Some(_) => {}
                    None => return Err(AccessError::Closed),
                },
                reply = replies.next() => match reply {
                    // A stream or a recorder may answer too.
                    Some(reply) => {
                        let number = std::str::from_utf8(&reply.payload).ok().and_then(|n| n.parse::<usize>().ok());
                        seen.extend(number.filter(|n| *n < self.needs.replies));
                    }
                    None => return Err(AccessError::Closed),
                },
                _ = again.tick() => {
                    self.count_round()?;
                    publish(self.second, &self.needs.own, Some(&inbox), token.clone()).await;
                }
            }
        }
        self.hear_what_was_read().await;
        Ok(())
    }

    /// Only time in which both connections stand counts.
    fn count_round(&mut self) -> Result<(), AccessError> {
        if [self.client, self.second].iter().all(|client| client.connection_state() == State::Connected) {
            self.rounds_left = self.rounds_left.checked_sub(1).ok_or(AccessError::Silent { role: self.needs.role })?;
        }
        Ok(())
    }

    /// Refusals are told by way of a task of the connection's, which must have had its turn.
    async fn hear_what_was_read(&mut self) {
        for _ in 0..TURNS {
            yield_now().await;
            while let Ok(event) = self.events.receiver.try_recv() {
                match event {
                    ConnectionEvent::Denied(denial) => self.note(denial),
                    event => self.events.set_aside.push_back(event),
                }
            }
        }
    }

    fn note(&mut self, mut denial: Denial) {
        let subject = &denial.subject;
        let is_tried = self.needs.publishes.iter().any(|(tried, _)| tried == subject)
            || self.needs.traces.contains(subject)
            || *subject == self.needs.own
            || self.inbox.as_ref() == Some(subject);
        if denial.access == Access::Publish && !is_tried {
            return; // a reply of a role that runs, perhaps one that came too late to be permitted
        }
        // Each inbox has a name of its own, which permissions do not know.
        if denial.subject.starts_with("_INBOX.") {
            denial.subject = ANY_INBOX.to_owned();
        }
        // Without `$SRV` only programs that list services do not find the process.
        if denial.subject.starts_with("$SRV.") {
            debug!(%denial, "refused, and not needed");
            return;
        }
        self.denials.insert(denial);
    }
}

async fn publish(client: &Client, subject: &str, reply: Option<&str>, payload: Bytes) {
    let subject = subject.to_owned();
    let sent = async {
        match reply {
            Some(reply) => client.publish_with_reply(subject, reply.to_owned(), payload).await,
            None => client.publish(subject, payload).await,
        }
    };
    // A message that times out here gets no answer, and is sent again.
    let _ = within(PUBLISH_TIMEOUT, sent).await;
}

/// Has the broker trace a message to `subject` without delivering it. The trace goes to `own`.
async fn trace(client: &Client, subject: &str, own: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Trace-Dest", own);
    headers.insert("Nats-Trace-Only", "true");
    let sent = client.publish_with_headers(subject.to_owned(), headers, Bytes::new());
    let _ = within(PUBLISH_TIMEOUT, sent).await;
}

fn rounds_of() -> tokio::time::Interval {
    let mut again = interval(AGAIN_AFTER);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again
}

/// A payload that nobody else sends.
fn token() -> Bytes {
    format!("{:032x}", fastrand::u128(..)).into()
}
