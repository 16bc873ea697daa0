//! SIGKILL, and on with what was committed, under `--sync full`.

use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Compare, Ledger, Session, World};
use serde_json::json;

use crate::ROLES;
use crate::support::{durable_cluster, kill_at_once, number, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];

#[tokio::test]
async fn all_replicas_killed_at_once_go_on_with_all_that_was_acknowledged() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    for round in 1..=number("DURABLE_ROUNDS", 2) {
        let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2));
        ledger.until_acknowledged(300).await;
        kill_at_once(&mut cluster, &REPLICAS).await;
        let (mark, since) = (ledger.mark(), Instant::now());
        for name in REPLICAS {
            start_durable(&mut cluster, &world, name, &[]);
        }
        let now = cluster.until_serve_since(&REPLICAS, since).await;
        assert!(now.iter().all(|id| !ids.contains(id)), "new ids: {now:?}");
        ids = now;
        let serving = since.elapsed();
        ledger.check(&cluster.wire, &mark, Compare::Updates).await;
        ledger.until_acknowledged(100).await;
        clients.stop().await;
        println!("round {round}: all serve again after {serving:?}; {}", ledger.summary());
    }
    ends_well(cluster, &ledger, &ids).await;
}

#[tokio::test]
async fn replicas_killed_one_after_the_other_lose_nothing_and_nobody_reads_anything_wrong() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2));
    for round in 1..=number("DURABLE_ROUNDS", 2) {
        for (slot, name) in REPLICAS.iter().enumerate() {
            ledger.until_acknowledged(100).await;
            cluster.member(name).kill().await;
            ledger.until_acknowledged(30).await;
            let since = Instant::now();
            start_durable(&mut cluster, &world, name, &[]);
            ids[slot] = cluster.until_serve_since(&[name], since).await.remove(0);
            println!("round {round}: {name} serves again after {:?}; {}", since.elapsed(), ledger.summary());
            ledger.assert_right();
            cluster.observer.assert_convergence();
        }
    }
    clients.stop().await;
    ends_well(cluster, &ledger, &ids).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_commit_takes_back_nothing_that_was_acknowledged() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 24, 3, Duration::ZERO);
    for round in 1..=number("DURABLE_COMMITS", 4) {
        ledger.until_acknowledged(200).await;
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..30_000))).await;
        let before = ledger.mark();
        kill_at_once(&mut cluster, &REPLICAS).await;
        let (mark, since) = (ledger.mark(), Instant::now());
        assert!(mark.ratings() >= before.ratings());
        for name in REPLICAS {
            start_durable(&mut cluster, &world, name, &[]);
        }
        let now = cluster.until_serve_since(&REPLICAS, since).await;
        assert!(now.iter().all(|id| !ids.contains(id)), "new ids: {now:?}");
        ids = now;
        ledger.check(&cluster.wire, &mark, Compare::Updates).await;
        println!("round {round}: {:?}; {}", since.elapsed(), ledger.summary());
    }
    clients.stop().await;
    ends_well(cluster, &ledger, &ids).await;
}

/// The first replica back lacks updates that the two others acknowledged: a session that has seen them is told to wait,
/// and never sees less.
#[tokio::test]
async fn replicas_that_come_back_one_after_the_other_show_no_session_less_than_it_has_seen() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    for round in 0..number("DURABLE_ROUNDS", 2) as usize {
        let clients = ledger.start(&cluster.wire, 8, 6, Duration::from_millis(2));
        ledger.until_acknowledged(200).await;
        // A part of them goes on without the first, and is killed too.
        let first = REPLICAS[round % 3];
        cluster.member(first).kill().await;
        ledger.until_acknowledged(100).await;
        kill_at_once(&mut cluster, &REPLICAS.iter().copied().filter(|name| *name != first).collect::<Vec<_>>()).await;
        let mark = ledger.mark();
        for offset in 0..3 {
            let (slot, since) = ((round + offset) % 3, Instant::now());
            start_durable(&mut cluster, &world, REPLICAS[slot], &[]);
            ids[slot] = cluster.until_serve_since(&[REPLICAS[slot]], since).await.remove(0);
            let user = 7_000_000 + (round * 3 + offset) as u64;
            let request = json!({"user_id": user, "movie_id": 1, "rating": 3.0});
            let made = Session::new(&cluster.wire).try_ask("create", request, Duration::from_secs(5)).await;
            println!(
                "round {round}: {} serves after {:?}; {}; a stranger creates: {:?}",
                REPLICAS[slot],
                since.elapsed(),
                ledger.summary(),
                made.map(|answer| answer.refusal.map(|refusal| refusal.name))
            );
            ledger.assert_right();
        }
        ledger.check(&cluster.wire, &mark, Compare::Updates).await;
        clients.stop().await;
    }
    ends_well(cluster, &ledger, &ids).await;
}

/// Checks that every rating is as it was acknowledged last, and that all replicas agree.
async fn ends_well(cluster: Cluster<'_>, ledger: &Ledger, ids: &[String]) {
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.until_ids_agree(ids, Instant::now()).await;
    println!("{}", ledger.summary());
    cluster.finish().await;
}
