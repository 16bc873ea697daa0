//! Brokers that freeze (SIGSTOP), or are cut off from the others: connections stay, and bring nothing. A program of its own, as it measures time: cargo
//! runs one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use natter_broker::connection::{ConnectionSettings, Patience, connect};
use natter_broker::options::BrokerOptions;
use natter_client::transport::{NatsTransport, Transport};
use natter_common::subjects::{Operation, Subjects};
use natter_tests::harness::{Encoding, Way, World, update_id_v7};
use natter_tests::live::{Stage, StagePlan};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
/// Folder for histories that break a promise.
const KEEP_IN: &str = env!("CARGO_TARGET_TMPDIR");
/// Longer than it takes until frozen connections are given up and replicas count as gone.
const FROZEN: Duration = Duration::from_secs(4);
/// The longest time in which a client of a healthy server may have no answer.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Time of one attempt, as the client's own default.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Time for a message from one broker to another.
const MESH_LOOK: Duration = Duration::from_millis(100);
/// The longest time until all brokers have their routes again.
const MESH_DEADLINE: Duration = Duration::from_secs(60);
/// A movie that the sessions of the stage neither read nor write.
const MOVIE_ID: u32 = 8;
/// First of the users whose ratings no session writes.
const FIRST_USER_ID: u32 = 9001;

/// The longest time without an answer so far, and the time of the last answer.
struct Gap {
    longest: Duration,
    last: Instant,
    /// Answers other than success since the last one, and those of the longest time.
    trail: Vec<String>,
    longest_trail: Vec<String>,
}

impl Gap {
    /// Another answer came, or none.
    fn note(&mut self, answer: &str) {
        let note = format!("{:.2?} {answer}", self.last.elapsed());
        self.trail.push(note);
    }

    /// An answer came.
    fn end(&mut self) {
        let trail = std::mem::take(&mut self.trail);
        if self.last.elapsed() > self.longest {
            self.longest = self.last.elapsed();
            self.longest_trail = trail;
        }
        self.last = Instant::now();
    }
}

/// A reader and a writer at one server.
struct Probe {
    gaps: [(Operation, Arc<Mutex<Gap>>); 2],
    _tasks: JoinSet<()>,
}

impl Probe {
    /// Begins to ask at `url`, through the client's own transport.
    async fn start(url: &str, user_id: u32) -> Self {
        let mut tasks = JoinSet::new();
        let mut gaps = Vec::new();
        for operation in [Operation::Read, Operation::Create] {
            let options = BrokerOptions::default().for_own_server(url);
            let settings = ConnectionSettings { name: "probe".to_owned(), no_echo: false, patience: Patience::Forever };
            let (sender, events) = unbounded_channel();
            let client = connect(&options, &settings, Some(sender)).await.unwrap();
            let transport = NatsTransport::new(client, Subjects::new("ratings").unwrap(), url, events);
            let gap = Arc::new(Mutex::new(Gap {
                longest: Duration::ZERO,
                last: Instant::now(),
                trail: Vec::new(),
                longest_trail: Vec::new(),
            }));
            tasks.spawn(ask(transport, operation, user_id, Arc::clone(&gap)));
            gaps.push((operation, gap));
        }
        Self { gaps: gaps.try_into().unwrap_or_else(|_| unreachable!("two")), _tasks: tasks }
    }

    /// Answers other than success in the longest time.
    fn trails(&self) -> Vec<Vec<String>> {
        self.gaps.iter().map(|(_, gap)| gap.lock().unwrap().longest_trail.clone()).collect()
    }

    /// The longest time without an answer, until now, for the reader and the writer.
    fn longest(&self) -> Vec<(Operation, Duration)> {
        let longest = |gap: &Mutex<Gap>| {
            let gap = gap.lock().unwrap();
            gap.longest.max(gap.last.elapsed())
        };
        self.gaps.iter().map(|(operation, gap)| (*operation, longest(gap))).collect()
    }
}

