//! Brokers that are killed, restarted, and cut off from each other.

use std::time::{Duration, Instant};

use natter_common::roster::LOST_AFTER_MS;
use natter_tests::harness::{BrokerPlan, DEADLINE, Observer, Way, World};
use natter_tests::live::{Stage, StagePlan};

use crate::{KEEP_IN, ROLES, seed};

/// Longer than it takes until a process that shows nothing counts as gone.
const LONG: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn each_broker_of_three_is_killed_and_the_others_serve() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let plan = StagePlan::new("each_broker_of_three_is_killed_and_the_others_serve", KEEP_IN);
    let mut stage = Stage::start(&world, plan, seed).await;
    let lost_connections = |stage: &mut Stage<'_>| -> usize {
        stage
            .cluster
            .members()
            .iter()
            .map(|member| member.log().matches("lost the connection to the broker").count())
            .sum()
    };
    for n in 0..3 {
        stage.brokers.servers()[n].kill().await;
        stage.sessions.until_answered(150).await;
        stage.brokers.servers()[n].start().await;
        stage.until_well().await;
    }
    let lost = lost_connections(&mut stage);
    assert!(lost >= 7, "each of five processes, two with two connections, had to go elsewhere: {lost}");
    println!("{lost} connections of processes broke; {}", stage.finish().await);
}

#[tokio::test]
async fn the_only_broker_is_killed_and_comes_back() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("the_only_broker_is_killed_and_comes_back", KEEP_IN);
    plan.brokers = BrokerPlan { servers: 1, ..BrokerPlan::default() };
    (plan.durable, plan.in_memory) = (1, 2);
    let mut stage = Stage::start(&world, plan, seed).await;
    for outage in [Duration::ZERO, LONG] {
        stage.sessions.until_answered(100).await;
        stage.brokers.servers()[0].kill().await;
        tokio::time::sleep(outage).await;
        stage.brokers.servers()[0].start().await;
        stage.until_well().await;
    }
    let silence = stage.sessions.tally().silence;
    assert!(silence > LONG, "nobody was answered without a broker, but for {silence:?}");
    println!("{}", stage.finish().await);
}

#[tokio::test]
async fn routes_between_brokers_are_cut_and_blocked() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("routes_between_brokers_are_cut_and_blocked", KEEP_IN);
    // At each broker a replica, at the first two a frontend. The replicas are durable: replicas stop waiting for
    // records that only a replica in memory holds once it was silent for ten seconds, and on a busy machine this test
    // may take longer.
    plan.know_all_brokers = false;
    (plan.durable, plan.in_memory) = (3, 0);
    let mut stage = Stage::start(&world, plan, seed).await;
    let seen_at = [Observer::start(&stage.wires[0]).await, Observer::start(&stage.wires[1]).await];
    for way in [Way::Cut, Way::Blocked] {
        // The first two don't hear each other, and the third hears both.
        stage.brokers.set_route(0, 1, way);
        do_not_hear_each_other(&seen_at).await;
        stage.sessions.until_answered(50).await;
        stage.brokers.open_all_routes();
        stage.until_well().await;
    }
    assert!(stage.brokers.broken_routes() > 0);
    // The first one alone, with a frontend and a replica: sessions that come by from the others get no old answer there.
    let before = told_apart(&stage);
    stage.brokers.set_routes_of(0, Way::Cut);
    do_not_hear_each_other(&seen_at).await;
    let began = Instant::now();
    while told_apart(&stage) == before {
        assert!(began.elapsed() < DEADLINE, "nobody notices that one is alone: {}", stage.sessions.tally());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.sessions.until_answered(50).await;
    stage.brokers.open_all_routes();
    stage.until_well().await;
    println!("{} connections between brokers broke; {}", stage.brokers.broken_routes(), stage.finish().await);
}

/// The first two brokers don't hear each other for longer than it takes until a replica in memory counts as dead, and
/// the third hears both: no replica has died, and nothing is given up.
#[tokio::test]
async fn replicas_in_memory_that_do_not_hear_each_other_for_long_lose_nothing_while_a_third_hears_both() {
    const DEAD_AFTER: Duration = Duration::from_millis(LOST_AFTER_MS + 2000);
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let name = "replicas_in_memory_that_do_not_hear_each_other_for_long_lose_nothing_while_a_third_hears_both";
    let mut plan = StagePlan::new(name, KEEP_IN);
    plan.know_all_brokers = false;
    (plan.durable, plan.in_memory) = (0, 3);
    let mut stage = Stage::start(&world, plan, seed).await;
    stage.brokers.set_route(0, 1, Way::Cut);
    let began = Instant::now();
    while began.elapsed() < DEAD_AFTER {
        stage.sessions.until_answered(50).await;
    }
    stage.sessions.until_answered(200).await;
    stage.brokers.open_all_routes();
    stage.until_well().await;
    println!("{}", stage.finish().await);
}

/// Returns the number of answers that were refused because they would be old, and of updates that one replica alone
/// acknowledged.
fn told_apart(stage: &Stage<'_>) -> u64 {
    let tally = stage.sessions.tally();
    tally.retries.get("504 STALE").copied().unwrap_or(0) + tally.alone.len() as u64
}

/// Waits until the replica at each of two brokers counts as gone at the other.
async fn do_not_hear_each_other(seen_at: &[Observer; 2]) {
    const GONE_AFTER: Duration = Duration::from_millis(1500);
    let began = Instant::now();
    for (observer, other) in [(&seen_at[0], "d2"), (&seen_at[1], "d1")] {
        loop {
            let heard = observer.seen().named(other).map_or(began, |(_, shown)| shown.heard.max(began));
            if heard.elapsed() > GONE_AFTER {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{other} is still heard");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
