//! A request that waits for the right answer, and not for the first one.
//!
//! Other programs on the broker may answer too: a JetStream stream acknowledges every message with a reply subject that it
//! captures. So an answer of the wrong form is ignored while the right one can still come.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, PublishErrorKind, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::connection::{ConnectionEvent, Denial};

/// Bytes of a wrong answer that an error shows.
const SHOWN_BYTES: usize = 60;

/// Maximum streams that are told of by name, once each. Answers of further ones are ignored without a word.
const STREAMS_TOLD: usize = 16;

/// Refusals of one connection that are kept for a slow reader.
const DENIALS_KEPT: usize = 64;

/// Why there is no right answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The broker said that nobody listens: this message reached nobody.
    #[error("nobody listens at that subject")]
    NoResponders,
    /// The broker takes no message of this size.
    #[error("the request is larger than the broker allows")]
    TooLarge,
    /// The broker refuses the request, or to listen for its answer.
    #[error("the broker does not permit to {0}")]
    Denied(Denial),
    /// No right answer came in time.
    #[error("no answer came{}", AndAnswered(wrong.as_ref()))]
    NoAnswer {
        /// Wrong answer that came instead, if any.
        wrong: Option<WrongAnswer>,
    },
}

/// An answer of the wrong form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongAnswer {
    /// A JetStream stream captures the subject and acknowledges what is sent there.
    Stream(String),
    /// Something else: what was wrong with it, and its beginning.
    Other {
        /// Why it is not the answer.
        reason: String,
        /// Its first bytes, as text.
        beginning: String,
    },
}

impl WrongAnswer {
    /// Classifies a wrong answer; `reason` says why it cannot be read.
    pub fn of(message: &Message, reason: &dyn fmt::Display) -> Self {
        /// JetStream's answer to a publish.
        #[derive(Deserialize)]
        struct Acknowledgement {
            stream: String,
            #[allow(dead_code, reason = "it tells an acknowledgement from another map that names a stream")]
            seq: u64,
        }
        if let Ok(Acknowledgement { stream, .. }) = serde_json::from_slice(&message.payload) {
            return Self::Stream(stream);
        }
        let payload = &message.payload[..message.payload.len().min(SHOWN_BYTES)];
        Self::Other { reason: reason.to_string(), beginning: payload.escape_ascii().to_string() }
    }
}

impl fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => write!(f, "the JetStream stream {stream} captures this subject and answered"),
            Self::Other { reason, beginning } => {
                write!(f, "something else answered \"{beginning}\" ({reason})")
            }
        }
    }
}

/// JetStream streams that capture requests and answer them.
#[derive(Debug, Default)]
pub struct CapturingStreams(BTreeSet<String>);

impl CapturingStreams {
    /// Whether a message that cannot be read is the answer of a stream, to be ignored. Tells of each stream once.
    pub fn sent(&mut self, message: &Message) -> bool {
        let WrongAnswer::Stream(stream) = WrongAnswer::of(message, &"") else { return false };
        if self.0.len() < STREAMS_TOLD && !self.0.contains(&stream) {
            warn!(stream, "a JetStream stream captures requests and answers them: its answers are ignored");
            self.0.insert(stream);
        }
        true
    }
}

struct AndAnswered<'a>(Option<&'a WrongAnswer>);

impl fmt::Display for AndAnswered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |wrong| write!(f, "; {wrong}"))
    }
}

/// Tells all requests of a connection what the broker refuses it. `events` are the connection's.
pub fn denials(mut events: UnboundedReceiver<ConnectionEvent>) -> broadcast::Sender<Denial> {
    let (denials, _) = broadcast::channel(DENIALS_KEPT);
    let sender = denials.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let ConnectionEvent::Denied(denial) = event {
                // An error means that no request waits.
                let _ = sender.send(denial);
            }
        }
    });
    denials
}

/// Sends a request and gives the first answer that `read` takes. `denials` are the connection's, where the caller hears of
/// them.
///
/// # Errors
///
/// Where there is no right answer within `limit`. The last wrong one is told.
pub async fn ask<T>(
    client: &Client,
    subject: String,
    payload: Bytes,
    limit: Duration,
    denials: Option<broadcast::Receiver<Denial>>,
    read: impl FnMut(&Message) -> Result<T, WrongAnswer>,
) -> Result<T, AskError> {
    ask_with_copies(client, subject, payload, limit, limit, denials, read).await
}

/// As [`ask`], and sends the request once more after each `copy_after` without an answer: a frozen server of the broker's
/// cluster may have swallowed it. Sending it twice must be harmless.
///
/// # Errors
///
/// As [`ask`].
pub async fn ask_with_copies<T>(
    client: &Client,
    subject: String,
    payload: Bytes,
    limit: Duration,
    copy_after: Duration,
    mut denials: Option<broadcast::Receiver<Denial>>,
    mut read: impl FnMut(&Message) -> Result<T, WrongAnswer>,
) -> Result<T, AskError> {
    let mut wrong = None;
    let asking = async {
        let inbox = client.new_inbox();
        let silence = |_| AskError::NoAnswer { wrong: None };
        let mut answers = client.subscribe(inbox.clone()).await.map_err(silence)?;
        let send = || client.publish_with_reply(subject.clone(), inbox.clone(), payload.clone());
        send().await.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => AskError::TooLarge,
            _ => AskError::NoAnswer { wrong: None },
        })?;
        let (mut is_first, mut copy_at) = (true, Instant::now() + copy_after);
        loop {
            let message = tokio::select! {
                () = sleep_until(copy_at) => {
                    copy_at = Instant::now() + copy_after;
                    // Without a connection, published messages wait for it, so copies would pile up.
                    if client.connection_state() == State::Connected {
                        is_first = false;
                        let _ = send().await;
                    }
                    continue;
                }
                denial = next_denial(&mut denials) => match denial {
                    denial if denial.subject == subject || denial.subject == inbox => return Err(AskError::Denied(denial)),
                    _ => continue,
                },
                message = answers.next() => message.ok_or(AskError::NoAnswer { wrong: None })?,
            };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                if is_first {
                    return Err(AskError::NoResponders);
                }
                continue; // an earlier copy may have reached somebody
            }
            match read(&message) {
                Ok(answer) => return Ok(answer),
                Err(answer) => wrong = Some(answer),
            }
        }
    };
    // Its own limit: publishing and subscribing wait for a lost connection without one.
    match timeout(limit, asking).await {
        Ok(Err(AskError::NoAnswer { .. })) | Err(_) => Err(AskError::NoAnswer { wrong }),
        Ok(answered) => answered,
    }
}

/// The next refusal; none where the caller does not hear of them.
async fn next_denial(denials: &mut Option<broadcast::Receiver<Denial>>) -> Denial {
    while let Some(receiver) = denials {
        match receiver.recv().await {
            Ok(denial) => return denial,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *denials = None,
        }
    }
    std::future::pending().await
}
