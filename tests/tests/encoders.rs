//! MessagePack of other languages: each encoder has a whole session with real processes, and every label goes back as its
//! decoder gave it. Also the headers of an error, as a client of another language sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use natter_tests::harness::{Cluster, Wire, World, tools};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
const NODE_PACKAGES: [&str; 3] = ["@msgpack/msgpack@3.1.3", "msgpackr@2.1.4", "msgpack-lite@0.2.2"];
const JAVASCRIPT: [&str; 6] = [
    "@msgpack/msgpack",
    "@msgpack/msgpack with BigInt",
    "@msgpack/msgpack with floats",
    "msgpackr",
    "msgpackr with numbers",
    "msgpack-lite",
];
const PYTHON: [&str; 4] = ["msgpack", "msgpack with bytes", "msgpack with floats", "msgpack with raw"];
const GO: [&str; 3] =
    ["vmihailenco/msgpack", "vmihailenco/msgpack with maps", "vmihailenco/msgpack with compact numbers"];

fn cache() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders").join(name)
}

#[tokio::test]
async fn a_session_with_every_encoder_reads_its_own_writes() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 2).await;
    let go_source = source("go");
    let (node, python, go) = tokio::join!(
        tools::node_packages(cache(), &NODE_PACKAGES),
        tools::python(cache()),
        tools::go_program(cache(), &go_source),
    );
    let mut sessions = Vec::new();
    if let Some(modules) = node {
        for name in JAVASCRIPT {
            let mut command = Command::new("node");
            command.arg(source("session.cjs")).env("NODE_PATH", &modules);
            sessions.push((name, command));
        }
    }
    if let Some(python) = python {
        for name in PYTHON {
            let mut command = Command::new(&python);
            command.arg(source("session.py"));
            sessions.push((name, command));
        }
    }
    if let Some(program) = &go {
        sessions.extend(GO.map(|name| (name, Command::new(program))));
    }
    let told = sessions.into_iter().zip(10_001..).map(|((name, command), user)| session(&cluster, name, command, user));
    for (name, end) in futures_util::future::join_all(told).await {
        assert_eq!(end, "done", "{name}");
    }
    // Fields in their order and without names are no request.
    if let Some(program) = go {
        let (_, end) = session(&cluster, "vmihailenco/msgpack with lists", Command::new(program), 10_100).await;
        assert!(end.contains("refused BAD_REQUEST") && end.contains("a list, expected a map"), "{end}");
    }
    by_hand(&cluster.wire).await;
    cluster.finish().await;
}

/// Sends messages as PHP and Lua write them, which have no tool here.
async fn by_hand(wire: &Wire) {
    // PHP: an empty array is a list, even if a map was meant.
    let php = b"\x84\xa7user_id\x2a\xa8movie_id\x02\xa6rating\x04\xa4prev\x90";
    let created = send(wire, "create", php.to_vec()).await.unwrap();
    let created: Value = rmp_serde::from_slice(&created).unwrap();
    assert_eq!(created["value"]["rating"], 4.0);
    // Lua: every number is a float of 64 bits, and so is the clock of the label.
    let count = created["label"]["replicas"].as_object().unwrap().iter().map(|(id, n)| (id, json!(n.as_f64())));
    let replicas: serde_json::Map<String, Value> = count.map(|(id, n)| (id.clone(), n)).collect();
    let prev = json!({"replicas": replicas, "clock": created["label"]["clock"].as_f64()});
    let lua = json!({"user_id": 42.0, "movie_id": 2.0, "rating": 2.0, "prev": prev});
    let updated = send(wire, "update", rmp_serde::to_vec_named(&lua).unwrap()).await.unwrap();
    let updated: Value = rmp_serde::from_slice(&updated).unwrap();
    assert_eq!(updated["value"]["rating"], 2.0);
    for (payload, reason) in [
        // A 32-bit float has lost most of a clock.
        (&b"\x83\xa7user_id\x2a\xa8movie_id\x02\xa4prev\x81\xa5clock\xca\x5b\xd1\x00\x00"[..], "is a 32-bit float"),
        (b"\x82\xa7user_id\xcb\x7f\xf8\0\0\0\0\0\0\xa8movie_id\x02", "NaN is not an id"),
        (b"\x82\x01\x2a\x02\x02", "user_id is missing"),
        (b" {\"user_id\":42,\"movie_id\":2}", "it begins with a blank"),
    ] {
        let refusal = send(wire, "read", payload.to_vec()).await.unwrap_err();
        assert!(refusal.starts_with("BAD_REQUEST: ") && refusal.contains(reason), "{refusal}");
    }
}

/// Asks a frontend; `Err` is the text of its refusal.
async fn send(wire: &Wire, operation: &str, payload: Vec<u8>) -> Result<Vec<u8>, String> {
    let request = wire.client().request(wire.subject(&format!("frontend.{operation}")), payload.into());
    let reply = tokio::time::timeout(Duration::from_secs(40), request).await.expect("an answer").unwrap();
    match reply.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error")) {
        Some(text) => Err(text.to_string()),
        None => Ok(reply.payload.to_vec()),
    }
}

/// Runs a session, whose requests and replies are lines; gives its last line.
async fn session<'a>(cluster: &Cluster<'_>, name: &'a str, mut command: Command, user: u64) -> (&'a str, String) {
    command.args([name, &user.to_string()]).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.expect("it goes on").unwrap();
        let Some(line) = line else { return (name, "it ended without a word".to_owned()) };
        let Some((operation, payload)) = line.split_once(' ').filter(|(word, _)| *word != "failed") else {
            return (name, line);
        };
        let reply = match send(&cluster.wire, operation, from_hex(payload)).await {
            Ok(body) => body.iter().map(|byte| format!("{byte:02x}")).collect(),
            Err(refusal) => format!("refused {refusal}"),
        };
        input.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Prints the headers of the errors of two roles.
const HEADERS: &str = r#"
import asyncio, os, sys
import nats

async def main():
    broker = await nats.connect(os.environ["NATS_URL"])
    for subject in sys.argv[1:]:
        reply = await broker.request(subject, '{"user_id":42,"movie_id":"Amélie","mode":"Amélie"}'.encode(), timeout=20)
        print((reply.headers or {}).get("Nats-Service-Error-Code"), (reply.headers or {}).get("Nats-Service-Error"))
    await broker.close()

asyncio.run(main())
"#;

#[tokio::test]
async fn headers_of_errors_about_text_beyond_ascii_reach_other_clients() {
    let Some(python) = tools::python(cache()).await else { return };
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let replica = cluster.id_of("r1").await;
    let mut command = Command::new(python);
    command.args(["-c", HEADERS, "ratings.frontend.read", &format!("ratings.replica.{replica}.status")]);
    let output = command.env("NATS_URL", world.broker.url()).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("ends by itself").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in lines {
        assert!(line.starts_with("400 BAD_REQUEST: ") && line.contains(r"Am\u{e9}lie"), "{line}");
    }
    cluster.finish().await;
}
