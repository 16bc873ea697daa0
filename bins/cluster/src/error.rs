//! Why there is no cluster, in words for people.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use natter_broker::connection::{ConnectError, Denial};
use natter_broker::duration::format_duration;
use natter_processes::nats_server::ServerError;

/// Why there is no cluster (any more). All that was started is stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// No broker could be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The brokers of the two sites do not find each other.
    #[error("the brokers of the two sites do not connect: {last_words}")]
    NoRoute {
        /// The end of the first one's log.
        last_words: String,
    },
    /// The broker could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker does not let us listen to presence.
    #[error("the broker does not let us see who is there: {0}")]
    Subscribe(String),
    /// The broker refuses what the launcher or members need.
    #[error("{}", missing_permissions(denials, members))]
    Denied {
        /// Everything that the launcher was refused.
        denials: Vec<Denial>,
        /// Members that ended for that reason, one of each role, with the end of their logs.
        members: Vec<String>,
    },
    /// The data set can't be read.
    #[error("--database: can't read {}: {source}", path.display())]
    Database {
        /// Path that was given.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The place for the logs can't be used.
    #[error("can't write logs to {}: {source}", path.display())]
    Logs {
        /// The folder or file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The folder for the logs is another cluster's.
    #[error("another cluster writes its logs to {}: name another folder with --logs", folder.display())]
    LogsTaken {
        /// The folder.
        folder: PathBuf,
    },
    /// A process can't be started.
    #[error("can't start {what}: {source}")]
    Start {
        /// Which.
        what: String,
        /// Error of the system.
        source: io::Error,
    },
    /// A process ended while all were starting.
    #[error("{what} {how} before it was ready: {last_words}")]
    EndedEarly {
        /// Which.
        what: String,
        /// Description of its end, such as `ended with status 1`.
        how: String,
        /// The end of its log.
        last_words: String,
    },
    /// Not all became ready.
    #[error(
        "not ready within {}: {waiting}; a machine that is slow or busy may need more time: --ready-within",
        format_duration(*waited)
    )]
    NotReady {
        /// Time that was allowed.
        waited: Duration,
        /// Members that were not ready, each with its last state.
        waiting: String,
    },
    /// The broker that was started here ended by itself: without it nothing works.
    #[error("nats-server {how}, and nothing works without it: {last_words}")]
    BrokerEnded {
        /// Description of its end, such as `ended with status 1`.
        how: String,
        /// The end of its log.
        last_words: String,
    },
    /// Signals can't be received.
    #[error("can't receive signals: {0}")]
    Signals(#[source] io::Error),
}

/// All that is missing, a line for the launcher and for each role.
fn missing_permissions(denials: &[Denial], members: &[String]) -> String {
    let mut lines = Vec::new();
    if !denials.is_empty() {
        let denials: Vec<String> = denials.iter().map(Denial::to_string).collect();
        lines.push(format!(
            "the broker does not permit this cluster to {}: permit it for the user of this cluster (docs/PROTOCOL.md lists \
             the subjects of each role)",
            denials.join(", ")
        ));
    }
    lines.extend_from_slice(members);
    lines.join("\n  ")
}
