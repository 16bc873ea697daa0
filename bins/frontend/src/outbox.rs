//! What goes out: the core's outputs, performed. Requests that go to one replica manager go in one message.

use std::mem::take;
use std::ops::Range;

use natter_broker::live::Live;
use natter_broker::publisher::Publisher;
use natter_common::frontend::Output;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Alike, ConfirmRequest, QueryRequest, Requests, Role, UpdateRequest};
use natter_common::subjects::Subjects;
use natter_common::wire::encode;
use serde::Serialize;
use tracing::error;

use crate::clients::Clients;
use crate::inbox::numbers_token;

/// Requests of one kind that wait to be sent.
struct Batches<T> {
    endpoint: &'static str,
    /// The last one for a replica manager takes more, while there is room.
    messages: Vec<Batch<T>>,
}

/// Requests that go to one replica manager in one message.
struct Batch<T> {
    replica: ReplicaId,
    requests: Vec<T>,
    /// The numbers of all updates in it are among these, and of no others for the same replica manager.
    numbers: Range<u64>,
    /// About how many it takes.
    bytes: usize,
}

impl<T> Batches<T> {
    fn new(endpoint: &'static str) -> Self {
        Self { endpoint, messages: Vec::new() }
    }

    /// `number` is that of an update: it matters whether it came to somebody. `bytes_after` tells about how many bytes the
    /// request takes after another, and a message has `bytes_max` at most.
    fn push(
        &mut self,
        replica: ReplicaId,
        number: Option<u64>,
        request: T,
        bytes_after: impl Fn(&T, Option<&T>) -> usize,
        bytes_max: usize,
    ) {
        let numbers = number.map_or(0..0, |number| number..number + 1);
        if let Some(open) = self.messages.iter_mut().rev().find(|message| message.replica == replica) {
            let bytes = open.bytes + bytes_after(&request, open.requests.last());
            if bytes <= bytes_max {
                open.requests.push(request);
                open.numbers.end = numbers.end;
                open.bytes = bytes;
                return;
            }
        }
        let bytes = bytes_after(&request, None);
        self.messages.push(Batch { replica, requests: vec![request], numbers, bytes });
    }
}

/// Performs outputs.
pub(crate) struct Outbox {
    pub(crate) publisher: Publisher,
    subjects: Subjects,
    own: ReplicaId,
    replies: String,
    live: Live,
    updates: Batches<UpdateRequest>,
    confirms: Batches<ConfirmRequest>,
    queries: Batches<QueryRequest>,
}

impl Outbox {
    pub(crate) fn new(publisher: Publisher, subjects: Subjects, own: ReplicaId, replies: String, live: Live) -> Self {
        Self {
            publisher,
            subjects,
            own,
            replies,
            live,
            updates: Batches::new("update"),
            confirms: Batches::new("confirm"),
            queries: Batches::new("query"),
        }
    }

    /// Performs all `outputs`.
    pub(crate) async fn perform(&mut self, outputs: &mut Vec<Output>, clients: &mut Option<Clients>) {
        let bytes_max = self.publisher.message_bytes();
        for output in outputs.drain(..) {
            match output {
                Output::Update(replica, request) => {
                    let number = Some(request.n);
                    self.updates.push(replica, number, request, UpdateRequest::bytes_after, bytes_max);
                }
                Output::Confirm(replica, request) => {
                    self.confirms.push(replica, None, request, ConfirmRequest::bytes_after, bytes_max);
                }
                Output::Query(replica, request) => {
                    self.queries.push(replica, None, request, QueryRequest::bytes_after, bytes_max);
                }
                Output::Answer(client, answer) => {
                    if let Some(clients) = clients {
                        clients.answer(client, answer, &mut self.publisher).await;
                    }
                }
                Output::BatchAnswer(client, answer) => {
                    if let Some(clients) = clients {
                        clients.answer_batch(client, answer, &mut self.publisher).await;
                    }
                }
                Output::Presence(presence) => {
                    self.live.show(&presence);
                    if let Some(payload) = encoded(&presence) {
                        let subject = self.subjects.presence(Role::Frontend, &self.own);
                        self.publisher.publish(subject, payload.into()).await;
                    }
                }
                Output::Notice(_) => {}
            }
        }
        let (updates, confirms) = (take(&mut self.updates.messages), take(&mut self.confirms.messages));
        let queries = take(&mut self.queries.messages);
        self.send(updates, self.updates.endpoint).await;
        self.send(confirms, self.confirms.endpoint).await;
        self.send(queries, self.queries.endpoint).await;
    }

    async fn send<T: Alike>(&mut self, batches: Vec<Batch<T>>, endpoint: &str) {
        for Batch { replica, requests, numbers, .. } in batches {
            let Some(payload) = encoded(&Requests { requests }) else { continue };
            let reply = format!("{}.{replica}.{}", self.replies, numbers_token(&numbers));
            let subject = self.subjects.replica(&replica, endpoint);
            self.publisher.publish_with_reply(subject, reply, payload.into()).await;
        }
    }
}

fn encoded(message: &impl Serialize) -> Option<Vec<u8>> {
    match encode(message) {
        Ok(payload) => Some(payload),
        Err(error) => {
            error!(%error, "a message cannot be encoded");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_updates_in_it_and_no_others() {
        let id = |name| ReplicaId::new(name).unwrap();
        let mut batches: Batches<u64> = Batches::new("update");
        for (replica, n) in [("a", 1), ("b", 2), ("a", 3), ("a", 7), ("b", 9), ("a", 12)] {
            batches.push(id(replica), Some(n), n, |_, _| 10, 30);
        }
        let sent: Vec<_> = batches
            .messages
            .drain(..)
            .map(|batch| (batch.replica.to_string(), batch.requests, batch.numbers))
            .collect();
        let expected = [
            ("a".to_owned(), vec![1, 3, 7], 1..8),
            ("b".to_owned(), vec![2, 9], 2..10),
            ("a".to_owned(), vec![12], 12..13),
        ];
        assert_eq!(sent, expected);
        // Others need no names: who is asked to confirm twice says the same twice.
        batches.push(id("a"), None, 4, |_, _| 10, 30);
        batches.push(id("a"), None, 5, |_, _| 10, 30);
        assert!(matches!(&batches.messages[..], [batch] if batch.numbers.is_empty() && batch.requests == [4, 5]));
    }
}
