//! The way of an update: looked up where it may be a retry, accepted by one replica manager, confirmed by others.

use super::clocks::clock_ahead;
use super::pending_update::PendingUpdate;
use super::verdict::Leading;
use super::{Attempt, Frontend, Kind, Notice, Outcome, Output, Pending, Step};
use crate::clock::{Stamp, is_too_far_ahead};
use crate::edge::FrontendError;
use crate::ids::{ReplicaId, UpdateId};
use crate::label::Label;
use crate::messages::{ConfirmRequest, Reply, UpdateRequest};
use crate::request::Update;

/// A client's id that was made longer ago may be that of a retry, in milliseconds.
const FIRST_ATTEMPT_MS: u64 = 1000;
/// Time after which no earlier attempt is in flight any more, in milliseconds.
const FIRST_ATTEMPT_OVER_MS: u64 = 10_000;
/// Time within which a client may retry an update, in milliseconds. Replicas remember it for longer.
const REMEMBERED_MS: u64 = 60_000;
/// Pause before another try if no replica can be asked now, in milliseconds.
const PAUSE_MS: u64 = 50;
/// Maximum new stamps of an update before the session's clock is to blame.
const STAMPED_AGAIN_MAX: u32 = 8;

impl Frontend {
    pub(super) fn begin_update(
        &mut self,
        client: u64,
        request: Update,
        id: Option<UpdateId>,
        mut prev: Label,
        step: &mut Step<'_>,
    ) {
        let wall_ms = step.now.wall_ms;
        // Every retry brings the same `prev`, so every frontend comes to the same stamp.
        let carried = id.and_then(|id| self.carried_stamp(id, prev.clock, wall_ms));
        if let (Some(id), None) = (id, carried)
            && id.milliseconds().is_some_and(|made_ms| wall_ms.saturating_sub(made_ms) > REMEMBERED_MS)
        {
            return step.answer(client, Err(too_old(id)));
        }
        let retired = self.take_retired(&mut prev.replicas);
        self.forget_for(client, &mut prev.replicas, step);
        let seen_here = self.prev.replicas.covers(&prev.replicas);
        prev.merge(&self.prev);
        // The acceptor tells whether the record stands for them: that of a retry may have begun with another `prev`.
        prev.replicas.merge(&retired);
        let stamp = carried.unwrap_or_else(|| self.clock.tick(wall_ms, prev.clock));
        let may_be_retry =
            id.is_some() && carried.is_none_or(|stamp| wall_ms.saturating_sub(stamp.milliseconds()) > FIRST_ATTEMPT_MS);
        let made_here = id.is_none();
        // Replicas do not remember an older one: it changes nothing a second time only with the stamp that it carries.
        let may_be_fresh = carried.is_none_or(|stamp| {
            (FIRST_ATTEMPT_OVER_MS..REMEMBERED_MS).contains(&wall_ms.saturating_sub(stamp.milliseconds()))
        });
        let id = id.unwrap_or_else(|| UpdateId::from_stamp(stamp, self.generator.u64(..)));
        let deadline_ms = self.deadline_ms(step);
        let mut update = PendingUpdate::new(client, self.pending.reserve(), id, request, prev, stamp, deadline_ms);
        update.seen_here = seen_here;
        update.fresh = made_here;
        update.may_be_fresh = may_be_fresh;
        if may_be_retry {
            self.look_up(&mut update, step);
        }
        let wake_ms = self.drive(&mut update, step);
        self.put_back(update.token, Pending::Update(Box::new(update)), wake_ms);
    }

    /// Asks every reachable replica whether it holds the id. Replicas that may have accepted it come first: if the
    /// broker says that one is gone, everything it ever sent has reached the others before they are asked.
    fn look_up(&mut self, update: &mut PendingUpdate, step: &mut Step<'_>) {
        let reachable = self.directory.reachable();
        update.held_by_nobody = !reachable.is_empty();
        let mut everybody: Vec<ReplicaId> = update.uncertain.iter().map(|(_, id)| id.clone()).collect();
        everybody.sort();
        everybody.dedup();
        everybody.extend(reachable.into_iter().filter(|id| update.uncertain.iter().all(|(_, other)| other != id)));
        let now_ms = step.now.monotonic_ms;
        update.everybody_was_asked = !self.directory.is_somebody_away() && !self.directory.is_listening(now_ms);
        update.looked_up.clone_from(&everybody);
        update.looking_up.clear();
        for replica in everybody {
            let n = self.attempt(update.token, &replica, Kind::LookUp);
            update.attempts.push(n);
            let request = ConfirmRequest { n, id: update.id, acceptor: None, wait_ms: 0 };
            step.outputs.push(Output::Confirm(replica.clone(), request));
            update.looking_up.push((n, replica));
        }
    }

