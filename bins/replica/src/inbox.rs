//! Incoming messages: subscriptions and service endpoints, whose messages become inputs of the core.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, StatusCode, SubscribeError};
use bytes::Bytes;
use futures_util::StreamExt;
use natter_broker::ask::CapturingStreams;
use natter_broker::live::Live;
use natter_broker::moderation::Malformed;
use natter_broker::publisher::within;
use natter_broker::service::{Description, Request, Service};
use natter_broker::service_error::headers;
use natter_broker::streams::Streams;
use natter_broker::traceparent::TraceParent;
use natter_broker::trail::Sighting;
use natter_common::ids::ReplicaId;
use natter_common::incoming::{self, Ignored};
use natter_common::messages::{LogRequest, Role, SnapshotRequest, StatusRequest};
use natter_common::packing::{RequestKind, unpack_requests};
use natter_common::replica_manager::{Input, ReplyTo};
use natter_common::subjects::Subjects;
use natter_common::wire::{Format, WireError, decode};
use tracing::{Level, enabled};

/// Maximum number of messages that one group of subscriptions hands to a turn.
const BATCH_MAX: usize = 8192;

const RESPOND_TIMEOUT: Duration = Duration::from_millis(500);

/// A request that has no answer after this will never have one.
const FORGET_REQUEST_AFTER: Duration = Duration::from_secs(90);

/// A request to this replica manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Update,
    Query,
    Confirm,
    Log,
    Snapshot,
    Status,
}

impl Endpoint {
    /// All endpoints, in the order of their declaration.
    pub(crate) const ALL: [Self; 6] =
        [Self::Update, Self::Query, Self::Confirm, Self::Log, Self::Snapshot, Self::Status];

    /// The name of the endpoint within the service.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Query => "query",
            Self::Confirm => "confirm",
            Self::Log => "log",
            Self::Snapshot => "snapshot",
            Self::Status => "status",
        }
    }
}

/// Messages that are not requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    Gossip,
    Acknowledgement,
    Presence,
    /// Answers to pulls.
    LogPage,
    /// Answers to requests for a chunk of a snapshot.
    Snapshot,
}

/// A message, and where it came in.
pub(crate) enum Delivery {
    Request(Endpoint, Box<Request>),
    Message(Channel, Box<Message>),
}

impl Delivery {
    fn bytes(&self) -> usize {
        match self {
            Self::Request(_, request) => request.message.payload.len(),
            Self::Message(_, message) => message.payload.len(),
        }
    }
}

/// A message with requests that has no answer yet.
pub(crate) struct Open {
    pub(crate) endpoint: Endpoint,
    pub(crate) request: Request,
    pub(crate) format: Format,
    since: Instant,
}

/// Trace contexts, by reply subject and number of the request.
pub(crate) type Traces = HashMap<(Arc<str>, u64), TraceParent>;

/// Subscriptions, and requests that have no answer yet.
pub(crate) struct Inbox {
    own: ReplicaId,
    client: Client,
    /// Messages of other replica managers. Read before the requests, so that a backlog of those hides no presence.
    pub(crate) gossip: Streams<Delivery>,
    pub(crate) requests: Streams<Delivery>,
    open: HashMap<Arc<str>, Open>,
    /// Trace contexts of the requests of this turn, for the debug log.
    pub(crate) traces: Traces,
    pub(crate) malformed: Malformed,
    /// Whether the replica behaves as if it were not there, and answers `.status` alone.
    pub(crate) is_offline: bool,
    streams: CapturingStreams,
}

