//! Frontends and replicas come, go and are killed while requests flow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Encoding, Load, World, data};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");

const CLIENTS: u64 = 6;
/// A new replica is used within this.
const USED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn no_request_fails_while_frontends_and_replicas_come_go_and_are_killed() {
    let world = World::new(ROLES).await;
    // The sample data set, as it comes.
    let mut cluster = world.cluster("ratings").start(2, 4).await;
    let load = Load::start(&cluster.wire, CLIENTS, Duration::from_millis(4));
    load.until_answered(500).await;

    let killed = cluster.id_of("r1").await;
    cluster.member("r1").kill().await;
    load.until_answered(500).await;
    println!("a replica was killed: {}", so_far(&load, &[]));
    newcomers_are_used_soon(&mut cluster, &load).await;
    println!("replicas came: {}", so_far(&load, &[]));

    // A frozen replica keeps its connection and answers nothing, until it counts as gone; then it comes back.
    let presences = |cluster: &Cluster<'_>| cluster.observer.seen().named("r3").unwrap().1.presences;
    cluster.member("r3").pause();
    let before = load.so_far().answered;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(load.so_far().answered > before + 100, "others are asked meanwhile");
    let shown = presences(&cluster);
    cluster.member("r3").resume();
    cluster.observer.until("r3 is back", |seen| (seen.named("r3")?.1.presences > shown).then_some(())).await;
    load.until_answered(300).await;
    println!("a replica stood still for a while: {}", so_far(&load, &[]));

    leaves_in_good_order(&mut cluster, "r2").await;
    leaves_in_good_order(&mut cluster, "f1").await;
    load.until_answered(500).await;
    println!("a replica and a frontend left: {}", so_far(&load, &[]));

    cluster.start_frontend("f3", &[]);
    cluster.until_shows("f3", "ACTIVE").await;
    leaves_in_good_order(&mut cluster, "f2").await;
    load.until_answered(500).await;
    println!("a frontend came and the last of the first left: {}", so_far(&load, &[]));

    cluster.start_frontend("f4", &[]);
    cluster.until_shows("f4", "ACTIVE").await;
    load.until_answered(300).await;
    load.so_far().assert_flawless();
    // A frontend that is killed takes with it what it was asked in that moment, and nothing else.
    let kill = Instant::now();
    cluster.member("f4").kill().await;
    load.until_answered(500).await;
    let report = load.stop().await;
    println!("a frontend was killed: {:?}, the slowest answer after {:?}", report.failures_by_kind(), report.slowest);
    report.assert_right();
    assert!(report.failures.len() <= CLIENTS as usize, "{:#?}", report.failures);
    for failure in &report.failures {
        assert_eq!(failure.why, "TimedOut", "{failure:?}");
        assert!(failure.sent <= kill + Duration::from_millis(500) && failure.known >= kill, "{failure:?}");
    }
    let seen = cluster.observer.seen().members[&killed].statuses.clone();
    assert!(seen.iter().all(|(_, status, _)| status != "LEFT"), "who is killed says nothing");
    cluster.until_agreed(&["r3", "r4", "n1"]).await;
    cluster.finish().await;
}

/// No failure so far, but for the kinds named.
fn so_far(load: &Load, but: &[&str]) -> String {
    let report = load.so_far();
    report.assert_right();
    let failures: Vec<_> = report.failures.iter().filter(|failure| !but.contains(&failure.why.as_str())).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    format!("{} answered, the slowest after {:?}", report.answered, report.slowest)
}

/// The best of three, for the sake of busy machines.
async fn newcomers_are_used_soon(cluster: &mut Cluster<'_>, load: &Load) {
    let mut best = Duration::MAX;
    for n in 1..=3 {
        let name = format!("n{n}");
        let started = Instant::now();
        cluster.start_replica(&name, &[]);
        let id = cluster.id_of(&name).await;
        let shown = started.elapsed();
        cluster.until_shows(&name, "ACTIVE").await;
        let active = started.elapsed();
        load.until(&format!("{id} serves"), |report| report.served_by.contains_key(&id)).await;
        let used = started.elapsed();
        println!("replica {name}: shows itself after {shown:?}, is ACTIVE after {active:?}, is used after {used:?}");
        best = best.min(used);
        if best <= USED_WITHIN {
            return;
        }
    }
    panic!("a new replica is used within {USED_WITHIN:?}, not {best:?}");
}

