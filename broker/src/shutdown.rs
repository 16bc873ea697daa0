//! The signals that end a process in good order.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first of SIGINT, SIGTERM and SIGHUP. Where signals cannot be had, waits for ever: the process can
/// still be killed.
pub async fn requested() {
    let mut kinds = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        match signal(kind) {
            Ok(stream) => kinds.push(stream),
            Err(error) => tracing::warn!(%error, "a signal cannot be waited for"),
        }
    }
    match kinds.as_mut_slice() {
        [interrupt, terminate, hangup] => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        },
        _ => std::future::pending().await,
    }
}
