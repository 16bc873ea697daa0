//! The load generator's end of the pipes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::{Client, ConnectOptions};
use natter_common::subjects::Subjects;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::batch::{Batch, applied_everywhere};
use super::exchange::{Connection, Span, run};
use super::job::{Answer, Job, Load, Order, Outcome, Target};
use super::keys::Keys;
use super::kv::{Kv, Versions};
use super::natter::{Natter, find_keys};
use super::raw::Raw;
use super::{convergence, kv, requests};
use crate::block_on;

/// Does what lines on standard input say, until it ends.
pub(crate) fn main() -> ExitCode {
    block_on("load", obey())
}

async fn obey() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut memory = Memory::default();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Order::Measure(job) => answer(until_orphaned(&mut lines, measure(&mut memory, &job)).await)?,
            Order::Converge(job) => answer(until_orphaned(&mut lines, convergence::measure(&mut memory, &job)).await)?,
        }
    }
    Ok(())
}

/// Does the work, unless standard input ends meanwhile: then nobody wants to know.
async fn until_orphaned<T>(lines: &mut Lines<BufReader<Stdin>>, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        _ = lines.next_line() => Err(anyhow!("interrupted")),
    }
}

fn answer<T: Serialize>(done: Result<T>) -> Result<()> {
    let answer = match done {
        Ok(told) => Answer::Done(told),
        Err(error) => Answer::Failed(format!("{error:#}")),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).context("nobody listens")
}

/// What is known of the subjects from one measurement to the next.
#[derive(Default)]
pub(super) struct Memory {
    ratings: BTreeMap<String, Keys>,
    versions: BTreeMap<String, Versions>,
}

impl Memory {
    /// The ratings of a cluster, which are asked for at first.
    pub(super) async fn ratings(
        &mut self,
        client: &Client,
        subjects: &Subjects,
        users: u32,
        count: usize,
    ) -> Result<Keys> {
        match self.ratings.remove(&place(client, subjects.prefix())) {
            Some(keys) => Ok(keys),
            None => find_keys(client, subjects, users, count).await,
        }
    }

    /// Remembers them.
    pub(super) fn keep_ratings(&mut self, client: &Client, subjects: &Subjects, keys: Keys) {
        self.ratings.insert(place(client, subjects.prefix()), keys);
    }

    /// What is known of a bucket's keys, which are all put at first.
    async fn versions(&mut self, client: &Client, bucket: &str, keys: u32, bytes: usize) -> Result<Versions> {
        match self.versions.remove(&place(client, bucket)) {
            Some(versions) => Ok(versions),
            None => kv::fill(client, bucket, keys, bytes).await,
        }
    }
}

/// A name that differs from broker to broker.
fn place(client: &Client, name: &str) -> String {
    format!("{}/{name}", client.server_info().server_id)
}

/// Opens a connection to the broker.
pub(super) async fn connect(server: &str) -> Result<Client> {
    let options = ConnectOptions::new().name("bench-load").connection_timeout(Duration::from_secs(5));
    options.connect(server).await.with_context(|| format!("no broker at {server}"))
}

/// A cluster's subjects.
pub(super) fn subjects_of(prefix: &str) -> Result<Subjects> {
    Subjects::new(prefix).ok_or_else(|| anyhow!("{prefix:?} is no prefix"))
}

async fn measure(memory: &mut Memory, job: &Job) -> Result<Outcome> {
    let most = match job.load {
        Load::Closed { in_flight } => in_flight,
        Load::Open { .. } => job.connections,
    };
    let mut connections = Vec::new();
    let client = connect(&job.server).await?;
    connections.push(Connection::open(client.clone()).await?);
    while connections.len() < job.connections.min(most) {
        connections.push(Connection::open(connect(&job.server).await?).await?);
    }
    let span = Span { warm_up: Duration::from_millis(job.warm_up_ms), measure: Duration::from_millis(job.measure_ms) };
    match &job.target {
        Target::Echo { subject, bytes } => {
            run(connections, &mut Raw::new(subject, *bytes), job.load, span, job.seed).await
        }
        Target::Requests { subject, bytes } => {
            let clients: Vec<Client> = connections.iter().map(|connection| connection.client().clone()).collect();
            requests::run(&clients, &mut Raw::new(subject, *bytes), most, span).await
        }
        Target::Natter { prefix, reads_percent, users, keys, exact } => {
            let subjects = subjects_of(prefix)?;
            let keys = memory.ratings(&client, &subjects, *users, *keys).await?;
            let mut natter = Natter::new(&subjects, keys, *reads_percent, *exact, job.seed);
            let mut outcome = run(connections, &mut natter, job.load, span, job.seed).await;
            if let Ok(outcome) = &mut outcome {
                natter.check_sessions(&client, &subjects, outcome).await?;
            }
            memory.keep_ratings(&client, &subjects, natter.into_keys());
            outcome
        }
        Target::Batch { prefix, size, users, keys, replicas } => {
            let subjects = subjects_of(prefix)?;
            let keys = memory.ratings(&client, &subjects, *users, *keys).await?;
            let mut batch = Batch::new(&subjects, keys, *size, job.seed);
            let mut outcome = run(connections, &mut batch, job.load, span, job.seed).await;
            if let Ok(outcome) = &mut outcome {
                let more = applied_everywhere(&client, &subjects, replicas, batch.seen()).await?;
                outcome.seconds += more.as_secs_f64();
            }
            memory.keep_ratings(&client, &subjects, batch.into_keys());
            outcome
        }
        Target::Kv { bucket, operation, keys, bytes, exact } => {
            let versions = memory.versions(&client, bucket, *keys, *bytes).await?;
            let mut kv = Kv::new(bucket, *operation, *exact, versions, *bytes, job.seed);
            let outcome = run(connections, &mut kv, job.load, span, job.seed).await;
            memory.versions.insert(place(&client, bucket), kv.into_versions());
            outcome
        }
    }
}
