//! Replies, matched to their requests by the reply subject.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use natter_common::edge::ClientRequest;
use natter_common::ids::ReplicaId;
use natter_common::label::Label;
use natter_common::messages::{LogPage, Replies, SnapshotReply, StatusReply};
use natter_common::subjects::Operation;
use natter_common::wire::Format;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::message::{Heard, What, of_form, reason};

/// Time for which a request is remembered. A frontend lets a request wait for a minute at most.
const FORGET_AFTER: Duration = Duration::from_secs(90);
/// Maximum requests that are remembered. Beyond it the oldest are forgotten, and their replies are not shown.
const OPEN_MAX: usize = 50_000;

/// Meaning of a reply.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To a client's request.
    Client(ClientReply),
    /// To requests of a frontend.
    Replies(Replies),
    /// To a pull.
    Page(LogPage),
    /// To a request for a chunk of a snapshot.
    Chunk(Box<SnapshotReply>),
    /// To a status request.
    Status(StatusReply),
    /// Code and text of an error.
    Error(String, String),
    /// A reply that cannot be read, and the reason.
    Malformed(String),
}

/// The parts of a reply to a client that all replies have.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientReply {
    /// The updates that the reply reflects.
    pub label: Label,
    /// Replicas that served it.
    pub replicas: Vec<ReplicaId>,
    /// The value; a batch has outcomes instead.
    #[serde(default)]
    pub value: Option<Value>,
    /// The outcomes of a batch.
    #[serde(default)]
    pub outcomes: Option<Vec<Value>>,
}

/// A request that may get replies.
#[derive(Clone, Debug)]
pub struct Open {
    /// The request.
    pub request: Heard,
    /// The frontend that handles a client's request, as far as its own requests show that.
    pub frontend: Option<ReplicaId>,
}

/// A reply and its request.
#[derive(Debug)]
pub struct Matched<'a> {
    /// The request.
    pub open: &'a Open,
    /// The reply.
    pub reply: Reply,
    /// Time between the two, as they came in here.
    pub took: Duration,
}

/// Requests that may get replies.
#[derive(Debug, Default)]
pub struct Exchanges {
    open: HashMap<String, Open>,
    /// Reply subjects in the order of their requests.
    order: VecDeque<(Instant, String)>,
    /// Reply subjects of clients' requests, by content.
    clients: HashMap<String, String>,
}

impl Exchanges {
    /// Takes note of a request.
    pub fn note(&mut self, heard: &Heard) {
        self.attribute(heard);
        let Some(reply) = &heard.reply else { return };
        if matches!(heard.what, What::Malformed(_) | What::Answer) {
            return;
        }
        self.forget(heard.at);
        if let What::Asked(_, request) = &heard.what {
            self.clients.insert(content_of_client(request), reply.clone());
        }
        // A client sends a request again with the same reply subject: the time counts from the first. A frontend uses the
        // reply subjects of earlier requests for others.
        let is_copy = matches!(heard.what, What::Asked(..));
        match self.open.get_mut(reply) {
            Some(_) if is_copy => {}
            Some(open) => open.request = heard.clone(),
            None => {
                self.order.push_back((heard.at, reply.clone()));
                self.open.insert(reply.clone(), Open { request: heard.clone(), frontend: None });
            }
        }
    }

    /// The request that this answers, and the meaning of the answer. `None` where the request was not heard.
    pub fn matched(&self, heard: &Heard) -> Option<Matched<'_>> {
        let open = self.open.get(&heard.subject)?;
        let took = heard.at.saturating_duration_since(open.request.at);
        Some(Matched { open, reply: read(&open.request.what, heard), took })
    }

    /// A frontend's request tells which frontend handles the client's request.
    fn attribute(&mut self, heard: &Heard) {
        let Some(frontend) = asker(heard) else { return };
        let contents: Vec<[String; 2]> = match &heard.what {
            What::Updates(_, requests) => {
                requests.iter().map(|request| [content(&request.id), content(&request.request)]).collect()
            }
            What::Queries(_, requests) => {
                requests.iter().map(|request| [content(&request.request), String::new()]).collect()
            }
            _ => return,
        };
        for content in contents.iter().flatten() {
            if let Some(open) = self.clients.remove(content).and_then(|reply| self.open.get_mut(&reply)) {
                open.frontend = Some(frontend.clone());
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && (now.saturating_duration_since(*at) > FORGET_AFTER || self.order.len() > OPEN_MAX)
        {
            let Some((_, reply)) = self.order.pop_front() else { return };
            if let Some(Open { request: Heard { what: What::Asked(_, request), .. }, .. }) = self.open.remove(&reply) {
                self.clients.remove(&content_of_client(&request));
            }
        }
    }
}

/// The process that sent a request, as far as the request tells.
pub fn asker(heard: &Heard) -> Option<ReplicaId> {
    match &heard.what {
        What::Updates(..) | What::Confirms(..) | What::Queries(..) => {
            // A frontend's reply subject ends with its id, the id of the replica, and numbers.
            let mut tokens = heard.reply.as_deref()?.rsplit('.').skip(2);
            let frontend = tokens.next()?;
            // The inbox itself has two tokens more.
            tokens.nth(1).and_then(|_| ReplicaId::known(frontend).ok())
        }
        What::Pull(_, request) => Some(request.id.clone()),
        What::Snapshot(_, request) => Some(request.id.clone()),
        _ => None,
    }
}

fn content_of_client(request: &ClientRequest) -> String {
    match request {
        ClientRequest::Update { id: Some(id), .. } => content(id),
        ClientRequest::Update { id: None, request, .. } => content(request),
        ClientRequest::Query { request, .. } => content(request),
        ClientRequest::Batch(batch) => content(&batch.operations),
    }
}

fn content(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn read(request: &What, heard: &Heard) -> Reply {
    if let Some((code, text)) = &heard.error {
        return Reply::Error(code.clone(), crate::show::clean(text));
    }
    let payload = &heard.payload;
    let read = match request {
        What::Asked(operation, _) => {
            let reply: Result<ClientReply, String> = Format::of(payload).decode(payload).map_err(reason);
            reply.and_then(|reply| match (operation, &reply.value, &reply.outcomes) {
                (Operation::Batch, _, Some(_)) => Ok(Reply::Client(reply)),
                (Operation::Batch, ..) | (_, None, _) => Err("it has no value".to_owned()),
                _ => Ok(Reply::Client(reply)),
            })
        }
        What::Updates(..) | What::Confirms(..) | What::Queries(..) => of_form(payload).map(Reply::Replies),
        What::Pull(..) => of_form(payload).map(Reply::Page),
        What::Snapshot(..) => of_form(payload).map(|reply| Reply::Chunk(Box::new(reply))),
        What::Status(..) => Format::of(payload).decode(payload).map(Reply::Status).map_err(reason),
        _ => Err("its request expects no reply".to_owned()),
    };
    read.unwrap_or_else(Reply::Malformed)
}
