//! Outgoing messages: performs the outputs of the core.

use std::sync::Arc;

use async_nats::Client;
use natter_broker::connection::{ConnectionEvent, Pair};
use natter_broker::live::Live;
use natter_broker::publisher::{Publisher, encoded};
use natter_broker::trail::Sighting;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Reply, Role};
use natter_common::packing::{ReplyPacker, encode_replies};
use natter_common::replica_manager::{Output, ReplicaManager, ReplyTo};
use natter_common::subjects::Subjects;
use natter_common::wire::{Format, WireError, encode};
use serde::Serialize;

use crate::feed::Feed;
use crate::inbox::{Inbox, Open};
use crate::metrics::ReplicaMetrics;

/// Why a replica manager must not run.
pub(crate) struct Refusal(pub(crate) String);

/// Performs outputs.
pub(crate) struct Outbox {
    publisher: Publisher,
    subjects: Subjects,
    own: ReplicaId,
    pull_replies: String,
    live: Live,
    /// The presence that was shown last.
    presence: Option<Presence>,
    replies: ReplyPacker,
    /// Present with `--metrics`.
    pub(crate) metrics: Option<Arc<ReplicaMetrics>>,
    /// Present with `--changes`.
    pub(crate) feed: Option<Feed>,
    /// Keeps the connection on the side of most servers of the broker, where there are several.
    pub(crate) pair: Option<Pair>,
}

impl Outbox {
    pub(crate) fn new(
        publisher: Publisher,
        subjects: Subjects,
        own: ReplicaId,
        pull_replies: String,
        live: Live,
    ) -> Self {
        let replies = ReplyPacker::default();
        Self {
            publisher,
            subjects,
            own,
            pull_replies,
            live,
            presence: None,
            replies,
            metrics: None,
            feed: None,
            pair: None,
        }
    }

    /// Performs all `outputs`. `Err` is why this replica manager must not run.
    pub(crate) async fn perform(&mut self, outputs: &mut Vec<Output>, inbox: &mut Inbox) -> Result<(), Refusal> {
        for output in outputs.drain(..) {
            match output {
                Output::Reply(to, reply) => self.queue_reply(to, reply),
                Output::Status(to, reply) => self.respond(&to.subject, &reply, inbox).await,
                Output::Log(to, page) => self.respond(&to.subject, &page, inbox).await,
                Output::Snapshot(to, chunk) => self.respond(&to.subject, &chunk, inbox).await,
                Output::Gossip(gossip) => {
                    let kind = (!gossip.records.is_empty()).then_some("gossip");
                    self.publish(kind, self.subjects.gossip(&self.own), &gossip).await;
                }
                Output::Acknowledge(peer, acknowledgement) => {
                    let subject = self.subjects.replica(&peer, "acknowledge");
                    self.publish(Some("acknowledge"), subject, &acknowledgement).await;
                }
                Output::Pull(peer, request) => self.ask(&peer, "log", &request).await,
                Output::FetchSnapshot(peer, request) => self.ask(&peer, "snapshot", &request).await,
                Output::Presence(presence) => {
                    self.show(Role::Replica, &presence).await;
                    self.presence = Some(*presence);
                }
                Output::Notice(_) => {}
                Output::Stop(reason) => return Err(Refusal(reason)),
            }
        }
        self.send_replies(inbox).await;
        Ok(())
    }

    /// A reply that goes out with the next [`Outbox::send_replies`].
    pub(crate) fn queue_reply(&mut self, to: ReplyTo, reply: Reply) {
        self.replies.push(to, reply);
    }

    /// Sends what was queued.
    pub(crate) async fn send_replies(&mut self, inbox: &mut Inbox) {
        for (subject, mut replies) in self.replies.take(&self.own, self.publisher.message_bytes()) {
            let payload = encode_replies(&mut replies, self.publisher.max_payload());
            let open = inbox.take_request(&subject);
            self.send_answer(&subject, open, payload).await;
        }
    }

