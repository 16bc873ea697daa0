//! Clocks that are wrong, and jump.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natter_tests::harness::World;
use natter_tests::live::{Stage, StagePlan};

use crate::{KEEP_IN, ROLES, seed};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn clocks_are_wrong_by_seconds_and_by_an_hour_and_jump() {
    let seed = seed();
    let world = World::without_broker(ROLES).await;
    let mut plan = StagePlan::new("clocks_are_wrong_by_seconds_and_by_an_hour_and_jump", KEEP_IN);
    plan.clocks = vec![("f1", 30_000), ("f2", -HOUR_MS), ("m1", -20_000), ("m2", 15_000)];
    plan.sessions.clocks_are_far_off = true;
    let mut stage = Stage::start(&world, plan, seed).await;
    stage.sessions.until_answered(300).await;
    let ahead = clock_ahead_ms(&stage);
    assert!(ahead > 20_000, "stamps follow the frontend that is half a minute ahead, not {ahead} ms");
    for (name, offset_ms) in [("f1", HOUR_MS), ("f2", 20_000), ("m1", 25_000), ("m2", -25_000), ("f1", -HOUR_MS)] {
        assert!(stage.set_clock_ahead(name, offset_ms).await, "the clock of {name} jumps");
        stage.sessions.until_answered(150).await;
        stage.assert_right();
    }
    let ahead = clock_ahead_ms(&stage);
    println!("the greatest stamp is {ahead} ms ahead; {}", stage.finish().await);
}

/// Returns how far the greatest stamp that a session has seen is ahead of this machine's clock, in milliseconds.
fn clock_ahead_ms(stage: &Stage<'_>) -> i64 {
    let clock = stage.sessions.tally().label()["clock"].as_u64().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (clock >> 16) as i64 - now.as_millis() as i64
}
