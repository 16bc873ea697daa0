//! Measurements that are not requests under a load.

use anyhow::{Context, Result};

use crate::arguments::BenchArgs;
use crate::bench::{Bench, milliseconds};
use crate::catalogue::{BATCH, SIZES};
use crate::guarantees;
use crate::load::job::{ConvergenceJob, Job, Load, Target};
use crate::measurements::{Growth, Kind, StartMeasured};
use crate::progress::tell;
use crate::run::worlds::{keys, start_cluster};
use crate::section::Section;
use crate::world::cluster::{Cluster, ClusterPlan};
use crate::world::watching::Watched;
use crate::world::{data, usage};

/// Requests in flight at which the peak is looked for, unless it was measured before.
pub(crate) const PEAK: Load = Load::Closed { in_flight: 512 };

/// Maximum time of the updates before memory is measured, in milliseconds: two seconds of batches change most ratings.
const WARM_UP_MS_MAX: u64 = 2000;

/// Returns the number of such measurements that a section has and that are asked for.
pub(crate) fn measurements(arguments: &BenchArgs, section: Section) -> usize {
    let rounds = arguments.rounds(section) as usize;
    match section {
        Section::Convergence if arguments.wants_section(section) => rounds,
        // A short run has time for it only where it is asked for, or has builds to compare.
        Section::Memory
            if arguments.wants_section(section)
                && (!arguments.quick || !arguments.only.is_empty() || arguments.before.is_some()) =>
        {
            rounds * kinds(arguments).len()
        }
        Section::Guarantees => rounds * guarantees::plan::wanted(arguments).len(),
        Section::Start if arguments.wants_section(section) && !arguments.quick => rounds * SIZES.len(),
        _ => 0,
    }
}

/// A frontend and three replicas in memory.
const SEPARATE: ClusterPlan = ClusterPlan {
    frontends: 1,
    together: 0,
    replicas: 3,
    ratings: 0,
    sync: None,
    before: false,
    watched: Watched::NOT,
};

impl ClusterPlan {
    fn with_ratings(self, ratings: u64) -> Self {
        Self { ratings, ..self }
    }
}

/// The clusters whose memory is measured.
fn kinds(arguments: &BenchArgs) -> Vec<(Kind, ClusterPlan)> {
    let separate = SEPARATE.with_ratings(arguments.ratings);
    let mut kinds =
        vec![(Kind::Separate, separate), (Kind::Together, ClusterPlan { frontends: 0, together: 1, ..separate })];
    if arguments.before.is_some() {
        kinds.push((Kind::Before, ClusterPlan { before: true, ..separate }));
    }
    kinds
}

/// Growth of memory under batches of updates at full rate: one cluster after the other, as each needs the whole machine.
async fn memory(bench: &mut Bench) -> Result<()> {
    for round in 1..=bench.arguments.rounds(Section::Memory) {
        for (kind, plan) in kinds(&bench.arguments) {
            let growth = grow(bench, kind, &plan, round).await.with_context(|| format!("memory, {}", kind.title()))?;
            let bytes = growth.bytes_per_update().map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes:.0}"));
            let said = format!(
                "round {round} memory, {}: {bytes} bytes an update at {:.0} updates/s",
                kind.title(),
                growth.updates.per_second()
            );
            bench.progress.done(&said, bench.each(Section::Memory));
            bench.results.growths.push(growth);
        }
    }
    Ok(())
}

async fn grow(bench: &mut Bench, kind: Kind, plan: &ClusterPlan, round: u32) -> Result<Growth> {
    let mut cluster = start_cluster(bench, plan).await?;
    let (size, load) = BATCH;
    let target = Target::Batch {
        prefix: cluster.prefix().to_owned(),
        size,
        users: data::users(plan.ratings),
        keys: keys(plan.ratings) as usize,
        replicas: cluster.replica_ids().to_vec(),
    };
    let job = bench.job(Section::Memory, bench.broker.url().to_owned(), target, load, round);
    bench.generator.prepare(job.clone()).await?;
    // First most ratings get a changed row. That happens once and is not what grows with the number of updates.
    let warm_up = Job { warm_up_ms: 0, measure_ms: job.measure_ms.min(WARM_UP_MS_MAX), ..job.clone() };
    bench.generator.measure(warm_up).await?;
    let replicas: Vec<u32> =
        cluster.processes().into_iter().filter(|(what, _)| *what == "replica").map(|(_, id)| id).collect();
    let resident = || replicas.iter().map(|id| usage::resident_mib(*id)).collect::<Option<Vec<f64>>>();
    let before = resident();
    let updates = bench.generator.measure(Job { warm_up_ms: 0, ..job }).await?;
    cluster.check()?;
    let resident_mib = before.zip(resident()).map(|(before, after)| before.into_iter().zip(after).collect());
    cluster.stop().await;
    Ok(Growth { kind, round, resident_mib: resident_mib.unwrap_or_default(), updates })
}

