//! Requests and their replies over a few connections, many open on each.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::job::{Latency, Load, Outcome};
use super::pace::{Pacer, Schedule};
use super::workload::Workload;

/// Maximum time from the end of a measurement to the last answer.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(15);
/// Maximum open requests in an open loop; later ones wait, and their latency counts on.
const OPEN_MAX: usize = 32_768;
/// Beginning of a frontend's refusal.
const TOO_MANY: &str = "OVERLOADED";
/// The longest latency that is told, in nanoseconds.
pub(super) const LONGEST_NS: u64 = 60_000_000_000;

/// A connection and the inbox for all its replies: `_INBOX.….<slot>`.
pub(super) struct Connection {
    client: Client,
    inbox: String,
    replies: Subscriber,
}

impl Connection {
    /// Opens an inbox, and waits until the broker knows of it.
    pub(super) async fn open(client: Client) -> Result<Self> {
        let inbox = format!("{}.", client.new_inbox());
        let mut replies = client.subscribe(format!("{inbox}*")).await?;
        client.publish(format!("{inbox}ready"), Bytes::new()).await?;
        let ready = tokio::time::timeout(LAST_ANSWER, replies.next()).await;
        ready.ok().flatten().ok_or_else(|| anyhow!("the broker does not answer"))?;
        Ok(Self { client, inbox, replies })
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// Duration of a measurement, after its warm-up.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
}

impl Span {
    /// No time at all: nothing counts.
    pub(super) const NONE: Self = Self { warm_up: Duration::ZERO, measure: Duration::ZERO };
}

/// State that all connections share.
struct State<'a> {
    workload: &'a mut dyn Workload,
    is_open_loop: bool,
    /// Time at which the open request of each slot was made, or was to be made.
    since: Vec<Option<Instant>>,
    free: Vec<usize>,
    open: usize,
    counts_from: Instant,
    end: Instant,
    latency: Histogram<u64>,
    outcome: Outcome,
}

impl State<'_> {
    fn request(&mut self, slot: usize, since: Instant) -> (Subject, Bytes) {
        self.since[slot] = Some(since);
        self.open += 1;
        self.outcome.requests += 1;
        self.workload.request(slot)
    }

    /// Takes in a reply. Whether the slot had a request open.
    fn reply(&mut self, slot: usize, message: &Message, now: Instant) -> bool {
        let Some(since) = self.since.get_mut(slot).and_then(Option::take) else {
            return false; // too late, or twice: its request has been counted
        };
        self.open -= 1;
        self.outcome.answers_in_all += self.workload.operations();
        match self.workload.reply(slot, message) {
            Err(error) if self.is_open_loop && error.starts_with(TOO_MANY) => self.outcome.refused += 1,
            Err(error) => self.outcome.count_error(error),
            Ok(()) if self.counts_from <= now && now < self.end => {
                self.outcome.answers += self.workload.operations();
                let nanoseconds = u64::try_from(now.duration_since(since).as_nanos()).unwrap_or(LONGEST_NS);
                self.latency.saturating_record(nanoseconds);
            }
            Ok(()) => {}
        }
        true
    }

    /// Counts what was never answered.
    fn give_up(&mut self) {
        for slot in 0..self.since.len() {
            if self.since[slot].take().is_some() {
                self.workload.unanswered(slot);
                if self.is_open_loop {
                    self.outcome.refused += 1;
                    continue;
                }
                self.outcome.count_error(format!("not answered within {} s after the end", LAST_ANSWER.as_secs()));
            }
        }
    }
}

/// Asks over these connections for the time of `span`, and tells what came back.
pub(super) async fn run(
    connections: Vec<Connection>,
    workload: &mut dyn Workload,
    load: Load,
    span: Span,
    seed: u64,
) -> Result<Outcome> {
    let begun = Instant::now();
    let counts_from = begun + span.warm_up;
    let slots = match load {
        Load::Closed { in_flight } => in_flight,
        Load::Open { .. } => OPEN_MAX,
    };
    let state = RefCell::new(State {
        workload,
        is_open_loop: matches!(load, Load::Open { .. }),
        since: vec![None; slots],
        free: (0..slots).rev().collect(),
        open: 0,
        counts_from,
        end: counts_from + span.measure,
        latency: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
        outcome: Outcome { seconds: span.measure.as_secs_f64(), ..Outcome::default() },
    });
    let ended = match load {
        Load::Closed { in_flight } => closed(connections, &state, in_flight).await,
        Load::Open { per_second } => open(connections, &state, per_second, seed).await,
    };
    ended?;
    let mut state = state.borrow_mut();
    state.give_up();
    let mut outcome = std::mem::take(&mut state.outcome);
    outcome.latency = Latency::of(&state.latency);
    state.workload.tell(&mut outcome);
    Ok(outcome)
}

