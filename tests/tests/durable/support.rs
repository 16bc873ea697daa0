//! Helpers that these tests share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use natter_tests::harness::{Cluster, Encoding, World, data};

/// Returns an amount of work from the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} should be a number, and is {text:?}")),
        Err(_) => default,
    }
}

/// Returns the data directory of the replica of this name.
pub(crate) fn data_dir(world: &World, name: &str) -> PathBuf {
    world.path(&format!("data-{name}"))
}

/// Returns the advice about a damaged directory with which errors end.
pub(crate) fn read_out(directory: &Path) -> String {
    format!(
        "read it out with `dataset export --data-dir {} FILE --compare`, which also says whether a replica that runs has all \
         of it; then move it away and start with an empty directory: the replica takes everything that the others hold",
        directory.display()
    )
}

/// Starts a durable replica on its directory and does not wait.
pub(crate) fn start_durable(cluster: &mut Cluster<'_>, world: &World, name: &str, arguments: &[&str]) {
    let directory = data_dir(world, name);
    let arguments = [&["--data-dir", directory.to_str().unwrap()], arguments].concat();
    cluster.start_replica(name, &arguments);
}

/// Durable replicas on the small data set, and frontends `f1`...; all serve.
pub(crate) async fn durable_cluster<'w>(
    world: &'w World,
    frontends: usize,
    replicas: &[&str],
    arguments: &[&str],
) -> (Cluster<'w>, Vec<String>) {
    let database = data::write_small(world.directory());
    let since = Instant::now();
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    for name in replicas {
        start_durable(&mut cluster, world, name, arguments);
    }
    for n in 1..=frontends {
        cluster.start_frontend(&format!("f{n}"), &[]);
    }
    cluster.until_ready().await;
    let ids = cluster.until_serve_since(replicas, since).await;
    (cluster, ids)
}

/// SIGKILL to all of them, before any of them is waited for.
pub(crate) async fn kill_at_once(cluster: &mut Cluster<'_>, names: &[&str]) {
    for name in names {
        cluster.member(name).kill_now();
    }
    for name in names {
        cluster.member(name).ended().await;
    }
}

/// The ids of the replicas that are there as micro services, each as often as it answers.
pub(crate) async fn service_ids(cluster: &Cluster<'_>) -> Vec<String> {
    let client = cluster.wire.client();
    let reply = client.new_inbox();
    let mut answers = client.subscribe(reply.clone()).await.unwrap();
    client.publish_with_reply("$SRV.PING.replica", reply, Vec::new().into()).await.unwrap();
    let mut ids = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(Duration::from_millis(500), answers.next()).await {
        let answer = Encoding::Json.decode(&answer.payload).unwrap();
        ids.push(answer["metadata"]["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids
}
