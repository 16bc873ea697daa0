//! Attempts that get no reply: their replica is gone, or a connection is new, and messages on their way are lost with the one
//! before.

use std::collections::BTreeSet;
use std::ops::Range;

use super::pending::Outcome;
use super::{Attempt, Frontend, Pending, Step};
use crate::ids::ReplicaId;

impl Frontend {
    /// A number for an attempt of the request `token` at `replica`.
    pub(super) fn attempt(&mut self, token: u64, replica: &ReplicaId, kind: super::Kind) -> u64 {
        let n = self.attempts.reserve();
        self.attempts.put(n, Attempt { n, token, replica: replica.clone(), kind });
        n
    }

    /// Hands the outcome of an attempt to the request that it was for.
    pub(super) fn conclude(&mut self, attempt: Attempt, outcome: Outcome, step: &mut Step<'_>) {
        // Taken out while it is handled, so that it and the rest of the frontend can both be changed.
        let Some(mut pending) = self.pending.take(attempt.token) else { return };
        let wake_ms = match &mut pending {
            Pending::Query(query) => self.query_outcome(query, &attempt, outcome, step),
            Pending::Update(update) => self.update_outcome(update, &attempt, outcome, step),
        };
        self.put_back(attempt.token, pending, wake_ms);
    }

    /// Another replica can be asked: queries that had nobody left to ask go there.
    pub(super) fn ask_newcomer(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        let waiting = |pending: &Pending| match pending {
            Pending::Query(query) if query.deadline_ms() <= now_ms => None,
            Pending::Query(query) => query.waits_for_the_asked().then_some(query.token()),
            Pending::Update(_) => None,
        };
        let tokens: Vec<u64> = self.pending.iter().filter_map(waiting).collect();
        for token in tokens {
            if let Some(Pending::Query(mut query)) = self.pending.take(token) {
                let wake_ms = self.send_query(&mut query, step);
                self.put_back(token, Pending::Query(query), wake_ms);
            }
        }
    }

    /// The replica is gone. Those in `undelivered` reached nobody.
    pub(super) fn fail_attempts_at(&mut self, replica: &ReplicaId, undelivered: &Range<u64>, step: &mut Step<'_>) {
        // Later requests come back undelivered by themselves.
        let until = if undelivered.is_empty() { u64::MAX } else { undelivered.end };
        let is_lost = |attempt: &&Attempt| attempt.replica == *replica && attempt.n < until;
        let lost: Vec<u64> = self.attempts.iter().filter(is_lost).map(|attempt| attempt.n).collect();
        for n in lost {
            if let Some(attempt) = self.attempts.take(n) {
                let outcome = if undelivered.contains(&n) { Outcome::Undelivered } else { Outcome::Gone };
                self.conclude(attempt, outcome, step);
            }
        }
    }

    /// Asks again those replicas for which `is_cut_off` holds: requests to them, or their replies, may be lost. Of several
    /// attempts of a kind that a request made at one replica, the last one counts. A request whose time is over asks nobody any
    /// more: this process may have been paused.
    pub(super) fn repeat_attempts_at(&mut self, is_cut_off: impl Fn(&ReplicaId) -> bool, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        let is_over = |token| self.pending.get(token).is_none_or(|pending| pending.deadline_ms() <= now_ms);
        let lost = self.attempts.iter().filter(|attempt| is_cut_off(&attempt.replica) && !is_over(attempt.token));
        let mut lost: Vec<Attempt> = lost.cloned().collect();
        lost.sort_by_key(|attempt| std::cmp::Reverse(attempt.n));
        let mut asked = BTreeSet::new();
        lost.retain(|attempt| asked.insert((attempt.token, attempt.replica.clone(), attempt.kind)));
        for attempt in lost.into_iter().rev() {
            if let Some(attempt) = self.attempts.take(attempt.n) {
                self.conclude(attempt, Outcome::Lost, step);
            }
        }
    }
}
