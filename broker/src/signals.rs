//! Signals: those that the process ignores since its start stay ignored, the others are received.
//!
//! A program that is started below `nohup` ignores SIGHUP, one that a script starts by `&` ignores SIGINT. A handler would
//! undo that, so there is none for them.
//!
//! The system is asked by way of `/proc`, without unsafe code. Where there is no `/proc`, as on macOS, no signal counts as
//! ignored.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

use tokio::signal::unix::{self, SignalKind};

/// The signals that were ignored before this process had any handler: bit n − 1 stands for signal n.
static IGNORED: OnceLock<u64> = OnceLock::new();

/// Whether a signal is ignored since the start of the process.
pub fn is_ignored(kind: SignalKind) -> bool {
    let ignored = IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignored_in(&status).unwrap_or_default()
    });
    let bit = kind.as_raw_value().checked_sub(1).and_then(|bit| u32::try_from(bit).ok());
    bit.and_then(|bit| ignored.checked_shr(bit)).is_some_and(|shifted| shifted & 1 == 1)
}

/// The mask of ignored signals in the text of `/proc/PID/status`.
fn ignored_in(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// A signal that is received, or ignored. As long as this lives, one that is received does not end the process by itself.
#[derive(Debug)]
pub struct Signal(Option<unix::Signal>);

impl Signal {
    /// Begins to receive a signal, unless it is ignored.
    ///
    /// # Errors
    ///
    /// Where the system does not let us. Must be called within a tokio runtime.
    pub fn receive(kind: SignalKind) -> io::Result<Self> {
        if is_ignored(kind) { Ok(Self(None)) } else { unix::signal(kind).map(Some).map(Self) }
    }

    /// Waits for the next one; for ever, where the signal is ignored. Nothing is lost where this is dropped.
    pub async fn next(&mut self) {
        let received = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            std::future::pending().await
        }
    }
}

/// Waits for the first SIGINT, unless that is ignored: ctrl-c in a terminal.
pub fn interrupt() -> impl Future<Output = ()> {
    // The handler is there from now on, not from the first poll on.
    let interrupt = Signal::receive(SignalKind::interrupt());
    async {
        match interrupt {
            Ok(mut signal) => signal.next().await,
            Err(error) => {
                tracing::warn!(%error, "SIGINT cannot be waited for");
                std::future::pending().await
            }
        }
    }
}

/// Sees to it that children of this process do not ignore a signal because this process does. They have the system's own
/// way of handling it, which is mostly to end.
///
/// # Errors
///
/// Where the system does not let us. Must be called within a tokio runtime.
pub fn let_children_receive(kind: SignalKind) -> io::Result<()> {
    // `exec` keeps what is ignored, and puts what has a handler back to the system's own way. The handler stays.
    if is_ignored(kind) { unix::signal(kind).map(drop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        assert_eq!(ignored_in("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001003\n"), Some(0x1003));
        assert_eq!(ignored_in("Name:\tx\n"), None);
        assert_eq!(ignored_in("SigIgn:\tno number\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn ignored_pipe_signal_is_seen() {
        // Rust's runtime ignores SIGPIPE.
        assert!(is_ignored(SignalKind::pipe()));
        assert!(!is_ignored(SignalKind::child()));
    }
}
