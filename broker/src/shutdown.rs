//! The signals that end a process in good order.

use std::future::Future;

use tokio::signal::unix::SignalKind;

use crate::signals::Signal;

/// Completes at the first of SIGINT, SIGTERM and SIGHUP, of those that were not ignored when the process started. Where
/// signals cannot be had, it never completes: the process can still be killed.
///
/// The signals are received from this call on, not from the first poll on: a signal that came while a handler is put in
/// place would be lost. Must be called within a tokio runtime.
pub fn requested() -> impl Future<Output = ()> {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        match Signal::receive(kind) {
            Ok(signal) => signals.push(signal),
            Err(error) => tracing::warn!(%error, "a signal cannot be waited for"),
        }
    }
    first(signals)
}

async fn first(mut signals: Vec<Signal>) {
    match signals.as_mut_slice() {
        [interrupt, terminate, hangup] => tokio::select! {
            () = interrupt.next() => {}
            () = terminate.next() => {}
            () = hangup.next() => {}
        },
        _ => std::future::pending().await,
    }
}
