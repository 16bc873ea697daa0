//! Accepting updates from frontends, and confirming that they are held.

use std::sync::Arc;

use super::waiting::{Parked, Request, WaitingConfirm};
use super::{Notice, ReplicaManager, ReplyTo, Step};
use crate::clock::is_too_far_ahead;
use crate::ids::ReplicaId;
use crate::messages::{ConfirmRequest, Refusal, Reply, UpdateRequest};
use crate::rating::RatingKey;
use crate::record::{COPIES_MAX, Deleted, ExecutedOperation, Record, RecordRef};
use crate::request::{Answer, Update};
use crate::timestamp::Timestamp;
use crate::value::{Row, ValueError};

/// Maximum time a request may wait at a replica, in milliseconds; longer waits are cut to this.
const WAIT_MS_MAX: u64 = 60_000;

/// Verdict of the value on an update.
enum Verdict {
    /// Allowed; this is what stands for the key.
    Allowed(Option<Row>),
    /// Not allowed, by what is applied.
    Refused(Refusal),
    /// Not allowed, by the own record of this number, which is not applied yet.
    NotYet(u64),
}

impl ReplicaManager {
    pub(super) fn handle_request(
        &mut self,
        to: ReplyTo,
        request: Request,
        step: &mut Step<'_>,
    ) -> Result<(), ValueError> {
        let now_ms = step.now.monotonic_ms;
        let wait_ms = match &request {
            Request::Query(query) => query.wait_ms,
            Request::Update(update) => update.wait_ms,
        };
        let deadline_ms = now_ms + wait_ms.min(WAIT_MS_MAX);
        self.handle_parked(Parked { to, request, deadline_ms, since_ms: now_ms }, step)
    }

    pub(super) fn handle_parked(&mut self, parked: Parked, step: &mut Step<'_>) -> Result<(), ValueError> {
        let is_update = matches!(parked.request, Request::Update(_));
        if !self.is_serving() || (is_update && (self.leaving || self.commits.are_full())) {
            step.reply(parked.to, Reply::NotServing);
            return Ok(());
        }
        match &parked.request {
            Request::Query(_) => self.handle_query(parked, step),
            Request::Update(_) => self.handle_update(parked, step),
        }
    }

    fn handle_update(&mut self, parked: Parked, step: &mut Step<'_>) -> Result<(), ValueError> {
        let Request::Update(request) = &parked.request else { return Ok(()) };
        if let Some(first) = self.executed.first(&request.id) {
            let is_same = first.request == Some(request.request);
            let reply = match is_same {
                true => {
                    let records = self.executed.names(&request.id);
                    self.accepted(&first, records, &request.request, Timestamp::new(), step)
                }
                false => Reply::IdInUse,
            };
            step.reply(parked.to, reply);
            return Ok(());
        }
        if let Some(missing) = self.first_missing(&request.prev, request.proven, &request.unheard, step)? {
            self.park(missing, parked, step);
            return Ok(());
        }
        let key = request.request.key();
        if step.value.title(key.movie_id).is_none() {
            let reply = Reply::Refused { refusal: Refusal::MovieNotFound, label: self.label() };
            step.reply(parked.to, reply);
            return Ok(());
        }
        if is_too_far_ahead(request.stamp, step.now.wall_ms, self.clock) {
            step.reply(parked.to, Reply::StampAhead { wall_ms: step.now.wall_ms, clock: self.clock });
            return Ok(());
        }
        let reply = match self.verdict(&request.request, key, step)? {
            Verdict::NotYet(seq) => {
                let own = self.config.id.clone();
                self.park(RecordRef { i: own, seq }, parked, step);
                return Ok(());
            }
            Verdict::Refused(refusal) => Reply::Refused { refusal, label: self.label() },
            Verdict::Allowed(Some(row)) if request.fresh && request.stamp <= row.stamp => {
                Reply::StampAgain { above: row.stamp }
            }
            Verdict::Allowed(row) => self.accept(request, row, step),
        };
        step.reply(parked.to, reply);
        Ok(())
    }

    /// Validates against the value and against own records that are not applied yet: those come before this one
    /// everywhere. Records of other origins that are not applied count as concurrent.
    fn verdict(&self, update: &Update, key: RatingKey, step: &Step<'_>) -> Result<Verdict, ValueError> {
        let applied = step.value.row(key)?;
        let pending = self
            .accepted
            .get(&key)
            .filter(|(_, row)| applied.as_ref().is_none_or(|applied| row.order() > applied.order()));
        let row = pending.map(|(_, row)| *row).or(applied);
        let exists = row.is_some_and(|row| row.stars.is_some());
        let refusal = match update {
            Update::Create { .. } if exists => Refusal::RatingExists,
            Update::Update { .. } | Update::Delete { .. } if !exists => Refusal::RatingNotFound,
            _ => return Ok(Verdict::Allowed(row)),
        };
        Ok(match pending {
            Some((seq, _)) => Verdict::NotYet(*seq),
            None => Verdict::Refused(refusal),
        })
    }