    /// Does what is to be done next. Gives the time to look again, or `None` where the client has its answer.
    fn drive(&mut self, update: &mut PendingUpdate, step: &mut Step<'_>) -> Option<u64> {
        let now_ms = step.now.monotonic_ms;
        let leading = self.leading(update);
        if self.acknowledge(update, leading, step) {
            return None;
        }
        let again_ms = update.deadline_ms.min(now_ms + self.patience_ms());
        // A refusal counts unless a replica may have accepted the update: then it may take effect all the same. Answers
        // given before the death of such a replica was certain prove nothing.
        if update.refused.is_some() && !update.uncertain.is_empty() {
            let are_dead = self.are_all_dead(update);
            if !update.verifying || (are_dead && !update.verified_dead) {
                update.verifying = true;
                update.verified_dead = are_dead;
                self.look_up(update, step);
            }
        }
        if !update.looking_up.is_empty() {
            return Some(again_ms);
        }
        if let Some((refusal, label)) = &update.refused
            && self.is_refusal_certain(update)
        {
            let text = refusal.explain(Some(update.request.key()), update.request.key().movie_id);
            let error = FrontendError::Refused { refusal: *refusal, text, label: label.clone() };
            self.learn(update.client, &update.prev.replicas, label);
            step.answer(update.client, Err(error));
            return None;
        }
        let asked = self.config.fault_tolerance;
        let are_few = self.config.strict && self.directory.up_count() < asked as usize;
        if are_few && !self.directory.is_somebody_expected(now_ms) {
            let holders = leading.map_or(0, |leading| leading.count);
            step.answer(update.client, Err(FrontendError::NotEnoughReplicas { id: update.id, holders, asked }));
            return None;
        }
        let is_idle = update.acceptor.is_none() && update.uncertain.is_empty() && update.holders.is_empty();
        if update.behind && is_idle && self.wait_ms(update.deadline_ms, step) == 0 {
            // No replica has all that the session has seen, and none would have the time to get it.
            step.answer(update.client, Err(FrontendError::Stale { timeout_ms: self.config.timeout_ms }));
            return None;
        }
        // An acceptor that is gone with its record has to be replaced.
        let is_answered = leading.is_some_and(|leading| update.answer_of(leading.place).is_some());
        let has_to_ask = update.acceptor.is_none() && !is_answered && (update.refused.is_none() || leading.is_some());
        if has_to_ask && !self.send_update(update, leading, step) {
            let is_nobody_up = !self.directory.has_somebody_up();
            if is_nobody_up && update.uncertain.is_empty() && !self.directory.is_somebody_expected(now_ms) {
                step.answer(update.client, Err(FrontendError::Unavailable));
                return None;
            }
            update.asked.clear();
            return Some(update.deadline_ms.min(now_ms + PAUSE_MS));
        }
        self.have_it_confirmed(update, leading, step);
        Some(again_ms)
    }

    /// Asks somebody to accept the update. Says whether there was somebody.
    fn send_update(&mut self, update: &mut PendingUpdate, leading: Option<Leading>, step: &mut Step<'_>) -> bool {
        // A replica that holds the update already knows the first answer.
        let leading = leading.into_iter().flat_map(|leading| update.holders_at(leading.place));
        let holders = leading.chain(update.holders.iter().flat_map(|(_, holders)| holders));
        let mut holders = holders.filter(|id| self.directory.is_up(id)).peekable();
        let chosen = if holders.peek().is_some() {
            holders.find(|id| !update.asked.contains(*id)).cloned()
        } else {
            let stamper = update.stamper.take().filter(|id| self.directory.is_up(id) && !update.asked.contains(id));
            let other = |id: &ReplicaId| update.asked.contains(id);
            stamper.or_else(|| self.directory.choose(&update.prev.replicas, update.seen_here, other))
        };
        let Some(replica) = chosen else { return false };
        let n = self.attempt(update.token, &replica, Kind::Accept);
        update.attempts.push(n);
        let request = UpdateRequest {
            n,
            id: update.id,
            prev: update.prev.replicas.clone(),
            proven: update.seen_here,
            unheard: self.unheard(&update.prev.replicas, update.seen_here),
            request: update.request,
            stamp: update.stamp,
            copies: self.config.fault_tolerance,
            fresh: update.fresh && update.can_be_held_by_nobody(),
            wait_ms: self.wait_ms(update.deadline_ms, step),
        };
        update.asked.push(replica.clone());
        update.uncertain.push((n, replica.clone()));
        update.confirming.retain(|id| *id != replica);
        update.acceptor = Some(replica.clone());
        step.outputs.push(Output::Update(replica, request));
        true
    }

