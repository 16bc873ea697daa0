//! `dataset export` of a cluster that runs, and a new cluster that starts from it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, DEADLINE, Ledger, World, data};

use crate::ROLES;
use crate::support::durable_cluster;

/// The program `dataset`, beside that of the roles; cargo makes it where `cargo test` has not.
async fn dataset() -> PathBuf {
    let folder = Path::new(ROLES).parent().unwrap();
    let mut build = tokio::process::Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "natter-dataset", "--bin", "dataset", "--target-dir"]);
    build.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // What cargo tells this test of its package would make it build others anew.
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
    // What is there is not replaced.
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