    fn accept(&mut self, request: &UpdateRequest, row: Option<Row>, step: &mut Step<'_>) -> Reply {
        let own = self.config.id.clone();
        let deleted = takes_away(request, row);
        let mut prev = self.required(&request.prev, request.proven, Some(&request.unheard), step);
        let retired = match prev.is_shared_with(&request.prev) {
            true => Timestamp::new(),
            false => self.retired.of(&request.prev),
        };
        // A client that is told what was taken away has read it: that comes before the record, everywhere. So do updates of
        // retired replicas, for which the record stands in labels from now on: what is applied here names who retired them.
        if deleted.is_some() || !retired.is_empty() {
            prev.merge(&self.value_timestamp);
        }
        let prev = self.without_own(prev);
        let record = Arc::new(Record {
            id: request.id,
            seq: self.log.replica_timestamp().get(&own) + 1,
            i: own,
            prev,
            request: Some(request.request),
            retires: Timestamp::new(),
            stamp: request.stamp,
            copies: request.copies.clamp(1, COPIES_MAX),
            deleted,
        });
        step.detail(|| Notice::Accepted(Arc::clone(&record)));
        self.note_accepted(&record);
        self.hold(Arc::clone(&record), step);
        debug_assert_eq!(self.executed.names(&record.id), [record.name()], "its id was not known before");
        self.accepted(&record.executed(), vec![record.name()], &request.request, retired, step)
    }

    /// Returns the dependencies of a record accepted here, without our own entry: the sequence number already implies
    /// it. Consecutive records with the same dependencies share them.
    fn without_own(&mut self, prev: Timestamp) -> Timestamp {
        if !self.depended.0.is_shared_with(&prev) {
            let mut without = prev.clone();
            without.set(&self.config.id, 0);
            self.depended = (prev, without);
        }
        self.depended.1.clone()
    }

    /// Validation looks at own records that are not applied yet.
    pub(super) fn note_accepted(&mut self, record: &Record) {
        if let Some((key, row)) = record.row() {
            let pending = self.accepted.entry(key).or_insert((record.seq, row));
            if row.order() > pending.1.order() {
                *pending = (record.seq, row);
            }
        }
    }

    /// The answer to an update that is held here, the same every time.
    fn accepted(
        &self,
        operation: &ExecutedOperation,
        records: Vec<RecordRef>,
        request: &Update,
        retired: Timestamp,
        step: &Step<'_>,
    ) -> Reply {
        let title = step.value.title(request.key().movie_id).unwrap_or_default();
        let value = Answer::Rating(operation.answer(request, title));
        Reply::Accepted { value, records, clock: self.clock, retired }
    }

    /// The first update in `prev` that is not applied and cannot be applied now. `proven` says that a frontend has seen all
    /// of `prev` in labels; `unheard`, whom it does not hear.
    pub(super) fn first_missing(
        &mut self,
        prev: &Timestamp,
        proven: bool,
        unheard: &[ReplicaId],
        step: &mut Step<'_>,
    ) -> Result<Option<RecordRef>, ValueError> {
        if self.value_timestamp.covers(prev) {
            return Ok(None);
        }
        let mut prev = self.required(prev, proven, Some(unheard), step);
        if proven {
            // A label names only what enough replica managers hold: it proves that what is held here may be shown.
            let held = prev.common(self.log.replica_timestamp());
            self.proven.merge(&held);
            self.apply_ready(step)?;
            // A record applied just now may have retired a replica.
            self.retired.strip(&mut prev);
        }
        let missing = prev.iter().find(|(id, count)| self.value_timestamp.get(id) < *count);
        Ok(missing.map(|(id, count)| RecordRef { i: id.clone(), seq: count }))
    }

    pub(super) fn park(&mut self, missing: RecordRef, parked: Parked, step: &mut Step<'_>) {
        if self.waiting.is_full() {
            step.reply(parked.to, Reply::NotServing);
        } else {
            self.waiting.park(&missing.i, missing.seq, parked);
            step.notice(Notice::Waiting { missing });
        }
    }

    pub(super) fn handle_confirm(&mut self, to: ReplyTo, request: ConfirmRequest, step: &mut Step<'_>) {
        let records = self.executed.names(&request.id);
        if !records.is_empty() {
            step.reply(to, Reply::Held { records, clock: self.clock });
            return;
        }
        if request.wait_ms == 0 {
            step.reply(to, Reply::NotHeld);
            return;
        }
        let now_ms = step.now.monotonic_ms;
        let confirm = WaitingConfirm {
            to,
            acceptor: request.acceptor,
            deadline_ms: now_ms + request.wait_ms.min(WAIT_MS_MAX),
            since_ms: now_ms,
            pulled: false,
        };
        if self.confirms.is_full() || self.commits.are_full() {
            step.reply(confirm.to, Reply::NotServing);
        } else {
            self.confirms.wait(request.id, confirm);
        }
    }
}

/// The rating that a DELETE takes away. None if the present rating has the greater stamp, and so stays. This happens to
/// a DELETE that may be a retry, and so keeps its stamp, if its session has not seen the present rating.
fn takes_away(request: &UpdateRequest, row: Option<Row>) -> Option<Deleted> {
    let Row { stars, timestamp, stamp, update_id } = row?;
    let stays = (stamp, update_id) > (request.stamp, Some(request.id));
    let is_delete = matches!(request.request, Update::Delete { .. });
    stars.filter(|_| is_delete && !stays).map(|rating| Deleted { rating, timestamp, update_id })
}
