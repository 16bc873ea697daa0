//! Messages that are lost, and processes that do not take theirs.

use natter_tests::harness::{BrokerPlan, World};
use natter_tests::live::{Stage, StagePlan};

use crate::{KEEP_IN, LOSSES, ROLES, seed};

/// Messages that are lost, in per cent.
const LOST_PER_CENT: u32 = 5;

#[tokio::test]
async fn the_broker_loses_requests_replies_gossip_and_presence() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("the_broker_loses_requests_replies_gossip_and_presence", KEEP_IN);
    plan.brokers = BrokerPlan { servers: 1, losses: LOSSES.to_vec(), ..BrokerPlan::default() };
    plan.sessions.sessions = 16;
    let mut stage = Stage::start(&world, plan, seed).await;
    stage.brokers.lose(LOST_PER_CENT).await;
    stage.sessions.until_answered(600).await;
    let lost = stage.digests.lost();
    assert!(lost > 100, "only {lost} messages were lost");
    stage.brokers.lose(0).await;
    stage.until_well().await;
    println!("{lost} messages were lost; {}", stage.finish().await);
}

#[tokio::test]
async fn processes_that_read_too_slowly_lose_their_connection_and_make_it_again() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("processes_that_read_too_slowly_lose_their_connection_and_make_it_again", KEEP_IN);
    plan.brokers = BrokerPlan { servers: 1, max_pending: 1024 * 1024, ..BrokerPlan::default() };
    let mut stage = Stage::start(&world, plan, seed).await;
    for name in ["m1", "m2"] {
        stage.sessions.until_answered(100).await;
        let id = stage.cluster.id_of(name).await;
        let before = stage.brokers.slow_consumers();
        stage.cluster.member(name).pause();
        assert!(stage.flood(&format!("replica.{id}.log"), before).await, "{name} is no slow consumer to the broker");
        stage.sessions.until_answered(50).await;
        stage.cluster.member(name).resume();
        stage.until_well().await;
    }
    println!("{} slow consumers; {}", stage.brokers.slow_consumers(), stage.finish().await);
}
