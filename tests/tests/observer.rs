//! The observer with a real cluster, over HTTP by hand and in a headless Chromium.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natter_tests::harness::{Cluster, Encoding, World, tools};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
const NODE_PACKAGES: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];
/// Limit of every wait, never reached in a normal run.
const PATIENCE: Duration = Duration::from_secs(60);
/// Folder for screenshots, where a person wants to look at them.
const SCREENSHOTS: &str = "NATTER_TEST_SCREENSHOTS";

/// An observer that ends with the test.
struct Observer {
    _process: Child,
    url: String,
    address: String,
}

impl Observer {
    async fn start(cluster_world: &World, arguments: &[&str]) -> Self {
        let mut command = Command::from(cluster_world.role("observer"));
        command.args(["--listen", "127.0.0.1:0", "--server", &cluster_world.broker.url()]).args(arguments);
        command.env("NATTER_TEST_LIFELINE", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = timeout(PATIENCE, lines.next_line()).await.expect("an address").unwrap().expect("an address");
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { _process: process, url, address }
    }

    /// Sends a request by hand, and gives the status and all that came.
    async fn ask(&self, request: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, connection.read_to_end(&mut answer)).await.expect("the end of the answer").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    async fn get(&self, path: &str, host: &str, more: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")).await
    }

    async fn set_status(&self, body: &str, more: &str) -> u16 {
        let length = body.len();
        let head = format!("POST /status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        self.ask(&format!("{head}Content-Length: {length}\r\n{more}\r\n{body}")).await.0
    }
}

/// A browser that has the page open.
struct Page {
    _process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Page {
    async fn open(url: &str, modules: &Path, chromium: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observer/page.cjs");
        let mut command = Command::new("node");
        command.arg(script).arg(url).arg(chromium).args(std::env::var_os(SCREENSHOTS)).env("NODE_PATH", modules);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut page = Self { _process: process, input, lines: BufReader::new(output).lines() };
        assert_eq!(page.outcome().await, json!({"opened": true}));
        page
    }

    async fn outcome(&mut self) -> Value {
        let line = timeout(2 * PATIENCE, self.lines.next_line()).await.expect("an outcome").unwrap();
        let outcome: Value = serde_json::from_str(&line.expect("a line")).unwrap();
        assert_eq!(outcome["error"], Value::Null, "{outcome}");
        outcome
    }

    async fn step(&mut self, step: &Value) -> Value {
        self.input.write_all(format!("{step}\n").as_bytes()).await.unwrap();
        self.outcome().await
    }
}

fn chromium() -> Option<PathBuf> {
    let found =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from).into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("skipped: no chromium: install the package chromium");
    }
    found
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn other_pages_and_names_cannot_read_or_change_anything() {
    let world = World::new(ROLES).await;
    let observer = Observer::start(&world, &["--control"]).await;
    let (status, page) = observer.get("/", &observer.address, "").await;
    assert_eq!(status, 200);
    let policy = page.lines().find(|line| line.to_lowercase().starts_with("content-security-policy:")).unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let port = observer.address.rsplit(':').next().unwrap();
    for path in ["/", "/events"] {
        for host in [format!("rebound.example:{port}"), "127.0.0.1:1".to_owned(), "10.1.2.3".to_owned()] {
            assert_eq!(observer.get(path, &host, "").await.0, 403, "{path} at {host}");
        }
        let other = observer.get(path, &observer.address, "Origin: http://other.example\r\n").await;
        assert_eq!(other.0, 403, "{path}");
    }
    let own = format!("Origin: http://{}\r\n", observer.address);
    let token = page.split("name=\"natter-token\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(token.len(), 32);
    let (body, token) = (r#"{"replica": "r1", "mode": "offline"}"#, format!("X-Natter-Token: {token}\r\n"));
    assert_eq!(observer.set_status(body, &token).await, 403, "without an origin");
    assert_eq!(observer.set_status(body, &own).await, 403, "without the token");
    assert_eq!(observer.set_status(body, &format!("{own}X-Natter-Token: wrong\r\n")).await, 403, "with a wrong token");
    assert_eq!(observer.set_status("{}", &format!("{own}{token}")).await, 400, "without a replica");
    assert_eq!(observer.set_status(body, &format!("{own}{token}")).await, 502, "of a replica that is not there");

    let only_listens = Observer::start(&world, &[]).await;
    let own = format!("Origin: http://{}\r\n", only_listens.address);
    assert_eq!(only_listens.set_status(body, &format!("{own}X-Natter-Token: \r\n")).await, 403);

    let second = world.run("observer", &["--listen", &observer.address]).await;
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && complaint.contains("is in use by another program"), "{complaint}");
}

#[tokio::test]
async fn update_appears_on_the_page_within_a_second_and_in_causal_order() {
    let (Some(chromium), Some(modules)) =
        (chromium(), tools::node_packages(Path::new(env!("CARGO_TARGET_TMPDIR")), &NODE_PACKAGES).await)
    else {
        return;
    };
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    let observer = Observer::start(&world, &["--control"]).await;
    let mut page = Page::open(&observer.url, &modules, &chromium).await;
    page.step(&json!({"step": "active", "count": 5})).await;
    let id = "01a2091d-4547-4000-8046-63d56441e2f0";
    let request = json!({"user_id": 42, "movie_id": 1, "rating": 4.5, "id": id});
    cluster.wire.ask("create", request).await.ok();
    let answered = unix_ms();
    let what = "create user 42, movie 1";
    let seen = page.step(&json!({"step": "update", "what": what, "messages": 5})).await;
    let after = seen["at"].as_u64().unwrap().saturating_sub(answered);
    println!("the update was on the page {after} ms after its answer");
    assert!(after <= 1000, "the update was on the page {after} ms after its answer");
    check_way(&page.step(&json!({"step": "way", "what": what})).await);
    set_statuses(&cluster, &mut page).await;
    let exported = page.step(&json!({"step": "exported"})).await;
    assert!(exported["svg"].as_str().unwrap().starts_with("<svg "), "{exported}");
    assert_eq!(page.step(&json!({"step": "looks"})).await, json!({"found": []}));
    assert_eq!(page.step(&json!({"step": "complaints"})).await, json!({"complaints": []}));
    world.broker.kill().await;
    page.step(&json!({"step": "connection", "text": "broker not reachable"})).await;
    world.broker.start().await;
    page.step(&json!({"step": "connection", "text": "live"})).await;
    page.step(&json!({"step": "active", "count": 5})).await;
    cluster.finish().await;
}

/// The steps of an update are in the order of cause and effect.
fn check_way(way: &Value) {
    let rows: Vec<Vec<String>> = serde_json::from_value(way["rows"].clone()).unwrap();
    let steps: Vec<&str> = rows.iter().map(|row| row[4].as_str()).collect();
    let place = |begin: &str| {
        steps.iter().position(|step| step.starts_with(begin)).unwrap_or_else(|| panic!("no {begin}: {steps:?}"))
    };
    let in_order =
        ["client request: ", "update (accept): ", "gossip: ", "acknowledgement: ", "client request, reply: "];
    assert!(in_order.map(place).is_sorted(), "{steps:?}");
    assert!(place("update (accept): ") < place("update (accept), reply: "), "{steps:?}");
    let accept = &rows[place("update (accept): ")];
    assert!(accept[2].starts_with('f') && accept[3].starts_with('r'), "{accept:?}");
    assert_eq!(
        rows[place("client request: ")][3],
        accept[2],
        "the frontend that asks is the one that the client reached"
    );
    let gossip = &rows[place("gossip: ")];
    assert!(gossip[5].ends_with(":1") && !gossip[6].is_empty(), "record and stamp: {gossip:?}");
    assert_eq!(way["marked"].as_u64().unwrap(), rows.len() as u64);
}

/// The page shows a status that an operator sets, and sets one itself.
async fn set_statuses(cluster: &Cluster<'_>, page: &mut Page) {
    let r2 = cluster.id_of("r2").await;
    cluster.set_mode(&r2, Some("offline"), Encoding::MessagePack).await;
    page.step(&json!({"step": "status", "replica": "r2", "status": "OFFLINE"})).await;
    page.step(&json!({"step": "set", "replica": "r2", "mode": "active"})).await;
    page.step(&json!({"step": "status", "replica": "r2", "status": "ACTIVE"})).await;
}