/// Serves and subscribes to everything that a replica manager hears. `pull_replies` is where answers to pulls come, with
/// `log` or `snapshot` and the peer's id as the last tokens.
pub(crate) async fn subscribe(
    client: &Client,
    service: &Service,
    subjects: &Subjects,
    own: &ReplicaId,
    pull_replies: &str,
) -> Result<Inbox, SubscribeError> {
    let (mut requests, mut gossip) =
        (Streams::new(BATCH_MAX, Delivery::bytes), Streams::new(BATCH_MAX, Delivery::bytes));
    for endpoint in Endpoint::ALL {
        let name = endpoint.name();
        // Without a queue group: a server that is cut off keeps the place of a connection that has left it, and would get
        // half of the requests. A copy that goes there does no harm.
        let (served, messages) = service.serve(name, subjects.replica(own, name), None).await?;
        requests.push(messages.map(move |message| {
            let request = Request::new(Arc::clone(&served), message);
            Delivery::Request(endpoint, Box::new(request))
        }));
    }
    let channels = [
        (subjects.all_gossip(), Channel::Gossip),
        (subjects.replica(own, "acknowledge"), Channel::Acknowledgement),
        (subjects.all_presence(Role::Replica), Channel::Presence),
        (format!("{pull_replies}.log.*"), Channel::LogPage),
        (format!("{pull_replies}.snapshot.*"), Channel::Snapshot),
    ];
    for (subject, channel) in channels {
        let messages = client.subscribe(subject).await?;
        gossip.push(messages.map(move |message| Delivery::Message(channel, Box::new(message))));
    }
    Ok(Inbox {
        own: own.clone(),
        client: client.clone(),
        gossip,
        requests,
        open: HashMap::new(),
        traces: Traces::default(),
        malformed: Malformed::default(),
        is_offline: false,
        streams: CapturingStreams::default(),
    })
}

/// The micro service `replica`, whose STATS carry `live`.
pub(crate) async fn start_service(
    client: &Client,
    subjects: &Subjects,
    id: &ReplicaId,
    dataset: &str,
    live: Live,
) -> Result<Service, SubscribeError> {
    let metadata = BTreeMap::from([
        ("id", id.to_string()),
        ("prefix", subjects.prefix().to_owned()),
        ("dataset", dataset.to_owned()),
    ]);
    let description = Description {
        name: "replica",
        id: id.clone(),
        description: "a replica: holds the ratings and gossips with the others",
        version: env!("CARGO_PKG_VERSION"),
        metadata,
    };
    Service::start(client, description, live).await
}

