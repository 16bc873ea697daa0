//! Helpers that the tests share: a real `nats-server`, waiting with a deadline, and checking whether a process runs.
#![allow(dead_code, reason = "each test program uses another part")]

use std::path::PathBuf;
use std::time::Duration;

use natter_broker::environment::Environment;
use natter_processes::nats_server::{NatsServer, ServerSettings, find_or_fetch, print_notice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

/// No wait of a test is longer than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A `nats-server` that is installed, or fetched.
pub(crate) async fn binary() -> PathBuf {
    find_or_fetch(&Environment::of_process(), &print_notice).await.unwrap().path
}

/// A server on a free port.
pub(crate) async fn server() -> NatsServer {
    NatsServer::start(ServerSettings::new(binary().await)).await.unwrap()
}

/// Asks until the answer is yes; panics with `what` at the deadline.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs. One that has ended and that nobody has waited for yet does not.
pub(crate) fn is_running(pid: u32) -> bool {
    if cfg!(target_os = "linux") {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        return state.is_some_and(|state| !"ZX".contains(state));
    }
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

/// The body at a URL, over plain HTTP/1.0.
pub(crate) async fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
