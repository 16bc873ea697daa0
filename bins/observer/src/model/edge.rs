//! Messages between clients and frontends.

use natter_common::edge::{ClientRequest, SingleOperation, decode_request};
use natter_common::ids::ReplicaId;
use natter_common::label::Label;
use natter_common::messages::Role;
use natter_common::subjects::Operation;
use serde::Deserialize;

use super::between::asked_for;
use super::event::{Draft, Item, Kind, counted, shown};
use super::pending::Asked;
use super::updates::{Claim, described};
use super::{Arrival, Micros, Model, Unreadable, decode};

/// The receiver of a client's request until it is known which frontend the broker chose.
const A_FRONTEND: &str = "frontends";

/// The part of an answer that the page shows, of a single request or a batch.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    label: Label,
    #[serde(default)]
    replicas: Vec<ReplicaId>,
}

impl Model {
    pub(super) fn hear_client(
        &mut self,
        operation: &str,
        user: Option<&str>,
        arrival: Arrival<'_>,
        now: Micros,
    ) -> Result<(), Unreadable> {
        let operation = Operation::ALL.into_iter().find(|known| known.name() == operation);
        let operation = operation.ok_or_else(|| Unreadable::from("frontends have no such operation"))?;
        let request = decode_request(operation, user, arrival.payload).map_err(|error| Unreadable(error.to_string()));
        let only = self.processes.only_frontend();
        let from = self.clients.name_of(arrival.reply, now);
        let to = only.clone().unwrap_or_else(|| A_FRONTEND.to_owned());
        // A refused request is a message all the same; its answer tells what is wrong with it.
        let request = match request {
            Ok(request) => request,
            Err(unreadable) => {
                let what = format!("{}, malformed", operation.name());
                self.ask(Draft::new(Kind::Request, from, vec![to], what), arrival.reply, Vec::new(), now);
                return Err(unreadable);
            }
        };
        let (operations, is_batch) = match &request {
            ClientRequest::Update { request, id, .. } => {
                (vec![SingleOperation::Update { request: *request, id: *id }], false)
            }
            ClientRequest::Query { request, .. } => (vec![SingleOperation::Query(request.clone())], false),
            ClientRequest::Batch(batch) => (batch.operations.iter().flatten().cloned().collect(), true),
        };
        self.rates.requested(operations.len().max(1), user.is_some(), now);
        let what = match &operations[..] {
            [only] if !is_batch => described_operation(only),
            several => format!("batch of {}", counted(several.len(), "operation")),
        };
        let mut draft = Draft::new(Kind::Request, from, vec![to], what);
        let prev = shown(&request.prev().replicas);
        let mut updates = Vec::new();
        for operation in &operations {
            let update = match operation {
                SingleOperation::Update { request, id: Some(id) } => {
                    self.updates.asked(*id, request, None, now);
                    updates.push((0, *id));
                    Some(*id)
                }
                _ => None,
            };
            draft.list(|| Item {
                update: update.map(|update| update.to_string()),
                what: described_operation(operation),
                prev: Some(prev.clone()),
                ..Item::default()
            });
        }
        let seq = self.ask(draft, arrival.reply, updates, now);
        if let (None, Some(reply)) = (only, arrival.reply) {
            for operation in operations.iter().take(super::event::ITEMS_MAX) {
                self.updates.await_claim(Claim::of(operation), seq, reply);
            }
        }
        Ok(())
    }

    /// The answer of a frontend.
    pub(super) fn hear_answer(&mut self, asked: &Asked, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        self.rates.answered(now.saturating_sub(asked.at), asked.operations, arrival.error.is_some(), now);
        let answer: Answer = if arrival.payload.is_empty() {
            Answer { label: Label::new(), replicas: Vec::new() }
        } else {
            decode(arrival.payload)?
        };
        // Neither a body nor an error: the broker tells that no frontend is there.
        let is_lost = arrival.payload.is_empty() && arrival.error.is_none();
        let from = match &asked.to {
            _ if is_lost => "broker".to_owned(),
            Some(known) if known != A_FRONTEND => known.clone(),
            _ => self.server_of(&answer.replicas),
        };
        self.history.correct(asked.seq, &from);
        let what = match arrival.error {
            Some(error) => error.to_owned(),
            None if is_lost => "no frontend is there".to_owned(),
            None if asked.updates.is_empty() => format!("answer to: {}", asked.what),
            None => format!("done: {}", asked.what),
        };
        let mut draft = Draft::new(Kind::Request, from, vec![asked.from.clone()], what).answering(asked.seq);
        draft.failed = arrival.error.is_some() || is_lost;
        let label = shown(&answer.label.replicas);
        for (_, update) in &asked.updates {
            if !draft.failed {
                self.updates.answered(*update, now);
            }
            draft.list(|| Item { update: Some(update.to_string()), label: Some(label.clone()), ..Item::default() });
        }
        if asked.updates.is_empty() && !answer.label.replicas.is_empty() {
            draft.list(|| Item { label: Some(label), ..Item::default() });
        }
        self.history.add(draft, now);
        // A client sends a request again under another reply subject, so this one is done.
        self.pending.remove(arrival.subject);
        Ok(())
    }

    /// The frontend that answered without asking any other process: the replica that served is its own half.
    fn server_of(&self, replicas: &[ReplicaId]) -> String {
        let own = replicas.iter().find(|replica| self.processes.has_both_roles(replica));
        let present = self.processes.present(Role::Frontend).next().is_some();
        match own {
            Some(replica) if present => replica.to_string(),
            _ => A_FRONTEND.to_owned(),
        }
    }
}

fn described_operation(operation: &SingleOperation) -> String {
    match operation {
        SingleOperation::Update { request, .. } => described(request),
        SingleOperation::Query(query) => asked_for(query),
    }
}
