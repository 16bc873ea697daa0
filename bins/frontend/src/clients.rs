//! The service that clients talk to, and the way back to each of them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, HeaderMap, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use natter_broker::live::Live;
use natter_broker::moderation::Malformed;
use natter_broker::publisher::{Publisher, within};
use natter_broker::service::{Description, Endpoint, Request, Service};
use natter_broker::service_error::{TEXT_BYTES_MAX, headers};
use natter_broker::streams::Streams;
use natter_broker::traceparent::TraceParent;
use natter_common::cluster::ClusterId;
use natter_common::edge::{self, BatchReply, ClientReply, ClientRequest, EncodedReply, FrontendError, decode_request};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::sequence::Sequence;
use natter_common::subjects::{FRONTEND_QUEUE, Operation, Subjects};
use natter_common::timestamp::Timestamp;
use natter_common::wire::{Format, WireError};
use tokio::sync::watch;
use tracing::error;

use crate::metrics::FrontendMetrics;
use crate::permits::Hindered;
use crate::traces::Traces;

/// Maximum requests handled together; the rest waits for the next turn.
const BATCH_MAX: usize = 8192;
const RESPOND_TIMEOUT: Duration = Duration::from_millis(500);
/// Updates that the session has seen and that are lost: `<replica id>:<number>`, separated by commas.
const LOST_HEADER: &str = "Natter-Lost";
/// Maximum replicas that the header names; the next reply names others.
const LOST_MAX: usize = 8;
/// Replicas that the session has seen and may leave out of its label: `<replica id>:<number>`, separated by commas.
const RETIRED_HEADER: &str = "Natter-Retired";
/// Maximum replicas that the header names; the next reply names others.
const RETIRED_MAX: usize = 16;
const CLUSTER_HEADER: &str = "Natter-Cluster";
/// Room for the header of lost updates, in bytes.
const LOST_BYTES: usize = 1024;
/// Room for the headers of an error, in bytes: the broker counts them as part of the message.
const HEADERS_BYTES: usize = TEXT_BYTES_MAX + 200;

/// A request as it came in.
pub(crate) struct Arrival {
    operation: Operation,
    /// Whether the subject's last token is the user.
    names_user: bool,
    request: Box<Request>,
}

/// A client that waits for its answer.
struct Waiting {
    operation: Operation,
    /// The client's number.
    client: u64,
    /// The id that the client gave its update.
    id: Option<UpdateId>,
    request: Box<Request>,
    format: Format,
    /// The value of the header that tells which updates of the session are lost.
    lost: Option<String>,
    /// The value of the header that tells which replicas the session's label may leave out.
    retired: Option<String>,
}

impl Waiting {
    /// Room for the headers that its answer has beside those of an error, in bytes.
    fn headers_bytes(&self) -> usize {
        // A header is its name, a colon, a space, its value and a line's end.
        let retired_bytes = self.retired.as_ref().map_or(0, |value| RETIRED_HEADER.len() + value.len() + 4);
        self.lost.as_ref().map_or(0, |_| LOST_BYTES) + retired_bytes
    }
}

/// Requests that come in, and clients that wait.
pub(crate) struct Clients {
    arrivals: Streams<Arrival>,
    /// Places in the queue group: requests come in by each until it is dropped.
    places: Vec<watch::Sender<()>>,
    waiting: Sequence<Waiting>,
    /// Trace contexts of those that sent one.
    pub(crate) traces: Traces,
    malformed: Malformed,
    /// The connection that clients come in by.
    entrance: Client,
    /// Whether answers leave by the other connection: the one that clients come in by is being drained, or is lost.
    answers_elsewhere: bool,
    metrics: Option<Arc<FrontendMetrics>>,
}

