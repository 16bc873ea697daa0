//! No process waits for its logs, for any kind of standard error.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use natter_tests::harness::{Cluster, DEADLINE, Encoding, World, data};
use serde_json::json;

use crate::ROLES;

/// Makes standard error a pipe that no process reads.
fn to_fifo(fifo: &Path) -> String {
    format!("mkfifo '{0}'; exec 3<>'{0}' 2>&3", fifo.display())
}

/// Does the same with a pipe that is full already.
fn to_full_fifo(fifo: &Path) -> String {
    format!("{}; dd if=/dev/zero of='{}' oflag=nonblock bs=4096 2>/dev/null", to_fifo(fifo), fifo.display())
}

async fn ask_often(cluster: &Cluster<'_>, requests: usize) {
    let read = json!({"user_id": 1, "movie_id": 1});
    let answers = stream::iter(0..requests).map(|_| cluster.wire.ask_in(Encoding::Json, "frontend.read", &read));
    let failed = answers.buffer_unordered(32).filter(|answer| {
        let good = answer.as_ref().is_ok_and(|answer| answer.refusal.is_none());
        std::future::ready(!good)
    });
    let failed: Vec<_> = failed.collect().await;
    assert!(failed.is_empty(), "{} of {requests} requests failed: {:?}", failed.len(), failed.first());
}

/// Returns the lines that have gathered in a pipe, and those that come while it is read, until a line has `words`.
fn read_until(fifo: &Path, words: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(fifo).unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.contains(words)) {
            return lines;
        }
    }
    panic!("{words:?} is not among {} lines, which end with {:?}", lines.len(), lines.last());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn requests_are_answered_and_sigterm_is_obeyed_while_no_log_can_be_written() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    let fifo = |name: &str| world.path(&format!("{name}.fifo"));
    cluster.start_replica_after(&to_fifo(&fifo("r1")), "r1", &["-v"]);
    cluster.start_replica_after("exec 2>/dev/full", "r2", &["-v"]);
    cluster.start_replica_after("exec 2>&-", "r3", &["-v"]);
    cluster.start_frontend_after(&to_fifo(&fifo("f1")), "f1", &["-vv"]);
    cluster.start_frontend_after(&to_fifo(&fifo("f2")), "f2", &["-vv", "--log-format", "json"]);
    cluster.until_ready().await;
    // More lines than pipe and queue take together.
    ask_often(&cluster, 12_000).await;

    // One is read again: what was dropped is counted at its place, and no line is torn.
    let lines = tokio::task::spawn_blocking({
        let fifo = fifo("f1");
        move || read_until(&fifo, "log lines were dropped")
    });
    let lines = lines.await.unwrap();
    assert!(lines.len() > 1000, "{}", lines.len());
    for line in &lines {
        assert!(line.starts_with("20") && line.as_bytes()[10] == b'T', "{line:?}");
    }
    let dropped = lines.last().unwrap();
    assert!(dropped.contains(" WARN ") && !dropped.contains(" 0 log lines"), "{dropped}");
    ask_often(&cluster, 100).await;

    // All processes obey. Those whose pipe no process reads are late by their maximum wait for a reader.
    for name in ["f2", "f1", "r1", "r2", "r3"] {
        cluster.member(name).terminate();
    }
    let started = Instant::now();
    for name in ["f2", "f1", "r1", "r2", "r3"] {
        let ended = cluster.member(name).ended().await;
        assert_eq!(ended.code(), Some(0), "{name} ends with {ended}");
    }
    println!("all ended after {:?}", started.elapsed());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn last_error_is_after_the_logs_and_its_writing_does_not_hold_up_the_end() {
    let world = World::without_broker(ROLES).await;
    let nowhere = world.path("nowhere");
    let nowhere = ["--database", nowhere.to_str().unwrap()];
    // Standard error takes nothing: no process reads it, or it cannot be written.
    let fifo = world.path("full.fifo");
    for prelude in [to_full_fifo(&fifo), "exec 2>/dev/full".to_owned(), "exec 2>&-".to_owned()] {
        let mut command = world.role_after(&prelude, "replica");
        let started = Instant::now();
        command.args(nowhere).args(["-v"]).stdin(Stdio::null());
        let ended = tokio::process::Command::from(command).kill_on_drop(true).status();
        let ended = tokio::time::timeout(DEADLINE, ended).await.expect("ends by itself").unwrap();
        assert_eq!(ended.code(), Some(1), "{prelude}");
        println!("{prelude}: ended after {:?}", started.elapsed());
    }
    // It takes all: the error is the last line.
    let output = world.run("replica", &[&nowhere[..], &["-v"]].concat()).await;
    let text = String::from_utf8(output.stderr).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("replica: ") && last.contains("nowhere"), "{text}");
}

#[tokio::test]
async fn offline_replica_logs_no_gossip_as_taken_in() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).replica_arguments(&["-v"]).start(1, 3).await;
    let id = cluster.id_of("r3").await;
    let set = |mode: &'static str| cluster.set_mode(&id, Some(mode), Encoding::MessagePack);
    set("offline").await;
    for movie in [2, 3, 5] {
        let rating = json!({"user_id": 7, "movie_id": movie, "rating": 4.5});
        cluster.wire.ask("create", rating).await.ok();
    }
    cluster.until_agreed(&["r1", "r2"]).await;
    set("measured").await;
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    let log = cluster.member("r3").log();
    let (_, since) = log.split_once("is OFFLINE (mode offline)").unwrap();
    let (offline, after) = since.split_once("(mode measured)").unwrap();
    for taken in ["gossip ", "query ", "update ", "holds ", "applied "] {
        assert!(!offline.contains(&format!("DEBUG {taken}")), "it logs {taken:?} while it is OFFLINE:\n{offline}");
    }
    assert!(after.contains("DEBUG applied ") && cluster.member("r1").log().contains("DEBUG gossip "), "{log}");
    cluster.finish().await;
}
