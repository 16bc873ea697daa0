//! A replica that can't save any more while it runs: it is OFFLINE, says why, and delays no request.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Compare, Encoding, Ledger, Seen, World, data};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, service_ids, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];

/// A query to one replica, as a frontend sends it (docs/REPLICA_PROTOCOL.md), and how long the answer takes.
async fn ask_replica(cluster: &Cluster<'_>, id: &str) -> (Value, Duration) {
    let request = json!({"n": 7, "prev": {}, "wait_ms": 3000,
        "request": {"method": "READ", "params": {"user_id": 1, "movie_id": 1}}});
    let payload = Encoding::MessagePack.encode(&json!({"requests": [request]}));
    let (started, rest) = (Instant::now(), format!("replica.{id}.query"));
    let answer = cluster.wire.send_within(&rest, payload, Encoding::MessagePack, Duration::from_secs(4)).await;
    (answer.unwrap().ok()["replies"][0]["reply"].clone(), started.elapsed())
}

/// OFFLINE shows within two seconds of `since`; requests to it are turned away at once, and clients notice nothing.
async fn is_offline(cluster: &mut Cluster<'_>, name: &str, id: &str, since: Instant, why: &str) {
    let shows = |seen: &Seen| (seen.members[id].status() == "OFFLINE").then_some(());
    let shown = cluster.observer.until_within(Duration::from_secs(2), shows).await;
    let took = since.elapsed();
    assert!(
        shown.is_some() && took < Duration::from_secs(2),
        "OFFLINE after {took:?}:\n{}",
        cluster.member(name).log_tail(9)
    );
    let (reply, waited) = ask_replica(cluster, id).await;
    assert!(reply == "not_serving" && waited < Duration::from_millis(500), "{reply} after {waited:?}");
    let status = cluster.set_mode(id, None, Encoding::Json).await;
    assert_eq!((&status["id"], &status["status"]), (&json!(id), &json!("OFFLINE")), "{status}");
    let log = cluster.member(name).log();
    let line = log.lines().rfind(|line| line.contains("is OFFLINE: it cannot save any more")).unwrap_or_default();
    assert!(line.contains("ERROR") && line.contains(why), "{why:?} should be in {line:?} of\n{log}");
    println!("OFFLINE after {took:?}: {line}");
}

/// SIGTERM ends it with status 1 and the reason as its last words.
async fn ends_with(cluster: &mut Cluster<'_>, name: &str, why: &str) {
    let started = Instant::now();
    cluster.member(name).terminate();
    let status = cluster.member(name).ended().await;
    let last = cluster.member(name).log_tail(1);
    assert!(status.code() == Some(1) && started.elapsed() < Duration::from_secs(5), "{status}: {last}");
    assert!(last.starts_with("replica: ") && last.contains(why), "{last}");
}

