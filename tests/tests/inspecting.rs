//! `docs/INSPECTING.md`: every command of it runs, in the order of the page, with the real nats CLI on a real cluster, and
//! prints what the page shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use natter_tests::harness::{Cluster, DEADLINE, World};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
const PAGE: &str = include_str!("../../docs/INSPECTING.md");

/// Commands of one fenced block, and the output that the page shows below it.
struct Step {
    commands: Vec<String>,
    shown: Option<String>,
}

/// The page as its configuration of the broker and its steps.
fn read_page() -> (String, Vec<Step>) {
    let (mut configuration, mut steps) = (None, Vec::<Step>::new());
    let mut pieces = PAGE.split("```");
    pieces.next();
    while let Some(fenced) = pieces.next() {
        let (language, body) = fenced.split_once('\n').unwrap();
        match language {
            "sh" => steps.push(Step { commands: body.lines().map(str::to_owned).collect(), shown: None }),
            "text" if body.starts_with("server_name") => configuration = Some(body.to_owned()),
            _ => steps.last_mut().expect("commands come first").shown = Some(body.to_owned()),
        }
        pieces.next().expect("a block ends");
    }
    (configuration.expect("the configuration of the broker"), steps)
}

/// Runs commands as a person would who has `nats` and `client` on `PATH`.
struct Shell<'w> {
    world: &'w World,
    path: String,
    replica: String,
}

impl<'w> Shell<'w> {
    async fn new(world: &'w World, cluster: &Cluster<'_>) -> Self {
        let client = world.path("client");
        std::fs::write(&client, format!("#!/bin/sh\nexec {ROLES} client \"$@\"\n")).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", world.directory().display(), std::env::var("PATH").unwrap_or_default());
        Self { world, path, replica: cluster.id_of("r1").await }
    }

    fn start(&self, command: &str) -> Child {
        let url = self.world.broker.url();
        let command = command.replace("nats://127.0.0.1:4222", &url);
        let command =
            command.replace(".ID.", &format!(".{}.", self.replica)).replace(".ID'", &format!(".{}'", self.replica));
        let home = self.world.path("home");
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).current_dir(self.world.directory()).env("PATH", &self.path);
        for variable in ["NATS_CONTEXT", "NATS_CREDS", "NATS_USER", "NATS_PASSWORD"] {
            shell.env_remove(variable);
        }
        shell.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("NATTER_STATE", self.world.path("state"));
        shell.env("NATS_URL", url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell.kill_on_drop(true).spawn().unwrap()
    }

    /// Standard output and error of a command, which must succeed.
    async fn run(&self, command: &str) -> String {
        let child = self.start(command);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("does not end: {command}")).unwrap();
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{command}: {text}");
        text
    }

    /// Commands of one block, and all that they print. Those after one in the background run again until that has ended.
    async fn run_block(&self, commands: &[String]) -> String {
        let Some((background, rest)) = commands[0].strip_suffix(" &").zip(commands.get(1..)) else {
            let mut text = String::new();
            for command in commands {
                text += &self.run(command).await;
            }
            return text;
        };
        let mut child = self.start(background);
        let mut news = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut text = String::new();
        while !text.contains("Subscribing on") {
            text += &news.next_line().await.unwrap().unwrap_or_else(|| panic!("{background} ends: {text}"));
            text.push('\n');
        }
        let mut output = child.stdout.take().unwrap();
        let ended = async move {
            let mut shown = String::new();
            output.read_to_string(&mut shown).await.unwrap();
            (child.wait().await.unwrap(), shown)
        };
        let mut ended = std::pin::pin!(tokio::time::timeout(DEADLINE, ended));
        let mut status = None;
        // The subscription may be a moment behind its line, so that it misses the first message.
        while status.is_none() {
            for command in rest {
                text += &self.run(command).await;
            }
            status = tokio::time::timeout(Duration::from_millis(100), &mut ended).await.ok();
        }
        let (status, shown) = status.unwrap().unwrap_or_else(|_| panic!("it gets no message: {background}"));
        assert!(status.success(), "{background}: {status}");
        text + &shown
    }
}

/// Words of an output that do not depend on the run: letters only, and no names that were drawn.
fn words(text: &str) -> BTreeSet<&str> {
    let after = |label: &str| text.split(label).nth(1)?.split(['"', '\n']).find(|word| !word.trim().is_empty());
    let drawn = after("\"cluster\":").or_else(|| after("Natter-Cluster: "));
    let lines = text.lines().filter(|line| !line.contains("/home/") && !line.starts_with("00000"));
    let tokens = lines.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))));
    let fixed = |word: &&str| (4..20).contains(&word.len()) && word.chars().all(|c| c.is_ascii_alphabetic());
    tokens.filter(fixed).filter(|word| Some(*word) != drawn).collect()
}

fn check(commands: &[String], shown: &str, printed: &str) {
    let (found, expected) = (words(printed), words(shown));
    let missing: Vec<&str> = expected.difference(&found).copied().collect();
    assert!(missing.is_empty(), "{commands:?} does not print {missing:?}, which the page shows, but:\n{printed}");
    let statuses = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| line.starts_with("exit status")).map(str::to_owned).collect()
    };
    assert_eq!(statuses(printed), statuses(shown), "{commands:?}");
}

/// An instance of a service that answers a second after the others.
async fn answer_late(client: &async_nats::Client) {
    let mut questions = client.subscribe("$SRV.*").await.unwrap();
    client.flush().await.unwrap();
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let (Some(reply), client) = (question.reply, client.clone()) else { continue };
            let kind = question.subject.to_lowercase().replace("$srv.", "");
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let answer = format!(
                    r#"{{"type":"io.nats.micro.v1.{kind}_response","name":"late","id":"late-one","version":"1.0.0",
                        "metadata":{{}},"description":"late","endpoints":[]}}"#
                );
                client.publish(reply, answer.into()).await.unwrap();
            });
        }
    });
}

#[tokio::test]
async fn commands_of_the_inspecting_page_print_what_it_shows() {
    if std::process::Command::new("nats").arg("--version").output().is_err() {
        println!("skipped: no nats CLI on PATH");
        return;
    }
    let (configuration, steps) = read_page();
    let configuration: String = configuration
        .lines()
        .filter(|line| !line.starts_with("listen"))
        .fold(String::new(), |text, line| text + line + "\n");
    let world = World::with_broker_configuration(ROLES, &configuration).await;
    let cluster = world.cluster("ratings").start(1, 3).await;
    let shell = Shell::new(&world, &cluster).await;
    let mut commands = 0;
    for step in &steps {
        let printed = shell.run_block(&step.commands).await;
        if let Some(shown) = &step.shown {
            check(&step.commands, shown, &printed);
        }
        commands += step.commands.len();
    }
    assert!(commands > 25, "only {commands} found: does the test still read the page?");
    // Claims of the page about the exact bytes, and about instances that answer late.
    let reply = std::fs::read(world.path("reply.json")).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&reply).is_ok() && reply.ends_with(b"}"));
    answer_late(cluster.wire.client()).await;
    let (listed, pinged) = tokio::join!(shell.run("nats micro ls"), shell.run("nats micro ping"));
    assert!(listed.contains("replica") && !listed.contains("late-one"), "{listed}");
    assert!(pinged.contains("late-one"), "{pinged}");
    cluster.finish().await;
}
