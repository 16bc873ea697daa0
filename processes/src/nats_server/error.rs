//! Why there is no `nats-server`, in words for people.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use natter_broker::duration::roughly;

use super::find::{OLDEST_VERSION, VARIABLE};
use super::pinned::{PACKAGE, PINNED_VERSION};

/// Why there is no running `nats-server`.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The variable names something else than a usable `nats-server`.
    #[error("{VARIABLE}={} can't be used: {reason}; set it to a nats-server of {OLDEST_VERSION} or newer, or unset it", path.display())]
    Variable {
        /// Path that the variable names.
        path: PathBuf,
        /// Why it can't be used.
        reason: String,
    },
    /// None is installed, and none could be fetched.
    #[error("{}", no_server(why, tried))]
    NotFetched {
        /// Reason why it could not be fetched.
        why: String,
        /// The ways of fetching that were tried, in order.
        tried: Vec<Attempt>,
    },
    /// The program can't be run at all.
    #[error("can't run {}: {source}", binary.display())]
    CannotRun {
        /// The executable.
        binary: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// It ended while it should have been starting.
    #[error("{} {}", binary.display(), ended_early(last_words, *port))]
    EndedEarly {
        /// The executable.
        binary: PathBuf,
        /// The last line it wrote.
        last_words: String,
        /// The port that was asked for, where it was not a free one.
        port: Option<u16>,
    },
    /// It runs but did not become ready.
    #[error("{} was not ready within {}: {last_words}", binary.display(), roughly(*waited))]
    NotReady {
        /// The executable.
        binary: PathBuf,
        /// The last line it wrote.
        last_words: String,
        /// Time spent waiting for it.
        waited: Duration,
    },
    /// Files around it could not be made or read.
    #[error("can't {what}: {source}")]
    Files {
        /// Action that failed, for people.
        what: String,
        /// Error of the system.
        source: io::Error,
    },
}

/// One way of fetching that was tried.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The command.
    pub command: String,
    /// Why it did not do.
    pub reason: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.command, self.reason)
    }
}

impl ServerError {
    pub(super) fn files(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Files { what, source }
    }
}

fn ended_early(last_words: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if last_words.contains("address already in use") => {
            format!(
                "can't listen on port {port}, which another program uses (perhaps another nats-server): stop that, or choose another port"
            )
        }
        _ => format!("ended while starting: {last_words}"),
    }
}

fn no_server(why: &str, tried: &[Attempt]) -> String {
    let mut text = format!("no nats-server {OLDEST_VERSION} or newer on PATH, and {why}");
    for attempt in tried {
        text.push_str(&format!("\n  tried {attempt}"));
    }
    text.push_str(&format!(
        "\nInstall one in any of these ways, and try again:\n  \
         the system's package manager (apt install nats-server, brew install nats-server, ...)\n  \
         go install github.com/nats-io/nats-server/v2@v{PINNED_VERSION}\n  \
         pip install {PACKAGE}\n  \
         or name one that is not on PATH: {VARIABLE}=/path/to/nats-server"
    ));
    text
}
