//! Whether the broker hears a process, and permits it what its role needs: tried before the process serves.
//!
//! A subscription is proven by a message of our own that comes back through it. It has to come from a second connection:
//! a connection with `no_echo` does not hear itself, and `flush()` waits for no answer of the broker. An answer from anybody
//! else, or the broker's "no responders", would prove less: other subscribers may listen everywhere and say nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::connection::{Access, ConnectionEvent, Denial};
use crate::publisher::within;

/// How long the broker may take to bring our own message, while the connection stands.
const PROOF_LIMIT: Duration = Duration::from_secs(15);
/// Pause before the message is sent again: it can be lost, as when a connection breaks just then, or when another server
/// of the broker's cluster does not know of the subscription yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long one message may wait for its connection.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(500);
/// Turns that the task which reads the connection gets, so that what it has read is told to us.
const TURNS: usize = 16;

/// What a role needs of the broker.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The role, for errors: `replica`.
    pub role: &'static str,
    /// A subject of this process alone, which its user may publish and subscribe.
    pub own: String,
    /// Messages that are published to try whether that is permitted. They must be harmless.
    pub publishes: Vec<(String, Bytes)>,
    /// Subjects that the role subscribes later. Tried only to complete a list of refusals.
    pub subscribes: Vec<String>,
    /// Subjects without which the role can serve.
    pub optional: Vec<String>,
    /// Replies that one request may have.
    pub replies: usize,
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

struct Listed<'a>(&'a [Denial]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, denial) in self.0.iter().enumerate() {
            write!(f, "{}{denial}", if place == 0 { "" } else { ", " })?;
            if denial.access == Access::Publish && denial.subject.starts_with("_INBOX.") {
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
pub async fn check(
    client: &Client,
    events: &mut UnboundedReceiver<ConnectionEvent>,
    second: &Client,
    needs: &Needs,
) -> Result<(), AccessError> {
    let mut check = Check { client, events, second, needs, denials: BTreeSet::new(), rounds_left: rounds() };
    check.try_to_publish().await;
    check.barrier().await?;
    if check.denials.is_empty() && needs.replies > 0 {
        check.try_to_reply().await?;
    }
    if check.denials.is_empty() {
        return Ok(());
    }
    let mut tried = Vec::new();
    for subject in &needs.subscribes {
        tried.extend(check.subscribe(subject).await);
    }
    check.barrier().await?;
    Err(AccessError::Denied { role: needs.role, denials: check.denials.into_iter().collect() })
}

fn rounds() -> u128 {
    PROOF_LIMIT.as_millis() / AGAIN_AFTER.as_millis()
}

struct Check<'a> {
    client: &'a Client,
    events: &'a mut UnboundedReceiver<ConnectionEvent>,
    second: &'a Client,
    needs: &'a Needs,
    denials: BTreeSet<Denial>,
    rounds_left: u128,
}

impl Check<'_> {
    /// Publishes everything that the role publishes. Each is answered by nothing, or by a refusal before the barrier.
    async fn try_to_publish(&self) {
        for (subject, payload) in &self.needs.publishes {
            publish(self.client, subject, None, payload.clone()).await;
        }
        publish(self.client, &self.needs.own, None, Bytes::new()).await;
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
                event = self.events.recv() => match event {
                    Some(ConnectionEvent::Denied(denial)) => {
                        let is_answer = is_refused(&denial);
                        self.note(denial);
                        if is_answer {
                            break;
                        }
                    }
                    // What was on its way when the connection broke is gone.
                    Some(ConnectionEvent::Connected) => self.try_to_publish().await,
                    Some(_) => {}
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
        let mut replies = self.second.subscribe(inbox.clone()).await.map_err(|_| AccessError::Closed)?;
        let mut requests = self.subscribe(&self.needs.own).await.ok_or(AccessError::Closed)?;
        let mut seen = BTreeSet::new();
        let mut again = rounds_of();
        while seen.len() < self.needs.replies {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(ConnectionEvent::Denied(denial)) => {
                        let is_answer = denial.subject == inbox;
                        self.note(denial);
                        if is_answer {
                            break;
                        }
                    }
                    Some(_) => {}
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
            while let Ok(event) = self.events.try_recv() {
                if let ConnectionEvent::Denied(denial) = event {
                    self.note(denial);
                }
            }
        }
    }

    fn note(&mut self, denial: Denial) {
        // Programs that list services do not find it then.
        if denial.subject.starts_with("$SRV.") || self.needs.optional.contains(&denial.subject) {
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
    // What is not sent is not answered, and sent again.
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
