//! A running `nats-server`, on loopback, that stops when it is dropped.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::ServerError;
use crate::guard;
use crate::owned_process::OwnedProcess;

/// Interval at which a starting server is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Maximum time for the answer to one such question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time for a server to end. It closes its connections, and then ends within milliseconds.
const GRACE: Duration = Duration::from_secs(3);

/// Settings to run a `nats-server` with. It listens on loopback only, even if its configuration says otherwise.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The executable; [`super::find_or_fetch`] gives one.
    pub binary: PathBuf,
    /// A configuration file; its ports are not used.
    pub config: Option<PathBuf>,
    /// The port for clients; `None` for any free one.
    pub port: Option<u16>,
    /// Whether to switch JetStream on, with its files in the server's own temporary directory.
    pub jetstream: bool,
    /// More arguments, after all others.
    pub arguments: Vec<OsString>,
    /// A file to append the log to; `None` keeps it in the server's own temporary directory.
    pub log: Option<PathBuf>,
    /// Maximum time until the server answers.
    pub ready_within: Duration,
}

impl ServerSettings {
    /// A free port, no configuration, no JetStream, a private log, ten seconds to become ready.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            config: None,
            port: None,
            jetstream: false,
            arguments: Vec::new(),
            log: None,
            ready_within: Duration::from_secs(10),
        }
    }
}

/// A running `nats-server`. Dropping this stops it, waits for its end, and removes its temporary directory.
#[derive(Debug)]
pub struct NatsServer {
    // Dropped first: the server has ended before its directory goes.
    process: OwnedProcess,
    url: String,
    monitoring_url: Option<String>,
    route_url: Option<String>,
    log: PathBuf,
    directory: TempDir,
}

/// The ports file that the server writes once it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
    #[serde(default)]
    cluster: Vec<String>,
}

