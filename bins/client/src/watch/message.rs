//! Messages as they travel, decoded by their subject.

use std::fmt::Display;
use std::time::SystemTime;

use async_nats::Message;
use bytes::Bytes;
use natter_common::change::Change;
use natter_common::edge::{ClientRequest, SingleOperation, decode_request};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{
    Acknowledgement, ConfirmRequest, Gossip, LogRequest, Presence, QueryRequest, Requests, SnapshotRequest,
    StatusRequest, UpdateRequest,
};
use natter_common::subjects::{Operation, Subjects};
use natter_common::wire::{Format, decode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// Maximum characters of a reason why a message cannot be read.
const REASON_CHARS_MAX: usize = 160;

/// A message.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Time when it was read.
    pub at: Instant,
    /// The same by the wall clock here.
    pub wall: SystemTime,
    /// Its subject.
    pub subject: String,
    /// The subject of its replies.
    pub reply: Option<String>,
    /// Code and text of the service error in its headers.
    pub error: Option<(String, String)>,
    /// Its payload.
    pub payload: Bytes,
    /// Its meaning.
    pub what: What,
}

/// Meaning of a message.
#[derive(Clone, Debug)]
pub enum What {
    /// Presence of a process.
    Presence(Box<Presence>),
    /// A client's request.
    Asked(Operation, Box<ClientRequest>),
    /// Requests to a replica to accept updates.
    Updates(ReplicaId, Vec<UpdateRequest>),
    /// Requests to a replica to confirm updates.
    Confirms(ReplicaId, Vec<ConfirmRequest>),
    /// Questions to a replica.
    Queries(ReplicaId, Vec<QueryRequest>),
    /// A request for records that the sender lacks.
    Pull(ReplicaId, LogRequest),
    /// A request for a chunk of a snapshot.
    Snapshot(ReplicaId, SnapshotRequest),
    /// A request for the status, or to set the mode.
    Status(ReplicaId, StatusRequest),
    /// Gossip of a replica.
    Gossip(Box<Gossip>),
    /// An acknowledgement to a replica.
    Acknowledgement(ReplicaId, Acknowledgement),
    /// A change of a rating, in the change feed.
    Changed(Box<Change>),
    /// A reply, whose request tells what it means.
    Answer,
    /// A check whether the broker permits a subject: it has no content and no reader.
    Probe,
    /// A message that cannot be read, and the reason.
    Malformed(String),
}

impl Heard {
    /// Decodes a message that came at this time.
    pub fn of(subjects: &Subjects, message: Message, at: Instant, wall: SystemTime) -> Self {
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(|value| value.to_string());
        let error = match (header("Nats-Service-Error-Code"), header("Nats-Service-Error")) {
            (None, None) => None,
            (code, text) => Some((code.unwrap_or_default(), text.unwrap_or_default())),
        };
        let subject = message.subject.to_string();
        let what = match subject.strip_prefix(subjects.prefix()).and_then(|rest| rest.strip_prefix('.')) {
            None => What::Answer,
            Some(_) if message.payload.is_empty() && message.reply.is_none() => What::Probe,
            Some(rest) => read(rest, &message.payload).unwrap_or_else(What::Malformed),
        };
        let reply = message.reply.as_ref().map(ToString::to_string);
        Self { at, wall, subject, reply, error, payload: message.payload, what }
    }

    /// Whether it tells nothing new: presence, and gossip without records.
    pub fn is_heartbeat(&self) -> bool {
        match &self.what {
            What::Presence(_) | What::Probe => true,
            What::Gossip(gossip) => gossip.records.is_empty(),
            _ => false,
        }
    }

    /// Whether it is a request for, or carries, this update. A reply does not say so itself.
    pub fn names(&self, id: UpdateId) -> bool {
        match &self.what {
            What::Asked(_, request) => match &**request {
                ClientRequest::Update { id: asked, .. } => *asked == Some(id),
                ClientRequest::Query { .. } => false,
                ClientRequest::Batch(batch) => batch.operations.iter().flatten().any(
                    |operation| matches!(operation, SingleOperation::Update { id: asked, .. } if *asked == Some(id)),
                ),
            },
            What::Updates(_, requests) => requests.iter().any(|request| request.id == id),
            What::Confirms(_, requests) => requests.iter().any(|request| request.id == id),
            What::Gossip(gossip) => gossip.records.iter().any(|record| record.id == id),
            What::Changed(change) => change.update_id == id,
            _ => false,
        }
    }
}

/// Decodes what came at a subject, the prefix taken away.
fn read(rest: &str, payload: &[u8]) -> Result<What, String> {
    let tokens: Vec<&str> = rest.split('.').collect();
    match tokens[..] {
        ["presence", _, id] => {
            let presence: Presence = of_form(payload)?;
            same(presence.id.as_str(), id)?;
            if !presence.is_plausible() {
                return Err("it is longer than any process's presence".to_owned());
            }
            Ok(What::Presence(Box::new(presence)))
        }
        ["gossip", id] => {
            let gossip: Gossip = of_form(payload)?;
            same(gossip.id.as_str(), id)?;
            Ok(What::Gossip(Box::new(gossip)))
        }
        ["changed", movie, user] => {
            let change: Change = of_form(payload)?;
            if change.movie_id.to_string() != movie || change.user_id.to_string() != user {
                return Err("the movie and user in it are not those in its subject".to_owned());
            }
            Ok(What::Changed(Box::new(change)))
        }
        ["frontend", operation] => asked(operation, None, payload),
        ["frontend", operation, user] => asked(operation, Some(user), payload),
        ["replica", id, endpoint] => {
            let id = ReplicaId::known(id).map_err(reason)?;
            match endpoint {
                "update" => Ok(What::Updates(id, of_form::<Requests<UpdateRequest>>(payload)?.requests)),
                "confirm" => Ok(What::Confirms(id, of_form::<Requests<ConfirmRequest>>(payload)?.requests)),
                "query" => Ok(What::Queries(id, of_form::<Requests<QueryRequest>>(payload)?.requests)),
                "log" => Ok(What::Pull(id, of_form(payload)?)),
                "snapshot" => Ok(What::Snapshot(id, of_form(payload)?)),
                "status" => Ok(What::Status(id, Format::of(payload).decode(payload).map_err(reason)?)),
                "acknowledge" => Ok(What::Acknowledgement(id, of_form(payload)?)),
                _ => Err("no process listens at this subject".to_owned()),
            }
        }
        _ => Err("no process listens at this subject".to_owned()),
    }
}

fn asked(operation: &str, user: Option<&str>, payload: &[u8]) -> Result<What, String> {
    let operation = Operation::ALL
        .into_iter()
        .find(|known| known.name() == operation)
        .ok_or("frontends serve no such operation")?;
    let request = decode_request(operation, user, payload).map_err(reason)?;
    Ok(What::Asked(operation, Box::new(request)))
}

fn same(inside: &str, subject: &str) -> Result<(), String> {
    if inside == subject { Ok(()) } else { Err("the id in it is not the one in its subject".to_owned()) }
}

/// Decodes a message that is always MessagePack.
pub(crate) fn of_form<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    decode(payload).map_err(reason)
}

/// The reason for people: short, and without what plays with a terminal.
pub(crate) fn reason(error: impl Display) -> String {
    let text: String = error.to_string().chars().take(REASON_CHARS_MAX).collect();
    crate::show::clean(&text)
}
