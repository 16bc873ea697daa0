//! Two connections of one process at different servers, and a task that keeps both on the side of most servers.
//!
//! The decisions are those of `split`, with the findings of `check`. A server that is cut off from the others, or frozen, is
//! left within about a second. Messages of a check go to `<prefix>.proof.<id>`, which every role may publish and subscribe to.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Message, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use super::ConnectError;
use super::check::CONNECT_MAX;
use super::siblings::Siblings;
use super::split::{Verdict, Watch};
use crate::environment::Environment;
use crate::options::BrokerOptions;
use crate::publisher::within;
use crate::secrets::without_secrets;
use crate::target::Target;

/// Interval at which time passes.
const TICK: Duration = Duration::from_millis(50);
/// Interval of the messages that the first connection publishes for the second one alone.
const BEAT_EVERY: Duration = Duration::from_millis(200);
/// Silence of those after which a check is due: two are missing.
const BEAT_MISSED_AFTER: Duration = Duration::from_millis(500);
/// Time that a presence message may be late.
const LATE_MAX: Duration = Duration::from_millis(250);
/// Time for a command to a connection.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause between two tries to reach a server that was left.
const REACH_PAUSE: Duration = Duration::from_secs(1);

/// Messages that go from the first connection to the second one.
#[derive(Clone, Debug)]
pub enum Sign {
    /// The process shows itself on this subject, at most this long after the last time.
    Presence(String, Duration),
    /// An inbox of this process. Empty messages are published there for the second connection.
    Inbox(String),
}

/// Two connections of one process, with their names.
#[derive(Clone, Debug)]
pub struct PairPlan {
    /// The connections. The first one publishes the signs, the second one hears them.
    pub connections: [(String, Client); 2],
    /// The signs.
    pub sign: Sign,
    /// A subject of this process alone, which its user may publish and subscribe.
    pub proof: String,
}

/// The two connections while they are looked after. Ends when it is dropped; the connections stay.
#[derive(Debug)]
pub struct Pair {
    shared: Arc<Shared>,
    departures: UnboundedReceiver<Departure>,
    task: JoinHandle<()>,
}

