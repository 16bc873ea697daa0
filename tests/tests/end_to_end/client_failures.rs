//! The client program where it does not do what it was asked: exit status, object, sentence, and how long it waits.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use natter_tests::harness::{DEADLINE, World};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::ROLES;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks an error with `--json`: its exit status, its name, and that sentence and object are where they belong.
fn check(arguments: &[&str], output: &Output, status: i32, name: &str) -> Value {
    let told = format!("{arguments:?}: {output:?}");
    assert_eq!(output.status.code(), Some(status), "{told}");
    let text = stdout(output);
    assert_eq!(text.lines().count(), 1, "{told}");
    let object: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {told}"));
    for member in ["code", "name", "message", "update_id"] {
        assert!(object.get(member).is_some(), "no {member}: {told}");
    }
    assert_eq!(object["name"], name, "{told}");
    assert!(object["code"].is_u64() && stderr(output).contains("error: "), "{told}");
    object
}

/// Replaces text in every session that was kept.
fn rewrite_sessions(state: &Path, from: &str, to: &str) {
    for entry in std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            rewrite_sessions(&entry, from, to);
        } else if entry.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&entry).unwrap();
            std::fs::write(&entry, text.replace(from, to)).unwrap();
        }
    }
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_status_and_its_object() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let before = cluster.wire.ask("average", json!({"movie_id": 1})).await.ok();
    let missing = world.path("missing.csv").to_str().unwrap().to_owned();
    let bad = world.path("bad.csv");
    std::fs::write(&bad, "userId,movieId,rating\n9,1,4.0\n9,2,4.7\n").unwrap();
    let bad = bad.to_str().unwrap().to_owned();
    let cases: [(&[&str], i32, &str); 15] = [
        // `U=; client $U delete 1`
        (&["delete", "1"], 2, "USAGE"),
        (&["", "delete", "1"], 2, "USAGE"),
        (&["create", "1", "4"], 2, "USAGE"),
        (&["all"], 2, "USAGE"),
        (&["42", "import", &bad], 2, "USAGE"),
        (&["42"], 2, "USAGE"),
        (&["42", "create", "1", "4", "--colour", "red"], 2, "USAGE"),
        (&["42", "read", "1", "--context", "no-such"], 2, "USAGE"),
        (&["42", "create", "1", "4"], 3, "RATING_EXISTS"),
        (&["42", "update", "3", "4"], 4, "RATING_NOT_FOUND"),
        (&["42", "read", "4"], 4, "MOVIE_NOT_FOUND"),
        (&["42", "read", "1", "--prefix", "nope", "--patience", "0s"], 5, "NO_FRONTEND"),
        (&["42", "read", "1", "--server", "nats://127.0.0.1:9", "--patience", "0s"], 5, "NO_BROKER"),
        (&["import", &missing], 1, "FILE"),
        (&["import", &bad, "--no-state"], 3, "LINES_REFUSED"),
    ];
    for (arguments, status, name) in cases {
        let arguments = [arguments, &["--json"]].concat();
        // `run` names the broker of this test: not where the case names another.
        let output = if arguments.contains(&"--server") {
            let mut command = world.role("client");
            command.args(&arguments).stdin(Stdio::null());
            Command::from(command).output().await.unwrap()
        } else {
            world.run("client", &arguments).await
        };
        let object = check(&arguments, &output, status, name);
        assert!(object["update_id"].is_null(), "{object}");
        let message = object["message"].as_str().unwrap();
        match name {
            "NO_FRONTEND" => assert!(message.contains("\"nope\""), "{message}"),
            "LINES_REFUSED" => {
                assert_eq!((&object["value"]["created"], &object["value"]["refused"]), (&json!(1), &json!(1)))
            }
            "USAGE" if arguments[0] == "delete" => assert!(message.contains("`delete` needs a user"), "{message}"),
            _ => {}
        }
        // Without --json there is the sentence alone.
        if !arguments.contains(&"--server") {
            let output = world.run("client", &arguments[..arguments.len() - 1]).await;
            let is_silent = name == "LINES_REFUSED" || output.stdout.is_empty();
            // Without a command it is the menu, which ends with its input.
            assert!(arguments.len() == 2 || output.status.code() == Some(status) && is_silent, "{output:?}");
        }
    }
    let after = cluster.wire.ask("average", json!({"movie_id": 1})).await.ok();
    assert_eq!(after["value"]["count"].as_u64(), before["value"]["count"].as_u64().map(|count| count + 1));

    // An empty title finds all movies.
    let found = world.run("client", &["search", "", "--json"]).await;
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["value"]["movies"].as_array().map(Vec::len), Some(10), "{found}");

    // A session that has seen what no replica has.
    assert!(world.run("client", &["42", "update", "1", "2"]).await.status.success());
    for name in ["r1", "r2"] {
        let id = cluster.id_of(name).await;
        rewrite_sessions(&world.path("state"), &id, "gone-1");
    }
    let arguments = ["42", "read", "1", "--json"];
    let object = check(&arguments, &world.run("client", &arguments).await, 6, "STALE");
    assert!(object["message"].as_str().unwrap().contains("add --new-session"), "{object}");
    assert!(world.run("client", &["42", "read", "1", "--new-session"]).await.status.success());

    // All replicas are OFFLINE.
    cluster.set_all_modes("offline").await;
    cluster.until_shows("r1", "OFFLINE").await;
    cluster.until_shows("r2", "OFFLINE").await;
    let arguments = ["42", "update", "1", "4", "--patience", "0s", "--json"];
    check(&arguments, &world.run("client", &arguments).await, 5, "UNAVAILABLE");
    cluster.finish().await;
}