async fn ask(transport: NatsTransport, operation: Operation, user_id: u32, gap: Arc<Mutex<Gap>>) {
    let mut operation = operation;
    let writes = operation != Operation::Read;
    loop {
        let mut map = json!({"user_id": user_id, "movie_id": MOVIE_ID});
        if writes {
            map["rating"] = json!(2.5);
            map["id"] = json!(update_id_v7(Duration::ZERO));
        }
        let payload = Encoding::MessagePack.encode(&map);
        // Tried again under the same id, as the client does.
        loop {
            let answer = transport.request(operation, payload.clone().into(), ATTEMPT).await;
            // A rating that exists is updated from then on.
            let exists =
                answer.as_ref().is_ok_and(|answer| answer.error.as_ref().is_some_and(|(code, _)| code == "409"));
            let error = match &answer {
                Ok(answer) => format!("{:?}", answer.error),
                Err(failure) => format!("{failure:?}"),
            };
            if exists || answer.is_ok_and(|answer| answer.error.is_none()) {
                gap.lock().unwrap().end();
                if writes {
                    operation = Operation::Update;
                }
                break;
            }
            gap.lock().unwrap().note(&error);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Fault of one of the brokers.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It is stopped.
    Frozen,
    /// It runs, but no byte passes between it and the other brokers. Its own clients still get answers.
    CutOff,
}

/// Waits until every two brokers hear each other. Messages take one route only, so a pair without one is parted even where
/// a third broker reaches both.
async fn until_meshed(urls: &[String]) {
    let mut clients = Vec::new();
    for url in urls {
        clients.push(async_nats::connect(url).await.unwrap());
    }
    for (publisher, hearer) in clients.iter().flat_map(|one| clients.iter().map(move |other| (one, other))) {
        let subject = hearer.new_inbox();
        let mut heard = hearer.subscribe(subject.clone()).await.unwrap();
        let began = Instant::now();
        loop {
            publisher.publish(subject.clone(), "".into()).await.unwrap();
            if tokio::time::timeout(MESH_LOOK, heard.next()).await.is_ok() {
                break;
            }
            assert!(began.elapsed() < MESH_DEADLINE, "two brokers do not hear each other");
        }
    }
}

#[tokio::test]
async fn clients_of_healthy_brokers_are_answered_while_one_of_three_is_frozen_or_cut_off() {
    let seed = fastrand::u64(..1_000_000_000);
    let world = World::without_broker(ROLES).await;
    let plan =
        StagePlan::new("clients_of_healthy_brokers_are_answered_while_one_of_three_is_frozen_or_cut_off", KEEP_IN);
    let mut stage = Stage::start(&world, plan, seed).await;
    let mut late = Vec::new();
    // `CUT_OFF_BROKERS=9` cuts each off in turn, three times; `FROZEN_BROKERS` says how often one is frozen.
    let number_of = |name: &str| std::env::var(name).ok().map(|number| number.parse::<usize>().unwrap());
    let cut_off = number_of("CUT_OFF_BROKERS").unwrap_or(1);
    let frozen = (0..number_of("FROZEN_BROKERS").unwrap_or(3)).map(|n| (n % 3, Trouble::Frozen));
    for (sick, trouble) in frozen.chain((0..cut_off).map(|n| (n % 3, Trouble::CutOff))) {
        let mut probes = Vec::new();
        for (n, url) in stage.brokers.urls().iter().enumerate().filter(|(n, _)| *n != sick) {
            probes.push((n, Probe::start(url, FIRST_USER_ID + n as u32).await));
        }
        stage.sessions.until_answered(40).await;
        match trouble {
            Trouble::Frozen => stage.brokers.servers()[sick].pause(),
            Trouble::CutOff => stage.brokers.set_routes_of(sick, Way::Blocked),
        }
        tokio::time::sleep(FROZEN).await;
        match trouble {
            Trouble::Frozen => stage.brokers.servers()[sick].resume(),
            Trouble::CutOff => stage.brokers.open_all_routes(),
        }
        for (n, probe) in &probes {
            let longest = probe.longest();
            println!("s{} {trouble:?}: longest time without an answer at s{}: {longest:.1?}", sick + 1, n + 1);
            if longest.iter().any(|(_, longest)| *longest > SILENCE_MAX) {
                late.push(format!("s{} {trouble:?}, at s{}: {longest:?}, with {:?}", sick + 1, n + 1, probe.trails()));
            }
        }
        drop(probes);
        until_meshed(&stage.brokers.urls()).await;
        stage.until_well().await;
    }
    println!("{}", stage.finish().await);
    assert!(late.is_empty(), "{late:#?}");
}
