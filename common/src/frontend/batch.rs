//! Batches: taken apart into single requests, whose answers are joined.
//!
//! Each operation of a batch goes the way of a single request, under a client number that names its batch and its
//! place. Operations on different ratings are in flight at the same time. Operations on the same rating take effect in
//! their order: each begins when the one before has its answer (`order`).

mod order;

use std::collections::BTreeMap;

use self::order::{Floor, order};
use super::{Frontend, Output, Step};
use crate::edge::{
    Answers, BatchReply, ClientBatch, ClientReply, FrontendError, OPERATIONS_MAX, Outcome, SingleOperation,
};
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::timestamp::Timestamp;

/// The client number of a batch's operation is this bit, the batch's number, and the operation's place.
const MEMBER: u64 = 1 << 63;
const PLACE_BITS: u32 = 13;
const _: () = assert!(OPERATIONS_MAX <= 1 << PLACE_BITS);

/// Whether a client number is that of a batch's operation.
pub(super) fn is_member(client: u64) -> bool {
    client & MEMBER != 0
}

fn member(batch: u64, place: usize) -> u64 {
    MEMBER | (batch << PLACE_BITS) | place as u64
}

/// Batches that have no answer yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Batches {
    batches: BTreeMap<u64, Batch>,
    last: u64,
    held: usize,
}

impl Batches {
    /// Number of operations that wait for an earlier one.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The client that sent the batch of this operation.
    pub(super) fn client_of(&self, member: u64) -> Option<u64> {
        self.batches.get(&((member & !MEMBER) >> PLACE_BITS)).map(|batch| batch.client)
    }
}

/// One batch.
#[derive(Clone, Debug)]
struct Batch {
    client: u64,
    /// Label of the session, with an empty timestamp if this frontend has seen all of that itself.
    prev: Label,
    answers: Answers,
    deadline_ms: u64,
    /// Number of operations without an outcome.
    open: usize,
    outcomes: Vec<Option<Outcome>>,
    is_update: Vec<bool>,
    /// Waiting operations, by the place of the operation that each waits for.
    held: BTreeMap<usize, Held>,
    label: Label,
    replicas: Vec<ReplicaId>,
    copies: Option<usize>,
}

/// An operation that waits for one that comes before it.
#[derive(Clone, Debug)]
struct Held {
    place: usize,
    operation: SingleOperation,
    floor: Floor,
}

impl Frontend {
    /// Begins every operation that need not wait. Operations for which the queue has no room end as OVERLOADED, as
    /// single requests would.
    pub(super) fn begin_batch(&mut self, client: u64, batch: ClientBatch, step: &mut Step<'_>) {
        let ClientBatch { operations, mut prev, answers, .. } = batch;
        let retired = self.take_retired(&mut prev.replicas);
        self.forget_for(client, &mut prev.replicas, step);
        if self.prev.replicas.covers(&prev.replicas) {
            // It is in all requests that leave here.
            prev.replicas = Timestamp::new();
        }
        prev.replicas.merge(&retired);
        self.batches.last += 1;
        let number = self.batches.last;
        let wall_ms = step.now.wall_ms;
        let mut waits = order(&operations, |id| self.carried_stamp(id, prev.clock, wall_ms));
        let mut batch = Batch {
            client,
            prev,
            answers,
            deadline_ms: self.deadline_ms(step),
            open: operations.len(),
            outcomes: vec![None; operations.len()],
            is_update: operations.iter().map(|o| matches!(o, Ok(SingleOperation::Update { .. }))).collect(),
            held: BTreeMap::new(),
            label: Label::new(),
            replicas: Vec::new(),
            copies: None,
        };
        for (place, operation) in operations.into_iter().enumerate() {
            match operation {
                Err(error) => batch.take_in(place, Err(error)),
                Ok(_) if self.pending() >= self.config.queue_length_max => {
                    batch.take_in(place, Err(FrontendError::Overloaded { waiting: self.pending() }));
                }
                Ok(operation) => match waits.remove(&place) {
                    Some((before, floor)) => {
                        batch.held.insert(before, Held { place, operation, floor });
                        self.batches.held += 1;
                    }
                    None => {
                        self.begin_member(member(number, place), operation, batch.prev.clone(), batch.deadline_ms, step)
                    }
                },
            }
        }
        if batch.open > 0 {
            self.batches.batches.insert(number, batch);
        } else {
            step.outputs.push(batch.into_answer());
        }
    }

    fn begin_member(
        &mut self,
        member: u64,
        operation: SingleOperation,
        prev: Label,
        deadline_ms: u64,
        step: &mut Step<'_>,
    ) {
        step.deadline_ms = Some(deadline_ms);
        match operation {
            SingleOperation::Update { request, id } => self.begin_update(member, request, id, prev, step),
            SingleOperation::Query(request) => self.begin_query(member, request, prev, step),
        }
        step.deadline_ms = None;
    }

    /// Hands the answers to operations of batches to these, which may begin others, and so on.
    pub(super) fn join_answers(&mut self, step: &mut Step<'_>) {
        while !step.members.is_empty() {
            for (member, answer) in std::mem::take(&mut step.members) {
                self.join_answer(member, answer, step);
            }
        }
    }

    fn join_answer(&mut self, to: u64, answer: Result<ClientReply, FrontendError>, step: &mut Step<'_>) {
        let number = (to & !MEMBER) >> PLACE_BITS;
        let place = (to & ((1 << PLACE_BITS) - 1)) as usize;
        let Some(batch) = self.batches.batches.get_mut(&number) else { return };
        batch.take_in(place, answer);
        let next = batch.held.remove(&place).map(|held| (held, batch.prev.clone(), batch.deadline_ms));
        if let Some((Held { place, operation, floor }, mut prev, deadline_ms)) = next {
            self.batches.held -= 1;
            let next = member(number, place);
            if step.now.monotonic_ms >= deadline_ms {
                return step.answer(next, Err(FrontendError::NotBegun { timeout_ms: self.config.timeout_ms }));
            }
            if let Floor::All(stamp) = floor {
                prev.clock = self.clock.tick(step.now.wall_ms, prev.clock.max(self.prev.clock).max(stamp));
            }
            self.begin_member(next, operation, prev, deadline_ms, step);
        } else if batch.open == 0
            && let Some(batch) = self.batches.batches.remove(&number)
        {
            step.outputs.push(batch.into_answer());
        }
    }
}

impl Batch {
    fn into_answer(self) -> Output {
        let Self { client, outcomes, label, replicas, copies, .. } = self;
        let outcomes = outcomes.into_iter().flatten().collect();
        Output::BatchAnswer(client, BatchReply { outcomes, label, replicas, copies })
    }

    fn take_in(&mut self, place: usize, answer: Result<ClientReply, FrontendError>) {
        let outcome = match answer {
            Ok(reply) => {
                self.label.merge(&reply.label);
                for replica in &reply.replicas {
                    if !self.replicas.contains(replica) {
                        self.replicas.push(replica.clone());
                    }
                }
                if self.is_update[place] {
                    let copies = reply.replicas.len();
                    self.copies = Some(self.copies.map_or(copies, |least| least.min(copies)));
                }
                match (self.is_update[place], self.answers) {
                    (true, Answers::Brief) => Outcome::Done,
                    (true, Answers::Full) => Outcome::Written(reply),
                    (false, _) => Outcome::Read(reply),
                }
            }
            Err(error) => {
                if let Some(label) = error.label() {
                    self.label.merge(label);
                }
                Outcome::Failed(error)
            }
        };
        self.outcomes[place] = Some(outcome);
        self.open -= 1;
    }
}

#[cfg(test)]
mod tests;
