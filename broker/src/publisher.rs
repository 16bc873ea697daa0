//! Publishing without ever standing still.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use natter_common::wire::WireError;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::moderation::Moderation;

/// Time that one message may wait for the connection. Beyond that messages are dropped until the connection takes one at
/// once: core NATS would lose them anyway, and everything else would stand still.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(500);
/// Approximate maximum size of a packed message, in bytes. It is half the broker's limit if that is less.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Maximum time for the last messages. A process ends even if they are not sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes messages, and drops them while the connection is lost: a client's own command queue would fill up and block
/// everything else.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    connected: bool,
    /// Whether the connection took no message for [`PUBLISH_TIMEOUT`]. Then a message goes only where it takes one at once.
    stalled: bool,
    dropped: u64,
    /// All that were ever dropped.
    dropped_total: u64,
    moderation: Moderation,
}

impl Publisher {
    /// Over this connection, which is up.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            connected: true,
            stalled: false,
            dropped: 0,
            dropped_total: 0,
            moderation: Moderation::default(),
        }
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Maximum size of one message on the present connection, in bytes: the broker's `max_payload`. A larger message is
    /// refused here, as the broker would close the connection.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Target size of a message that holds many things, in bytes: at most half of what the broker takes.
    pub fn message_bytes(&self) -> usize {
        MESSAGE_BYTES_MAX.min(self.max_payload() / 2)
    }

    /// The connection is lost, or there again, perhaps to a broker with other limits.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
        if connected {
            self.stalled = false;
            self.tell_dropped();
        }
    }

    /// Number of messages that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped_total + self.dropped
    }

    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        self.dropped_total += dropped;
        if dropped > 0 {
            warn!(dropped, "messages were dropped while the broker was gone");
        }
    }

    /// Sends a message.
    pub async fn publish(&mut self, subject: impl Into<Subject>, payload: Bytes) {
        self.send(subject.into(), None, None, payload).await;
    }

    /// Sends a message whose answer goes to `reply`.
    pub async fn publish_with_reply(&mut self, subject: impl Into<Subject>, reply: impl Into<Subject>, payload: Bytes) {
        self.send(subject.into(), Some(reply.into()), None, payload).await;
    }

    /// Sends a message with headers whose answer goes to `reply`.
    pub async fn publish_with_reply_and_headers(
        &mut self,
        subject: impl Into<Subject>,
        reply: impl Into<Subject>,
        headers: HeaderMap,
        payload: Bytes,
    ) {
        self.send(subject.into(), Some(reply.into()), Some(headers), payload).await;
    }

    /// Sends a message with headers.
    pub async fn publish_with_headers(&mut self, subject: impl Into<Subject>, headers: HeaderMap, payload: Bytes) {
        self.send(subject.into(), None, Some(headers), payload).await;
    }

    async fn send(&mut self, subject: Subject, reply: Option<Subject>, headers: Option<HeaderMap>, payload: Bytes) {
        if !self.connected {
            self.dropped += 1;
            return;
        }
        let bytes = payload.len();
        let sending = async {
            match (reply, headers) {
                (Some(reply), Some(headers)) => {
                    self.client.publish_with_reply_and_headers(subject.clone(), reply, headers, payload).await
                }
                (Some(reply), None) => self.client.publish_with_reply(subject.clone(), reply, payload).await,
                (None, Some(headers)) => self.client.publish_with_headers(subject.clone(), headers, payload).await,
                (None, None) => self.client.publish(subject.clone(), payload).await,
            }
        };
        let limit = if self.stalled { Duration::ZERO } else { PUBLISH_TIMEOUT };
        match within(limit, sending).await {
            Ok(sent) => {
                if std::mem::take(&mut self.stalled) {
                    self.tell_dropped();
                }
                if let Err(error) = sent {
                    self.tell_unsent(&subject, bytes, &error);
                }
            }
            Err(_) => {
                debug!(%subject, "the connection takes no messages: they are dropped until it does");
                self.stalled = true;
                self.dropped += 1;
            }
        }
    }

    /// Sends what is on its way, and closes the connection.
    pub async fn close(&self) {
        let closing = async {
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
        };
        // Nothing is lost where the broker is gone: clients ask again, and what was acknowledged is held by others.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }

    /// Logs that a message cannot be sent, with its subject and its size in bytes.
    pub fn tell_unsent(&mut self, subject: &str, bytes: usize, error: &dyn Display) {
        if self.moderation.admits("unsent messages") {
            warn!(subject, bytes, max_payload = self.max_payload(), %error, "a message cannot be sent");
        }
    }
}

/// An encoded message; logs an error where it could not be encoded.
pub fn encoded(payload: Result<Vec<u8>, WireError>) -> Option<Vec<u8>> {
    payload.inspect_err(|error| error!(%error, "a message cannot be encoded")).ok()
}

/// Output of `future`, if it completes within `duration`. Mostly it is ready at once, and no timer is made.
///
/// # Errors
///
/// It took longer.
pub async fn within<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => timeout(duration, future).await,
    }
}