/// One subject of a place in the queue group, until that is given up.
struct Place {
    endpoint: Arc<Endpoint>,
    messages: Subscriber,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for Place {
    type Item = Request;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Request>> {
        match self.messages.poll_next_unpin(context) {
            Poll::Ready(Some(message)) => Poll::Ready(Some(Request::new(Arc::clone(&self.endpoint), message))),
            Poll::Pending if self.end.as_mut().poll(context).is_pending() => Poll::Pending,
            Poll::Pending | Poll::Ready(None) => Poll::Ready(None),
        }
    }
}

/// The micro service `frontend`, whose STATS carry `live`.
pub(crate) async fn start_service(
    client: &Client,
    subjects: &Subjects,
    id: &ReplicaId,
    live: Live,
) -> Result<Service, SubscribeError> {
    let description = Description {
        name: "frontend",
        id: id.clone(),
        description: "a frontend: the entry point for clients who rate movies",
        version: env!("CARGO_PKG_VERSION"),
        metadata: BTreeMap::from([("id", id.to_string()), ("prefix", subjects.prefix().to_owned())]),
    };
    Service::start(client, description, live).await
}

impl Clients {
    /// Serves nothing yet.
    pub(crate) fn new(entrance: Client) -> Self {
        Self {
            arrivals: Streams::new(BATCH_MAX, |arrival: &Arrival| arrival.request.message.payload.len()),
            places: Vec::new(),
            waiting: Sequence::default(),
            traces: Traces::default(),
            malformed: Malformed::default(),
            entrance,
            answers_elsewhere: false,
            metrics: None,
        }
    }

    /// Counts answers in `metrics` from now on.
    pub(crate) fn measure(&mut self, metrics: Arc<FrontendMetrics>) {
        self.metrics = Some(metrics);
    }

    /// Number of requests without a reply subject that could not be decoded.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.total()
    }

    /// Takes one more place in the queue group of all operations, each with and without the user in its subject.
    pub(crate) async fn take_place(&mut self, service: &Service, subjects: &Subjects) -> Result<(), SubscribeError> {
        let (place, end_of_place) = watch::channel(());
        for operation in Operation::ALL {
            let by_subject = [
                (operation.name().to_owned(), subjects.frontend(operation), false),
                (format!("{}-user", operation.name()), subjects.frontend_of_any_user(operation), true),
            ];
            for (name, subject, names_user) in by_subject {
                if names_user && !operation.has_user() {
                    continue;
                }
                let (endpoint, messages) = service.serve(&name, subject, Some(FRONTEND_QUEUE)).await?;
                let mut end_of_place = end_of_place.clone();
                let end = Box::pin(async move {
                    let _ = end_of_place.changed().await; // it never changes, but ends
                });
                // A request is large, and handed on several times.
                let arrived = move |request| Arrival { operation, names_user, request: Box::new(request) };
                self.arrivals.push(Place { endpoint, messages, end }.map(arrived));
            }
        }
        self.places.push(place);
        Ok(())
    }

    /// Takes a new place, and gives up all others: the broker says so where it does not permit that any more.
    pub(crate) async fn renew_place(&mut self, service: &Service, subjects: &Subjects) -> Result<(), SubscribeError> {
        let old = self.places.len();
        self.take_place(service, subjects).await?;
        self.places.drain(..old);
        Ok(())
    }

    /// Gives up all but `places` places. Requests that have come by now are still read.
    pub(crate) fn keep_places(&mut self, places: usize) {
        self.places.truncate(places);
    }

    /// Number of places in the queue group.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// All requests that wait to be read, at least one; `None` when the connection is closed or drained. Waits for ever
    /// outside of the queue group.
    pub(crate) async fn next(&mut self) -> Option<Vec<Arrival>> {
        let arrivals = self.arrivals.next().await;
        if arrivals.is_none() && self.places.is_empty() {
            std::future::pending::<()>().await;
        }
        arrivals
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
        if let Some(trace) = message.headers.as_ref().and_then(TraceParent::of_client) {
            self.traces.begin(client, trace, decoded.as_ref().ok());
        }
        let id = match &decoded {
            Ok(ClientRequest::Update { id, .. }) => *id,
            _ => None,
        };
        let format = Format::of(&message.payload);
        // A batch that waits for its answer need not be kept.
        request.message.payload = Bytes::new();
        self.waiting.put(client, Waiting { operation, client, id, request, format, lost: None, retired: None });
        (client, decoded)
    }

    /// Notes updates that the session of a client has seen and that are lost, for its answer.
    pub(crate) fn lost(&mut self, client: u64, lost: &Timestamp) {
        let Some(mut waiting) = self.waiting.take(client) else { return };
        waiting.lost = Some(lost.listed(LOST_MAX));
        self.waiting.put(client, waiting);
    }

