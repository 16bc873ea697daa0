//! What is measured in another way than by asking under a load.

use anyhow::{Context, Result};

use crate::arguments::BenchArgs;
use crate::bench::{Bench, milliseconds};
use crate::catalogue::SIZES;
use crate::load::job::{ConvergenceJob, Load, Target};
use crate::measurements::StartMeasured;
use crate::progress::tell;
use crate::run::worlds::{KEYS, start_cluster};
use crate::section::Section;
use crate::world::cluster::{Cluster, ClusterPlan};
use crate::world::data;

/// With so many updates in flight the peak is looked for, where it was not measured before.
const PEAK: Load = Load::Closed { in_flight: 512 };

/// How many measurements a section has that is of this kind and asked for.
pub(crate) fn measurements(arguments: &BenchArgs, section: Section) -> usize {
    let rounds = arguments.rounds as usize;
    match section {
        Section::Convergence if arguments.wants_section(section) => rounds,
        Section::Start if arguments.wants_section(section) && !arguments.quick => rounds * SIZES.len(),
        _ => 0,
    }
}

/// Measures such a section.
pub(crate) async fn measure(bench: &mut Bench, section: Section) -> Result<()> {
    match section {
        Section::Convergence => convergence(bench).await,
        Section::Start => starts(bench).await,
        _ => Ok(()),
    }
}

/// Convergence lag at half the rate of updates that was reached.
async fn convergence(bench: &mut Bench) -> Result<()> {
    let plan = ClusterPlan { frontends: 1, replicas: 3, ratings: bench.arguments.ratings, sync: None };
    let cluster = start_cluster(bench, &plan).await?;
    let per_second = peak(bench, &cluster, &plan).await? / 2.0;
    for round in 1..=bench.arguments.rounds {
        let job = ConvergenceJob {
            server: bench.broker.url().to_owned(),
            connections: bench.arguments.connections as usize,
            prefix: cluster.prefix().to_owned(),
            replicas: cluster.replica_ids().to_vec(),
            users: data::users(plan.ratings),
            keys: KEYS as usize,
            per_second,
            warm_up_ms: milliseconds(bench.arguments.warm_up()),
            measure_ms: milliseconds(bench.arguments.measure()),
            seed: u64::from(round),
        };
        let lag = bench.generator.converge(job).await.context("convergence")?;
        let said = format!(
            "round {round} convergence at {per_second:.0} updates/s: lag p50 {:.2} ms, p99 {:.2} ms; update p99 {:.2} ms",
            lag.lag.p50_us / 1000.0,
            lag.lag.p99_us / 1000.0,
            lag.updates.latency.p99_us / 1000.0
        );
        bench.progress.done(&said, bench.each());
        bench.results.lags.push(lag);
    }
    cluster.stop().await;
    Ok(())
}

/// How many updates a second there were in this run, or are in a measurement that is made for this.
async fn peak(bench: &mut Bench, cluster: &Cluster, plan: &ClusterPlan) -> Result<f64> {
    if let Some(measured) = bench.results.throughput(Section::Core, "update", PEAK) {
        return Ok(measured.median);
    }
    let (prefix, users) = (cluster.prefix().to_owned(), data::users(plan.ratings));
    let target = Target::Natter { prefix, reads_percent: 0, users, keys: KEYS as usize, exact: true };
    let job = bench.job(bench.broker.url().to_owned(), target, PEAK, 1);
    Ok(bench.generator.measure(job).await?.per_second().max(2.0))
}

/// How replica managers start alone, from data sets of several sizes, in turn.
async fn starts(bench: &mut Bench) -> Result<()> {
    for round in 1..=bench.arguments.rounds {
        for (ratings, text) in SIZES {
            let plan = ClusterPlan { frontends: 0, replicas: 1, ratings, sync: None };
            let cluster = start_cluster(bench, &plan).await?;
            for start in cluster.starts().iter().copied() {
                let resident = start.resident_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB"));
                tell(&format!("round {round} start with {text} ratings: {:.1} s{resident}", start.seconds));
                bench.results.starts.push(StartMeasured { ratings, start });
            }
            bench.progress.done("started", bench.each());
            cluster.stop().await;
        }
    }
    bench.results.starts.sort_by_key(|start| start.ratings);
    Ok(())
}
