//! The way of a query: one replica manager is asked, and when it is silent, another one too.

use super::pending_update::Few;
use super::retired::OWN_QUESTION;
use super::{Attempt, Frontend, Kind, Notice, Outcome, Output, Pending, Step};
use crate::edge::{ClientReply, ClientRequest, FrontendError};
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::messages::{QueryRequest, Refusal, Reply};
use crate::rating::RatingKey;
use crate::request::Query;
use crate::timestamp::Timestamp;

/// Pause before another try if no replica can be asked now, in milliseconds.
const PAUSE_MS: u64 = 50;

/// A query that has no answer yet.
#[derive(Clone, Debug)]
pub(super) struct PendingQuery {
    client: u64,
    token: u64,
    request: Query,
    /// A request that begins when this one is answered, with the clock of that answer.
    then: Option<Box<ClientRequest>>,
    prev: Label,
    /// Retired entries of the session's label, which are not asked for.
    retired: Timestamp,
    /// Whether this frontend itself has seen all that the session has seen.
    seen_here: bool,
    deadline_ms: u64,
    pub(super) wake_ms: u64,
    /// Replicas that were asked in this round.
    asked: Few<ReplicaId>,
    /// Replicas that have not answered yet.
    awaited: Few<ReplicaId>,
    /// Whether somebody lacked something of `prev`.
    behind: bool,
    pub(super) attempts: Few<u64>,
}

impl PendingQuery {
    /// The client that asked.
    pub(super) fn client(&self) -> u64 {
        self.client
    }

    pub(super) fn token(&self) -> u64 {
        self.token
    }

    /// Whether every replica that can be asked was asked, and may still answer.
    pub(super) fn waits_for_the_asked(&self) -> bool {
        self.wake_ms == self.deadline_ms
    }

    /// The time by which the client has its answer.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}

impl Frontend {
    pub(super) fn begin_query(&mut self, client: u64, request: Query, prev: Label, step: &mut Step<'_>) {
        self.begin_query_before(client, request, prev, None, step);
    }

    /// Begins a query, after which the request `then` begins in place of an answer.
    pub(super) fn begin_query_before(
        &mut self,
        client: u64,
        request: Query,
        mut prev: Label,
        then: Option<Box<ClientRequest>>,
        step: &mut Step<'_>,
    ) {
        let retired = self.take_retired(&mut prev.replicas);
        self.forget_for(client, &mut prev.replicas, step);
        let seen_here = self.prev.replicas.covers(&prev.replicas);
        prev.merge(&self.prev);
        let mut query = PendingQuery {
            client,
            token: self.pending.reserve(),
            request,
            then,
            prev,
            retired,
            seen_here,
            deadline_ms: self.deadline_ms(step),
            wake_ms: 0,
            asked: Few::new(),
            awaited: Few::new(),
            behind: false,
            attempts: Few::new(),
        };
        let wake_ms = self.send_query(&mut query, step);
        self.put_back(query.token, Pending::Query(Box::new(query)), wake_ms);
    }

    /// Asks somebody who was not asked yet. Gives the time to look again, or `None` where the client has its answer.
    pub(super) fn send_query(&mut self, query: &mut PendingQuery, step: &mut Step<'_>) -> Option<u64> {
        let now_ms = step.now.monotonic_ms;
        let wait_ms = self.wait_ms(query.deadline_ms, step);
        if query.behind && wait_ms == 0 {
            // No replica has all of `prev`, and none would have the time to get it.
            if query.awaited.is_empty() {
                step.answer(query.client, Err(FrontendError::Stale { timeout_ms: self.config.timeout_ms }));
                return None;
            }
            return Some(query.deadline_ms);
        }
        let Some(replica) = self.directory.choose(&query.prev.replicas, query.seen_here, |id| query.asked.contains(id))
        else {
            if !query.awaited.is_empty() {
                return Some(query.deadline_ms);
            }
            if !self.directory.has_somebody_up() && !self.directory.is_somebody_expected(now_ms) {
                step.answer(query.client, Err(FrontendError::Unavailable));
                return None;
            }
            query.asked.clear();
            return Some(query.deadline_ms.min(now_ms + PAUSE_MS));
        };
        let n = self.attempt(query.token, &replica, Kind::Query);
        query.attempts.push(n);
        query.asked.push(replica.clone());
        query.awaited.push(replica.clone());
        let request = QueryRequest {
            n,
            prev: query.prev.replicas.clone(),
            proven: query.seen_here,
            unheard: self.unheard(&query.prev.replicas, query.seen_here),
            request: query.request.clone(),
            wait_ms,
        };
        step.outputs.push(Output::Query(replica, request));
        Some(query.deadline_ms.min(now_ms + self.patience_ms()))
    }

    /// Gives the time to look again, or `None` where the client has its answer.
    pub(super) fn query_outcome(
        &mut self,
        query: &mut PendingQuery,
        attempt: &Attempt,
        outcome: Outcome,
        step: &mut Step<'_>,
    ) -> Option<u64> {
        query.awaited.retain(|id| *id != attempt.replica);
        match outcome {
            Outcome::Reply(Reply::Answered { value, label }) => {
                self.learn_of_query(query, &label);
                if let Some(request) = query.then.take() {
                    self.clock_lowered(query, *request, label.clock, step);
                    return None;
                }
                let reply = ClientReply { value, label, replicas: vec![attempt.replica.clone()] };
                step.answer(query.client, Ok(reply));
                return None;
            }
            Outcome::Reply(Reply::Refused { refusal, label }) => {
                self.learn_of_query(query, &label);
                if let Some(request) = query.then.take() {
                    self.clock_lowered(query, *request, label.clock, step);
                    return None;
                }
                let text = explain(refusal, &query.request);
                step.answer(query.client, Err(FrontendError::Refused { refusal, text, label }));
                return None;
            }
            Outcome::Reply(Reply::Behind) => query.behind = true,
            Outcome::Reply(_) => {}
            // It can be asked again when it is there.
            Outcome::Gone | Outcome::Undelivered | Outcome::Lost => query.asked.retain(|id| *id != attempt.replica),
        }
        self.send_query(query, step)
    }

    fn learn_of_query(&mut self, query: &PendingQuery, label: &Label) {
        // The label of what begins then is another one.
        let client = if query.then.is_some() { OWN_QUESTION } else { query.client };
        self.tell_retired(client, &query.retired);
        self.learn(client, &query.prev.replicas, label);
    }

    pub(super) fn query_timer(&mut self, query: &mut PendingQuery, step: &mut Step<'_>) -> Option<u64> {
        if step.now.monotonic_ms < query.deadline_ms {
            for silent in &query.awaited {
                // One that waits for what it lacks says so in the end; one that is stopped never does.
                self.directory.was_silent(silent);
                step.notice(Notice::Retried { silent: silent.clone() });
            }
            return self.send_query(query, step);
        }
        let timeout_ms = self.config.timeout_ms;
        let error = if query.behind {
            FrontendError::Stale { timeout_ms }
        } else if !self.directory.has_somebody_up() {
            FrontendError::Unavailable
        } else {
            FrontendError::QueryTimeout { timeout_ms }
        };
        step.answer(query.client, Err(error));
        None
    }
}

fn explain(refusal: Refusal, query: &Query) -> String {
    match *query {
        Query::Read { user_id, movie_id } => refusal.explain(Some(RatingKey { user_id, movie_id }), movie_id),
        Query::Average { movie_id } => refusal.explain(None, movie_id),
        Query::All { .. } | Query::Search { .. } => "nothing like that is there".to_owned(),
    }
}
