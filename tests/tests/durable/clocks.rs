//! Clocks that were once ahead, for all at the same time: libfaketime gives every process another time, and all are restarted
//! with the right one.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, DEADLINE, World, data, tools};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::data_dir;

const HOUR_MS: u64 = 3_600_000;
const MEMBERS: [&str; 3] = ["r1", "r2", "f1"];

fn ahead(library: &Path) -> String {
    format!("export LD_PRELOAD={} FAKETIME=+1h FAKETIME_DONT_FAKE_MONOTONIC=1", library.display())
}

async fn start(cluster: &mut Cluster<'_>, world: &World, prelude: &str) {
    let since = Instant::now();
    for name in &MEMBERS[..2] {
        let directory = data_dir(world, name);
        cluster.start_replica_after(prelude, name, &["--data-dir", directory.to_str().unwrap()]);
    }
    cluster.start_frontend_after(prelude, "f1", &[]);
    cluster.until_serve_since(&MEMBERS[..2], since).await;
    cluster.until_ready().await;
}

/// Runs the client with a clock that `prelude` sets.
async fn client(world: &World, prelude: &str, arguments: &[&str]) -> Output {
    let mut command = world.role_after(prelude, "client");
    command.args(arguments).args(["--server", &world.broker.url()]).stdin(Stdio::null());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    tokio::time::timeout(DEADLINE, output).await.expect("ends by itself").unwrap()
}

fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn sessions_of_a_time_when_all_clocks_were_an_hour_ahead_go_on_when_these_are_right() {
    let Some(library) = tools::faketime() else { return };
    let (ahead, right) = (ahead(&library), ":");
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    start(&mut cluster, &world, &ahead).await;
    let shown_ms = cluster.observer.seen().named("r1").unwrap().1.presence["wall_ms"].as_u64().unwrap();
    let now_ms = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(shown_ms > now_ms() + HOUR_MS / 2, "libfaketime sets the clock: {shown_ms}");
    let created = object(&client(&world, &ahead, &["42", "create", "5", "4", "--json"]).await);
    let clock_ms = created["label"]["clock"].as_u64().unwrap() >> 16;
    assert!(clock_ms > now_ms() + HOUR_MS / 2, "the label is an hour ahead: {created}");
    for name in MEMBERS {
        cluster.member(name).terminate();
        assert!(cluster.member(name).ended().await.success());
    }

    start(&mut cluster, &world, right).await;
    let began = Instant::now();
    let read = object(&client(&world, right, &["42", "read", "5", "--json"]).await);
    assert_eq!(read["value"]["rating"], 4.0, "{read}");
    let average = object(&client(&world, right, &["average", "5", "--json"]).await);
    assert_eq!(average["value"]["count"], 1, "{average}");
    let found = object(&client(&world, right, &["search", "a", "--json"]).await);
    assert!(!found["value"]["movies"].as_array().unwrap().is_empty(), "{found}");
    let csv = world.path("r.csv");
    std::fs::write(&csv, "userId,movieId,rating\n42,1,3.5\n77,5,2.0\n").unwrap();
    let imported = client(&world, right, &["import", csv.to_str().unwrap(), "--json"]).await;
    let imported = object(&imported)["value"].take();
    assert_eq!((&imported["created"], &imported["updated"]), (&json!(1), &json!(1)), "{imported}");
    // The update is stamped above the one of that time, and stands.
    let updated = object(&client(&world, right, &["42", "update", "5", "2.5", "--json"]).await);
    assert_eq!(updated["replicas"].as_array().unwrap().len(), 2, "{updated}");
    let read = object(&client(&world, right, &["42", "read", "5", "--json"]).await);
    assert_eq!(read["value"]["rating"], 2.5, "{read}");
    // Stamps go on from there by steps, and not by minutes.
    let clock_now_ms = read["label"]["clock"].as_u64().unwrap() >> 16;
    assert!(clock_now_ms <= clock_ms + 1000, "the clock went from {clock_ms} to {clock_now_ms}");
    assert!(began.elapsed() < Duration::from_secs(20), "nothing waits for the clock: {:?}", began.elapsed());
    cluster.finish().await;
}
