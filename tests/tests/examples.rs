//! The programs in `examples/`, each run against a real cluster: one session, the same in every language.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use natter_tests::harness::{Cluster, DEADLINE, World, tools};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
/// The example in Rust.
const RUST: &str = env!("CARGO_BIN_EXE_example-rate");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

fn cache() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The dependencies in package.json, as npm takes them.
fn node_packages() -> Vec<String> {
    let text = std::fs::read_to_string(examples().join("javascript/package.json")).unwrap();
    let package: Value = serde_json::from_str(&text).unwrap();
    let dependencies = package["dependencies"].as_object().unwrap();
    dependencies.iter().map(|(name, version)| format!("{name}@{}", version.as_str().unwrap())).collect()
}

/// The examples by language, for as many languages as there are tools.
async fn programs(world: &World) -> Vec<(&'static str, Command)> {
    let (go_source, packages) = (examples().join("go"), node_packages());
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let (python, node, go) = tokio::join!(
        tools::python(cache()),
        tools::node_packages(cache(), &packages),
        tools::go_program(cache(), &go_source),
    );
    let mut programs = vec![("rust", Command::new(RUST))];
    if let Some(python) = python {
        let mut command = Command::new(python);
        command.arg(examples().join("python/rate.py"));
        programs.push(("python", command));
    }
    if let Some(modules) = node {
        // A module finds packages beside itself, whatever NODE_PATH says.
        let copy = world.path("rate.mjs");
        std::fs::copy(examples().join("javascript/rate.mjs"), &copy).unwrap();
        std::os::unix::fs::symlink(modules, world.path("node_modules")).unwrap();
        let mut command = Command::new("node");
        command.arg(copy);
        programs.push(("javascript", command));
    }
    if let Some(program) = go {
        programs.push(("go", Command::new(program)));
    }
    programs
}

fn start(world: &World, mut command: Command, user: usize) -> Child {
    command.arg(user.to_string()).env("NATS_URL", world.broker.url()).env_remove("NATS_CONTEXT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Waits until the program says on standard error that it tries again, and keeps reading.
async fn until_it_retries(child: &mut Child, language: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("trying again") {
                return;
            }
        }
        panic!("{language} ends before there is a frontend");
    };
    tokio::time::timeout(DEADLINE, told).await.unwrap_or_else(|_| panic!("{language} does not retry"));
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}

async fn output_of(child: &mut Child, language: &str) -> String {
    let mut text = String::new();
    let mut output = child.stdout.take().unwrap();
    let ended = async {
        output.read_to_string(&mut text).await.unwrap();
        child.wait().await.unwrap()
    };
    let ended = tokio::time::timeout(DEADLINE, ended).await.unwrap_or_else(|_| panic!("{language} does not end"));
    assert!(ended.success(), "{language} ends with {ended}:\n{text}");
    text.to_lowercase()
}

/// The lines that examples/README.md shows, for this user. A number may have a fraction or not.
fn is_right(text: &str, user: usize) -> bool {
    let document = std::fs::read_to_string(examples().join("README.md")).unwrap();
    let shown = document.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let shown = shown.replace("user 42", &format!("user {user}")).to_lowercase();
    assert!(shown.lines().count() >= 5, "the document shows {shown}");
    text.lines().map(str::trim_end).eq(shown.lines())
}

/// The examples begin while there is no frontend: they retry, and each update is done once.
#[tokio::test]
async fn the_example_of_every_language_keeps_its_session_and_retries_under_one_id() {
    let world = World::new(ROLES).await;
    let mut cluster: Cluster<'_> = world.small_cluster(0, 2).await;
    let programs = programs(&world).await;
    let mut children: Vec<(&str, usize, Child)> = Vec::new();
    for (user, (language, command)) in (20_001..).zip(programs) {
        children.push((language, user, start(&world, command, user)));
    }
    for (language, _, child) in &mut children {
        until_it_retries(child, language).await;
    }
    cluster.start_frontend("f1", &[]);
    for (language, user, child) in &mut children {
        let text = output_of(child, language).await;
        assert!(is_right(&text, *user), "{language} prints\n{text}");
    }
    // A create and a delete: nothing was done twice.
    let length = |seen: &natter_tests::harness::Seen| {
        let logs =
            seen.members.values().filter_map(|member| member.presence["value_timestamp"]["replicas"].as_object());
        logs.map(|counts| counts.values().filter_map(Value::as_u64).sum::<u64>()).max()
    };
    let updates = 2 * children.len() as u64;
    cluster.observer.until("all updates show", |seen| length(seen).filter(|count| *count >= updates)).await;
    let seen = length(&cluster.observer.seen());
    assert_eq!(seen, Some(updates));
    cluster.finish().await;
}

#[test]
fn the_packages_of_the_examples_are_those_that_are_tested() {
    let requirements = std::fs::read_to_string(examples().join("python/requirements.txt")).unwrap();
    assert_eq!(requirements.lines().collect::<Vec<_>>(), tools::PYTHON_PACKAGES);
    let lock = std::fs::read_to_string(examples().join("javascript/package-lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    for package in node_packages() {
        let (name, version) = package.rsplit_once('@').unwrap();
        assert_eq!(lock["packages"][format!("node_modules/{name}")]["version"], version, "{name}");
    }
}
