//! Convergence lag: how long after its acknowledgement an update is readable at every replica manager.
//!
//! While updates are made at a rate, some of those that are acknowledged are looked for everywhere: each replica manager is
//! asked a query again and again, one at a time, until the value timestamp in its answer covers the update's label. The
//! query's own `prev` is empty, so that asking changes nothing: nobody waits for, or pulls, or believes anything because of
//! it. The lag counts until the answer that shows the update has arrived at the last replica manager, so it has a round
//! trip in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use natter_common::edge::RatingReply;
use natter_common::ids::ReplicaId;
use natter_common::subjects::Subjects;
use natter_common::timestamp::Timestamp;
use natter_common::wire::Format;
use tokio::sync::Notify;

use super::exchange::{Connection, Span, run};
use super::job::{ConvergenceJob, Lag, Latency, Load, Outcome};
use super::memory::{Memory, connect, subjects_of};
use super::natter::Natter;
use super::question::Question;
use super::workload::Workload;

/// Number of updates that are looked for in a second, about.
const SAMPLES_PER_SECOND: f64 = 200.0;
/// Maximum time until an update is readable everywhere; a longer time is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest lag that is told, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// An update that was acknowledged.
struct Sample {
    acknowledged: Instant,
    not_yet_at: usize,
    readable: Option<Instant>,
}

/// The updates that are looked for.
struct Watch {
    samples: Vec<Sample>,
    /// Samples that each replica has not shown yet: their numbers, and the timestamps that they need.
    waiting: Vec<VecDeque<(usize, Timestamp)>>,
}

/// Updates, some of which are watched once they are acknowledged.
struct Watched<'a> {
    updates: Natter,
    watch: &'a RefCell<Watch>,
    news: &'a Notify,
    counts_from: Instant,
    each: u64,
    seen: u64,
}

impl Workload for Watched<'_> {
    fn request(&mut self, slot: usize) -> (Subject, Bytes) {
        self.updates.request(slot)
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        let acknowledged = Instant::now();
        self.updates.reply(slot, message)?;
        self.seen += 1;
        if acknowledged < self.counts_from || !self.seen.is_multiple_of(self.each) {
            return Ok(());
        }
        let reply: RatingReply = Format::MessagePack.decode(&message.payload).map_err(|error| error.to_string())?;
        let mut watch = self.watch.borrow_mut();
        let number = watch.samples.len();
        let not_yet_at = watch.waiting.len();
        watch.samples.push(Sample { acknowledged, not_yet_at, readable: None });
        for waiting in &mut watch.waiting {
            waiting.push_back((number, reply.label.replicas.clone()));
        }
        self.news.notify_waiters();
        Ok(())
    }

    fn unanswered(&mut self, slot: usize) {
        self.updates.unanswered(slot);
    }

    fn tell(&self, outcome: &mut Outcome) {
        self.updates.tell(outcome);
    }
}

/// Does it.
pub(super) async fn measure(memory: &mut Memory, job: &ConvergenceJob) -> Result<Lag> {
    let subjects = subjects_of(&job.prefix)?;
    let client = connect(&job.server).await?;
    let mut connections = Vec::new();
    while connections.len() < job.connections {
        connections.push(Connection::open(connect(&job.server).await?).await?);
    }
    let span = Span { warm_up: Duration::from_millis(job.warm_up_ms), measure: Duration::from_millis(job.measure_ms) };
    let keys = memory.ratings(&client, &subjects, job.users, job.keys).await?;
    let watch = RefCell::new(Watch { samples: Vec::new(), waiting: vec![VecDeque::new(); job.replicas.len()] });
    let (news, shown) = (Notify::new(), Notify::new());
    let mut watched = Watched {
        updates: Natter::new(&subjects, keys, 0, false, job.seed),
        watch: &watch,
        news: &news,
        counts_from: Instant::now() + span.warm_up,
        each: ((job.per_second / SAMPLES_PER_SECOND) as u64).max(1),
        seen: 0,
    };
    let watching = job.replicas.iter().enumerate();
    let watching = watching.map(|(n, replica)| look(&client, &subjects, replica, n, &watch, (&news, &shown)));
    let watching = watching.collect::<FuturesUnordered<_>>().try_collect::<()>();
    let asking = async {
        let load = Load::Open { per_second: job.per_second };
        let outcome = run(connections, &mut watched, load, span, job.seed).await?;
        let all = async {
            loop {
                let told = shown.notified();
                if watch.borrow().waiting.iter().all(VecDeque::is_empty) {
                    break;
                }
                told.await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.context("updates that were acknowledged did not show everywhere")?;
        Ok(outcome)
    };
    let updates = tokio::select! {
        updates = asking => updates,
        ended = watching => Err(ended.err().unwrap_or_else(|| anyhow!("nobody to watch"))),
    };
    memory.keep_ratings(&client, &subjects, watched.updates.into_keys());
    summary(&watch.into_inner(), updates?)
}

fn summary(watch: &Watch, updates: Outcome) -> Result<Lag> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3)?;
    for sample in &watch.samples {
        let readable = sample.readable.context("a sample that is not readable everywhere")?;
        let lag = readable.saturating_duration_since(sample.acknowledged).as_nanos();
        histogram.saturating_record(u64::try_from(lag).unwrap_or(LONGEST_NS).max(1));
    }
    Ok(Lag { lag: Latency::of(&histogram), samples: watch.samples.len() as u64, updates })
}

/// Asks a replica manager what it shows, as long as something is awaited from it. Ends only with an error.
async fn look(
    client: &Client,
    subjects: &Subjects,
    replica: &ReplicaId,
    number: usize,
    watch: &RefCell<Watch>,
    (news, seen): (&Notify, &Notify),
) -> Result<()> {
    let question = Question::to(subjects, replica)?;
    loop {
        let is_idle = || watch.borrow().waiting[number].is_empty();
        let told = news.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if is_idle() {
            told.await;
            continue;
        }
        let shown = question.ask(client).await.with_context(|| format!("replica {replica}"))?;
        let now = Instant::now();
        let Watch { samples, waiting } = &mut *watch.borrow_mut();
        waiting[number].retain(|(sample, needed)| {
            let is_shown = shown.covers(needed);
            if is_shown {
                let sample = &mut samples[*sample];
                sample.not_yet_at -= 1;
                sample.readable = (sample.not_yet_at == 0).then_some(now);
            }
            !is_shown
        });
        seen.notify_one();
    }
}
