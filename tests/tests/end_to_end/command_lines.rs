//! The programs as a person runs them: errors are told once, readably, and show in the exit status.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{World, data};
use serde_json::{Value, json};

use crate::ROLES;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_wrong_command_line_is_refused_with_one_readable_error() {
    let world = World::new(ROLES).await;
    let small = data::write_small(world.directory());
    let small = small.to_str().unwrap();
    let broken = world.path("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::copy(format!("{small}/movies.csv"), broken.join("movies.csv")).unwrap();
    std::fs::write(broken.join("ratings.csv"), "userId,movieId,rating,timestamp\n1,1,4.0,5\n1,2,4.7,5\n").unwrap();
    let broken = broken.to_str().unwrap();
    let missing = world.path("missing");
    let missing = missing.to_str().unwrap();
    let no_database = world.path("text.sqlite");
    std::fs::write(&no_database, "not a database").unwrap();
    let no_database = no_database.to_str().unwrap();
    let cases: [(&str, &[&str], &[&str]); 22] = [
        ("replica", &["--colour", "red"], &["--colour"]),
        ("replica", &["more"], &["more"]),
        ("replica", &["--database", missing], &["--database", "missing"]),
        ("replica", &["--database", broken], &["ratings.csv", "3", "4.7"]),
        ("replica", &["--database", no_database], &["text.sqlite"]),
        ("replica", &["--prefix", "a..b"], &["a..b"]),
        ("replica", &["--prefix", "ratings.>"], &["ratings.>"]),
        ("replica", &["--status", "asleep"], &["asleep", "overloaded"]),
        ("replica", &["--name", "a.b"], &["a.b"]),
        ("replica", &["--gossip-interval", "500"], &["500", "500ms"]),
        ("replica", &["--context", "no-such"], &["no-such"]),
        ("frontend", &["--colour"], &["--colour"]),
        ("frontend", &["--prefix", ""], &["prefix"]),
        ("frontend", &["--timeout", "0s"], &["0s"]),
        ("frontend", &["--fault-tolerance", "0"], &["0"]),
        ("frontend", &["--fault-tolerance", "many"], &["many"]),
        ("frontend", &["--queue-length", "0"], &["0"]),
        ("client", &["42", "creat", "1", "4"], &["creat"]),
        ("client", &["42", "create", "1", "4.7"], &["4.7"]),
        ("client", &["0", "read", "1"], &["0"]),
        ("client", &["42", "read", "none"], &["none"]),
        ("client", &["42", "read", "1", "--prefix", "a b"], &["a b"]),
    ];
    let runs = cases.map(|(role, arguments, says)| {
        let world = &world;
        async move {
            let output = world.run(role, arguments).await;
            let told = told(&output);
            assert!(
                !output.status.success() && output.status.code().is_some(),
                "{role} {arguments:?}: {}",
                output.status
            );
            assert!(says.iter().all(|part| told.contains(part)), "{role} {arguments:?} says:\n{told}");
            assert!(
                told.matches("error").count() <= 2 && told.lines().count() <= 8,
                "{role} {arguments:?} says:\n{told}"
            );
            assert!(!told.contains("panicked") && !told.contains("Os {") && !told.contains("Err("), "{told}");
            assert!(output.stdout.is_empty(), "results only: {}", String::from_utf8_lossy(&output.stdout));
        }
    });
    for run in runs {
        run.await;
    }
    for role in ["replica", "frontend", "client"] {
        let output = world.run(role, &["--help"]).await;
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("--prefix"));
    }
}

#[tokio::test]
async fn the_client_is_a_tool_for_scripts_and_keeps_its_session_between_calls() {
    let world = World::new(ROLES).await;
    // No frontend serves yet: the client says so at once. A missing broker is told soon.
    let started = Instant::now();
    let output = world.run("client", &["42", "read", "1", "--patience", "1s"]).await;
    assert!(!output.status.success() && told(&output).to_lowercase().contains("no frontend"), "{output:?}");
    let mut nowhere = world.role("client");
    nowhere.args(["42", "read", "1", "--patience", "1s", "--server", "nats://127.0.0.1:9"]).stdin(Stdio::null());
    let output = tokio::process::Command::from(nowhere).output().await.unwrap();
    assert!(!output.status.success() && told(&output).contains("no broker at nats://127.0.0.1:9"), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());

    let cluster = world.small_cluster(2, 3).await;
    let run = async |arguments: &[&str]| -> Value {
        let output = world.run("client", arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    };
    let created = run(&["42", "create", "3", "2.5", "--json"]).await;
    assert_eq!(created["replicas"].as_array().map(Vec::len), Some(2), "{created}");
    for _ in 0..4 {
        let read = run(&["42", "read", "3", "--json"]).await;
        assert_eq!(read["value"], created["value"], "each call is another process, with the session of the last");
    }
    assert_eq!(run(&["42", "update", "3", "5", "--json"]).await["value"]["rating"], 5.0);
    assert_eq!(run(&["42", "all", "--json"]).await["value"]["total"], 3);
    assert_eq!(run(&["average", "3", "--json"]).await["value"]["count"], 2);
    assert_eq!(run(&["search", "toy", "--json"]).await["value"]["movies"][0]["movie_id"], 1);
    assert_eq!(run(&["42", "delete", "3", "--json"]).await["value"]["rating"], 5.0);
    assert_eq!(run(&["42", "read", "3", "--json"]).await["value"]["rating"], Value::Null);
    for (arguments, status, says) in [
        (["42", "update", "3", "4"], 4, "has not rated"),
        (["42", "create", "1", "4"], 3, "already rated"),
        (["42", "create", "4", "4"], 4, "no movie 4"),
    ] {
        let output = world.run("client", &arguments).await;
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(told(&output).contains(says) && output.stdout.is_empty(), "{output:?}");
    }
    // Messages on the wire, decoded for people.
    let mut decode = world.role("client");
    decode.arg("decode").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut decoding = decode.spawn().unwrap();
    decoding
        .stdin
        .take()
        .unwrap()
        .write_all(&[0x81, 0xa8, 0x6d, 0x6f, 0x76, 0x69, 0x65, 0x5f, 0x69, 0x64, 0x01])
        .unwrap();
    let output = decoding.wait_with_output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!({"movie_id": 1}));
    cluster.finish().await;
}