    /// Has so many others say when they hold it as are needed beside the acceptor.
    fn have_it_confirmed(&mut self, update: &mut PendingUpdate, leading: Option<Leading>, step: &mut Step<'_>) {
        let needed = self.config.fault_tolerance as usize;
        let directory = &self.directory;
        let holders = leading.map(|leading| update.holders_at(leading.place)).unwrap_or_default();
        let leads = |id: &ReplicaId| holders.contains(id) && directory.is_present(id);
        let mut sure = leading.map_or(0, |leading| leading.count)
            + update.confirming.iter().chain(&update.acceptor).filter(|id| !leads(id)).count();
        if sure >= needed {
            return;
        }
        let leading: Vec<ReplicaId> = holders.iter().filter(|id| leads(id)).cloned().collect();
        let counted = |id: &ReplicaId, update: &PendingUpdate| {
            leading.contains(id)
                || update.acceptor.as_ref() == Some(id)
                || update.confirming.contains(id)
                || update.declined.contains(id)
        };
        while sure < needed {
            let chosen = self.directory.choose(&update.prev.replicas, update.seen_here, |id| counted(id, update));
            let Some(replica) = chosen else { break };
            let n = self.attempt(update.token, &replica, Kind::Confirm);
            update.attempts.push(n);
            let acceptor = leading.first().cloned().or_else(|| update.acceptor.clone());
            // Not much longer than until it is asked again: what was refused meanwhile is never held.
            let wait_ms = self.wait_ms(update.deadline_ms, step).min(2 * self.patience_ms());
            step.outputs.push(Output::Confirm(replica.clone(), ConfirmRequest { n, id: update.id, acceptor, wait_ms }));
            update.confirming.push(replica);
            sure += 1;
        }
    }