async fn leaves_in_good_order(cluster: &mut Cluster<'_>, name: &str) {
    let started = Instant::now();
    cluster.member(name).terminate();
    cluster.until_shows(name, "LEFT").await;
    let shown = started.elapsed();
    let status = cluster.member(name).ended().await;
    assert!(status.success(), "{name} ends with {status}");
    println!("{name}: says LEFT after {shown:?}, has ended after {:?}", started.elapsed());
}

/// One fault after the other, at random, for `SOAK_SECONDS` (8): killed, frozen, OFFLINE, replaced, the broker killed.
/// `SOAK_SECONDS=600 cargo test -p natter-tests --test elastic one_fault_at_a_time -- --nocapture`
#[tokio::test]
async fn no_answer_is_wrong_whatever_happens_one_fault_at_a_time() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(2, 4).await;
    let load = Load::start(&cluster.wire, CLIENTS, Duration::from_millis(4));
    let (mut replicas, mut frontends) = (["r1", "r2", "r3", "r4"].map(str::to_owned), ["f1", "f2"].map(str::to_owned));
    let (mut faults, mut answered) = (BTreeMap::<&str, u64>::new(), 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    for n in 1_u64.. {
        if Instant::now() >= end {
            break;
        }
        let slot = fastrand::usize(..replicas.len());
        let moment = Duration::from_millis(fastrand::u64(50..2500));
        let name = replicas[slot].clone();
        let fault = ["kill", "freeze", "offline", "leave", "frontend", "broker"][fastrand::usize(..6)];
        match fault {
            "kill" | "leave" => {
                if fault == "kill" {
                    cluster.member(&name).kill().await;
                } else {
                    leaves_in_good_order(&mut cluster, &name).await;
                }
                replicas[slot] = format!("s{n}");
                cluster.start_replica(&replicas[slot], &[]);
            }
            "freeze" => {
                cluster.member(&name).pause();
                tokio::time::sleep(moment).await;
                cluster.member(&name).resume();
            }
            "offline" => {
                let id = cluster.id_of(&name).await;
                cluster.set_mode(&id, Some("offline"), Encoding::Json).await;
                tokio::time::sleep(moment).await;
                cluster.set_mode(&id, Some("measured"), Encoding::Json).await;
            }
            "frontend" => {
                let slot = fastrand::usize(..frontends.len());
                let name = std::mem::replace(&mut frontends[slot], format!("g{n}"));
                cluster.member(&name).kill().await;
                cluster.start_frontend(&frontends[slot], &[]);
            }
            _ => {
                world.broker.kill().await;
                tokio::time::sleep(moment / 2).await;
                world.broker.start().await;
            }
        }
        // All is well again before the next fault: no promise covers records that only killed replicas had.
        cluster.until_ready().await;
        load.until_answered(100).await;
        *faults.entry(fault).or_default() += 1;
        answered = load.so_far().answered;
        load.so_far().assert_right();
    }
    let report = load.stop().await;
    println!(
        "{faults:?}: {answered} answered, the slowest after {:?}, others: {:?}",
        report.slowest,
        report.failures_by_kind()
    );
    report.assert_right();
    let replicas: Vec<&str> = replicas.iter().map(String::as_str).collect();
    cluster.until_agreed(&replicas).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_replica_with_another_data_set_is_refused_and_says_why() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(1, 2).await;
    let other = data::write_other(world.directory());
    let load = Load::start(&cluster.wire, 2, Duration::from_millis(10));
    let refused = world.run("replica", &["--name", "stranger", "--database", other.to_str().unwrap()]).await;
    assert!(!refused.status.success(), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let last = told.lines().last().unwrap_or_default();
    assert!(last.contains("another data set") && last.contains("--database"), "{told}");
    for name in ["r1", "r2"] {
        assert!(cluster.member(name).is_running());
    }
    load.until_answered(100).await;
    load.stop().await.assert_flawless();
    // Under another prefix it is welcome.
    let elsewhere = world.cluster("elsewhere").database(&other).start(1, 1).await;
    elsewhere.finish().await;
    cluster.finish().await;
}
