//! SIGTERM: what only this one holds is handed over, then it leaves.

use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, World, data};
use serde_json::json;

use crate::ROLES;
use crate::support::{durable_cluster, start_durable};

/// Maximum time from SIGTERM to the end of the process.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_replica_that_leaves_under_load_hands_over_what_it_accepted_and_no_request_fails() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &["r1", "r2", "r3"], &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 12, 10, Duration::from_millis(1));
    ledger.until_acknowledged(300).await;
    let started = Instant::now();
    cluster.member("r1").terminate();
    let status = cluster.member("r1").ended().await;
    let took = started.elapsed();
    assert!(status.success() && took < LEAVES_WITHIN, "{status} after {took:?}");
    let last = cluster.observer.seen().members[&ids[0]].presence.clone();
    assert_eq!(last["status"], "LEFT", "{last}");
    ledger.until_acknowledged(200).await;
    clients.stop().await;
    println!("left after {took:?}; {}", ledger.summary());
    let accepted = last["replica_timestamp"]["replicas"][&ids[0]].as_u64().expect("it accepted updates");
    for id in &ids[1..] {
        let applied = |seen: &natter_tests::harness::Seen| {
            let count = seen.members[id].presence["value_timestamp"]["replicas"][&ids[0]].as_u64();
            (count >= Some(accepted)).then_some(())
        };
        cluster.observer.until(&format!("{id} has all {accepted} updates of {}", ids[0]), applied).await;
    }
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    assert!(ledger.entries().retries.is_empty(), "{}", ledger.summary());
    // The replica has its old id and state when it is back on its directory.
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    ids[0] = cluster.until_serve_since(&["r1"], since).await.remove(0);
    cluster.until_ids_agree(&ids, Instant::now()).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_replica_in_memory_that_leaves_alone_says_how_much_goes_with_it() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).start(1, 1).await;
    for movie_id in [1, 2, 3] {
        cluster.wire.ask("create", json!({"user_id": 900, "movie_id": movie_id, "rating": 4})).await.ok();
    }
    let started = Instant::now();
    cluster.member("r1").terminate();
    let status = cluster.member("r1").ended().await;
    assert!(status.success() && started.elapsed() < LEAVES_WITHIN, "{status} after {:?}", started.elapsed());
    let told = "leaves with updates that no other replica is known to hold";
    let log = cluster.member("r1").log();
    let line = log.lines().find(|line| line.contains(told)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("records=3"), "{line}");
    println!("alone, it ends after {:?}: {line}", started.elapsed());
    cluster.finish().await;
}

#[tokio::test]
async fn a_durable_replica_that_was_alone_says_so_and_comes_back_with_its_updates() {
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 1, &["r1"], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 4, 100, 20).await;
    let started = Instant::now();
    cluster.member("r1").terminate();
    let status = cluster.member("r1").ended().await;
    assert!(status.success() && started.elapsed() < LEAVES_WITHIN, "{status} after {:?}", started.elapsed());
    cluster.member("r1").until_logged("leaves with updates that no other replica is known to hold").await;
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    start_durable(&mut cluster, &world, "r2", &[]);
    let now = cluster.until_serve_since(&["r1", "r2"], since).await;
    assert_ne!(now[0], ids[0], "a new id");
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.until_ids_agree(&now, Instant::now()).await;
    cluster.finish().await;
}

/// Updates that one replica accepted alone are unknown to all others, which forget it meanwhile.
#[tokio::test]
async fn a_replica_that_was_forgotten_comes_back_with_what_nobody_else_has() {
    const FORGET: [&str; 2] = ["--forget-after", "2s"];
    const OTHERS: [&str; 2] = ["r1", "r2"];
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 1, &["r1", "r2", "r3"], &FORGET).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 4, 100, 40).await;
    crate::support::kill_at_once(&mut cluster, &OTHERS).await;
    let alone = Instant::now();
    let mut answered = Vec::new();
    for user_id in 950..960 {
        let request = json!({"user_id": user_id, "movie_id": 1, "rating": 2.5});
        answered.push(cluster.wire.ask("create", request).await.ok());
    }
    assert_eq!(answered[9]["replicas"], json!([ids[2]]), "{}", answered[9]);
    println!("alone it acknowledges after {:?}", alone.elapsed());
    cluster.member("r3").kill().await;
    let since = Instant::now();
    for name in OTHERS {
        start_durable(&mut cluster, &world, name, &FORGET);
    }
    let others = cluster.until_serve_since(&OTHERS, since).await;
    assert!(others.iter().all(|id| !ids.contains(id)), "new ids: {others:?}");
    // Their logs are cut, so it is forgotten.
    let forgotten = |seen: &natter_tests::harness::Seen| {
        others.iter().all(|id| seen.members[id].presence["log_length"] == 0).then_some(())
    };
    tokio::time::sleep(Duration::from_millis(2500)).await;
    cluster.observer.until("the logs are empty", forgotten).await;
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r3", &FORGET);
    let back = cluster.until_serve_since(&["r3"], since).await.remove(0);
    println!("{} is back as {back} after {:?}", ids[2], since.elapsed());
    let all = [&others[..], &[back]].concat();
    cluster.until_ids_agree(&all, Instant::now()).await;
    for (user_id, answer) in (950..960).zip(&answered) {
        let read = cluster.wire.ask("read", json!({"user_id": user_id, "movie_id": 1})).await.ok();
        assert_eq!(read["value"]["update_id"], answer["value"]["update_id"], "{read}");
    }
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
