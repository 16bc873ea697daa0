//! The signals that end the launcher in good order.

use std::io;
use std::process::ExitCode;

use natter_broker::signals::Signal;
use tokio::signal::unix::SignalKind;

/// A signal that asks the launcher to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGINT: ctrl-c in the terminal, which the client gets too.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

impl Request {
    /// The status of a program that such a signal ended: 128 and its number.
    pub(crate) fn status(self) -> ExitCode {
        ExitCode::from(match self {
            Self::HangUp => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

/// Receives the signals, but those that were ignored when the launcher started. As long as this lives, none of them ends the
/// process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to receive.
    pub(crate) fn receive() -> io::Result<Self> {
        Ok(Self {
            interrupt: Signal::receive(SignalKind::interrupt())?,
            terminate: Signal::receive(SignalKind::terminate())?,
            hang_up: Signal::receive(SignalKind::hangup())?,
        })
    }

    /// Waits for the next. Nothing is lost where this is dropped.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            () = self.interrupt.next() => Request::Interrupt,
            () = self.terminate.next() => Request::Terminate,
            () = self.hang_up.next() => Request::HangUp,
        }
    }
}
