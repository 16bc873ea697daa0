//! The client's memory belongs to a cluster: it goes on at any address, and not in a cluster that was started anew.

use std::process::{Output, Stdio};

use natter_tests::harness::{DEADLINE, World};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::ROLES;

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Counts of an import: created in this run, and all of earlier ones.
fn imported(output: &Output) -> (Value, Value) {
    assert!(output.status.success(), "{output:?}");
    let report = object(output)["value"].take();
    assert_eq!(report["earlier_runs"]["created"], report["by_earlier_runs"], "{report}");
    (report["created"].clone(), report["by_earlier_runs"].clone())
}

/// The client in a line of shell, with the name of the program in `$CLIENT`.
async fn shell(world: &World, line: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).env("CLIENT", ROLES).env("NATTER_STATE", world.path("state"));
    shell.env("NATS_URL", world.broker.url()).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(DEADLINE, shell.output()).await.expect("ends by itself").unwrap()
}

#[tokio::test]
async fn sessions_and_imports_go_on_in_their_cluster_at_any_address_and_in_no_other() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(1, 2).await;
    let path = world.path("r.csv");
    let lines: String = (100..160).map(|user| format!("{user},1,4.0\n{user},2,3.5\n")).collect();
    std::fs::write(&path, format!("userId,movieId,rating\n{lines}")).unwrap();
    let path = path.to_str().unwrap();
    let import = ["import", path, "--json"];
    let localhost = world.broker.url().replace("127.0.0.1", "localhost");
    assert_ne!(localhost, world.broker.url());

    for user in ["42", "7"] {
        assert!(world.run("client", &[user, "create", "5", "4"]).await.status.success());
    }
    assert_eq!(imported(&world.run("client", &import).await), (json!(120), json!(0)));
    assert_eq!(imported(&world.run("client", &import).await), (json!(0), json!(120)));
    // Second name of the same address: the same session, and the same import.
    let mut command = world.role("client");
    command.args(["42", "read", "5", "--json", "--server", &localhost]).stdin(Stdio::null());
    let read = Command::from(command).output().await.unwrap();
    assert_eq!(object(&read)["value"]["rating"], 4.0, "{read:?}");
    let mut command = world.role("client");
    command.args(import).args(["--server", &localhost]).stdin(Stdio::null());
    assert_eq!(imported(&Command::from(command).output().await.unwrap()), (json!(0), json!(120)));
    let mut states = std::fs::read_dir(world.path("state/addresses")).unwrap();
    assert!(states.next().is_some() && states.next().is_none(), "two names of one address");

    // Inputs that can be read only once.
    let text = "userId,movieId,rating\\n9,1,4.0\\n9,2,3.0\\n";
    for (n, line) in [
        format!("$CLIENT client import <(printf '{text}') --json"),
        format!("printf '{text}' | sed s/9,/8,/ | $CLIENT client import /dev/stdin --json"),
        format!("printf '{text}' | sed s/9,/11,/ | $CLIENT client import - --json"),
        format!(
            "mkfifo {0} && (printf '{text}' | sed s/9,/12,/ > {0} &) && $CLIENT client import {0} --json",
            world.path("fifo").display()
        ),
    ]
    .iter()
    .enumerate()
    {
        let output = shell(&world, line).await;
        assert_eq!(imported(&output), (json!(2), json!(0)), "{n}: {line}");
    }

    // All roles in memory end, and others take their place.
    for name in ["f1", "r1", "r2"] {
        cluster.member(name).terminate();
        cluster.member(name).ended().await;
    }
    for name in ["r3", "r4"] {
        cluster.start_replica(name, &[]);
    }
    cluster.start_frontend("f2", &[]);
    cluster.until_ready().await;

    let stale = world.run("client", &["42", "read", "5", "--json"]).await;
    let error = object(&stale);
    assert_eq!((stale.status.code(), &error["name"]), (Some(6), &json!("STALE")), "{stale:?}");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("this session belongs to cluster ") && message.contains("--new-session"), "{message}");
    // Commands of no user go on, without what the others have seen.
    let average = world.run("client", &["average", "5", "--json"]).await;
    assert_eq!(object(&average)["value"]["count"], 0, "{average:?}");
    // The import is one into another cluster, and does not count what that never had.
    let again = world.run("client", &import).await;
    assert_eq!(imported(&again), (json!(120), json!(0)), "{again:?}");
    assert!(told(&again).contains("into which this file was imported before"), "{again:?}");
    assert_eq!(imported(&world.run("client", &import).await), (json!(0), json!(120)));
    // A new session is that of one user.
    assert!(world.run("client", &["42", "create", "5", "3", "--new-session"]).await.status.success());
    assert_eq!(object(&world.run("client", &["42", "read", "5", "--json"]).await)["value"]["rating"], 3.0);
    assert_eq!(world.run("client", &["7", "read", "5"]).await.status.code(), Some(6));
    cluster.finish().await;
}
