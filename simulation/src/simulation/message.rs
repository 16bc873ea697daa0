//! Messages between the processes of a simulated cluster.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use natter_common::edge::{ClientReply, ClientRequest, FrontendError, SingleOperation};
use natter_common::ids::ReplicaId;
use natter_common::incoming::Channel;
use natter_common::label::Label;
use natter_common::messages::{
    Acknowledgement, Gossip, LogPage, LogRequest, Mode, NumberedReply, Presence, Replies, Reply, SnapshotPart,
    SnapshotReply, SnapshotRequest,
};
use natter_common::packing::{PackedRequests, RequestKind, unpack_requests};
use natter_common::rating::Rating;
use natter_common::replica_manager::Input;
use natter_common::request::{Answer, Query, Update};
use natter_common::timestamp::Timestamp;

use super::wire::{Payload, Question, carried};

/// A frontend's answer to a client.
pub type ClientAnswer = Result<ClientReply, FrontendError>;

/// One message on its way.
#[derive(Clone, Debug)]
pub enum Message {
    /// Client to frontend, with the client's own number.
    Ask(u64, Question),
    /// Frontend to client, with the client's number.
    Answer(u64, ClientAnswer),
    /// Frontend to client, with the client's number, beside an answer: updates of its session that are lost.
    Lost(u64, Timestamp),
    /// Frontend to client, with the client's number, beside an answer: replicas that its session may leave out of its
    /// label.
    Retired(u64, Timestamp),
    /// Frontend to replica manager: requests of one kind.
    Requests {
        /// Their kind.
        kind: RequestKind,
        /// The numbers of the updates in it.
        numbers: Range<u64>,
        /// As it travels.
        payload: Payload,
    },
    /// Replica manager to frontend.
    Replies(Replies),
    /// Replica manager to all others.
    Gossip(Gossip),
    /// Replica manager to an origin.
    Acknowledge(Acknowledgement),
    /// Replica manager to replica manager.
    Pull(LogRequest),
    /// The answer to a pull.
    Log(LogPage),
    /// Replica manager to replica manager.
    Snapshot(SnapshotRequest),
    /// A chunk of a snapshot.
    Chunk(SnapshotReply),
    /// A replica manager to itself: there is time to merge.
    Merge,
    /// The disk of a replica manager to it: the commit has ended.
    Committed,
    /// Replica manager to all processes.
    Presence(Box<Presence>),
    /// The broker to the sender of a request: this process does not listen, and the updates of these numbers reached no
    /// replica.
    Unreachable(ReplicaId, Range<u64>),
    /// An operator sets a mode.
    SetMode(Mode),
    /// The broker to a process: something is not permitted.
    Denied,
    /// Bytes of a bystander on a channel, at a subject that names this process.
    Foreign(ReplicaId, Channel, Payload),
    /// A process to itself: its clock ticks.
    Tick,
}

impl Message {
    /// The word for it in transcripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ask(..) => "ask",
            Self::Answer(..) => "answer",
            Self::Lost(..) => "lost",
            Self::Retired(..) => "retired",
            Self::Requests { kind, .. } => kind.endpoint(),
            Self::Replies(_) => "replies",
            Self::Gossip(_) => "gossip",
            Self::Acknowledge(_) => "ack",
            Self::Pull(_) => "pull",
            Self::Log(_) => "log",
            Self::Snapshot(_) => "snapshot",
            Self::Chunk(_) => "chunk",
            Self::Merge => "merge",
            Self::Committed => "committed",
            Self::Presence(_) => "presence",
            Self::Unreachable(..) => "unreachable",
            Self::SetMode(_) => "mode",
            Self::Denied => "denied",
            Self::Foreign(..) => "foreign",
            Self::Tick => "tick",
        }
    }

    /// A message of a frontend's requests.
    pub fn packed(PackedRequests { kind, replica, numbers, payload }: PackedRequests) -> (ReplicaId, Self) {
        let payload = Payload::new(payload.expect("requests can be encoded"));
        (replica, Self::Requests { kind, numbers, payload })
    }

    /// The message after its way over the wire. Requests and answers of frontends travel as bytes anyway.
    pub fn carried(self) -> Self {
        match self {
            Self::Replies(message) => Self::Replies(carried(&message)),
            Self::Gossip(message) => Self::Gossip(carried(&message)),
            Self::Acknowledge(message) => Self::Acknowledge(carried(&message)),
            Self::Pull(message) => Self::Pull(carried(&message)),
            Self::Log(message) => Self::Log(carried(&message)),
            Self::Snapshot(message) => Self::Snapshot(carried(&message)),
            Self::Chunk(message) => Self::Chunk(carried(&message)),
            Self::Presence(message) => Self::Presence(carried(&message)),
            other => other,
        }
    }

    /// The inputs that a message of requests stands for; their replies go to `subject`.
    pub fn requests(&self, subject: &str) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Self::Requests { kind, payload, .. } = self {
            unpack_requests(*kind, payload.bytes(), &Arc::from(subject), &mut inputs).expect("requests can be decoded");
        }
        inputs
    }

    /// Whether the sender is told when nobody listens.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Requests { .. } | Self::Pull(_) | Self::Snapshot(_))
    }

    /// The numbers of the updates in it that a replica is asked to accept.
    pub fn numbers(&self) -> Range<u64> {
        match self {
            Self::Requests { numbers, .. } => numbers.clone(),
            _ => 0..0,
        }
    }
}