impl Inbox {
    /// Waits for the next messages of either kind. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Vec<Delivery>> {
        tokio::select! {
            biased;
            batch = self.gossip.next() => batch,
            batch = self.requests.next() => batch,
        }
    }

    /// Takes out the message whose reply subject this is, for the first answer to it.
    pub(crate) fn take_request(&mut self, reply: &str) -> Option<Open> {
        self.open.remove(reply)
    }

    /// Forgets requests that nobody answers: those that came while OFFLINE.
    pub(crate) fn sweep(&mut self) {
        self.open.retain(|_, open| open.since.elapsed() < FORGET_REQUEST_AFTER);
    }

    /// Decodes a message and appends its inputs for the core. Replies to an undecodable request with an error.
    pub(crate) async fn read(&mut self, delivery: Delivery, inputs: &mut Vec<Input>) {
        if inputs.is_empty() {
            self.traces.clear(); // a new turn
        }
        match delivery {
            Delivery::Request(endpoint, request) => self.read_request(endpoint, *request, inputs).await,
            Delivery::Message(channel, message) => self.read_message(channel, &message, inputs),
        }
    }

    async fn read_request(&mut self, endpoint: Endpoint, mut request: Request, inputs: &mut Vec<Input>) {
        let Some(reply) = request.message.reply.clone() else {
            self.malformed.count(&request.message.subject, &"a request without a reply subject");
            return;
        };
        let subject: Arc<str> = Arc::from(reply.as_str());
        let before = inputs.len();
        match request_inputs(endpoint, &request.message.payload, &subject, inputs) {
            Ok(format) => {
                // A message without requests in it has no answer to wait for.
                if inputs.len() > before {
                    let (received_at, payload) = (request.message.subject.as_str(), &request.message.payload[..]);
                    self.receives(endpoint.name(), received_at, &subject, payload);
                    if let Some(headers) = request.message.headers.as_ref().filter(|_| enabled!(Level::DEBUG)) {
                        let traced = TraceParent::of_frontend(headers);
                        self.traces.extend(traced.map(|(n, trace)| ((Arc::clone(&subject), n), trace)));
                    }
                    request.message.payload = Bytes::new();
                    self.open.insert(subject, Open { endpoint, request, format, since: Instant::now() });
                }
            }
            Err(error) => {
                self.malformed.count(&request.message.subject, &error);
                if self.is_offline && endpoint != Endpoint::Status {
                    return;
                }
                let text = format!("BAD_REQUEST: {error}");
                request.count(Some((400, &text)));
                let answering = self.client.publish_with_headers(reply, headers(400, &text), Bytes::new());
                // A sender of garbage may miss the answer to it.
                let _ = within(RESPOND_TIMEOUT, answering).await;
            }
        }
    }

    /// Logs that a message came in.
    fn receives(&self, kind: &str, subject: &str, reply: &str, payload: &[u8]) {
        Sighting { process: &self.own, kind, subject, reply, payload }.log_received();
    }

    fn read_message(&mut self, channel: Channel, message: &Message, inputs: &mut Vec<Input>) {
        let sender = Subjects::last_token(&message.subject);
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            if let Ok(peer) = ReplicaId::new(sender) {
                inputs.push(Input::PullFailed(peer));
            }
            return;
        }
        let is_answer = matches!(channel, Channel::LogPage | Channel::Snapshot);
        let channel = match channel {
            Channel::Gossip => incoming::Channel::Gossip,
            Channel::Presence => incoming::Channel::Presence,
            Channel::LogPage => incoming::Channel::LogPage,
            Channel::Snapshot => incoming::Channel::Snapshot,
            Channel::Acknowledgement => incoming::Channel::Acknowledgement,
        };
        match incoming::replica_input(channel, &self.own, sender, &message.payload) {
            Ok(input) => {
                let kind = match &input {
                    Input::Gossip(gossip) if !gossip.records.is_empty() => Some("gossip"),
                    Input::Acknowledgement(_) => Some("acknowledge"),
                    Input::LogPage(_) | Input::SnapshotReply(_) => Some("replies"),
                    _ => None,
                };
                if let Some(kind) = kind {
                    self.receives(kind, &message.subject, "", &message.payload);
                }
                inputs.push(input);
            }
            // Messages of this replica, which a broker that echoes sends back, are ignored.
            Err(Ignored::Own) => {}
            Err(Ignored::Form(_)) if is_answer && self.streams.sent(message) => {}
            Err(ignored) => self.malformed.count(&message.subject, &ignored),
        }
    }
}

fn request_inputs(
    endpoint: Endpoint,
    payload: &[u8],
    subject: &Arc<str>,
    inputs: &mut Vec<Input>,
) -> Result<Format, WireError> {
    let to = |n| ReplyTo { subject: Arc::clone(subject), n };
    match endpoint {
        Endpoint::Update => unpack_requests(RequestKind::Update, payload, subject, inputs)?,
        Endpoint::Query => unpack_requests(RequestKind::Query, payload, subject, inputs)?,
        Endpoint::Confirm => unpack_requests(RequestKind::Confirm, payload, subject, inputs)?,
        Endpoint::Snapshot => inputs.push(Input::Snapshot(to(0), decode::<SnapshotRequest>(payload)?)),
        Endpoint::Log => inputs.push(Input::Log(to(0), decode::<LogRequest>(payload)?)),
        Endpoint::Status => {
            let format = Format::of(payload);
            let StatusRequest { mode } = format.decode(payload)?;
            inputs.push(Input::Status(to(0), mode));
            return Ok(format);
        }
    }
    Ok(Format::MessagePack)
}