async fn goes_offline_when_deleted(file: &str, loaded: bool) {
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 8, 200, 100).await;
    let clients = loaded.then(|| ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2)));
    if loaded {
        ledger.until_acknowledged(200).await;
    }
    let path = data_dir(&world, "r1").join(file);
    let since = Instant::now();
    fs::remove_file(&path).unwrap();
    let why = format!("{} was deleted or replaced while it was in use", path.display());
    is_offline(&mut cluster, "r1", &ids[0], since, &why).await;
    if let Some(clients) = clients {
        ledger.until_acknowledged(200).await;
        clients.stop().await;
    }
    println!("{}", ledger.summary());
    assert!(ledger.entries().slowest < Duration::from_millis(1500), "nobody waits: {}", ledger.summary());
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    if file == "replica.sqlite" {
        cluster.member("r1").until_logged("still cannot save").await;
        let rescued = data_dir(&world, "r1").join("rescued-1");
        let copied =
            format!("all that was committed was copied, start the replica with --data-dir {}", rescued.display());
        ends_with(&mut cluster, "r1", &format!("{why}: {copied}")).await;
        let since = Instant::now();
        cluster.start_replica("r1", &["--data-dir", rescued.to_str().unwrap()]);
        cluster.until_serve_since(&["r1"], since).await;
    } else {
        cluster.member("r1").until_logged(&format!("{why}: all that was committed is now in replica.sqlite")).await;
        let since = Instant::now();
        cluster.member("r1").until_logged("can save again, and comes back").await;
        cluster.until_serve_since(&["r1"], since).await;
    }
    let id = cluster.observer.seen().named("r1").unwrap().0.clone();
    cluster.until_ids_agree(&[&[id], &ids[1..]].concat(), Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_replica_whose_database_is_deleted_under_load_is_offline_and_goes_on_with_its_copy() {
    goes_offline_when_deleted("replica.sqlite", true).await;
}

#[tokio::test]
async fn a_replica_whose_log_is_deleted_while_it_is_idle_is_offline_soon_and_comes_back() {
    goes_offline_when_deleted("replica.sqlite-wal", false).await;
}

/// A limit on the size of files is nearly a full disk; the signal that comes with it is ignored. The replica answers clients
/// too: what they asked of it is answered, then its frontend half leaves and comes back with the next life.
#[tokio::test]
async fn a_replica_whose_files_may_not_grow_is_offline_and_comes_back_when_they_may() {
    // Units of 512 bytes in some shells and of 1024 in others.
    let limit = |_: &Path| "trap '' XFSZ; ulimit -S -f 2000".to_owned();
    let raise = |process: u32, _: &Path| format!("prlimit --pid {process} --fsize=unlimited");
    comes_back_when_there_is_room(limit, raise, "the system could not read or write it", &["--frontend"]).await;
}

/// A small disk that only this one process sees, where this user may make one.
#[tokio::test]
async fn a_replica_whose_disk_is_full_is_offline_and_comes_back_when_there_is_room() {
    if !Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    {
        return println!("this user may not make disks");
    }
    let limit = |directory: &Path| {
        let directory = directory.display();
        format!(
            "mkdir -p {directory}; set -- unshare -m sh -c 'mount -t tmpfs -o size=2m none {directory} && exec \"$@\"' sh \"$@\""
        )
    };
    let raise = |process: u32, directory: &Path| {
        format!("nsenter -t {process} -m mount -o remount,size=64m {}", directory.display())
    };
    comes_back_when_there_is_room(limit, raise, "database or disk is full", &[]).await;
}

async fn comes_back_when_there_is_room(
    limit: impl Fn(&Path) -> String,
    raise: impl Fn(u32, &Path) -> String,
    why: &str,
    roles: &[&str],
) {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    let since = Instant::now();
    for name in &REPLICAS[1..] {
        start_durable(&mut cluster, &world, name, &[]);
    }
    let directory = data_dir(&world, "r1");
    let arguments = [&["--data-dir", directory.to_str().unwrap()], roles].concat();
    cluster.start_replica_after(&limit(&directory), "r1", &arguments);
    cluster.start_frontend("f1", &[]);
    let ids = cluster.until_serve_since(&REPLICAS, since).await;
    cluster.until_shows("f1", "ACTIVE").await;
    if !roles.is_empty() {
        cluster.until_shows("f-r1", "ACTIVE").await;
    }
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(1));
    let has_failed = |seen: &Seen| (seen.members[&ids[0]].status() != "ACTIVE").then_some(());
    cluster.observer.until("the disk is full", has_failed).await;
    is_offline(&mut cluster, "r1", &ids[0], Instant::now(), why).await;
    if !roles.is_empty() {
        cluster.until_shows("f-r1", "LEFT").await;
    }
    ledger.until_acknowledged(300).await;
    if why.contains("full") {
        // A limit on the size of files only may leave room for a while, after the log is moved into the database.
        cluster.member("r1").until_logged("still cannot save").await;
    }
    let process = cluster.member("r1").process_id().unwrap();
    let raised = Command::new("sh").args(["-c", &raise(process, &directory)]).status();
    if !raised.is_ok_and(|status| status.success()) {
        println!("the limit of a process that runs cannot be raised here");
        clients.stop().await;
        ends_with(&mut cluster, "r1", why).await;
        return cluster.finish().await;
    }
    let raised = Instant::now();
    cluster.member("r1").until_logged("can save again, and comes back").await;
    let mut ids = ids;
    ids[0] = cluster.until_serve_since(&["r1"], raised).await.remove(0);
    println!("{} comes back {:?} after there is room", ids[0], raised.elapsed());
    if !roles.is_empty() {
        cluster.until_shows("f-r1", "ACTIVE").await;
    }
    ledger.until_served_by(&ids[0]).await;
    clients.stop().await;
    println!("{}", ledger.summary());
    assert!(ledger.entries().slowest < Duration::from_millis(1500), "nobody waits: {}", ledger.summary());
    assert_eq!(service_ids(&cluster).await, ids, "each is one service");
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