/// Starts the client, which has patience for the whole test.
fn start(world: &World, arguments: &[&str]) -> (Child, tokio::io::Lines<BufReader<ChildStderr>>) {
    let mut command = world.role("client");
    command.args(arguments).args(["--patience", "60s", "--server", &world.broker.url()]).stdin(Stdio::null());
    let mut command = Command::from(command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, told)
}

async fn until_told(told: &mut tokio::io::Lines<BufReader<ChildStderr>>, what: &str) {
    let waiting = async {
        while let Some(line) = told.next_line().await.unwrap() {
            if line.contains(what) {
                return;
            }
        }
        panic!("it ended without {what:?}");
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("is told");
}

async fn succeeds(child: Child) {
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("ends").unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn missing_frontends_and_replicas_are_told_at_once_and_waited_for() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(0, 2).await;
    let (client, mut told) = start(&world, &["42", "update", "1", "2"]);
    until_told(&mut told, "no frontend serves the prefix \"ratings\"").await;
    cluster.start_frontend("f1", &[]);
    succeeds(client).await;

    cluster.set_all_modes("offline").await;
    cluster.until_shows("r1", "OFFLINE").await;
    cluster.until_shows("r2", "OFFLINE").await;
    let (client, mut told) = start(&world, &["42", "update", "1", "3"]);
    until_told(&mut told, "(UNAVAILABLE)").await;
    cluster.set_all_modes("measured").await;
    succeeds(client).await;

    // All frozen: the frontend's reason is told, with the id of the update that may still take effect.
    cluster.pause_all_replicas();
    let arguments = ["42", "update", "1", "4", "--timeout", "20s", "--patience", "3s", "--json"];
    let output = world.run("client", &arguments).await;
    cluster.resume_all_replicas();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    // In the end the frontend hears no replica, and takes no more requests.
    let is_reason = ["TIMEOUT", "UNAVAILABLE", "NO_FRONTEND"].iter().any(|name| object["name"] == *name);
    assert!(is_reason && object["update_id"].is_string(), "{object}");
    // The update under its id: once, whether it took effect already or not.
    let id = object["update_id"].as_str().unwrap();
    let (client, _) = start(&world, &["42", "update", "1", "4", "--id", id]);
    succeeds(client).await;
    tokio::time::timeout(Duration::from_secs(60), cluster.finish()).await.unwrap();
}
