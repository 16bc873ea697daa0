//! Why the observer does not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use natter_broker::connection::ConnectError;

/// Why the observer does not run.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The subject prefix is malformed.
    #[error("--prefix: {0:?} is not tokens of A-Z a-z 0-9 _ - joined by dots")]
    Prefix(String),
    /// Another program has the port.
    #[error("{0} is in use by another program: name another port with --listen, or port 0 for any free one")]
    PortInUse(SocketAddr),
    /// The address cannot be listened to.
    #[error("--listen: cannot listen to {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The launcher that started this observer is not reached.
    #[error("--launcher: cannot connect to {}: {source}", path.display())]
    Launcher {
        /// Path of its socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The web server ended.
    #[error("the web server ended: {0}")]
    Web(#[source] io::Error),
    /// The broker refuses the connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection to the broker ended for good.
    #[error("the connection to the broker ended for good")]
    ConnectionEnded,
}
