//! Messages from replica managers: presence and replies.

use std::ops::Range;

use async_nats::{Client, Message, StatusCode};
use futures_util::StreamExt;
use natter_broker::ask::CapturingStreams;
use natter_broker::moderation::Malformed;
use natter_broker::streams::Streams;
use natter_broker::trail::Sighting;
use natter_common::frontend::Input;
use natter_common::ids::ReplicaId;
use natter_common::incoming::{Channel, Ignored, frontend_input};
use natter_common::messages::{Role, Status};
use natter_common::subjects::Subjects;
use tracing::info;

use crate::witness::Witness;

/// Maximum messages handled together; the rest waits for the next turn.
const BATCH_MAX: usize = 8192;

/// The last token of the reply subject of a question about a replica to the broker.
pub(crate) const LISTING: &str = "listing";

/// A message, and whether it is a reply.
pub(crate) struct Delivery {
    is_reply: bool,
    message: Message,
}

/// Subscriptions to what replica managers send.
pub(crate) struct Inbox {
    deliveries: Streams<Delivery>,
    malformed: Malformed,
    streams: CapturingStreams,
}

impl Inbox {
    /// Listens. `replies` is where replica managers answer, the id of this frontend as its last token; the replica manager's
    /// id and the numbers of the updates follow it.
    pub(crate) async fn subscribe(
        client: &Client,
        subjects: &Subjects,
        replies: &str,
    ) -> Result<Self, async_nats::SubscribeError> {
        let mut deliveries = Streams::new(BATCH_MAX, |delivery: &Delivery| delivery.message.payload.len());
        for (subject, is_reply) in [(subjects.all_presence(Role::Replica), false), (format!("{replies}.*.*"), true)] {
            let messages = client.subscribe(subject).await?;
            deliveries.push(messages.map(move |message| Delivery { is_reply, message }));
        }
        Ok(Self { deliveries, malformed: Malformed::default(), streams: CapturingStreams::default() })
    }

    /// All messages that wait, at least one; `None` when the connection is closed for good.
    pub(crate) async fn next(&mut self) -> Option<Vec<Delivery>> {
        self.deliveries.next().await
    }

    /// Number of messages that could not be decoded.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.total()
    }

    /// Whether the last batch left something for the next.
    pub(crate) fn is_more_left(&self) -> bool {
        self.deliveries.is_more_left()
    }

    /// Decodes a message and appends what it asks of the core.
    pub(crate) fn read(&mut self, delivery: Delivery, witness: &mut Witness, inputs: &mut Vec<Input>) {
        let Delivery { is_reply, message } = delivery;
        if !is_reply {
            match frontend_input(Channel::Presence, Subjects::last_token(&message.subject), &message.payload) {
                Ok(input) => {
                    if let Input::Presence(presence) = &input {
                        match presence.status {
                            Status::Left => witness.left(&presence.id),
                            _ => witness.shown(&presence.id),
                        }
                    }
                    inputs.push(input);
                }
                Err(ignored) => self.malformed.count(&message.subject, &ignored),
            }
            return;
        }
        let mut tokens = message.subject.rsplit('.');
        let (Some(numbers), Some(Ok(replica))) = (tokens.next(), tokens.next().map(ReplicaId::known)) else { return };
        if numbers == LISTING {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                witness.falls_mute();
            } else if witness.listed(&replica, &format!("replica-{replica}"), &message.payload) {
                info!(%replica, "the broker does not list its connection any more");
                inputs.push(Input::Unreachable(replica, 0..0));
            }
            return;
        }
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            inputs.push(Input::Unreachable(replica, numbers_of(numbers)));
            return;
        }
        match frontend_input(Channel::Replies, replica.as_str(), &message.payload) {
            Ok(input) => {
                let process = &tokens.next().unwrap_or_default();
                let (subject, payload) = (message.subject.as_str(), &message.payload[..]);
                Sighting { process, kind: "replies", subject, reply: "", payload }.log_received();
                witness.has_replied(&replica);
                inputs.push(input);
            }
            Err(Ignored::Form(_)) if self.streams.sent(&message) => {}
            Err(ignored) => self.malformed.count(&message.subject, &ignored),
        }
    }
}

/// The token of a reply subject that says which updates went in one message: the first number, and the one after the last.
pub(crate) fn numbers_token(numbers: &Range<u64>) -> String {
    format!("{}-{}", numbers.start, numbers.end)
}

fn numbers_of(token: &str) -> Range<u64> {
    let numbers = token.split_once('-').and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    numbers.unwrap_or(0..0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for numbers in [0..0, 1..2, 7..900, 0..u64::MAX] {
            assert_eq!(numbers_of(&numbers_token(&numbers)), numbers);
        }
        for token in ["", "7", "7-", "-7", "a-b", "1-2-3"] {
            assert!(numbers_of(token).is_empty(), "{token}");
        }
    }
}
