//! What goes out: the core's outputs, performed. Requests that go to one replica manager go in one message.

use std::ops::Range;

use natter_broker::live::Live;
use natter_broker::publisher::Publisher;
use natter_common::frontend::Output;
use natter_common::ids::ReplicaId;
use natter_common::messages::{ConfirmRequest, QueryRequest, Requests, Role, UpdateRequest};
use natter_common::subjects::Subjects;
use natter_common::wire::encode;
use serde::Serialize;
use tracing::error;

use crate::clients::Clients;
use crate::inbox::numbers_token;

/// About how many bytes a request takes, beside its `prev`, and an entry of that.
const REQUEST_BYTES: usize = 250;
const PREV_ENTRY_BYTES: usize = 40;

/// Requests that wait to be sent, by replica manager in the order of their first.
struct Batches<T> {
    endpoint: &'static str,
    waiting: Vec<(ReplicaId, Vec<Waiting<T>>)>,
}

struct Waiting<T> {
    /// That of an update: it matters whether it came to somebody.
    number: Option<u64>,
    /// About how many it takes in a message.
    bytes: usize,
    request: T,
}

/// Requests that go to one replica manager in one message.
struct Batch<T> {
    replica: ReplicaId,
    requests: Vec<T>,
    /// The numbers of all updates in it are among these, and of no others for the same replica manager.
    numbers: Range<u64>,
}

impl<T: Serialize> Batches<T> {
    fn new(endpoint: &'static str) -> Self {
        Self { endpoint, waiting: Vec::new() }
    }

    fn push(&mut self, replica: ReplicaId, number: Option<u64>, prev_entries: usize, request: T) {
        let waiting = Waiting { number, bytes: REQUEST_BYTES + PREV_ENTRY_BYTES * prev_entries, request };
        match self.waiting.iter_mut().find(|(id, _)| *id == replica) {
            Some((_, others)) => others.push(waiting),
            None => self.waiting.push((replica, vec![waiting])),
        }
    }

    /// The messages, each for one replica manager, of about `bytes_max` at most.
    fn drain(&mut self, bytes_max: usize) -> Vec<Batch<T>> {
        let mut batches: Vec<Batch<T>> = Vec::new();
        for (replica, waiting) in std::mem::take(&mut self.waiting) {
            // None is open at the first.
            let mut total = usize::MAX;
            let count = waiting.len().min(bytes_max / REQUEST_BYTES + 1);
            for Waiting { number, bytes, request } in waiting {
                let numbers = number.map_or(0..0, |number| number..number + 1);
                total = total.saturating_add(bytes);
                match batches.last_mut().filter(|_| total <= bytes_max) {
                    Some(batch) => {
                        batch.requests.push(request);
                        batch.numbers.end = numbers.end;
                    }
                    None => {
                        let mut requests = Vec::with_capacity(count);
                        requests.push(request);
                        batches.push(Batch { replica: replica.clone(), requests, numbers });
                        total = bytes;
                    }
                }
            }
        }
        batches
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
        for output in outputs.drain(..) {
            match output {
                Output::Update(replica, request) => {
                    self.updates.push(replica, Some(request.n), request.prev.len(), request);
                }
                Output::Confirm(replica, request) => self.confirms.push(replica, None, 0, request),
                Output::Query(replica, request) => {
                    self.queries.push(replica, None, request.prev.len(), request);
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
        let bytes_max = self.publisher.message_bytes();
        let (updates, confirms) = (self.updates.drain(bytes_max), self.confirms.drain(bytes_max));
        let queries = self.queries.drain(bytes_max);
        self.send(updates, self.updates.endpoint).await;
        self.send(confirms, self.confirms.endpoint).await;
        self.send(queries, self.queries.endpoint).await;
    }

    async fn send<T: Serialize>(&mut self, batches: Vec<Batch<T>>, endpoint: &str) {
        for Batch { replica, requests, numbers } in batches {
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
            batches.push(id(replica), Some(n), 0, n);
        }
        let drained = batches.drain(3 * REQUEST_BYTES);
        let drained: Vec<_> =
            drained.into_iter().map(|batch| (batch.replica.to_string(), batch.requests, batch.numbers)).collect();
        let expected = [
            ("a".to_owned(), vec![1, 3, 7], 1..8),
            ("a".to_owned(), vec![12], 12..13),
            ("b".to_owned(), vec![2, 9], 2..10),
        ];
        assert_eq!(drained, expected);
        assert!(batches.drain(1).is_empty());
        // Others need no names: who is asked to confirm twice says the same twice.
        batches.push(id("a"), None, 0, 4);
        batches.push(id("a"), None, 0, 5);
        let numbers: Vec<_> = batches.drain(usize::MAX).into_iter().map(|batch| batch.numbers).collect();
        assert!(matches!(&numbers[..], [numbers] if numbers.is_empty()), "{numbers:?}");
    }
}
