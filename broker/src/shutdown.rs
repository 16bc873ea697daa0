//! The signals that end a process in good order.

use tokio::signal::unix::SignalKind;

use crate::signals::Signal;

/// Waits for the first of SIGINT, SIGTERM and SIGHUP, of those that were not ignored when the process started. Where
/// signals cannot be had, waits for ever: the process can still be killed.
pub async fn requested() {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        match Signal::receive(kind) {
            Ok(signal) => signals.push(signal),
            Err(error) => tracing::warn!(%error, "a signal cannot be waited for"),
        }
    }
    match signals.as_mut_slice() {
        [interrupt, terminate, hangup] => tokio::select! {
            () = interrupt.next() => {}
            () = terminate.next() => {}
            () = hangup.next() => {}
        },
        _ => std::future::pending().await,
    }
}
