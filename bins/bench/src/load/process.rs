//! The load generator's end of the pipes.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::Client;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::batch::{Batch, applied_everywhere};
use super::exchange::{Connection, Span, run};
use super::job::{Answer, Job, Load, Order, Outcome, Target};
use super::kv::Kv;
use super::memory::{Memory, connect, subjects_of};
use super::natter::Natter;
use super::raw::Raw;
use super::{convergence, requests, valkey};
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
            Order::Prepare(job) => answer(until_orphaned(&mut lines, prepare(&mut memory, &job)).await)?,
            Order::Measure(job) => answer(until_orphaned(&mut lines, measure(&mut memory, &job)).await)?,
            Order::Converge(job) => answer(until_orphaned(&mut lines, convergence::measure(&mut memory, &job)).await)?,
        }
    }
    Ok(())
}

/// Does the work, unless standard input ends meanwhile: then no process waits for the result.
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

async fn prepare(memory: &mut Memory, job: &Job) -> Result<()> {
    if let Target::Valkey { keys, bytes, .. } = job.target {
        return memory.valkey(&job.server, keys, bytes).await.map(|_| ());
    }
    let client = connect(&job.server).await?;
    match &job.target {
        Target::Echo { .. } | Target::Requests { .. } | Target::Valkey { .. } => {}
        Target::Natter { prefix, users, keys, .. } | Target::Batch { prefix, users, keys, .. } => {
            let subjects = subjects_of(prefix)?;
            let keys = memory.ratings(&client, &subjects, *users, *keys).await?;
            memory.keep_ratings(&client, &subjects, keys);
        }
        Target::Kv { bucket, keys, bytes, .. } => {
            let versions = memory.versions(&client, bucket, *keys, *bytes).await?;
            memory.keep_versions(&client, bucket, versions);
        }
    }
    Ok(())
}

async fn measure(memory: &mut Memory, job: &Job) -> Result<Outcome> {
    let most = match job.load {
        Load::Closed { in_flight } => in_flight,
        Load::Open { .. } => job.connections,
    };
    let span = Span { warm_up: Duration::from_millis(job.warm_up_ms), measure: Duration::from_millis(job.measure_ms) };
    if let Target::Valkey { operation, keys, bytes } = job.target {
        let known = memory.valkey(&job.server, keys, bytes).await?;
        return valkey::run((&job.server, job.connections), operation, (known, bytes), most, span, job.seed).await;
    }
    let mut connections = Vec::new();
    let client = connect(&job.server).await?;
    connections.push(Connection::open(client.clone()).await?);
    while connections.len() < job.connections.min(most) {
        connections.push(Connection::open(connect(&job.server).await?).await?);
    }
    match &job.target {
        Target::Valkey { .. } => Err(anyhow!("Valkey has connections of its own")),
        Target::Echo { subject, bytes, reply_bytes, keys } => {
            let mut raw = Raw::new(subject, *bytes, *reply_bytes, *keys, job.seed);
            run(connections, &mut raw, job.load, span, job.seed).await
        }
        Target::Requests { subject, bytes, keys } => {
            let clients: Vec<Client> = connections.iter().map(|connection| connection.client().clone()).collect();
            requests::run(&clients, &mut Raw::new(subject, *bytes, None, *keys, job.seed), most, span).await
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
            let mut kv = Kv::new(*operation, *exact, versions, *bytes, job.seed);
            let outcome = run(connections, &mut kv, job.load, span, job.seed).await;
            memory.keep_versions(&client, bucket, kv.into_versions());
            outcome
        }
    }
}
