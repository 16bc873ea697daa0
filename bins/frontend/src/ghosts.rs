//! Places in the queue group that a frozen server keeps.
//!
//! When a server of the broker's cluster freezes, the healthy ones go on handing its members of the queue group their share
//! of the requests, until pings or write deadlines between the servers end the route: minutes by default. Nothing that a
//! frontend does takes such a place away. So a frontend whose connection fell silent takes many places at a healthy server
//! for that time, beside which the lost ones hardly count. A server that goes on gives the lost places up at once. The same
//! holds for a server that is cut off from the others.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Statistics};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Places of a frontend in the queue group after a connection fell silent.
const PLACES: usize = 32;
/// Time after which the servers have ended a route to a frozen server, with their default settings: two pings without an
/// answer, 30 s each, and then some.
const GHOST_TIME: Duration = Duration::from_secs(120);
/// A connection that brought nothing for this long before it broke had a frozen server. Servers that end close theirs.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Signs of life of one connection.
#[derive(Debug)]
pub(crate) struct Vitals {
    statistics: Arc<Statistics>,
    bytes: u64,
    changed: Instant,
}

impl Vitals {
    pub(crate) fn of(client: &Client, now: Instant) -> Self {
        Self { statistics: client.statistics(), bytes: 0, changed: now }
    }

    /// Looks whether anything came in since the last tick.
    pub(crate) fn tick(&mut self, now: Instant) {
        let bytes = self.statistics.in_bytes.load(Ordering::Relaxed);
        if bytes != self.bytes {
            (self.bytes, self.changed) = (bytes, now);
        }
    }

    /// Whether nothing has come in for so long that the server may be frozen.
    pub(crate) fn are_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.changed) > SILENT_AFTER
    }
}

/// Servers that may have frozen.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Each ends when its server is over it.
    frozen: Vec<JoinHandle<()>>,
}

impl Ghosts {
    /// A connection broke after it had been silent. `recovered` ends when its server answers again.
    pub(crate) fn suspect(&mut self, recovered: impl Future<Output = ()> + Send + 'static) {
        self.frozen.retain(|frozen| !frozen.is_finished());
        self.frozen.push(tokio::spawn(async move {
            // An error means that the servers have ended the route by now.
            let _ = timeout(GHOST_TIME, recovered).await;
        }));
    }

    /// Number of places that this frontend should have in the queue group.
    pub(crate) fn places(&self) -> usize {
        if self.frozen.iter().any(|frozen| !frozen.is_finished()) { PLACES } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn many_places_while_a_frozen_server_keeps_some() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.places(), 1);
        ghosts.suspect(sleep(Duration::from_secs(12)));
        ghosts.suspect(std::future::pending());
        sleep(Duration::from_secs(11)).await;
        assert_eq!((ghosts.places(), ghosts.frozen.len()), (PLACES, 2));
        sleep(Duration::from_secs(100)).await;
        assert_eq!(ghosts.places(), PLACES);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(ghosts.places(), 1);
    }
}
