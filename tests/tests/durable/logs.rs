//! The update log is as long as the records in flight, or unknown to a replica.

use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Compare, Ledger, Seen, World, data};

use crate::ROLES;
use crate::support::{durable_cluster, number, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];
/// Maximum records of an idle log.
const SHORT: u64 = 1000;
const CLIENTS: u64 = 48;

fn lengths(seen: &Seen, ids: &[String]) -> Vec<u64> {
    ids.iter().map(|id| seen.members[id].presence["log_length"].as_u64().unwrap()).collect()
}

/// The time until all logs, as shown after now, are short.
async fn until_short(cluster: &Cluster<'_>, ids: &[String], within: Duration) -> Duration {
    let started = Instant::now();
    let are_short = |seen: &Seen| {
        let heard = ids.iter().all(|id| seen.members[id].heard > started);
        (heard && lengths(seen, ids).iter().all(|length| *length < SHORT)).then_some(())
    };
    let short = cluster.observer.until_within(within, are_short).await;
    let lengths = lengths(&cluster.observer.seen(), ids);
    assert!(short.is_some(), "the logs have {lengths:?} records {:?} after the last update", started.elapsed());
    println!("the logs have {lengths:?} records after {:?}", started.elapsed());
    started.elapsed()
}

#[tokio::test]
async fn logs_are_short_again_soon_after_many_updates() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let since = Instant::now();
    let mut cluster = world.cluster("ratings").database(&database).start(2, 3).await;
    let ids = cluster.until_serve_since(&REPLICAS, since).await;
    let (ledger, started, updates) = (Ledger::default(), Instant::now(), number("UPDATES", 20_000));
    ledger.write(&cluster.wire, CLIENTS, updates, updates.min(1000)).await;
    println!("{updates} updates in {:?}; {}", started.elapsed(), ledger.summary());
    until_short(&cluster, &ids, Duration::from_secs(5)).await;
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_dead_replica_holds_the_logs_back_until_it_is_forgotten_and_catches_up_all_the_same() {
    const FORGET: [&str; 2] = ["--forget-after", "3s"];
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 2, &REPLICAS, &FORGET).await;
    let ledger = Ledger::default();
    cluster.member("r3").kill().await;
    let killed = Instant::now();
    ledger.write(&cluster.wire, CLIENTS, 2 * SHORT, 200).await;
    let grown = |seen: &Seen| lengths(seen, &ids[..2]).iter().all(|length| *length > SHORT).then_some(());
    let has_grown = cluster.observer.until_within(Duration::from_secs(1), grown).await;
    println!("{:?} after the kill: {}", killed.elapsed(), ledger.summary());
    let shown = lengths(&cluster.observer.seen(), &ids[..2]);
    assert!(
        has_grown.is_some() || killed.elapsed() > Duration::from_secs(4),
        "the logs wait for the dead one: {shown:?}"
    );
    // Three intervals until it counts as gone, then three seconds.
    until_short(&cluster, &ids[..2], Duration::from_secs(6)).await;
    println!("forgotten {:?} after the kill", killed.elapsed());
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r3", &FORGET);
    let returned = cluster.until_serve_since(&["r3"], since).await.remove(0);
    println!("{} came back as {returned} after {:?}", ids[2], since.elapsed());
    let all = [&ids[..2], &[returned]].concat();
    cluster.until_ids_agree(&all, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