/// An update in words.
pub fn update_text(update: &Update) -> String {
    let stars = update.stars().map(|stars| format!(" {stars}")).unwrap_or_default();
    format!("{} {}{stars}", update.method().to_lowercase(), update.key())
}

fn query_text(query: &Query) -> String {
    match query {
        Query::Read { user_id, movie_id } => format!("read user={user_id} movie={movie_id}"),
        Query::All { user_id, .. } => format!("all user={user_id}"),
        Query::Average { movie_id } => format!("average movie={movie_id}"),
        Query::Search { title, .. } => format!("search {title:?}"),
    }
}

fn operation_text(operation: &Result<SingleOperation, FrontendError>) -> String {
    match operation {
        Ok(SingleOperation::Update { request, id }) => format!("{} id={id:?}", update_text(request)),
        Ok(SingleOperation::Query(request)) => query_text(request),
        Err(error) => error.to_string(),
    }
}

fn request_text(input: &Input) -> String {
    match input {
        Input::Update(_, request) => format!(
            "update #{} {} id={} prev={} stamp={} fresh={} wait={}",
            request.n,
            update_text(&request.request),
            request.id,
            request.prev,
            request.stamp,
            request.fresh,
            request.wait_ms
        ),
        Input::Query(_, request) => {
            format!("query #{} {} prev={}", request.n, query_text(&request.request), request.prev)
        }
        Input::Confirm(_, request) => {
            format!("confirm #{} id={} wait={}", request.n, request.id, request.wait_ms)
        }
        other => format!("{other:?}"),
    }
}

/// A rating in words.
pub fn rating_text(rating: &Rating) -> String {
    rating.rating.map_or_else(|| "no rating".to_owned(), |stars| stars.to_string())
}

