//! The broker of a test, which may be killed and started again on its port.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use natter_broker::environment::Environment;
use natter_processes::nats_server::{NatsServer, ServerSettings, find_or_fetch, print_notice};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::until_file_has;

/// One search, and at most one download, at a time.
static SEARCH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A `nats-server` on a port of its own.
pub struct Broker {
    settings: ServerSettings,
    port: u16,
    server: Mutex<Option<NatsServer>>,
}

impl Broker {
    /// Reserves a port; nothing runs there yet.
    pub async fn reserve(config: Option<PathBuf>) -> Self {
        let binary = {
            let _one_at_a_time = SEARCH.lock().await;
            find_or_fetch(&Environment::of_process(), &print_notice).await.expect("a nats-server").path
        };
        let port = free_port();
        let settings = ServerSettings {
            config,
            port: Some(port),
            arguments: vec![OsString::from("--no_advertise")],
            ..ServerSettings::new(binary)
        };
        Self { settings, port, server: Mutex::new(None) }
    }

    /// Has all its lives log to this file.
    #[must_use]
    pub fn logging_to(mut self, log: &Path) -> Self {
        self.settings.log = Some(log.to_owned());
        self
    }

    /// Returns the URL to which clients connect, whether it runs or not.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&self) {
        let server = NatsServer::start(self.settings.clone()).await.expect("nats-server starts");
        *self.server.lock().unwrap() = Some(server);
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&self) {
        let mut server = self.server.lock().unwrap().take().expect("it runs");
        server.process().kill();
        server.process().wait().await.unwrap();
    }

    /// Whether it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.server.lock().unwrap().is_some()
    }

    /// Its process id, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.lock().unwrap().as_mut()?.process().id()
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.server.lock().unwrap().as_mut().expect("it runs").process().pause();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.server.lock().unwrap().as_mut().expect("it runs").process().resume();
    }

    /// Whether it is frozen, as the system sees it.
    pub fn is_frozen(&self) -> bool {
        self.process_id().is_some_and(super::is_frozen)
    }

    /// The number of client connections that it has accepted so far, as its monitoring tells.
    pub async fn connections_so_far(&self) -> u64 {
        let url = self.server.lock().unwrap().as_ref().expect("it runs").monitoring_url().unwrap().to_owned();
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let report: serde_json::Value = serde_json::from_str(body).unwrap();
        report["total_connections"].as_u64().unwrap()
    }

    /// All that it logged, where [`Broker::logging_to`] said where.
    pub fn log(&self) -> String {
        let read = |log: &PathBuf| std::fs::read(log).ok();
        self.settings
            .log
            .as_ref()
            .and_then(read)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Writes another configuration, and waits until the server has taken it over. A stopped server takes it when it
    /// starts.
    pub async fn configure(&self, configuration: &str) {
        const TAKEN: &str = "Reloaded server configuration";
        std::fs::write(self.settings.config.as_ref().expect("it has a configuration file"), configuration).unwrap();
        let Some(process) = self.process_id() else { return };
        let before = self.log().matches(TAKEN).count();
        let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        kill_process(process, Signal::HUP).unwrap();
        let log = self.settings.log.as_ref().expect("it logs to a file");
        until_file_has(log, "a new configuration", |text| text.matches(TAKEN).count() > before).await;
    }
}

/// Returns a free port, each only once. It is below the ports that systems give to outgoing connections: while the
/// broker is down, a process that tries to reach it could be given just its port.
pub(super) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    let is_free = |port: &u16| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.find(is_free).expect("a free port");
    given.push(port);
    port
}
