//! Faults of all kinds, several at a time.

use std::time::{Duration, Instant};

use natter_tests::harness::{BrokerPlan, World};
use natter_tests::live::{Nemesis, Stage, StagePlan};

use crate::{KEEP_IN, LOSSES, ROLES, number, seed};

#[tokio::test]
async fn mixed_faults_break_no_promise() {
    let (seed, seconds) = (seed(), number("LIVE_SECONDS").unwrap_or(20));
    println!("LIVE_SEED={seed}, for {seconds} s and until each fault happened");
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("mixed_faults_break_no_promise", KEEP_IN);
    plan.brokers = BrokerPlan { max_pending: 2 * 1024 * 1024, losses: LOSSES.to_vec(), ..BrokerPlan::default() };
    (plan.durable, plan.in_memory, plan.frontends) = (3, 2, 3);
    // Replicas in memory answer clients themselves: frontend and acceptor die together.
    plan.in_memory_arguments = vec!["--frontend"];
    // A replica that is absent for long needs a snapshot, and ids of the dead are retired.
    plan.replica_arguments = vec!["--forget-after", "20s"];
    let began = Instant::now();
    let mut stage = Stage::start(&world, plan, seed).await;
    let report = Nemesis::new(seed).run(&mut stage, Duration::from_secs(seconds)).await;
    let verdict = stage.finish().await;
    println!("{report}\n{verdict}\nLIVE_SEED={seed}, {:.0?} in all", began.elapsed());
}
