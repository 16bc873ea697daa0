//! New replicas when the logs no longer reach back to the data set.

use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, Seen, World, data};

use crate::ROLES;
use crate::support::{number, start_durable};

#[tokio::test]
async fn a_newcomer_takes_a_snapshot_while_updates_flow_and_then_serves_everything_alone() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let since = Instant::now();
    let mut cluster = world.cluster("ratings").database(&database).start(2, 2).await;
    let ids = cluster.until_serve_since(&["r1", "r2"], since).await;
    let (ledger, started, changed) = (Ledger::default(), Instant::now(), number("CHANGED", 20_000));
    ledger.write(&cluster.wire, 48, changed, changed).await;
    println!("{changed} changed ratings in {:?}; {}", started.elapsed(), ledger.summary());
    let are_short = |seen: &Seen| {
        ids.iter().all(|id| seen.members[id].presence["log_length"].as_u64().unwrap() < 1000).then_some(())
    };
    cluster.observer.until("the logs are cut", are_short).await;
    let clients = ledger.start(&cluster.wire, 6, 10, Duration::from_millis(4));
    ledger.until_acknowledged(50).await;
    let since = Instant::now();
    cluster.start_replica("new", &[]);
    let newcomer = cluster.id_of("new").await;
    let seen = cluster.observer.until_within(Duration::from_secs(5), |seen| {
        let shown = &seen.members[&newcomer].presence;
        (!shown["snapshot"].is_null() || seen.members[&newcomer].status() == "ACTIVE").then(|| shown.clone())
    });
    println!("shows {}", seen.await.unwrap());
    cluster.until_serve_since(&["new"], since).await;
    println!("the newcomer serves after {:?}", since.elapsed());
    let statuses = cluster.observer.seen().members[&newcomer].statuses.clone();
    assert_eq!(statuses[0].1, "JOINING", "{statuses:?}");
    ledger.until_served_by(&newcomer).await;
    ledger.until_acknowledged(100).await;
    clients.stop().await;
    let all = [&ids[..], &[newcomer]].concat();
    cluster.until_ids_agree(&all, Instant::now()).await;
    for name in ["r1", "r2"] {
        cluster.member(name).terminate();
        assert!(cluster.member(name).ended().await.success());
    }
    let (started, mark) = (Instant::now(), ledger.mark());
    ledger.check(&cluster.wire, &mark, Compare::Updates).await;
    println!("{} ratings compared in {:?}", mark.ratings(), started.elapsed());
    cluster.finish().await;
}

#[tokio::test]
async fn a_durable_newcomer_killed_in_the_middle_of_its_snapshot_begins_again_and_has_everything() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let since = Instant::now();
    let mut cluster = world.cluster("ratings").database(&database).start(2, 2).await;
    let ids = cluster.until_serve_since(&["r1", "r2"], since).await;
    let ledger = Ledger::default();
    let changed = number("CHANGED", 20_000) / 4;
    ledger.write(&cluster.wire, 48, changed, changed).await;
    let are_short = |seen: &Seen| {
        ids.iter().all(|id| seen.members[id].presence["log_length"].as_u64().unwrap() < 1000).then_some(())
    };
    cluster.observer.until("the logs are cut", are_short).await;
    let clients = ledger.start(&cluster.wire, 4, 10, Duration::from_millis(4));
    for _ in 0..number("DURABLE_COMMITS", 4) {
        let since = Instant::now();
        start_durable(&mut cluster, &world, "new", &[]);
        let joins = |seen: &Seen| {
            let mut heard = seen.members.iter().filter(|(id, member)| id.starts_with("new-") && member.heard > since);
            heard.next().map(|(id, _)| id.clone())
        };
        let id = cluster.observer.until("it shows itself", joins).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..500))).await;
        cluster.member("new").kill().await;
        let shown = cluster.observer.seen().members[&id].presence.clone();
        println!("{id} killed after {:?}: {} {}", since.elapsed(), shown["status"], shown["snapshot"]);
    }
    let since = Instant::now();
    start_durable(&mut cluster, &world, "new", &[]);
    let newcomer = cluster.until_serve_since(&["new"], since).await.remove(0);
    println!("{newcomer} serves after {:?}", since.elapsed());
    ledger.until_served_by(&newcomer).await;
    clients.stop().await;
    cluster.until_ids_agree(&[&ids[..], &[newcomer]].concat(), Instant::now()).await;
    for name in ["r1", "r2"] {
        cluster.member(name).kill().await;
    }
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    println!("{}", ledger.summary());
    cluster.finish().await;
}
