//! What goes out: the core's outputs, performed. Requests that go to one replica manager go in one message.

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

/// About how many bytes a request takes, beside its `prev`, and an entry of that.
const REQUEST_BYTES: usize = 250;
const PREV_ENTRY_BYTES: usize = 40;

/// Requests that wait to be sent, by replica manager in the order of their first.
struct Batches<T> {
    endpoint: &'static str,
    requests: Vec<(ReplicaId, Vec<(usize, T)>)>,
}

impl<T: Serialize> Batches<T> {
    fn new(endpoint: &'static str) -> Self {
        Self { endpoint, requests: Vec::new() }
    }

    fn push(&mut self, replica: ReplicaId, prev_entries: usize, request: T) {
        let bytes = REQUEST_BYTES + PREV_ENTRY_BYTES * prev_entries;
        match self.requests.iter_mut().find(|(id, _)| *id == replica) {
            Some((_, requests)) => requests.push((bytes, request)),
            None => self.requests.push((replica, vec![(bytes, request)])),
        }
    }

    /// The messages, each for one replica manager, of about `bytes_max` at most.
    fn drain(&mut self, bytes_max: usize) -> Vec<(ReplicaId, Requests<T>)> {
        let mut messages = Vec::new();
        for (replica, requests) in std::mem::take(&mut self.requests) {
            let mut message = Vec::new();
            let mut total = 0;
            for (bytes, request) in requests {
                if total + bytes > bytes_max && !message.is_empty() {
                    messages.push((replica.clone(), Requests { requests: std::mem::take(&mut message) }));
                    total = 0;
                }
                total += bytes;
                message.push(request);
            }
            messages.push((replica, Requests { requests: message }));
        }
        messages
    }
}

/// Performs outputs.
pub(crate) struct Outbox {
    pub(crate) publisher: Publisher,
    subjects: Subjects,
    own: ReplicaId,
    replies: String,
    messages: u64,
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
            messages: 0,
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
                    let prev = request.prev.len();
                    self.updates.push(replica, prev, request);
                }
                Output::Confirm(replica, request) => self.confirms.push(replica, 0, request),
                Output::Query(replica, request) => {
                    let prev = request.prev.len();
                    self.queries.push(replica, prev, request);
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

    async fn send<T: Serialize>(&mut self, messages: Vec<(ReplicaId, Requests<T>)>, endpoint: &str) {
        for (replica, requests) in messages {
            let Some(payload) = encoded(&requests) else { continue };
            self.messages += 1;
            let reply = format!("{}.{replica}.{}", self.replies, self.messages);
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
