//! Two connections of one process at different servers, and a task that keeps both on the side of most servers.
//!
//! The decisions are those of [`super::split`]. A server that is cut off from the others, or frozen, is left within about a
//! second. Messages of a check go to `<prefix>.proof.<id>`, which every role may publish and subscribe to.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Message, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::ConnectError;
use super::siblings::Siblings;
use super::split::{Findings, Verdict, Watch};
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
/// Pause before a check connects to the next server, so that servers do not get all at once.
const STAGGER: Duration = Duration::from_millis(10);
/// Time for the connections of a check.
const CONNECT_MAX: Duration = Duration::from_millis(300);
/// Time for a message to arrive.
const HEAR_MAX: Duration = Duration::from_millis(150);
/// Interval at which the message is published again: it may be lost where a server has just heard of a subscription.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Silence of a connection, after which one that brought nothing may have a frozen server. Each idle one has brought a PONG.
const SILENT_AFTER: Duration = Duration::from_millis(850);
/// A check that takes longer than this was held up with the whole process, and proves nothing.
const CHECK_MAX: Duration = Duration::from_millis(1200);
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
struct Shared {
    plan: PairPlan,
    siblings: Siblings,
    target: Target,
    /// Options of the short-lived connections of checks.
    probe: ConnectOptions,
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
    fn client(&self, connection: usize) -> &Client {
        &self.plan.connections[connection].1
    }

    fn name(&self, connection: usize) -> &str {
        &self.plan.connections[connection].0
    }

    fn in_bytes(&self) -> [u64; 2] {
        [0, 1].map(|n| self.client(n).statistics().in_bytes.load(Ordering::Relaxed))
    }

    fn are_connected(&self) -> bool {
        [0, 1].iter().all(|n| self.client(*n).connection_state() == State::Connected)
    }

    async fn subscribe(&self, connection: usize, subject: &str) -> Option<Subscriber> {
        within(COMMAND_TIMEOUT, self.client(connection).subscribe(subject.to_owned())).await.ok()?.ok()
    }

    /// Whether a message through the server at `address` arrives at this connection.
    async fn is_reached(&self, connection: usize, address: &ServerAddr) -> bool {
        let Some(mut heard) = self.subscribe(connection, &self.plan.proof).await else { return false };
        let Ok(Ok(probe)) = timeout(CONNECT_MAX, self.probe.clone().connect(address.clone())).await else {
            return false;
        };
        let token = fastrand::u64(..);
        publish(&probe, &self.plan.proof, payload(token, 0)).await;
        let arrives = async {
            while let Some(message) = heard.next().await {
                if read(token, &message).is_some() {
                    return true;
                }
            }
            false
        };
        timeout(CONNECT_MAX, arrives).await.unwrap_or(false)
    }

    /// Publishes a message through each server, and finds out which connections hear it. `quiet_since` is the time of the
    /// last sign of the first connection, and the bytes that both had brought by then.
    async fn check(&self, quiet_since: (Instant, [u64; 2])) -> Option<(Findings, Vec<ServerAddr>)> {
        let begun = Instant::now();
        let (Some(mut first), Some(mut second)) =
            (self.subscribe(0, &self.plan.proof).await, self.subscribe(1, &self.plan.proof).await)
        else {
            return None;
        };
        let addresses = self.siblings.known_beside(self.target.addresses());
        let mut heard = vec![[false; 2]; addresses.len()];
        let mut probes: Vec<Option<Client>> = vec![None; addresses.len()];
        let mut connecting = JoinSet::new();
        for (n, address) in addresses.iter().cloned().enumerate() {
            let (options, pause) = (self.probe.clone(), STAGGER * n as u32);
            connecting.spawn(async move {
                sleep(pause).await;
                (n, timeout(CONNECT_MAX, options.connect(address)).await.ok().and_then(Result::ok))
            });
        }
        let token = fastrand::u64(..);
        let mut end = begun + CONNECT_MAX + HEAR_MAX;
        let mut again = interval(AGAIN_AFTER);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(message) = first.next() => note(&mut heard, 0, read(token, &message)),
                Some(message) = second.next() => note(&mut heard, 1, read(token, &message)),
                Some(connected) = connecting.join_next() => {
                    if let Ok((n, Some(probe))) = connected {
                        publish(&probe, &self.plan.proof, payload(token, n)).await;
                        probes[n] = Some(probe);
                    }
                    if connecting.is_empty() {
                        end = end.min(Instant::now() + HEAR_MAX);
                    }
                }
                _ = again.tick() => {
                    for (n, probe) in probes.iter().enumerate() {
                        if let Some(probe) = probe {
                            publish(probe, &self.plan.proof, payload(token, n)).await;
                        }
                    }
                }
                // A silent connection has the time in which an idle one brings something.
                () = sleep_until(end) => {
                    let is_early = Instant::now() < quiet_since.0 + SILENT_AFTER;
                    let bytes = self.in_bytes();
                    if is_early && (0..2).any(|n| bytes[n] == quiet_since.1[n]) {
                        end = quiet_since.0 + SILENT_AFTER;
                    } else {
                        break;
                    }
                }
            }
            if connecting.is_empty()
                && heard.iter().zip(&probes).all(|(heard, probe)| probe.is_none() || *heard == [true; 2])
            {
                break;
            }
        }
        if begun.elapsed() > CHECK_MAX {
            return None;
        }
        let bytes = self.in_bytes();
        let silent = [0, 1].map(|n| bytes[n] == quiet_since.1[n]);
        Some(self.findings(&addresses, &probes, &heard, silent))
    }

    /// One server may have several addresses.
    fn findings(
        &self,
        addresses: &[ServerAddr],
        probes: &[Option<Client>],
        heard: &[[bool; 2]],
        silent: [bool; 2],
    ) -> (Findings, Vec<ServerAddr>) {
        let (mut ids, mut servers) = (Vec::<String>::new(), Vec::new());
        let mut findings = Findings { silent, ..Findings::default() };
        for ((address, probe), heard) in addresses.iter().zip(probes).zip(heard) {
            let Some(probe) = probe else { continue };
            let id = probe.server_info().server_id;
            match ids.iter().position(|known| *known == id) {
                Some(n) => [0, 1].iter().for_each(|c| findings.heard[n][*c] |= heard[*c]),
                None => {
                    ids.push(id);
                    servers.push(address.clone());
                    findings.heard.push(*heard);
                }
            }
        }
        findings.own = [0, 1].map(|c| {
            let own = self.client(c).server_info().server_id;
            ids.iter().position(|id| *id == own)
        });
        (findings, servers)
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
        watch.checked(now);
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

async fn publish(client: &Client, subject: &str, payload: Bytes) {
    // One that is not sent is published again.
    let _ = within(COMMAND_TIMEOUT, client.publish(subject.to_owned(), payload)).await;
}

/// Message of a check, through the server with this number.
fn payload(token: u64, server: usize) -> Bytes {
    format!("{token:016x} {server}").into()
}

/// The number of the server, if it is a message of this check.
fn read(token: u64, message: &Message) -> Option<usize> {
    let (read, server) = std::str::from_utf8(&message.payload).ok()?.split_once(' ')?;
    (read == format!("{token:016x}")).then(|| server.parse().ok())?
}

fn note(heard: &mut [[bool; 2]], connection: usize, server: Option<usize>) {
    if let Some(heard) = server.and_then(|server| heard.get_mut(server)) {
        heard[connection] = true;
    }
}