    /// Gives the time to look again, or `None` where the client has its answer.
    pub(super) fn update_outcome(
        &mut self,
        update: &mut PendingUpdate,
        attempt: &Attempt,
        outcome: Outcome,
        step: &mut Step<'_>,
    ) -> Option<u64> {
        let replica = &attempt.replica;
        // Answers to an earlier look-up do not count for the present one.
        let looked_up = update.looking_up.iter().position(|(n, _)| *n == attempt.n);
        if let (Some(place), Outcome::Lost) = (looked_up, &outcome) {
            let n = self.attempt(update.token, replica, Kind::LookUp);
            update.attempts.push(n);
            update.looking_up[place].0 = n;
            let request = ConfirmRequest { n, id: update.id, acceptor: None, wait_ms: 0 };
            step.outputs.push(Output::Confirm(replica.clone(), request));
            return Some(update.deadline_ms.min(step.now.monotonic_ms + self.patience_ms()));
        }
        if let Some(place) = looked_up {
            update.looking_up.remove(place);
            update.held_by_nobody &= match &outcome {
                Outcome::Reply(reply) => *reply == Reply::NotHeld,
                Outcome::Gone | Outcome::Undelivered | Outcome::Lost => self.directory.is_dead(replica),
            };
            let is_news = update.may_be_fresh
                && update.held_by_nobody
                && self.directory.is_everybody_up_among(&update.looked_up)
                && !self.directory.is_listening(step.now.monotonic_ms);
            if is_news && update.looking_up.is_empty() && update.uncertain.is_empty() {
                update.fresh = true;
            }
        }
        if attempt.kind == Kind::Confirm {
            update.confirming.retain(|id| id != replica);
            if !matches!(outcome, Outcome::Reply(Reply::Held { .. }) | Outcome::Lost) {
                update.declined.push(replica.clone());
            }
        }
        if attempt.kind == Kind::Accept {
            if update.acceptor.as_ref() == Some(replica) {
                update.acceptor = None;
            }
            // Every reply to an attempt is a proof: the replica has not accepted the update, or says that it has.
            if let Outcome::Reply(_) | Outcome::Undelivered = &outcome {
                update.uncertain.retain(|(n, _)| *n != attempt.n);
            }
        }
        match outcome {
            Outcome::Reply(Reply::Accepted { value, records, clock, retired }) => {
                if let Some(record) = records.first() {
                    update.values.push((record.clone(), value));
                    if !retired.is_empty() {
                        update.retired.push((record.clone(), retired));
                    }
                }
                self.directory.hear_clock(clock);
                update.is_held_by(replica, records, clock);
            }
            Outcome::Reply(Reply::Held { records, clock }) => {
                self.directory.hear_clock(clock);
                update.is_held_by(replica, records, clock);
                // It may hold a record of an earlier attempt, and would say so again at once.
                let leads = |leading: Leading| update.holders_at(leading.place).contains(replica);
                if attempt.kind == Kind::Confirm && !self.leading(update).is_some_and(leads) {
                    update.declined.push(replica.clone());
                }
            }
            Outcome::Reply(Reply::Refused { refusal, label }) => {
                update.refused = Some((refusal, label));
            }
            Outcome::Reply(Reply::StampAgain { above }) => {
                if let Err(error) = self.stamp_again(update, update.prev.clock.max(above), step) {
                    step.answer(update.client, Err(error));
                    return None;
                }
                update.stamper = Some(replica.clone());
            }
            Outcome::Reply(Reply::StampAhead { wall_ms, clock }) => {
                update.wall_ms_max = update.wall_ms_max.min(wall_ms);
                if is_too_far_ahead(update.prev.clock, wall_ms, clock) {
                    // It covers what the session has seen, so its clock is above all that.
                    update.prev.clock = update.prev.clock.min(clock.max(Stamp::new(wall_ms, 0)));
                }
                let ahead_ms = step.now.wall_ms.saturating_sub(wall_ms);
                if ahead_ms > 0 {
                    step.notice(Notice::ClockAhead { ahead_ms });
                }
                if let Err(error) = self.stamp_again(update, update.prev.clock, step) {
                    step.answer(update.client, Err(error));
                    return None;
                }
            }
            Outcome::Reply(Reply::IdInUse) => {
                let text = format!("id: {} was used for another update: make a new one for each", update.id);
                step.answer(update.client, Err(FrontendError::BadRequest(text)));
                return None;
            }
            Outcome::Reply(Reply::Behind) => update.behind = true,
            Outcome::Reply(Reply::NotHeld | Reply::NotServing | Reply::Answered { .. }) => {}
            Outcome::Gone | Outcome::Undelivered => {}
            Outcome::Lost => update.asked.retain(|id| id != replica),
        }
        self.drive(update, step)
    }

    /// Gives the update a stamp above `floor`, while nobody can have accepted it with the old one.
    fn stamp_again(
        &mut self,
        update: &mut PendingUpdate,
        floor: Stamp,
        step: &mut Step<'_>,
    ) -> Result<(), FrontendError> {
        if update.can_be_held_by_nobody() {
            update.stamped_again += 1;
            if update.stamped_again > STAMPED_AGAIN_MAX {
                return Err(clock_ahead(&update.prev));
            }
            // The clock here is set back each time: other updates, which know nothing of it, have moved it since.
            self.clock.set_back(update.wall_ms_max);
            update.stamp = self.clock.tick(step.now.wall_ms.min(update.wall_ms_max), floor);
            // The same one may be asked again.
            update.asked.clear();
            step.notice(Notice::StampedAgain(update.id));
        }
        Ok(())
    }

    pub(super) fn update_timer(&mut self, update: &mut PendingUpdate, step: &mut Step<'_>) -> Option<u64> {
        if step.now.monotonic_ms >= update.deadline_ms {
            let error = self.update_is_late(update);
            step.answer(update.client, Err(error));
            return None;
        }
        if !update.looking_up.is_empty() || update.refused.is_some() {
            // Only those that can be reached are asked, and others may be by now.
            update.looking_up.clear();
            update.held_by_nobody = false;
            update.verifying = false;
            update.verified_dead = false;
        }
        update.declined.clear();
        let silent = update.acceptor.take().into_iter().chain(std::mem::take(&mut update.confirming));
        for silent in silent {
            self.directory.was_silent(&silent);
            step.notice(Notice::Retried { silent });
        }
        if self.directory.up().iter().all(|id| update.asked.contains(id)) {
            update.asked.clear();
        }
        self.drive(update, step)
    }
}

fn too_old(id: UpdateId) -> FrontendError {
    FrontendError::BadRequest(format!(
        "id: {id} was made more than a minute ago, and the session has seen more since: whether it took effect is not \
         known any more; read the rating, and make a new id"
    ))
}