/// Each answer makes the next request.
async fn closed(connections: Vec<Connection>, state: &RefCell<State<'_>>, in_flight: usize) -> Result<()> {
    let count = connections.len().max(1);
    let serving = connections.into_iter().enumerate().map(|(n, mut connection)| async move {
        let slots: Vec<usize> = (n..in_flight).step_by(count).collect();
        let inboxes: Vec<Subject> = slots.iter().map(|slot| format!("{}{slot}", connection.inbox).into()).collect();
        for (slot, inbox) in slots.iter().zip(&inboxes) {
            let (subject, payload) = state.borrow_mut().request(*slot, Instant::now());
            connection.client.publish_with_reply(subject, inbox.clone(), payload).await?;
        }
        let mut open = slots.len();
        while open > 0 {
            let message = connection.replies.next().await.ok_or_else(closed_connection)?;
            let Some(slot) = slot_of(&message, &connection.inbox) else { continue };
            let now = Instant::now();
            let next = {
                let mut state = state.borrow_mut();
                if !state.reply(slot, &message, now) {
                    continue;
                }
                (now < state.end).then(|| state.request(slot, now))
            };
            match next {
                Some((subject, payload)) => {
                    let inbox = inboxes[slot / count].clone();
                    connection.client.publish_with_reply(subject, inbox, payload).await?;
                }
                None => open -= 1,
            }
        }
        Ok::<(), anyhow::Error>(())
    });
    let deadline = state.borrow().end + LAST_ANSWER;
    let all = serving.collect::<FuturesUnordered<_>>().try_collect::<()>();
    // The caller counts requests that have no answer by then.
    tokio::time::timeout_at(deadline.into(), all).await.unwrap_or(Ok(()))
}

/// The clock makes the next request.
async fn open(connections: Vec<Connection>, state: &RefCell<State<'_>>, per_second: f64, seed: u64) -> Result<()> {
    let (begun, end) = (Instant::now(), state.borrow().end);
    let answered = Notify::new();
    let senders: Vec<(Client, String)> = connections.iter().map(|c| (c.client.clone(), c.inbox.clone())).collect();
    let receiving = connections.into_iter().map(|mut connection| {
        let answered = &answered;
        async move {
            loop {
                let message = connection.replies.next().await.ok_or_else(closed_connection)?;
                let Some(slot) = slot_of(&message, &connection.inbox) else { continue };
                let mut state = state.borrow_mut();
                if state.reply(slot, &message, Instant::now()) {
                    state.free.push(slot);
                    answered.notify_one();
                }
            }
        }
    });
    let receiving = receiving.collect::<FuturesUnordered<_>>().try_collect::<()>();
    let sending = async {
        let pacer = Pacer::start(Schedule::new(begun, per_second, seed));
        let mut schedule = Schedule::new(begun, per_second, seed);
        let mut inboxes: Vec<Option<Subject>> = vec![None; OPEN_MAX];
        while schedule.next() < end {
            pacer.woken().await;
            while let Some(due) = schedule.due(Instant::now()).filter(|due| *due < end) {
                let slot = loop {
                    // Not in the condition of a match, where the state would stay borrowed while others need it.
                    let free = state.borrow_mut().free.pop();
                    match free {
                        Some(slot) => break slot,
                        None => answered.notified().await,
                    }
                };
                let (client, inbox) = &senders[slot % senders.len()];
                let inbox = inboxes[slot].get_or_insert_with(|| format!("{inbox}{slot}").into()).clone();
                let (subject, payload) = state.borrow_mut().request(slot, due);
                client.publish_with_reply(subject, inbox, payload).await?;
            }
        }
        while state.borrow().open > 0 {
            answered.notified().await;
        }
        Ok::<(), anyhow::Error>(())
    };
    let both = async {
        tokio::select! {
            ended = sending => ended,
            ended = receiving => ended,
        }
    };
    tokio::time::timeout_at((end + LAST_ANSWER).into(), both).await.unwrap_or(Ok(()))
}

fn closed_connection() -> anyhow::Error {
    anyhow!("the connection is closed")
}

fn slot_of(message: &Message, inbox: &str) -> Option<usize> {
    message.subject.as_str().get(inbox.len()..)?.parse().ok()
}