/// Measures such a section.
pub(crate) async fn measure(bench: &mut Bench, section: Section) -> Result<()> {
    match section {
        Section::Convergence => convergence(bench).await,
        Section::Memory => memory(bench).await,
        Section::Guarantees => guarantees::measure(bench).await,
        Section::Start => starts(bench).await,
        _ => Ok(()),
    }
}

/// Convergence lag at half the rate of updates that was reached.
async fn convergence(bench: &mut Bench) -> Result<()> {
    let plan = SEPARATE.with_ratings(bench.arguments.ratings);
    let cluster = start_cluster(bench, &plan).await?;
    let per_second = peak(bench, &cluster, &plan).await? / 2.0;
    for round in 1..=bench.arguments.rounds(Section::Convergence) {
        let job = ConvergenceJob {
            server: bench.broker.url().to_owned(),
            connections: bench.arguments.connections as usize,
            prefix: cluster.prefix().to_owned(),
            replicas: cluster.replica_ids().to_vec(),
            users: data::users(plan.ratings),
            keys: keys(plan.ratings) as usize,
            per_second,
            warm_up_ms: milliseconds(bench.arguments.warm_up()),
            measure_ms: milliseconds(bench.arguments.measure(Section::Convergence)),
            seed: u64::from(round),
        };
        let lag = bench.generator.converge(job).await.context("convergence")?;
        let said = format!(
            "round {round} convergence at {per_second:.0} updates/s: lag p50 {:.2} ms, p99 {:.2} ms; update p99 {:.2} ms",
            lag.lag.p50_us / 1000.0,
            lag.lag.p99_us / 1000.0,
            lag.updates.latency.p99_us / 1000.0
        );
        bench.progress.done(&said, bench.each(Section::Convergence));
        bench.results.lags.push(lag);
    }
    cluster.stop().await;
    Ok(())
}

/// Returns the updates a second of this run, or of a measurement that is made for this.
async fn peak(bench: &mut Bench, cluster: &Cluster, plan: &ClusterPlan) -> Result<f64> {
    if let Some(measured) = bench.results.throughput(Section::Core, "update", PEAK) {
        return Ok(measured.median);
    }
    let (prefix, users) = (cluster.prefix().to_owned(), data::users(plan.ratings));
    let target = Target::Natter { prefix, reads_percent: 0, users, keys: keys(plan.ratings) as usize, exact: true };
    let job = bench.job(Section::Convergence, bench.broker.url().to_owned(), target, PEAK, 1);
    Ok(bench.generator.measure(job).await?.per_second().max(2.0))
}

/// Starts single replicas on data sets of several sizes, in turn.
async fn starts(bench: &mut Bench) -> Result<()> {
    for round in 1..=bench.arguments.rounds(Section::Start) {
        for (ratings, text) in SIZES {
            let plan = ClusterPlan { frontends: 0, replicas: 1, ..SEPARATE.with_ratings(ratings) };
            let cluster = start_cluster(bench, &plan).await?;
            for start in cluster.starts().iter().copied() {
                let resident = start.resident_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB"));
                tell(&format!("round {round} start with {text} ratings: {:.1} s{resident}", start.seconds));
                bench.results.starts.push(StartMeasured { ratings, start });
            }
            bench.progress.done("started", bench.each(Section::Start));
            cluster.stop().await;
        }
    }
    bench.results.starts.sort_by_key(|start| start.ratings);
    Ok(())
}
