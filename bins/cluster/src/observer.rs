//! The observer of the cluster, below a guard.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::time::Duration;

use natter_broker::options::BrokerOptions;
use natter_observer::launcher::LauncherState;
use natter_processes::guard;
use natter_processes::owned_process::OwnedProcess;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::control::Controls;
use crate::error::ClusterError;
use crate::log_file::{self, BOUND, LogFile};
use crate::log_folder::{self, LogFolder};
use crate::log_pump::Log;
use crate::members::how_it_ended;
use crate::page_link::{Door, PageLink};
use crate::roles::OBSERVER;
use crate::sites::Site;

/// Time for the observer to take its port and print its address.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum length of its address, in bytes.
const ADDRESS_BYTES_MAX: u64 = 256;

/// A running observer.
#[derive(Debug)]
pub(crate) struct Observer {
    url: String,
    log: Log,
    process: OwnedProcess,
    /// The way of the page's verbs, with `--control`.
    _link: Option<PageLink>,
    ended: bool,
}

impl Observer {
    /// Starts the observer and waits until its page can be opened.
    pub(crate) async fn start(
        listen: SocketAddr,
        site: Site,
        page: Option<(Controls, watch::Receiver<LauncherState>)>,
        broker: &BrokerOptions,
        logs: &LogFolder,
    ) -> Result<Self, ClusterError> {
        let (path, is_kept) = (logs.log_of(log_name(site)), logs.scratch().is_none());
        let file = LogFile::create(&path, (!is_kept).then_some(BOUND))
            .map_err(|source| ClusterError::Logs { path: path.clone(), source })?;
        let cannot_start = |source| ClusterError::Start { what: "the observer".to_owned(), source };
        let (log, output) = Log::start("the observer", &path, file, broker.log_format).map_err(cannot_start)?;
        let program = std::env::current_exe().map_err(cannot_start)?;
        let door = match page {
            Some(page) => Some((Door::open(logs.scratch()).map_err(cannot_start)?, page)),
            None => None,
        };
        let scratch = logs.scratch().or(door.as_ref().map(|(door, _)| door.folder()));
        let mut command = guard::command(program, scratch).map_err(cannot_start)?;
        command.arg(OBSERVER).arg("--listen").arg(listen.to_string());
        if let Some((door, _)) = &door {
            command.arg("--control").arg("--launcher").arg(door.path());
        }
        broker.apply_to(&mut command);
        let (address, stdout) = io::pipe().map_err(cannot_start)?;
        command.stdout(stdout).stderr(output);
        // The command, with its end of the pipe, is gone after this: the address ends with the process.
        let mut process = guard::spawn(command).map_err(cannot_start)?;
        let first_line = tokio::task::spawn_blocking(move || first_line(address));
        let url = match timeout(PATIENCE, first_line).await {
            Ok(Ok(Ok(line))) => line,
            _ => String::new(),
        };
        if url.is_empty() {
            process.stop().await.map_err(cannot_start)?;
            log.clone().complete().await;
            let how = "ended or did not print its address".to_owned();
            let last_words = log_file::last_words(log.path());
            return Err(ClusterError::EndedEarly { what: "the observer".to_owned(), how, last_words });
        }
        let link = match door {
            Some((door, (controls, state))) => Some(door.let_in(controls, state).await.map_err(cannot_start)?),
            None => None,
        };
        Ok(Self { url, log, process, _link: link, ended: false })
    }

    /// Address of the page.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A line for people where the observer has ended by itself; told once.
    pub(crate) fn newly_ended(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let how = how_it_ended(self.process.try_wait())?;
        self.ended = true;
        Some(format!("the observer {how}; the cluster goes on (its log: {})", self.log.path().display()))
    }

    /// Ends it and completes its log.
    pub(crate) async fn stop(mut self) {
        // The exit status does not matter here.
        let _ = self.process.stop().await;
        self.log.complete().await;
    }

    /// Ends it without asking.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }
}

/// The observer's log, without its ending. With two sites, each has an observer.
fn log_name(site: Site) -> &'static str {
    match site {
        Site::One => log_folder::OBSERVER,
        Site::Two => log_folder::SECOND_OBSERVER,
    }
}

/// The first line, empty where there is none.
fn first_line(output: PipeReader) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(output.take(ADDRESS_BYTES_MAX)).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
