//! Section `guarantees`: the same sessions on Natter and on JetStream KV, without a fault and while a node fails.
//!
//! - [`plan`]: systems, faults, and the runs that are made of both
//! - [`nodes`]: three nodes of a system, and what is done to one of them
//! - [`endpoint`]: a connection to one node
//! - [`store`]: one attempt of one operation at one node, with [`natter`] and [`kv`]
//! - [`session`]: operations of a session, and its retries: the same code for all systems
//! - [`ending`]: all keys, read at every node when the sessions have ended
//! - [`judge`]: the verdict of the history checker, in figures

mod ending;
mod endpoint;
pub(crate) mod judge;
mod kv;
mod natter;
mod nodes;
pub(crate) mod plan;
mod session;
mod store;

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{join, join_all, try_join_all};
use natter_simulation::history::Recorder;
use tokio::time::sleep;

use crate::bench::Bench;
use crate::progress::tell;
use crate::section::Section;
use endpoint::Endpoint;
use judge::{Judged, Tally};
use nodes::Nodes;
use plan::{Fault, Plan};
use session::Worker;
use store::Store;

/// Number of sessions, each of which does one operation after the other.
const SESSIONS: usize = 8;
/// Number of keys that one session writes. As many more are written by all sessions. Few keys make reads meet writes.
const KEYS_EACH: usize = 8;

/// Runs each plan that is asked for, in turn.
pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    for round in 1..=bench.arguments.rounds(Section::Guarantees) {
        for plan in plan::wanted(&bench.arguments) {
            let judged = run(bench, plan, round).await;
            let judged = judged.with_context(|| format!("{}/{}", Section::Guarantees.name(), plan.name()))?;
            bench.progress.done(&judged.told(), bench.each(Section::Guarantees));
            for example in &judged.examples {
                tell(&format!("    {example}"));
            }
            bench.results.guarantees.push(judged);
        }
    }
    Ok(())
}

async fn run(bench: &Bench, plan: Plan, round: u32) -> Result<Judged> {
    let mut nodes = Nodes::start(bench, plan.system).await?;
    let ended = observe(bench, plan, round, &mut nodes).await;
    nodes.stop().await;
    ended
}

/// Runs the sessions, does the fault meanwhile, and judges what the sessions saw.
async fn observe(bench: &Bench, plan: Plan, round: u32, nodes: &mut Nodes) -> Result<Judged> {
    let endpoints: Vec<Endpoint> = try_join_all(nodes.urls().iter().map(|url| Endpoint::connect(url))).await?;
    let store = Store::open(plan.system, nodes, &endpoints).await?;
    let recorder = Recorder::new(store.initial().to_vec());
    let (is_over, tally) = (Cell::new(false), Tally::default());
    let worker = |n| Worker::new(n, u64::from(round), &store, &endpoints, &recorder, &tally);
    let working = join_all((0..SESSIONS).map(|n| worker(n).run(&is_over)));
    let time = bench.arguments.measure(Section::Guarantees);
    let faulting = async {
        let node = inflict(plan.fault, time, nodes).await;
        is_over.set(true);
        node
    };
    let (seen, killed) = join(working, faulting).await;
    let alive: Vec<(usize, &Endpoint)> = endpoints.iter().enumerate().filter(|(n, _)| Some(*n) != killed).collect();
    let finals = ending::read(&store, &alive, seen).await;
    let is_read_back = !finals.is_empty();
    finals.into_iter().for_each(|state| recorder.quiet(state));
    let history = recorder.history();
    // It takes a while; the broker's connections must be served meanwhile.
    let verdict = tokio::task::spawn_blocking(move || judge::Verdict::of(&history)).await?;
    Ok(Judged::new(plan, round, verdict, tally, is_read_back))
}

/// Does the fault in the time of the sessions, and returns the number of the node that is gone at the end.
async fn inflict(fault: Fault, time: Duration, nodes: &mut Nodes) -> Option<usize> {
    let (fifth, node) = (time / 5, nodes.victim());
    match fault {
        Fault::None => sleep(time).await,
        Fault::Kill => {
            sleep(fifth).await;
            nodes.kill(node);
            sleep(time - fifth).await;
            return Some(node);
        }
        Fault::Stop => {
            sleep(fifth).await;
            nodes.pause(node);
            sleep(3 * fifth).await;
            nodes.resume(node);
            sleep(fifth).await;
        }
    }
    None
}
