//! Reports of a connection's events to the log and to the caller, at a rate that people can read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Event, ServerError};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{ConnectionEvent, Denial};
use crate::duration::roughly;
use crate::moderation::Moderation;

/// The same complaint is not logged again within this time.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// Lost messages are summed up over this time.
const SLOW_CONSUMER_WINDOW: Duration = Duration::from_secs(1);

/// Told of every event of a connection. Lives as long as the connection does.
pub(super) struct Reporter {
    connection: String,
    events: Option<UnboundedSender<ConnectionEvent>>,
    state: Mutex<State>,
    dropped: Arc<AtomicU64>,
    wake: mpsc::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Whether the connection ever stood.
    connected_before: bool,
    /// Since when it is down.
    down_since: Option<Instant>,
    /// The last complaint, and when it was logged.
    complaint: Option<(String, Instant)>,
    denials: Moderation,
}

impl Reporter {
    pub(super) fn new(connection: &str, events: Option<UnboundedSender<ConnectionEvent>>) -> Self {
        let dropped = Arc::new(AtomicU64::new(0));
        let (wake, woken) = mpsc::channel(1);
        tokio::spawn(sum_up_drops(connection.to_owned(), Arc::clone(&dropped), woken, events.clone()));
        Self { connection: connection.to_owned(), events, state: Mutex::default(), dropped, wake }
    }

    pub(super) fn report(&self, event: &Event) {
        let connection = self.connection.as_str();
        match event {
            Event::Connected => {
                self.connected();
                self.tell(ConnectionEvent::Connected);
            }
            Event::Disconnected => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                // It also comes while the connection is down already.
                let news = state.down_since.is_none();
                state.down_since.get_or_insert_with(Instant::now);
                drop(state);
                if news {
                    warn!(connection, "lost the connection to the broker, connecting again");
                    self.tell(ConnectionEvent::Disconnected);
                }
            }
            Event::SlowConsumer(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                // Full means that it is awake already.
                let _ = self.wake.try_send(());
            }
            Event::LameDuckMode => warn!(connection, "the broker is about to stop"),
            Event::ServerError(error) => match denial(error) {
                Some(denial) => self.deny(denial),
                None => self.complain("the broker complained", &error.to_string()),
            },
            Event::ClientError(error) => self.complain("still no connection to the broker", &error.to_string()),
            Event::Draining | Event::Closed => debug!(connection, "connection ends: {event}"),
        }
    }

    fn connected(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let down = state.down_since.take().map(|since| since.elapsed());
        let before = std::mem::replace(&mut state.connected_before, true);
        state.complaint = None;
        drop(state);
        match down {
            Some(down) => info!(connection = %self.connection, down = %roughly(down), "connected to the broker again"),
            None if before => info!(connection = %self.connection, "connected to the broker again"),
            None => debug!(connection = %self.connection, "connected to the broker"),
        }
    }

    /// Logs a complaint, unless the same was logged a short time ago.
    fn complain(&self, what: &'static str, reason: &str) {
        let reason = reason.trim_start_matches("nats: ");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, at)) = &state.complaint
            && last == reason
            && at.elapsed() < REPEAT_AFTER
        {
            return;
        }
        state.complaint = Some((reason.to_owned(), Instant::now()));
        drop(state);
        warn!(connection = %self.connection, reason, "{what}");
    }

    fn deny(&self, denial: Denial) {
        let admitted = self.state.lock().unwrap_or_else(PoisonError::into_inner).denials.admits("refused subjects");
        if admitted {
            warn!(connection = %self.connection, subject = denial.subject, "the broker does not permit to {}", denial.access);
        }
        self.tell(ConnectionEvent::Denied(denial));
    }

    fn tell(&self, event: ConnectionEvent) {
        if let Some(events) = &self.events {
            let _ = events.send(event); // nobody listens any more: nobody minds
        }
    }
}

fn denial(error: &ServerError) -> Option<Denial> {
    match error {
        ServerError::Other(text) => Denial::parse(text),
        _ => None,
    }
}

/// Tells of lost messages: the first at once, those that follow summed up.
async fn sum_up_drops(
    connection: String,
    dropped: Arc<AtomicU64>,
    mut woken: mpsc::Receiver<()>,
    events: Option<UnboundedSender<ConnectionEvent>>,
) {
    while woken.recv().await.is_some() {
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            warn!(connection, dropped, "messages came faster than they were read and were lost");
            if let Some(events) = &events {
                let _ = events.send(ConnectionEvent::SlowConsumer { dropped });
            }
            sleep(SLOW_CONSUMER_WINDOW).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lost_messages_are_summed_up() {
        let (sender, mut events) = mpsc::unbounded_channel();
        let reporter = Reporter::new("test", Some(sender));
        reporter.report(&Event::SlowConsumer(7));
        assert_eq!(events.recv().await, Some(ConnectionEvent::SlowConsumer { dropped: 1 }));
        let told = Instant::now();
        for _ in 0..500 {
            reporter.report(&Event::SlowConsumer(7));
        }
        assert_eq!(events.recv().await, Some(ConnectionEvent::SlowConsumer { dropped: 500 }));
        assert!(told.elapsed() >= SLOW_CONSUMER_WINDOW);
        drop(reporter);
        assert_eq!(events.recv().await, None, "the summing task outlived its connection");
    }

    #[tokio::test]
    async fn one_loss_of_the_connection_is_told_once() {
        let (sender, mut events) = mpsc::unbounded_channel();
        let reporter = Reporter::new("test", Some(sender));
        for event in [Event::Connected, Event::Disconnected, Event::Disconnected, Event::Connected] {
            reporter.report(&event);
        }
        drop(reporter);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        assert_eq!(told, [ConnectionEvent::Connected, ConnectionEvent::Disconnected, ConnectionEvent::Connected]);
    }
}
