//! `dataset export` of a cluster that runs, and a new cluster that starts from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, DEADLINE, Ledger, World, data};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster};

/// The program `dataset`, beside that of the roles; cargo makes it where `cargo test` has not.
async fn dataset() -> PathBuf {
    let folder = Path::new(ROLES).parent().unwrap();
    let mut build = tokio::process::Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "natter-dataset", "--bin", "dataset", "--target-dir"]);
    build.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // Variables in which cargo describes this package would make it build others anew.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|start| name.starts_with(start)) {
            build.env_remove(&variable);
        }
    }
    let built = build.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("dataset")
}

async fn run(program: &Path, world: &World, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).args(["--server", &world.broker.url()]).env_remove("NATS_URL").env_remove("NATS_CONTEXT");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(DEADLINE, output).await.expect("ends by itself").unwrap()
}

#[tokio::test]
async fn a_new_cluster_started_from_an_export_has_all_that_was_acknowledged_before_it() {
    let program = dataset().await;
    let world = World::new(ROLES).await;
    let (cluster, ids) = durable_cluster(&world, 2, &["r1", "r2"], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 32, 3000, 2500).await;
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2));
    let base = data::write_small(world.directory());
    let base = base.to_str().unwrap();
    let mut exports = Vec::new();
    for (name, replica) in [("csv", None), ("file.sqlite", Some(&ids[1])), ("again", Some(&ids[0]))] {
        ledger.until_acknowledged(100).await;
        let (to, mark, started) = (world.path(name), ledger.mark(), Instant::now());
        let mut arguments = vec!["export", to.to_str().unwrap(), "--database", base];
        arguments.extend(replica.iter().flat_map(|id| ["--replica", id.as_str()]));
        let output = run(&program, &world, &arguments).await;
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let value_timestamp = printed.lines().find_map(|line| line.strip_prefix("value timestamp ")).unwrap();
        assert!(ids.iter().all(|id| value_timestamp.contains(id.as_str())), "{printed}");
        assert!(replica.is_none_or(|id| printed.contains(&format!("replica         {id}"))), "{printed}");
        println!("{name} in {:?}:\n{printed}", started.elapsed());
        exports.push((to, mark));
    }
    // An existing file is not replaced.
    let refused = run(&program, &world, &["export", world.path("csv").to_str().unwrap(), "--database", base]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    let expected = format!("dataset: {} exists: choose another name, or move it away\n", world.path("csv").display());
    assert_eq!(told, expected);
    clients.stop().await;
    cluster.finish().await;
    for (number, (path, mark)) in exports.iter().enumerate() {
        let cluster = world.cluster(&format!("restored{number}")).database(path).start(1, 2).await;
        ledger.check(&cluster.wire, mark, Compare::RatingsOnly).await;
        println!("{}: {} ratings are there", path.display(), mark.ratings());
        cluster.finish().await;
    }
}

/// Runs `dataset export --data-dir`, against this broker.
async fn read_out(world: &World, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let (to, base) = (world.path(name), data::write_small(world.directory()));
    let mut all = vec!["export", to.to_str().unwrap(), "--database", base.to_str().unwrap()];
    all.extend(arguments);
    let output = run(&dataset().await, world, &all).await;
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn a_directory_is_read_out_also_where_a_replica_refuses_it() {
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 1, &["r1", "r2"], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 16, 400, 300).await;
    let directory = data_dir(&world, "r1");
    let of_directory = ["--data-dir", directory.to_str().unwrap(), "--compare"];
    // While a replica runs there, it says so.
    let process = cluster.member("r1").process_id().unwrap();
    let (status, told) = read_out(&world, "while", &of_directory).await;
    let expected = format!("a replica (process {process}) runs on this directory: leave --data-dir out");
    assert!(status == Some(1) && told.contains(&expected), "{told}");
    cluster.member("r1").kill().await;
    let (status, told) = read_out(&world, "whole", &of_directory).await;
    assert!(status == Some(0) && told.contains("checked         all that was saved is there"), "{told}");
    assert!(told.contains(&format!("compared        replica {} has all of it", ids[1])), "{told}");
    assert!(told.contains(&format!("replica         {}", ids[0])), "{told}");
    // Without its log it is refused, and can be read out.
    fs::rename(directory.join("replica.sqlite-wal"), world.path("lost")).unwrap();
    let (status, told) = read_out(&world, "lost.sqlite", &of_directory).await;
    assert!(status == Some(0) && told.contains("not certain     replica.sqlite-wal is missing"), "{told}");
    // The log is back, and the broker is gone: the ratings are written all the same.
    fs::rename(world.path("lost"), directory.join("replica.sqlite-wal")).unwrap();
    let mark = ledger.mark();
    cluster.finish().await;
    let (status, told) =
        read_out(&world, "alone", &["--data-dir", directory.to_str().unwrap(), "--prefix", "other", "--compare"]).await;
    assert!(status == Some(1) && told.contains("alone is written, but no replica that runs can be asked"), "{told}");
    for name in ["whole", "alone"] {
        let cluster = world.cluster(name).database(&world.path(name)).start(1, 1).await;
        ledger.check(&cluster.wire, &mark, Compare::RatingsOnly).await;
        cluster.finish().await;
    }
}
