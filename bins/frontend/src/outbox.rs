//! Performs the core's outputs. Requests that go to one replica manager go in one message.

use natter_broker::live::Live;
use natter_broker::publisher::{Publisher, encoded};
use natter_broker::trail::Sighting;
use natter_common::cluster::ClusterId;
use natter_common::frontend::Output;
use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::packing::{PackedRequests, RequestPacker};
use natter_common::subjects::Subjects;
use natter_common::wire::encode;

use crate::clients::Clients;
use crate::inbox::{LISTING, numbers_token};
use crate::traces::{self, Carried};
use crate::witness::{self, Witness};

/// Performs outputs.
pub(crate) struct Outbox {
    pub(crate) publisher: Publisher,
    pub(crate) witness: Witness,
    subjects: Subjects,
    own: ReplicaId,
    replies: String,
    live: Live,
    requests: RequestPacker,
    /// Trace contexts of the requests of this turn.
    carried: Vec<Carried>,
}

impl Outbox {
    pub(crate) fn new(publisher: Publisher, subjects: Subjects, own: ReplicaId, replies: String, live: Live) -> Self {
        let witness = Witness::default();
        let requests = RequestPacker::default();
        Self { publisher, witness, subjects, own, replies, live, requests, carried: Vec::new() }
    }

    /// Our own id.
    pub(crate) fn own(&self) -> &ReplicaId {
        &self.own
    }

    /// Where replicas answer, without the last two tokens.
    pub(crate) fn replies(&self) -> &str {
        &self.replies
    }

    /// Performs all `outputs` of a frontend of `cluster`.
    pub(crate) async fn perform(
        &mut self,
        outputs: &mut Vec<Output>,
        cluster: Option<&ClusterId>,
        clients: &mut Clients,
    ) {
        let bytes_max = self.publisher.message_bytes();
        for output in outputs.drain(..) {
            if !clients.traces.is_empty() {
                self.carried.extend(clients.traces.carried(&output));
            }
            let Some(output) = self.requests.push(output, bytes_max) else { continue };
            match output {
                Output::Answer(client, answer) => {
                    clients.answer(client, answer, cluster, &mut self.publisher).await;
                }
                Output::BatchAnswer(client, answer) => {
                    clients.answer_batch(client, answer, cluster, &mut self.publisher).await;
                }
                Output::Lost(client, lost) => clients.lost(client, &lost),
                Output::Retired(client, retired) => clients.retired(client, &retired),
                Output::Presence(presence) => {
                    self.live.show(&presence);
                    if let Some(payload) = encoded(encode(&presence)) {
                        let subject = self.subjects.presence(Role::Frontend, &self.own);
                        self.publisher.publish(subject, payload.into()).await;
                    }
                }
                Output::Notice(_) | Output::Update(..) | Output::Confirm(..) | Output::Query(..) => {}
            }
        }
        for PackedRequests { kind, replica, numbers, payload } in self.requests.take() {
            let Some(payload) = encoded(payload) else { continue };
            let reply = format!("{}.{replica}.{}", self.replies, numbers_token(&numbers));
            let subject = self.subjects.replica(&replica, kind.endpoint());
            let process = &self.own;
            Sighting { process, kind: kind.endpoint(), subject: &subject, reply: &reply, payload: &payload }.log_sent();
            let room = self.publisher.max_payload().saturating_sub(payload.len());
            match traces::headers(&self.carried, kind, &replica, &numbers, room) {
                None => self.publisher.publish_with_reply(subject, reply, payload.into()).await,
                Some(headers) => {
                    self.publisher.publish_with_reply_and_headers(subject, reply, headers, payload.into()).await;
                }
            }
            self.witness.was_asked(&replica);
        }
        self.carried.clear();
        clients.traces.end_turn();
    }

    /// Lets a tick pass, and asks the broker about replicas that keep a request waiting.
    pub(crate) async fn ask_about_the_silent(&mut self) {
        for replica in self.witness.tick() {
            let reply = format!("{}.{replica}.{LISTING}", self.replies);
            let question = witness::question(&self.subjects.replica(&replica, "update"));
            self.publisher.publish_with_reply(witness::LISTS, reply, question.into()).await;
        }
    }
}
