//! The service that clients talk to, and the way back to each of them.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::service::{Request, Service, ServiceExt, error::Error as ServiceError};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use natter_broker::live::Live;
use natter_broker::moderation::Malformed;
use natter_broker::publisher::{Publisher, within};
use natter_broker::streams::Streams;
use natter_common::cluster::ClusterId;
use natter_common::edge::{self, BatchReply, ClientReply, ClientRequest, EncodedReply, FrontendError, decode_request};
use natter_common::ids::ReplicaId;
use natter_common::sequence::Sequence;
use natter_common::subjects::{FRONTEND_QUEUE, Operation, Subjects};
use natter_common::wire::{Format, WireError};
use tracing::error;

/// How many requests are handled together at most: what waits goes in one batch.
const BATCH_MAX: usize = 8192;
const RESPOND_TIMEOUT: Duration = Duration::from_millis(500);
const ERROR_HEADER: &str = "Nats-Service-Error";
const ERROR_CODE_HEADER: &str = "Nats-Service-Error-Code";
const CLUSTER_HEADER: &str = "Natter-Cluster";

/// A request as it came in.
pub(crate) struct Arrival {
    operation: Operation,
    /// Whether the subject's last token is the user.
    names_user: bool,
    request: Box<Request>,
}

/// A client that waits for its answer.
struct Waiting {
    request: Box<Request>,
    format: Format,
}

/// Requests that come in, and clients that wait.
pub(crate) struct Clients {
    arrivals: Streams<Arrival>,
    waiting: Sequence<Waiting>,
    malformed: Malformed,
    /// Once the connection that clients come in by is being drained, answers leave by the other one.
    leaving: bool,
}

/// The micro service `frontend`, whose STATS carry `live`.
pub(crate) async fn start_service(client: &Client, id: &ReplicaId, live: Live) -> Result<Service, async_nats::Error> {
    client
        .service_builder()
        .description("a frontend: the entry point for clients who rate movies")
        .metadata(HashMap::from([("id".to_owned(), id.to_string())]))
        .queue_group(FRONTEND_QUEUE)
        .stats_handler(move |_, _| live.read())
        .start("frontend", env!("CARGO_PKG_VERSION"))
        .await
}

impl Clients {
    /// Serves all operations, each with and without the user in its subject.
    pub(crate) async fn serve(service: &Service, subjects: &Subjects) -> Result<Self, async_nats::Error> {
        let mut arrivals = Streams::new(BATCH_MAX, |arrival: &Arrival| arrival.request.message.payload.len());
        for operation in Operation::ALL {
            let by_subject = [
                (operation.name().to_owned(), subjects.frontend(operation), false),
                (format!("{}-user", operation.name()), subjects.frontend_of_any_user(operation), true),
            ];
            for (name, subject, names_user) in by_subject {
                if names_user && !operation.has_user() {
                    continue;
                }
                let endpoint = service.endpoint_builder().name(name).queue_group(FRONTEND_QUEUE).add(subject).await?;
                // A request is large, and handed on several times.
                let arrived = move |request| Arrival { operation, names_user, request: Box::new(request) };
                arrivals.push(endpoint.map(arrived));
            }
        }
        Ok(Self { arrivals, waiting: Sequence::default(), malformed: Malformed::default(), leaving: false })
    }

    /// All requests that wait to be read, at least one; `None` when the connection is closed or drained.
    pub(crate) async fn next(&mut self) -> Option<Vec<Arrival>> {
        self.arrivals.next().await
    }

    /// Whether the last batch left something for the next.
    pub(crate) fn is_more_left(&self) -> bool {
        self.arrivals.is_more_left()
    }

    /// Decodes a request. Gives the client's number and what it asks, or what it is to be told.
    pub(crate) fn read(&mut self, arrival: Arrival) -> (u64, Result<ClientRequest, FrontendError>) {
        let Arrival { operation, names_user, mut request } = arrival;
        let message = &request.message;
        let user = names_user.then(|| Subjects::last_token(&message.subject));
        let decoded = decode_request(operation, user, &message.payload);
        if let (Err(error), None) = (&decoded, &message.reply) {
            self.malformed.count(&message.subject, error);
        }
        let client = self.waiting.reserve();
        let format = Format::of(&message.payload);
        // A batch that waits for its answer need not be kept.
        request.message.payload = Bytes::new();
        self.waiting.put(client, Waiting { request, format });
        (client, decoded)
    }

    /// Answers a client, as a frontend of `cluster`. `publisher` is the way that stays open while this process leaves.
    pub(crate) async fn answer(
        &mut self,
        client: u64,
        answer: Result<ClientReply, FrontendError>,
        cluster: Option<&ClusterId>,
        publisher: &mut Publisher,
    ) {
        let Some(waiting) = self.take(client) else { return };
        let reply = edge::encode_reply(&answer, cluster, waiting.format);
        self.respond(*waiting.request, reply, publisher).await;
    }

    /// Answers a client that sent a batch.
    pub(crate) async fn answer_batch(
        &mut self,
        client: u64,
        answer: BatchReply,
        cluster: Option<&ClusterId>,
        publisher: &mut Publisher,
    ) {
        let Some(waiting) = self.take(client) else { return };
        let bytes_max = publisher.client().server_info().max_payload;
        let reply = edge::encode_batch_reply(&answer, cluster, waiting.format, bytes_max);
        self.respond(*waiting.request, reply, publisher).await;
    }

    fn take(&mut self, client: u64) -> Option<Waiting> {
        let waiting = self.waiting.take(client);
        self.waiting.end(client);
        waiting
    }

    async fn respond(&self, request: Request, reply: Result<EncodedReply, WireError>, publisher: &mut Publisher) {
        let EncodedReply { body, error, cluster } = match reply {
            Ok(reply) => reply,
            Err(error) => return error!(%error, "an answer cannot be encoded"),
        };
        let mut headers = HeaderMap::new();
        if let Some((code, text)) = &error {
            headers.insert(ERROR_CODE_HEADER, code.to_string().as_str());
            headers.insert(ERROR_HEADER, header_text(text).as_str());
        }
        if let Some(cluster) = &cluster {
            headers.insert(CLUSTER_HEADER, cluster.as_str());
        }
        if self.leaving {
            if let Some(reply) = request.message.reply {
                publisher.publish_with_headers(reply, headers, body.into()).await;
            }
            return;
        }
        let responding = match error {
            // The service counts it as an error, but leaves the body empty.
            Some((code, text)) if body.is_empty() => {
                let error = ServiceError { code: usize::from(code), status: header_text(&text) };
                within(RESPOND_TIMEOUT, request.respond_with_headers(Err(error), headers)).await
            }
            _ => within(RESPOND_TIMEOUT, request.respond_with_headers(Ok(body.into()), headers)).await,
        };
        // Without a reply subject, or without a broker, nobody waits for it.
        let _ = responding;
    }

    /// From now on answers leave by the other connection.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }
}

/// Header values are one line.
fn header_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