fn reply_text(reply: &Reply) -> String {
    let names = |records: &[natter_common::record::RecordRef]| {
        records.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    match reply {
        Reply::Accepted { records, .. } => format!("accepted {}", names(records)),
        Reply::Answered { label, .. } => format!("answered {label}"),
        Reply::Held { records, .. } => format!("held {}", names(records)),
        Reply::NotHeld => "not held".to_owned(),
        Reply::Refused { refusal, label } => format!("refused {refusal:?} {label}"),
        Reply::StampAgain { above } => format!("stamp again above {above}"),
        Reply::StampAhead { wall_ms, clock } => format!("stamp ahead of {wall_ms} and {clock}"),
        Reply::Behind => "behind".to_owned(),
        Reply::NotServing => "not serving".to_owned(),
        Reply::IdInUse => "id in use".to_owned(),
    }
}

/// A frontend's answer in words.
pub fn answer_text(answer: &ClientAnswer) -> String {
    let with_label = |label: &Label| format!("label={label}");
    match answer {
        Ok(ClientReply { value, label, replicas }) => {
            let replicas: Vec<&str> = replicas.iter().map(ReplicaId::as_str).collect();
            let value = match value {
                Answer::Rating(rating) => rating_text(rating),
                Answer::Ratings(ratings) => {
                    let each =
                        ratings.ratings.iter().map(|rating| format!("{}:{}", rating.movie_id, rating_text(rating)));
                    format!("[{}]", each.collect::<Vec<_>>().join(" "))
                }
                Answer::Average(average) => format!("average {:?} of {}", average.average, average.count),
                Answer::Movies(movies) => format!("{} films", movies.movies.len()),
            };
            format!("{value} {} replicas={}", with_label(label), replicas.join(","))
        }
        Err(error) => {
            let name = error.to_string().split(':').next().unwrap_or_default().to_owned();
            match error.label() {
                Some(label) => format!("{name} {}", with_label(label)),
                None => name,
            }
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(n, question) => match question.decode() {
                Ok(ClientRequest::Query { request, prev, .. }) => {
                    write!(f, "ask {n} {} prev={prev}", query_text(&request))
                }
                Ok(ClientRequest::Update { request, id, prev, .. }) => {
                    write!(f, "ask {n} {} id={id:?} prev={prev}", update_text(&request))
                }
                Ok(ClientRequest::Batch(batch)) => {
                    let operations: Vec<String> = batch.operations.iter().map(operation_text).collect();
                    write!(f, "ask {n} batch of {} prev={}", operations.join(", "), batch.prev)
                }
                Err(error) => write!(f, "ask {n} {error}"),
            },
            Self::Answer(n, answer) => write!(f, "answer {n} {}", answer_text(answer)),
            Self::Lost(n, lost) => write!(f, "lost {n} {lost}"),
            Self::Retired(n, retired) => write!(f, "retired {n} {retired}"),
            Self::Requests { .. } => {
                let requests: Vec<String> = self.requests("").iter().map(request_text).collect();
                f.write_str(&requests.join("; "))
            }
            Self::Replies(replies) => {
                let text = |numbered: &NumberedReply| format!("reply #{} {}", numbered.n, reply_text(&numbered.reply));
                f.write_str(&replies.replies.iter().map(text).collect::<Vec<_>>().join("; "))
            }
            Self::Gossip(gossip) => {
                let records: Vec<String> = gossip.records.iter().map(|record| record.name().to_string()).collect();
                let (held, applied) = (&gossip.replica_timestamp.replicas, &gossip.value_timestamp.replicas);
                write!(f, "gossip [{}] held={held} applied={applied}", records.join(" "))
            }
            Self::Acknowledge(acknowledgement) => write!(f, "ack held={}", acknowledgement.replica_timestamp.replicas),
            Self::Pull(request) => write!(f, "pull have={}", request.have.replicas),
            Self::Log(page) => {
                let records: Vec<String> = page.records.iter().map(|record| record.name().to_string()).collect();
                write!(f, "log [{}] held={}", records.join(" "), page.replica_timestamp.replicas)
            }
            Self::Snapshot(request) => write!(f, "snapshot {} from {:?}", request.snapshot, request.from),
            Self::Chunk(reply) => match &reply.part {
                SnapshotPart::Chunk(chunk) => {
                    let (n, from, rows) = (chunk.snapshot, &chunk.from, chunk.rows.len());
                    write!(f, "chunk {n} from {from:?} with {rows} rows at {}", chunk.value_timestamp.replicas)
                }
                SnapshotPart::Unavailable { reason } => write!(f, "no chunk: {reason}"),
            },
            Self::Merge => f.write_str("merge"),
            Self::Committed => f.write_str("committed"),
            Self::Presence(presence) => {
                let held = presence.replica_timestamp.clone().unwrap_or_default().replicas;
                write!(f, "presence {} held={held}", presence.status)
            }
            Self::Unreachable(id, _) => write!(f, "no responders at {id}"),
            Self::SetMode(mode) => write!(f, "mode {mode}"),
            Self::Denied => f.write_str("not permitted"),
            Self::Foreign(of, channel, payload) => {
                write!(f, "{} bytes of a bystander as {channel:?} of {of}", payload.bytes().len())
            }
            Self::Tick => f.write_str("tick"),
        }
    }
}
