//! Trace contexts of clients' requests, for the log and for the messages to replicas.
//!
//! A request with a trace context is a turn of its own for the core, so that the requests to replicas that it causes are
//! known. An update keeps its id in later attempts, so all of them carry the context. A query has no id: only its first
//! attempt carries the context. Without such requests nothing is looked up.

use std::collections::HashMap;
use std::ops::Range;

use async_nats::HeaderMap;
use natter_broker::traceparent::{NUMBERED_BYTES_MAX, TraceParent};
use natter_common::clock::Now;
use natter_common::edge::{ClientRequest, SingleOperation};
use natter_common::frontend::{Frontend, Input, Output};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::packing::RequestKind;

/// Bytes of a header block beside its lines: its version and its end.
const BLOCK_BYTES: usize = 16;

/// Trace contexts of the requests that have no answer yet.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// By the client's number.
    clients: HashMap<u64, Traced>,
    /// By the id of the update.
    updates: HashMap<UpdateId, TraceParent>,
    /// By the number of the attempt, of the present turn.
    queries: HashMap<u64, TraceParent>,
}

#[derive(Debug)]
struct Traced {
    trace: TraceParent,
    /// Its updates, as far as their ids are known.
    updates: Vec<UpdateId>,
}

/// The trace context of one request to a replica.
#[derive(Debug)]
pub(crate) struct Carried {
    kind: RequestKind,
    replica: ReplicaId,
    n: u64,
    trace: TraceParent,
}

impl Traces {
    /// Whether no request has a trace context.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Notes the trace context of a client's request. An undecodable request has an answer too.
    pub(crate) fn begin(&mut self, client: u64, trace: TraceParent, request: Option<&ClientRequest>) {
        self.clients.insert(client, Traced { trace, updates: Vec::new() });
        match request {
            Some(ClientRequest::Update { id: Some(id), .. }) => self.note_update(client, *id),
            Some(ClientRequest::Batch(batch)) => {
                for operation in &batch.operations {
                    if let Ok(SingleOperation::Update { id: Some(id), .. }) = operation {
                        self.note_update(client, *id);
                    }
                }
            }
            _ => {}
        }
    }

    /// Forgets a request that is answered.
    pub(crate) fn end(&mut self, client: u64) {
        let Some(Traced { trace, updates }) = self.clients.remove(&client) else { return };
        for id in updates {
            // A retry of the same update may wait for its own answer.
            if self.updates.get(&id) == Some(&trace) {
                self.updates.remove(&id);
            }
        }
    }

    /// Lets the core handle the inputs of a turn.
    pub(crate) fn step(&mut self, core: &mut Frontend, now: Now, inputs: &mut Vec<Input>, outputs: &mut Vec<Output>) {
        if self.is_empty() {
            return core.step(now, inputs.drain(..), outputs);
        }
        let mut others = Vec::new();
        for input in inputs.drain(..) {
            let client = match &input {
                Input::Request(client, _) if self.clients.contains_key(client) => *client,
                _ => {
                    others.push(input);
                    continue;
                }
            };
            core.step(now, others.drain(..), outputs);
            let begin = outputs.len();
            core.step(now, [input], outputs);
            self.note_caused(client, outputs.get(begin..).unwrap_or_default());
        }
        core.step(now, others, outputs);
    }

    /// Notes the requests to replicas that a client's request has caused.
    fn note_caused(&mut self, client: u64, outputs: &[Output]) {
        let Some(trace) = self.of_client(client) else { return };
        for output in outputs {
            match output {
                Output::Update(_, request) => self.note_update(client, request.id),
                Output::Confirm(_, request) => self.note_update(client, request.id),
                Output::Query(_, request) => _ = self.queries.insert(request.n, trace),
                _ => {}
            }
        }
    }

    fn note_update(&mut self, client: u64, id: UpdateId) {
        let Some(traced) = self.clients.get_mut(&client) else { return };
        if self.updates.insert(id, traced.trace) != Some(traced.trace) {
            traced.updates.push(id);
        }
    }

    /// The trace context of a client's request.
    pub(crate) fn of_client(&self, client: u64) -> Option<TraceParent> {
        self.clients.get(&client).map(|traced| traced.trace)
    }

    /// The trace context of an output.
    pub(crate) fn of_output(&self, output: &Output) -> Option<TraceParent> {
        if self.is_empty() {
            return None;
        }
        match output {
            Output::Answer(client, _)
            | Output::BatchAnswer(client, _)
            | Output::Lost(client, _)
            | Output::Retired(client, _) => self.of_client(*client),
            Output::Update(_, request) => self.updates.get(&request.id).copied(),
            Output::Confirm(_, request) => self.updates.get(&request.id).copied(),
            Output::Query(_, request) => self.queries.get(&request.n).copied(),
            Output::Notice(_) | Output::Presence(_) => None,
        }
    }

    /// The trace context that goes with a request to a replica.
    pub(crate) fn carried(&self, output: &Output) -> Option<Carried> {
        let trace = self.of_output(output)?;
        let (kind, replica, n) = match output {
            Output::Update(replica, request) => (RequestKind::Update, replica, request.n),
            Output::Confirm(replica, request) => (RequestKind::Confirm, replica, request.n),
            Output::Query(replica, request) => (RequestKind::Query, replica, request.n),
            _ => return None,
        };
        Some(Carried { kind, replica: replica.clone(), n, trace })
    }

    /// Forgets the queries of the turn.
    pub(crate) fn end_turn(&mut self) {
        self.queries.clear();
    }
}

/// Headers of a message of requests to a replica; `None` where none of them has a trace context. `numbers` are those of its
/// updates. Contexts beyond `room` bytes are left out: the broker counts headers as part of the message.
pub(crate) fn headers(
    carried: &[Carried],
    kind: RequestKind,
    replica: &ReplicaId,
    numbers: &Range<u64>,
    room: usize,
) -> Option<HeaderMap> {
    let is_here = |it: &&Carried| {
        it.kind == kind && it.replica == *replica && (kind != RequestKind::Update || numbers.contains(&it.n))
    };
    let count_max = room.saturating_sub(BLOCK_BYTES) / NUMBERED_BYTES_MAX;
    let mut headers = HeaderMap::new();
    carried.iter().filter(is_here).take(count_max).for_each(|it| it.trace.append(it.n, &mut headers));
    (!headers.is_empty()).then_some(headers)
}
