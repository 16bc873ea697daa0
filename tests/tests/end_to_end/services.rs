//! Frontends and replicas as NATS micro services, which the broker's own tools show.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use natter_tests::harness::{Wire, World};
use serde_json::{Value, json};

use crate::ROLES;

/// The version of the `nats` command line that is tested.
const NATS_CLI: &str = "github.com/nats-io/natscli/nats@v0.5.1";

/// Asks all services at `$SRV.<verb>` and waits for `count` answers, as JSON.
pub(crate) async fn ask_all(wire: &Wire, verb: &str, count: usize) -> Vec<Value> {
    let client = wire.client();
    let inbox = client.new_inbox();
    let mut replies = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(format!("$SRV.{verb}"), inbox, "".into()).await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let reply = tokio::time::timeout(Duration::from_secs(20), replies.next()).await;
        let reply = reply.unwrap_or_else(|_| panic!("{verb}: {} of {count} answers: {found:?}", found.len())).unwrap();
        found.push(serde_json::from_slice(&reply.payload).unwrap());
    }
    found
}

#[tokio::test]
async fn frontends_and_replicas_show_as_services_to_the_tools_of_the_broker() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 2).await;
    let wire = &cluster.wire;
    wire.ask("create.42", json!({"movie_id": 2, "rating": 2.0})).await.ok();
    for (verb, kind) in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")] {
        let answers = ask_all(wire, verb, 4).await;
        for answer in &answers {
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
            let (name, id) = (answer["name"].as_str().unwrap(), answer["metadata"]["id"].as_str().unwrap());
            let role = cluster.observer.seen().members[id].presence["role"].clone();
            assert_eq!(role, name, "the id in the metadata is that of its presence");
            assert_eq!(answer["id"], id, "and that of the service");
            assert_eq!(answer["metadata"]["prefix"], "ratings");
        }
        let named = |name: &str| answers.iter().filter(|answer| answer["name"] == name).count();
        assert_eq!((named("frontend"), named("replica")), (2, 2), "{verb}");
    }
    for info in ask_all(wire, "INFO", 4).await {
        let endpoints = info["endpoints"].as_array().unwrap();
        let wanted = match info["name"].as_str().unwrap() {
            "frontend" => {
                "create create-user update update-user delete delete-user read read-user all all-user average search batch \
                 batch-user"
            }
            _ => "update query confirm log snapshot status",
        };
        let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), wanted, "in this order each time");
        let fits =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        assert!(names.iter().all(|name| fits(name)), "{names:?}");
        assert!(!info["description"].as_str().unwrap().is_empty());
    }
    for stats in ask_all(wire, "STATS.replica", 2).await {
        let live = &stats["endpoints"][0]["data"];
        assert!(live["value_timestamp"].is_object() && live["digest"].is_string(), "what it shows of itself: {stats}");
    }
    assert_eq!(counts(wire, "read-user").await, (0, 0));
    let found = wire.ask("read.42", json!({"movie_id": 2})).await;
    let missing = wire.ask("read.42", json!({"movie_id": 4})).await;
    assert!(found.refusal.is_none() && missing.refusal.is_some(), "{:?} {:?}", found.refusal, missing.refusal);
    assert_eq!(counts(wire, "read-user").await, (2, 1), "requests and errors, those with a body among them");
    by_the_command_line(&world, &cluster).await;
    cluster.finish().await;
}

/// Returns the number of requests that all frontends counted at an endpoint, and of errors.
async fn counts(wire: &Wire, endpoint: &str) -> (u64, u64) {
    let (mut requests, mut errors) = (0, 0);
    for stats in ask_all(wire, "STATS.frontend", 2).await {
        let counted =
            stats["endpoints"].as_array().unwrap().iter().find(|counted| counted["name"] == endpoint).unwrap();
        requests += counted["num_requests"].as_u64().unwrap();
        errors += counted["num_errors"].as_u64().unwrap();
    }
    (requests, errors)
}

async fn by_the_command_line(world: &World, cluster: &natter_tests::harness::Cluster<'_>) {
    let Some(program) = tokio::task::spawn_blocking(nats_command_line).await.unwrap() else {
        println!("skipped: there is neither the nats command line nor Go to install it");
        return;
    };
    let nats = async |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--server", &world.broker.url(), "--no-context"]).args(arguments).env("HOME", world.directory());
        let output = tokio::process::Command::from(command).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("nats ends").unwrap();
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "nats {arguments:?}: {text}");
        text
    };
    let ids: Vec<String> = cluster.observer.seen().members.keys().cloned().collect();
    let listed = nats(&["micro", "ls"]).await;
    assert!(listed.contains("frontend") && listed.contains("replica"), "{listed}");
    let info = [nats(&["micro", "info", "frontend"]).await, nats(&["micro", "info", "replica"]).await].concat();
    assert!(["ratings.frontend.read", "frontends"].iter().all(|part| info.contains(part)), "{info}");
    let stats = nats(&["micro", "stats", "replica"]).await;
    assert!(stats.contains("query"), "{stats}");
    let pinged = nats(&["micro", "ping"]).await;
    assert!(pinged.contains("frontend") && pinged.contains("replica"), "{pinged}");

    let toy_story = r#""title":"Toy Story (1995)","rating":4.5"#;
    let read = nats(&["req", "ratings.frontend.read.42", r#"{"movie_id":1}"#]).await;
    assert!(read.contains(toy_story), "{read}");
    let read = nats(&["micro", "request", "frontend", "read", r#"{"user_id":42,"movie_id":1}"#]).await;
    assert!(read.contains(toy_story), "{read}");
    let refused = nats(&["req", "ratings.frontend.read.42", r#"{"movie_id":4}"#]).await;
    assert!(refused.contains("404") && refused.contains("MOVIE_NOT_FOUND"), "{refused}");
    let replica = ids.iter().find(|id| id.starts_with("r1-")).unwrap();
    let status = nats(&["req", &format!("ratings.replica.{replica}.status"), "{}"]).await;
    assert!(status.contains(r#""status":"ACTIVE""#), "{status}");
}

/// Finds the command line on PATH, among Go's programs or in the user's cache, or installs it now.
fn nats_command_line() -> Option<PathBuf> {
    let works = |path: PathBuf| {
        let version = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success()).then_some(path)
    };
    if let Some(path) = works(PathBuf::from("nats")) {
        return Some(path);
    }
    let of_go = |name: &str| {
        let output = Command::new("go").args(["env", name]).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (!text.trim().is_empty()).then(|| PathBuf::from(text.trim()))
    };
    if let Some(path) = of_go("GOPATH").and_then(|path| works(path.join("bin/nats"))) {
        return Some(path);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("natter");
    if let Some(path) = works(cache.join("nats")) {
        return Some(path);
    }
    println!("installing {NATS_CLI} into {}", cache.display());
    let installed =
        Command::new("go").args(["install", NATS_CLI]).env("GOBIN", &cache).stdin(Stdio::null()).status().ok()?;
    if installed.success() { works(cache.join("nats")) } else { None }
}
