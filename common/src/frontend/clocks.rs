//! Clocks of labels and stamps of ids: how far ahead they may be.
//!
//! The greatest stamp that the present replicas hold is the clock of the whole system, however wrong the wall clock was that
//! made it. A label from it is valid, although it is ahead of every wall clock. A client's word for more is not: a label's
//! clock is lowered to the clock of a replica that covers the label, so that no client drives the stamps of all ahead.

use super::query::PendingQuery;
use super::{Frontend, Step};
use crate::clock::{Now, STAMP_AHEAD_MS_MAX, Stamp, is_too_far_ahead};
use crate::edge::{ClientRequest, FrontendError, SingleOperation};
use crate::ids::UpdateId;
use crate::label::Label;
use crate::rating::RatingKey;
use crate::request::Query;

/// Difference between wall clocks, in milliseconds, that needs no attention: a label's clock that is no further ahead is
/// taken as it is.
const CLOCKS_DIFFER_MS: u64 = 1000;
/// Maximum steps of the stamp in an id above the greatest stamp that the present replicas hold. A session advances by a
/// step with each update, and this frontend learns of it at the next presence. An id further ahead carries no stamp.
const CARRIED_STEPS_MAX: u64 = 1024;

/// The verdict on a label's clock that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockVerdict {
    /// Nothing is wrong with it.
    Plausible,
    /// Ahead of all that is known here: to be lowered before an update is stamped.
    Ahead,
}

impl Frontend {
    /// Judges the clock of a client's label.
    pub(super) fn judge_clock(&self, prev: &Label, now: Now) -> Result<ClockVerdict, FrontendError> {
        let is_near = |wall_ms: u64| prev.clock.milliseconds() <= wall_ms.saturating_add(CLOCKS_DIFFER_MS);
        if is_near(now.wall_ms) || prev.clock <= self.prev.clock {
            return Ok(ClockVerdict::Plausible);
        }
        // The wall clock here may be behind that of everybody else.
        let wall_ms = now.wall_ms.max(self.directory.wall_ms(now.monotonic_ms));
        let greatest = self.greatest_stamp();
        if is_near(wall_ms) || prev.clock <= greatest {
            return Ok(ClockVerdict::Plausible);
        }
        if !is_too_far_ahead(prev.clock, wall_ms, greatest) {
            return Ok(ClockVerdict::Ahead);
        }
        match self.directory.clock() {
            None => Err(FrontendError::Unavailable),
            // A label has the clock of the replica that gave it, which may hold more than the label names: it may be one that
            // is present and has not answered here yet, or one that is away and holds what the label names.
            Some(_)
                if is_too_far_ahead(prev.clock, wall_ms, self.directory.clock_shown())
                    && self.directory.is_covered(&prev.replicas) =>
            {
                Err(clock_ahead(prev))
            }
            Some(_) => Ok(ClockVerdict::Ahead),
        }
    }

    /// The greatest stamp that the present replicas hold, as far as it is known here.
    pub(super) fn greatest_stamp(&self) -> Stamp {
        self.directory.clock().unwrap_or_default().max(self.prev.clock)
    }

    /// The stamp in a client's id, where it may be the update's: at most a minute ahead of the wall clock here, or a few
    /// steps ahead of what the replicas hold.
    pub(super) fn carried_stamp(&self, id: UpdateId, prev_clock: Stamp, wall_ms: u64) -> Option<Stamp> {
        let limit_ms = wall_ms.saturating_add(STAMP_AHEAD_MS_MAX);
        let is_near = |stamp: Stamp| {
            stamp.milliseconds() <= limit_ms || stamp.0 <= self.greatest_stamp().0.saturating_add(CARRIED_STEPS_MAX)
        };
        id.stamp().filter(|stamp| *stamp > prev_clock && is_near(*stamp))
    }

    /// Asks a replica for its clock, one that covers the label of `request`: a read is answered by no other. Then the
    /// request begins.
    pub(super) fn lower_clock(&mut self, client: u64, request: ClientRequest, step: &mut Step<'_>) {
        let query = question(&request);
        let prev = request.prev().clone();
        self.begin_query_before(client, query, prev, Some(Box::new(request)), step);
    }

    /// Goes on with a request that waited for the clock of a replica that covers its label.
    pub(super) fn clock_lowered(
        &mut self,
        query: &PendingQuery,
        mut request: ClientRequest,
        to: Stamp,
        step: &mut Step<'_>,
    ) {
        let prev = request.prev_mut();
        prev.clock = prev.clock.min(to);
        step.deadline_ms = Some(query.deadline_ms());
        self.begin(query.client(), request, step);
        step.deadline_ms = None;
    }
}

/// Any question that a replica answers only when it covers the label: the rating that the request is about.
fn question(request: &ClientRequest) -> Query {
    let of_key = |RatingKey { user_id, movie_id }| Query::Read { user_id, movie_id };
    let of_operation = |operation: &SingleOperation| match operation {
        SingleOperation::Update { request, .. } => of_key(request.key()),
        SingleOperation::Query(query) => query.clone(),
    };
    match request {
        ClientRequest::Update { request, .. } => of_key(request.key()),
        ClientRequest::Query { request, .. } => request.clone(),
        ClientRequest::Batch(batch) => batch
            .operations
            .iter()
            .find_map(|operation| operation.as_ref().ok().map(of_operation))
            .unwrap_or(Query::Search { title: String::new(), limit: 1 }),
    }
}

/// The refusal of a clock that no replica can have given.
pub(super) fn clock_ahead(prev: &Label) -> FrontendError {
    FrontendError::BadRequest(format!(
        "prev.clock: {} is more than a minute ahead of the clock here and of all that the replicas hold: send the label \
         of the last reply as it was",
        prev.clock.0
    ))
}
