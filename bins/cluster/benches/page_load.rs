//! The observer's page under load, measured in a headless Chromium: frames, memory of the page, and what the observer costs
//! the cluster. Nothing is asserted about times. It takes minutes:
//!
//! ```text
//! cargo bench -p natter-cluster --bench page_load
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement fails by panicking, and reports"
)]

#[path = "../tests/launcher/page.rs"]
mod page;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::Client;
use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::page::Page;
use crate::support::{Place, Running};

/// Number of replicas, unless `PAGE_LOAD_REPLICAS` says otherwise.
const REPLICAS: u64 = 50;
/// Requests a second, unless `PAGE_LOAD_RATE` says otherwise.
const RATE: u64 = 20_000;
/// Minutes with the page open, unless `PAGE_LOAD_MINUTES` says otherwise.
const MINUTES: u64 = 10;
/// Time of the same load without any browser, and then without the observer.
const COMPARED: Duration = Duration::from_secs(20);
/// Pause between two bursts of requests.
const BURST_EVERY: Duration = Duration::from_millis(2);
/// Reads of a movie that exists in the small data set of the launcher. JSON is accepted on every subject.
const READ: &str = r#"{"user_id":1,"movie_id":1}"#;
/// Number of requests of which one creates a rating.
const UPDATE_EVERY: u64 = 20;

/// Number given by the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Requests at a constant rate, and their latencies.
struct Load {
    stops: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    latencies: Arc<std::sync::Mutex<Vec<u32>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    /// Begins to ask through one connection.
    fn start(url: &str, rate: u64) -> Self {
        let mut load = Self {
            stops: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            latencies: Arc::default(),
            thread: None,
        };
        let (url, stops) = (url.to_owned(), Arc::clone(&load.stops));
        let (answered, failed) = (Arc::clone(&load.answered), Arc::clone(&load.failed));
        let latencies = Arc::clone(&load.latencies);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let client = async_nats::connect(url).await.unwrap();
                let inbox = client.new_inbox();
                let mut replies = client.subscribe(format!("{inbox}.*")).await.unwrap();
                let begun = Instant::now();
                let mut tasks = JoinSet::new();
                tasks.spawn(async move {
                    while let Some(reply) = replies.next().await {
                        let sent_us: u128 = reply.subject.rsplit('.').next().unwrap().parse().unwrap();
                        let took = begun.elapsed().as_micros().saturating_sub(sent_us);
                        if reply.headers.is_some_and(|headers| headers.get("Nats-Service-Error-Code").is_some()) {
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                        if answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
                            latencies.lock().unwrap().push(u32::try_from(took).unwrap_or(u32::MAX));
                        }
                    }
                });
                ask(&client, &inbox, rate, begun, &stops).await;
            });
        });
        load.thread = Some(thread);
        load
    }

    /// Waits, and tells what was answered meanwhile.
    fn measure(&self, time: Duration) -> String {
        self.latencies.lock().unwrap().clear();
        let before = (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        std::thread::sleep(time);
        let answered = self.answered.load(Ordering::Relaxed) - before.0;
        let failed = self.failed.load(Ordering::Relaxed) - before.1;
        let mut latencies = std::mem::take(&mut *self.latencies.lock().unwrap());
        latencies.sort_unstable();
        let at = |share: usize| {
            let place = (latencies.len() * share / 1000).min(latencies.len().saturating_sub(1));
            f64::from(latencies.get(place).copied().unwrap_or(0)) / 1000.0
        };
        let rate = answered as f64 / time.as_secs_f64();
        format!("{rate:.0} answers/s, p50 {:.2} ms, p99 {:.2} ms, {failed} errors", at(500), at(990))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn ask(client: &Client, inbox: &str, rate: u64, begun: Instant, stops: &AtomicBool) {
    let mut ticks = interval(BURST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asked = 0;
    while !stops.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = begun.elapsed().as_micros() as u64 * rate / 1_000_000;
        // After a pause of this machine, what was missed is not made up for.
        asked = asked.max(due.saturating_sub(rate / 10));
        while asked < due {
            asked += 1;
            let (subject, payload) = if asked.is_multiple_of(UPDATE_EVERY) {
                let (user, half_stars) = (1000 + asked, 1 + asked % 10);
                let rating = half_stars as f64 / 2.0;
                ("ratings.frontend.create", format!(r#"{{"user_id":{user},"movie_id":1,"rating":{rating}}}"#))
            } else {
                ("ratings.frontend.read", READ.to_owned())
            };
            let reply = format!("{inbox}.{}", begun.elapsed().as_micros());
            client.publish_with_reply(subject, reply, payload.into()).await.unwrap();
        }
        client.flush().await.unwrap();
    }
}

/// Processor time that a process has used so far.
fn processor_time(id: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process, in KiB.
fn resident(id: u32) -> u64 {
    let status = read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn url_of_page(cluster: &Running<'_>) -> String {
    let told = cluster.told();
    told.lines().find_map(|line| line.trim().strip_prefix("live page ")).unwrap().trim().to_owned()
}

fn main() {
    let (replicas, rate) = (setting("PAGE_LOAD_REPLICAS", REPLICAS), setting("PAGE_LOAD_RATE", RATE));
    let minutes = setting("PAGE_LOAD_MINUTES", MINUTES);
    let place = Place::new();
    let count = replicas.to_string();
    let mut cluster = place.start(&["--port", "0", "--no-client", "--together", "--observe=127.0.0.1:0", "1", &count]);
    let is_observer = |line: &str| line.contains(" observer ") && !line.contains(" guard ");
    let (observer, _) = place.processes().into_iter().find(|(_, line)| is_observer(line)).unwrap();
    let load = Load::start(&cluster.url(), rate);
    println!("{replicas} replicas, {rate} requests/s asked, one of {UPDATE_EVERY} an update");
    load.measure(Duration::from_secs(5)); // sampling begins
    println!("observer without a browser: {}", load.measure(COMPARED));
    let Some(mut page) = Page::open(&url_of_page(&cluster)) else { return };
    page.step(&json!({"step": "active", "count": replicas + 1}));
    println!("| minute | frames/s | longest frame, ms | heap, MiB | observer, MiB | observer, processor | load |");
    println!("| --: | --: | --: | --: | --: | --: | --- |");
    for minute in 1..=minutes {
        let (used, begun) = (processor_time(observer), Instant::now());
        let answers = load.measure(Duration::from_secs(45));
        let share = (processor_time(observer) - used).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        let frames = page.step(&json!({"step": "frames", "seconds": 10}));
        let heap = page.step(&json!({"step": "heap"}));
        let mib = heap["bytes"].as_f64().unwrap() / 1_048_576.0;
        let resident = resident(observer) as f64 / 1024.0;
        let (rate, longest) = (frames["rate"].as_f64().unwrap(), frames["longest_ms"].as_f64().unwrap());
        println!("| {minute} | {rate:.0} | {longest:.0} | {mib:.1} | {resident:.1} | {share:.0} % | {answers} |");
    }
    assert_eq!(page.step(&json!({"step": "complaints"})), json!({"complaints": []}));
    drop(page);
    support::signal_to(observer, Signal::STOP);
    std::thread::sleep(Duration::from_secs(2)); // its subscriptions have ended or count for nothing
    println!("observer stopped: {}", load.measure(COMPARED));
    support::signal_to(observer, Signal::CONT);
    drop(load);
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
}