    /// Publishes the changes of a turn of `core`, with the change feed.
    pub(crate) async fn publish_changes(&mut self, core: &ReplicaManager) {
        if let Some(feed) = &mut self.feed {
            feed.publish(core, &self.subjects, &mut self.publisher).await;
        }
    }

    /// Shows itself.
    pub(crate) async fn show(&mut self, role: Role, presence: &Presence) {
        self.live.show(presence);
        self.publish(None, self.subjects.presence(role, &self.own), presence).await;
    }

    /// The connection.
    pub(crate) fn client(&self) -> &Client {
        self.publisher.client()
    }

    /// The subjects of the cluster.
    pub(crate) fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The reply subject of pulls, without its last two tokens.
    pub(crate) fn pull_replies(&self) -> &str {
        &self.pull_replies
    }

    /// The presence that was shown last.
    pub(crate) fn last_presence(&self) -> Option<Presence> {
        self.presence.clone()
    }

    /// The connection is lost, or there again.
    pub(crate) fn hear(&mut self, event: &ConnectionEvent) {
        if let Some(metrics) = &self.metrics {
            metrics.hear(event);
        }
        if let Some(feed) = &mut self.feed {
            feed.hear(event, &self.own, &self.subjects);
        }
        match event {
            ConnectionEvent::Connected => self.publisher.set_connected(true),
            ConnectionEvent::Disconnected => self.publisher.set_connected(false),
            ConnectionEvent::SlowConsumer { .. } | ConnectionEvent::Denied(_) => {}
        }
    }

    /// Sends what is on its way, and closes the connection.
    pub(crate) async fn close(&self) {
        self.publisher.close().await;
    }

    /// Answers in the encoding of the request, and counts the request with its first answer.
    pub(crate) async fn respond(&mut self, subject: &Arc<str>, answer: &impl Serialize, inbox: &mut Inbox) {
        let open = inbox.take_request(subject);
        let format = open.as_ref().map_or(Format::MessagePack, |open| open.format);
        self.send_answer(subject, open, format.encode(answer)).await;
    }

    async fn send_answer(&mut self, subject: &str, open: Option<Open>, payload: Result<Vec<u8>, WireError>) {
        let Some(payload) = encoded(payload) else { return };
        if let Some(open) = open {
            let duration = open.request.count(None);
            if let Some(metrics) = &self.metrics {
                metrics.count_answer(open.endpoint, duration);
            }
        }
        self.sends("replies", subject, "", &payload);
        // A connection that takes no message for long is lost; the frontend asks again.
        self.publisher.publish(subject.to_owned(), payload.into()).await;
    }

    /// Number of messages that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.publisher.dropped()
    }

    /// The largest message that the broker takes on the present connection, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.publisher.max_payload()
    }

    /// Logs that a message leaves.
    fn sends(&self, kind: &str, subject: &str, reply: &str, payload: &[u8]) {
        Sighting { process: &self.own, kind, subject, reply, payload }.log_sent();
    }

    /// Asks another replica manager; its answer, or that nobody is there, comes to the inbox.
    async fn ask(&mut self, peer: &ReplicaId, endpoint: &str, request: &impl Serialize) {
        if let Some(payload) = encoded(encode(request)) {
            let subject = self.subjects.replica(peer, endpoint);
            let reply = format!("{}.{endpoint}.{peer}", self.pull_replies);
            self.sends(endpoint, &subject, &reply, &payload);
            self.publisher.publish_with_reply(subject, reply, payload.into()).await;
        }
    }

    /// Sends a message. Those without a `kind` are heartbeats.
    async fn publish(&mut self, kind: Option<&str>, subject: String, message: &impl Serialize) {
        if let Some(payload) = encoded(encode(message)) {
            if let Some(kind) = kind {
                self.sends(kind, &subject, "", &payload);
            }
            self.publisher.publish(subject, payload.into()).await;
        }
    }
}