    /// Notes replicas that the session of a client may leave out of its label, for its answer.
    pub(crate) fn retired(&mut self, client: u64, retired: &Timestamp) {
        let Some(mut waiting) = self.waiting.take(client) else { return };
        waiting.retired = Some(retired.listed(RETIRED_MAX));
        self.waiting.put(client, waiting);
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
        let spare = if answer.is_err() { HEADERS_BYTES } else { 0 } + waiting.headers_bytes();
        let bytes_max = self.bytes_max(publisher).saturating_sub(spare);
        let reply = edge::encode_reply_within(&answer, cluster, waiting.format, bytes_max);
        let outcome = FrontendMetrics::outcome(answer.as_ref().err());
        self.respond(waiting, reply, outcome, publisher).await;
    }

    /// Answers all clients whose requests cannot be done, as the broker does not permit what they need: `missing` says what.
    /// The core's later words on them are dropped. Batches wait: some of their operations may have an answer.
    pub(crate) async fn give_up(
        &mut self,
        hindered: Hindered,
        missing: &str,
        cluster: Option<&ClusterId>,
        publisher: &mut Publisher,
    ) {
        let error = |waiting: &Waiting| {
            let missing = missing.to_owned();
            let error = match waiting.operation {
                Operation::Batch => return None,
                Operation::Create | Operation::Update | Operation::Delete => {
                    hindered.updates.then_some(FrontendError::UpdateNotPermitted { missing, id: waiting.id })
                }
                _ => hindered.queries.then_some(FrontendError::QueryNotPermitted { missing }),
            };
            error.map(|error| (waiting.client, error))
        };
        let given_up: Vec<_> = self.waiting.iter().filter_map(error).collect();
        for (client, error) in given_up {
            self.answer(client, Err(error), cluster, publisher).await;
        }
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
        let bytes_max = self.bytes_max(publisher).saturating_sub(waiting.headers_bytes());
        let reply = edge::encode_batch_reply(&answer, cluster, waiting.format, bytes_max);
        if let Some(metrics) = &self.metrics {
            metrics.count_batch(&answer);
        }
        self.respond(waiting, reply, FrontendMetrics::outcome(None), publisher).await;
    }

    /// The largest answer that the broker takes, in bytes, on the connection that answers leave by.
    fn bytes_max(&self, publisher: &Publisher) -> usize {
        if self.answers_elsewhere { publisher.max_payload() } else { self.entrance.max_payload() }
    }

    fn take(&mut self, client: u64) -> Option<Waiting> {
        let waiting = self.waiting.take(client);
        self.waiting.end(client);
        if !self.traces.is_empty() {
            self.traces.end(client);
        }
        waiting
    }

    /// Sends a reply. `outcome` is for the metrics.
    async fn respond(
        &self,
        waiting: Waiting,
        reply: Result<EncodedReply, WireError>,
        outcome: usize,
        publisher: &mut Publisher,
    ) {
        let Waiting { operation, request, lost, retired, .. } = waiting;
        let request = *request;
        let EncodedReply { body, error, cluster } = match reply {
            Ok(reply) => reply,
            Err(error) => return error!(%error, "an answer cannot be encoded"),
        };
        // Nobody waits without a reply subject.
        let Some(subject) = request.message.reply.clone() else { return };
        let mut headers = error.as_ref().map_or_else(HeaderMap::new, |(code, text)| headers(*code, text));
        if let Some(cluster) = &cluster {
            headers.insert(CLUSTER_HEADER, cluster.as_str());
        }
        for (name, value) in [(LOST_HEADER, lost), (RETIRED_HEADER, retired)] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        let duration = request.count(error.as_ref().map(|(code, text)| (*code, text.as_str())));
        if let Some(metrics) = &self.metrics {
            metrics.count_answer(operation, outcome, error.is_some(), duration);
        }
        if self.answers_elsewhere {
            return publisher.publish_with_headers(subject, headers, body.into()).await;
        }
        let bytes = body.len();
        let responding = async {
            match headers.is_empty() {
                true => self.entrance.publish(subject.clone(), body.into()).await,
                false => self.entrance.publish_with_headers(subject.clone(), headers, body.into()).await,
            }
        };
        // Without a broker, the client asks again.
        if let Ok(Err(error)) = within(RESPOND_TIMEOUT, responding).await {
            publisher.tell_unsent(&subject, bytes, &error);
        }
    }

    /// Whether answers leave by the other connection from now on.
    pub(crate) fn answer_elsewhere(&mut self, elsewhere: bool) {
        self.answers_elsewhere = elsewhere;
    }
}