impl NatsServer {
    /// Starts a server and waits until it answers. It ends with this value; should this process be killed, it stays.
    ///
    /// # Errors
    ///
    /// Where it can't be run, ends early (the message has its last words; a port in use is named), or is not ready in time.
    /// Nothing is left behind then.
    pub async fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let binary = settings.binary.clone();
        let command = |_: &Path| {
            let mut command = Command::new(&binary);
            command.stdin(Stdio::null());
            Ok(command)
        };
        Self::start_by(settings, command, OwnedProcess::spawn).await
    }

    /// As [`NatsServer::start`], below a guard (see [`guard`]): it also ends should this process be killed, and ctrl-c in
    /// the terminal does not reach it.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub async fn start_guarded(settings: ServerSettings) -> Result<Self, ServerError> {
        let binary = settings.binary.clone();
        Self::start_by(settings, |directory| guard::command(&binary, Some(directory)), guard::spawn).await
    }

    async fn start_by(
        settings: ServerSettings,
        command: impl FnOnce(&Path) -> std::io::Result<Command>,
        spawn: impl FnOnce(Command) -> std::io::Result<OwnedProcess>,
    ) -> Result<Self, ServerError> {
        let cannot_run = |source| ServerError::CannotRun { binary: settings.binary.clone(), source };
        let directory = tempfile::Builder::new()
            .prefix("natter-nats-server-")
            .tempdir()
            .map_err(ServerError::files("make a temporary directory for nats-server"))?;
        let log = settings.log.clone().unwrap_or_else(|| directory.path().join("nats-server.log"));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(ServerError::files(format!("write the log of nats-server to {}", log.display())))?;
        let mut command = command(directory.path()).map_err(cannot_run)?;
        set_arguments(&mut command, &settings, directory.path());
        command.stdout(file.try_clone().map_err(cannot_run)?).stderr(file);
        let process = spawn(command).map_err(cannot_run)?.with_grace(GRACE);
        let mut server = Self { process, url: String::new(), monitoring_url: None, route_url: None, log, directory };
        server.wait_until_ready(&settings).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, settings: &ServerSettings) -> Result<(), ServerError> {
        let started = Instant::now();
        loop {
            if let Ok(Some(_)) | Err(_) = self.process.try_wait() {
                let (binary, port) = (settings.binary.clone(), settings.port);
                return Err(ServerError::EndedEarly { binary, port, last_words: last_words(&self.log) });
            }
            if let Some(ports) = read_ports(self.directory.path())
                && let Some(url) = ports.nats.into_iter().next()
                && answers(&url).await
            {
                self.url = url;
                self.monitoring_url = ports.monitoring.into_iter().next();
                self.route_url = ports.cluster.into_iter().next();
                return Ok(());
            }
            if started.elapsed() >= settings.ready_within {
                let (binary, waited) = (settings.binary.clone(), started.elapsed());
                return Err(ServerError::NotReady { binary, waited, last_words: last_words(&self.log) });
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port for clients.
    pub fn port(&self) -> Option<u16> {
        port_of(&self.url)
    }

    /// The port for routes of other servers, where the arguments make it a server of a cluster.
    pub fn route_port(&self) -> Option<u16> {
        port_of(self.route_url.as_deref()?)
    }

    /// Where the server's own reports are: `http://127.0.0.1:PORT`. `None` where the arguments have switched them off.
    pub fn monitoring_url(&self) -> Option<&str> {
        self.monitoring_url.as_deref()
    }

    /// The server's log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The process, to look after it, or to pause or kill it in a test.
    pub fn process(&mut self) -> &mut OwnedProcess {
        &mut self.process
    }

    /// Stops the server and waits for its end, without blocking the thread as dropping does.
    ///
    /// # Errors
    ///
    /// Where the system won't say how it ended.
    pub async fn stop(mut self) -> std::io::Result<ExitStatus> {
        self.process.stop().await
    }
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit(':').next().and_then(|port| port.parse().ok())
}

fn set_arguments(command: &mut Command, settings: &ServerSettings, directory: &Path) {
    if let Some(config) = &settings.config {
        command.arg("-c").arg(config);
    }
    let port = settings.port.map_or("-1".to_owned(), |port| port.to_string());
    command.args(["-a", "127.0.0.1", "-p", &port, "-m", "-1", "--ports_file_dir"]).arg(directory);
    if settings.jetstream {
        command.args(["-js", "-sd"]).arg(directory.join("jetstream"));
    }
    command.args(&settings.arguments);
}

/// The ports file, once it is there and whole. Its name has the server's process id, which a guard's child does not tell.
fn read_ports(directory: &Path) -> Option<Ports> {
    let path = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// Whether a server greets at this URL.
async fn answers(url: &str) -> bool {
    let Some((_, address)) = url.split_once("://") else { return false };
    let greeting = async {
        let mut line = String::new();
        BufReader::new(TcpStream::connect(address).await?).read_line(&mut line).await?;
        std::io::Result::Ok(line)
    };
    matches!(timeout(ANSWER_TIMEOUT, greeting).await, Ok(Ok(line)) if line.starts_with("INFO "))
}

/// The last line of a log that says something; its last error, where it has one.
fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().rfind(|line| line.contains("[FTL]") || line.contains("[ERR]")).or_else(|| lines().next_back());
    line.map_or("it said nothing".to_owned(), |line| {
        // "[123] 2026/01/02 03:04:05.678901 [FTL] what counts"
        line.split_once("[FTL] ").or(line.split_once("[ERR] ")).map_or(line, |(_, words)| words).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last_error_without_its_date() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let words = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            last_words(file.path())
        };
        let fatal = "[7] 2026/01/02 03:04:05.6 [INF] Starting\n[7] 2026/01/02 03:04:05.7 [FTL] Error listening\n[7] x [INF] bye\n";
        assert_eq!(words(fatal), "Error listening");
        assert_eq!(words("nats-server: bad.conf:1:2: unknown field\n\n"), "nats-server: bad.conf:1:2: unknown field");
        assert_eq!(words(""), "it said nothing");
    }
}