/// A connection left a server that is cut off, or frozen.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The connection: 0 or 1.
    pub connection: usize,
    /// The address that it left.
    pub left: Option<ServerAddr>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: PairPlan,
    pub(super) siblings: Siblings,
    pub(super) target: Target,
    /// Options of the short-lived connections of checks.
    pub(super) probe: ConnectOptions,
    is_whole: AtomicBool,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pair {
    /// Looks after two connections from now on. `None` where there is one server only.
    ///
    /// # Errors
    ///
    /// The options name no broker.
    pub fn start(broker: &BrokerOptions, siblings: &Siblings, plan: PairPlan) -> Result<Option<Self>, ConnectError> {
        if !siblings.have_a_choice() {
            return Ok(None);
        }
        let target = Target::resolve(broker, &Environment::of_process())?;
        let name = format!("{}-probe", plan.connections[0].0);
        let probe = target.connect_options()?.name(name).no_echo().connection_timeout(CONNECT_MAX);
        let is_whole = AtomicBool::new(false);
        let shared = Arc::new(Shared { plan, siblings: siblings.clone(), target, probe, is_whole });
        let (sender, departures) = unbounded_channel();
        let task = tokio::spawn(look_after(Arc::clone(&shared), sender));
        Ok(Some(Self { shared, departures, task }))
    }

    /// The second connection.
    pub fn second(&self) -> &Client {
        self.shared.client(1)
    }

    /// Whether messages of the first connection arrive at the second one.
    pub fn is_whole(&self) -> bool {
        self.shared.is_whole.load(Ordering::Relaxed)
    }

    /// The next departure that was not asked for before.
    pub fn next_departure(&mut self) -> Option<Departure> {
        self.departures.try_recv().ok()
    }

    /// Waits until a message through the server that was left arrives again where the connection is now.
    pub fn until_reached(&self, departure: Departure) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let Some(address) = departure.left else { return pending().await };
            loop {
                sleep(REACH_PAUSE).await;
                if shared.is_reached(departure.connection, &address).await {
                    return;
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn client(&self, connection: usize) -> &Client {
        &self.plan.connections[connection].1
    }

    fn name(&self, connection: usize) -> &str {
        &self.plan.connections[connection].0
    }

    pub(super) fn in_bytes(&self) -> [u64; 2] {
        [0, 1].map(|n| self.client(n).statistics().in_bytes.load(Ordering::Relaxed))
    }

    fn are_connected(&self) -> bool {
        [0, 1].iter().all(|n| self.client(*n).connection_state() == State::Connected)
    }

    pub(super) async fn subscribe(&self, connection: usize, subject: &str) -> Option<Subscriber> {
        within(COMMAND_TIMEOUT, self.client(connection).subscribe(subject.to_owned())).await.ok()?.ok()
    }

    /// Has a connection go to the other side.
    async fn depart(&self, verdict: &Verdict, servers: &[ServerAddr]) -> Departure {
        let (connection, name) = (verdict.connection, self.name(verdict.connection));
        let left = self.siblings.seat(name);
        let to: Vec<ServerAddr> = verdict.to.iter().map(|n| servers[*n].clone()).collect();
        let listed: Vec<String> = to.iter().map(|address| without_secrets(address.as_url_str())).collect();
        warn!(
            connection = name,
            from = left.as_ref().map(|address| without_secrets(address.as_url_str())),
            to = listed.join(" or "),
            hears = verdict.counts[connection],
            other_hears = verdict.counts[1 - connection],
            "its server is apart from most servers of the broker, or frozen: goes to another one"
        );
        self.siblings.prefer(name, to);
        let _ = within(COMMAND_TIMEOUT, self.client(connection).force_reconnect()).await;
        Departure { connection, left }
    }
}

/// Looks after the two connections for ever.
async fn look_after(shared: Arc<Shared>, departures: UnboundedSender<Departure>) {
    let (subject, missed_after, beats) = match &shared.plan.sign {
        Sign::Presence(subject, every) => (subject.clone(), *every + LATE_MAX, false),
        Sign::Inbox(subject) => (subject.clone(), BEAT_MISSED_AFTER, true),
    };
    let mut watch = Watch::start(missed_after, Instant::now());
    let mut signs = shared.subscribe(1, &subject).await;
    let mut has_heard = false;
    let mut quiet_since = (Instant::now(), shared.in_bytes());
    let mut beaten = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(_) = next(&mut signs) => {
                has_heard = true;
                let now = Instant::now();
                watch.heard(now);
                quiet_since = (now, shared.in_bytes());
                shared.is_whole.store(true, Ordering::Relaxed);
                continue;
            }
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        if beats && now - beaten >= BEAT_EVERY {
            beaten = now;
            publish(shared.client(0), &subject, Bytes::new()).await;
        }
        let are_connected = shared.are_connected();
        if !are_connected {
            quiet_since = (now, shared.in_bytes());
        }
        let is_due = watch.tick(are_connected, now);
        shared.is_whole.store(has_heard && watch.is_whole(now), Ordering::Relaxed);
        if !is_due {
            continue;
        }
        let checked = shared.check(quiet_since).await;
        let now = Instant::now();
        watch.checked(checked.as_ref().is_some_and(|(findings, _)| findings.are_complete()), now);
        let Some((findings, servers)) = checked else { continue };
        let verdict = findings.verdict();
        debug!(connection = shared.name(0), ?findings, ?verdict, "checked which servers of the broker are together");
        if let Some(verdict) = verdict {
            let departure = shared.depart(&verdict, &servers).await;
            let _ = departures.send(departure);
            watch.begin_anew(Instant::now());
        } else if findings.are_whole() {
            if beats && !has_heard {
                debug!(
                    connection = shared.name(0),
                    "the broker does not pass messages to our own inbox: no more checks"
                );
                return;
            }
            // The broker may have taken the subscription away.
            signs = shared.subscribe(1, &subject).await;
        }
    }
}

async fn next(messages: &mut Option<Subscriber>) -> Option<Message> {
    match messages {
        Some(messages) => messages.next().await,
        None => pending().await,
    }
}

pub(super) async fn publish(client: &Client, subject: &str, payload: Bytes) {
    // One that is not sent is published again.
    let _ = within(COMMAND_TIMEOUT, client.publish(subject.to_owned(), payload)).await;
}
