//! Messages made of the outputs of a turn, and inputs made of messages.
//!
//! Requests of one kind that a frontend sends to one replica manager in one turn share a message, and so do the replies
//! to the requests of one message. Both are split where they exceed the size that the broker takes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::fit::shorten;
use crate::frontend;
use crate::ids::ReplicaId;
use crate::messages::{Alike, ConfirmRequest, NumberedReply, QueryRequest, Replies, Reply, Requests, UpdateRequest};
use crate::replica_manager::{self, ReplyTo};
use crate::wire::{Format, WireError, decode, encode};

/// The kinds of requests that share messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Accept an update.
    Update,
    /// Say when an update is held.
    Confirm,
    /// Answer a query.
    Query,
}

impl RequestKind {
    /// The replica manager's endpoint for these requests.
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Confirm => "confirm",
            Self::Query => "query",
        }
    }
}

/// One message of requests, ready to be sent.
#[derive(Debug)]
pub struct PackedRequests {
    /// The kind of all requests in it.
    pub kind: RequestKind,
    /// The receiver.
    pub replica: ReplicaId,
    /// Covers the numbers of all updates in it, and of no other update for the same replica manager; empty for other
    /// kinds.
    pub numbers: Range<u64>,
    /// The payload, or why there is none: a bug on this side.
    pub payload: Result<Vec<u8>, WireError>,
}

/// The requests of a frontend's turn.
#[derive(Debug, Default)]
pub struct RequestPacker {
    updates: Groups<UpdateRequest>,
    confirms: Groups<ConfirmRequest>,
    queries: Groups<QueryRequest>,
}

impl RequestPacker {
    /// Takes in `output` if it is a request, and gives it back otherwise. A message has about `bytes_max` bytes at most.
    pub fn push(&mut self, output: frontend::Output, bytes_max: usize) -> Option<frontend::Output> {
        use frontend::Output;
        match output {
            Output::Update(replica, request) => self.updates.push(replica, Some(request.n), request, bytes_max),
            Output::Confirm(replica, request) => self.confirms.push(replica, None, request, bytes_max),
            Output::Query(replica, request) => self.queries.push(replica, None, request, bytes_max),
            other => return Some(other),
        }
        None
    }

    /// Takes out all messages, in the order in which they are to be sent.
    pub fn take(&mut self) -> Vec<PackedRequests> {
        let mut messages = Vec::with_capacity(self.updates.0.len() + self.confirms.0.len() + self.queries.0.len());
        self.updates.take(RequestKind::Update, &mut messages);
        self.confirms.take(RequestKind::Confirm, &mut messages);
        self.queries.take(RequestKind::Query, &mut messages);
        messages
    }
}

/// Requests of one kind, by message. The last message for a replica manager takes more while there is room.
#[derive(Debug)]
struct Groups<T>(Vec<Group<T>>);

#[derive(Debug)]
struct Group<T> {
    replica: ReplicaId,
    requests: Vec<T>,
    numbers: Range<u64>,
    /// The estimated size.
    bytes: usize,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Alike> Groups<T> {
    /// `number` is that of an update: the frontend has to know which updates reached nobody.
    fn push(&mut self, replica: ReplicaId, number: Option<u64>, request: T, bytes_max: usize) {
        let numbers = number.map_or(0..0, |number| number..number + 1);
        if let Some(open) = self.0.iter_mut().rev().find(|group| group.replica == replica) {
            let bytes = open.bytes + request.bytes_after(open.requests.last());
            if bytes <= bytes_max {
                open.requests.push(request);
                open.numbers.end = numbers.end;
                open.bytes = bytes;
                return;
            }
        }
        let bytes = request.bytes_alone();
        self.0.push(Group { replica, requests: vec![request], numbers, bytes });
    }

    fn take(&mut self, kind: RequestKind, messages: &mut Vec<PackedRequests>) {
        for Group { replica, requests, numbers, .. } in self.0.drain(..) {
            messages.push(PackedRequests { kind, replica, numbers, payload: encode(&Requests { requests }) });
        }
    }
}

/// Appends the inputs that a message of requests stands for. `subject` is where its replies go.
///
/// # Errors
///
/// The payload is no message of such requests.
pub fn unpack_requests(
    kind: RequestKind,
    payload: &[u8],
    subject: &Arc<str>,
    inputs: &mut Vec<replica_manager::Input>,
) -> Result<(), WireError> {
    use replica_manager::Input;
    let to = |n| ReplyTo { subject: Arc::clone(subject), n };
    match kind {
        RequestKind::Update => {
            let Requests { requests } = decode::<Requests<UpdateRequest>>(payload)?;
            inputs.extend(requests.into_iter().map(|request| Input::Update(to(request.n), request)));
        }
        RequestKind::Query => {
            let Requests { requests } = decode::<Requests<QueryRequest>>(payload)?;
            inputs.extend(requests.into_iter().map(|request| Input::Query(to(request.n), request)));
        }
        RequestKind::Confirm => {
            let Requests { requests } = decode::<Requests<ConfirmRequest>>(payload)?;
            inputs.extend(requests.into_iter().map(|request| Input::Confirm(to(request.n), request)));
        }
    }
    Ok(())
}

/// The payload of a message of replies, of `bytes_max` bytes at most: where its only reply is too long a list, that is
/// cut. If nothing can be cut, the payload is longer.
///
/// # Errors
///
/// A serializer failed, which no reply makes it do.
pub fn encode_replies(replies: &mut Replies, bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let payload = encode(replies)?;
    let excess = payload.len().saturating_sub(bytes_max);
    if excess > 0
        && let [NumberedReply { reply: Reply::Answered { value, .. }, .. }] = &mut replies.replies[..]
        && shorten(value, Format::MessagePack, excess)
    {
        return encode(replies);
    }
    Ok(payload)
}

/// The replies of a replica manager's turn, by reply subject.
#[derive(Debug, Default)]
pub struct ReplyPacker {
    replies: BTreeMap<Arc<str>, Vec<NumberedReply>>,
}

impl ReplyPacker {
    /// Takes in a reply.
    pub fn push(&mut self, to: ReplyTo, reply: Reply) {
        self.replies.entry(to.subject).or_default().push(NumberedReply { n: to.n, reply });
    }

    /// Takes out all messages of `own`, each with its subject. A message has about `bytes_max` bytes at most.
    pub fn take(&mut self, own: &ReplicaId, bytes_max: usize) -> Vec<(Arc<str>, Replies)> {
        let mut messages = Vec::with_capacity(self.replies.len());
        for (subject, replies) in std::mem::take(&mut self.replies) {
            let mut message = Vec::new();
            let mut bytes = 0;
            for reply in replies {
                bytes += reply.bytes_after(message.last());
                if bytes > bytes_max && !message.is_empty() {
                    bytes = reply.bytes_alone();
                    let replies = std::mem::take(&mut message);
                    messages.push((Arc::clone(&subject), Replies { id: own.clone(), replies }));
                }
                message.push(reply);
            }
            messages.push((subject, Replies { id: own.clone(), replies: message }));
        }
        messages
    }
}

#[cfg(test)]
mod tests;
