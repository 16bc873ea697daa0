//! Verdict on the replies to an update: whether enough replicas hold it, whether a refusal is certain, and the error to
//! answer.

use super::pending_update::PendingUpdate;
use super::{Frontend, Step};
use crate::edge::{ClientReply, FrontendError};
use crate::label::Label;

/// The record of an update that most hold of those who are there.
#[derive(Clone, Copy)]
pub(super) struct Leading {
    /// Its place among the update's holders.
    pub(super) place: usize,
    /// Number of present replicas that hold it.
    pub(super) count: usize,
}

impl Frontend {
    /// Answers the client if enough hold the same record. Says whether it did.
    pub(super) fn acknowledge(
        &mut self,
        update: &mut PendingUpdate,
        leading: Option<Leading>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(Leading { place, count }) = leading else { return false };
        let asked = self.config.fault_tolerance as usize;
        // Before everybody had the time to show up, it is not known who is up.
        let all = self.config.strict || self.directory.is_listening(step.now.monotonic_ms);
        let enough = if all { asked } else { asked.min(self.directory.up_count()).max(1) };
        if count < enough {
            return false;
        }
        let Some(value) = update.take_answer_of(place) else { return false };
        let retired = update.retired_of(place).cloned();
        let (record, holders) = &update.holders[place];
        let replicas = holders.iter().filter(|id| self.directory.is_holder(id)).cloned().collect();
        let mut label = Label { clock: update.clock, ..Label::new() };
        label.replicas.set(&record.i, record.seq);
        self.prev.merge(&label);
        if let Some(retired) = retired {
            self.leave_out(&retired);
            self.tell_retired(update.client, &retired);
        }
        let reply = ClientReply { value, label, replicas };
        step.answer(update.client, Ok(reply));
        true
    }

    /// The record that most hold of those who are there; of those that enough hold, one whose answer is known.
    pub(super) fn leading(&self, update: &PendingUpdate) -> Option<Leading> {
        let asked = self.config.fault_tolerance as usize;
        let records = update.holders.iter().enumerate().map(|(place, (_, holders))| {
            let count = holders.iter().filter(|id| self.directory.is_holder(id)).count();
            Leading { place, count }
        });
        let leading = records
            .max_by_key(|Leading { place, count }| ((*count).min(asked), update.answer_of(*place).is_some(), *count))?;
        (leading.count > 0).then_some(leading)
    }

    /// Whether all who may have accepted the update are dead.
    pub(super) fn are_all_dead(&self, update: &PendingUpdate) -> bool {
        update.uncertain.iter().all(|(_, id)| self.directory.is_dead(id))
    }

    /// Whether it is certain that no replica has accepted the refused update. An absent replica may have got it from a
    /// dead one.
    pub(super) fn is_refusal_certain(&self, update: &PendingUpdate) -> bool {
        let is_lost = || {
            update.verified_dead
                && self.are_all_dead(update)
                && update.held_by_nobody
                && update.everybody_was_asked
                && !self.directory.is_somebody_away()
        };
        update.holders.is_empty() && (update.uncertain.is_empty() || is_lost())
    }

    /// The error that a client gets when its time is over.
    pub(super) fn update_is_late(&self, update: &PendingUpdate) -> FrontendError {
        let timeout_ms = self.config.timeout_ms;
        let (id, asked) = (update.id, self.config.fault_tolerance);
        if self.config.strict && !update.holders.is_empty() {
            let holders = self.leading(update).map_or(0, |leading| leading.count);
            FrontendError::NotEnoughReplicas { id, holders, asked }
        } else if let (Some((refusal, _)), Some((_, gone))) = (&update.refused, update.uncertain.first()) {
            FrontendError::RefusalUncertain { id, refusal: *refusal, gone: gone.clone(), timeout_ms }
        } else if !update.uncertain.is_empty() || !update.holders.is_empty() {
            FrontendError::UpdateTimeout { id, timeout_ms }
        } else if update.behind {
            FrontendError::Stale { timeout_ms }
        } else if !self.directory.has_somebody_up() {
            FrontendError::Unavailable
        } else {
            FrontendError::UpdateTimeout { id, timeout_ms }
        }
    }
}
