//! Losses: records that a session or this frontend has seen, and that died with the last replica that held them.
//!
//! The client is told which updates of its session are gone. The replicas are told too, as they count losses and log them:
//! by a query that names such a record, again and again for a while, since a replica gives a record up only after it has
//! missed it for some time itself.

use std::collections::BTreeMap;

use super::batch::is_member;
use super::directory::GivenUp;
use super::{Frontend, NOT_AWAITED, Notice, Output, Step};
use crate::ids::ReplicaId;
use crate::messages::QueryRequest;
use crate::request::Query;
use crate::roster::LOST_AFTER_MS;
use crate::timestamp::Timestamp;

/// Maximum origins of lost records that are told to the replicas. Records of others are given up without a word there.
const ORIGINS_MAX: usize = 64;
/// Time for which the replicas are told, in milliseconds: they begin to miss a record when they first hear of it.
const TOLD_FOR_MS: u64 = 2 * LOST_AFTER_MS;

/// Lost records, by origin: the last one, whether it is proven, and until when the replicas are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses(BTreeMap<ReplicaId, (u64, bool, u64)>);

impl Frontend {
    /// Takes the records out of a session's label that nothing will ever cover, and tells the client.
    pub(super) fn forget_for(&mut self, client: u64, prev: &mut Timestamp, step: &mut Step<'_>) {
        let given_up = self.directory.forget_the_dead(prev, false, step.now.monotonic_ms);
        if given_up.is_empty() {
            return;
        }
        if !is_member(client) {
            let lost = given_up.iter().map(|lost| (lost.origin.clone(), lost.count)).collect();
            step.outputs.push(Output::Lost(client, lost));
        }
        self.note_losses(given_up, step);
    }

    /// The same for what this frontend has seen itself.
    pub(super) fn forget_own(&mut self, step: &mut Step<'_>) {
        let mut own = std::mem::take(&mut self.prev.replicas);
        let given_up = self.directory.forget_the_dead(&mut own, true, step.now.monotonic_ms);
        self.prev.replicas = own;
        self.note_losses(given_up, step);
    }

    fn note_losses(&mut self, given_up: Vec<GivenUp>, step: &mut Step<'_>) {
        for GivenUp { origin, held, count, proven } in given_up {
            let known = self.losses.0.get(&origin).copied();
            if known.is_some_and(|(known, known_proven, _)| known >= count && known_proven >= proven)
                || known.is_none() && self.losses.0.len() >= ORIGINS_MAX
            {
                continue;
            }
            let until_ms = step.now.monotonic_ms + TOLD_FOR_MS;
            self.losses.0.insert(origin.clone(), (count, proven, until_ms));
            step.notice(Notice::Lost { origin, after: held, until: count, proven });
        }
    }

    /// Origins in `prev` that are not heard. `seen_here` says that this frontend's own `prev` covered it at the start of the
    /// request. After a loss it may not cover it any more; without one there is nothing to compare.
    pub(super) fn unheard(&self, prev: &Timestamp, seen_here: bool) -> Vec<ReplicaId> {
        let still_covered = || self.losses.0.is_empty() || self.prev.replicas.covers(prev);
        self.directory.unheard(prev, seen_here && still_covered())
    }

    /// Tells the replicas that are up of lost records, so that these count and log them.
    pub(super) fn tell_losses(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        let directory = &self.directory;
        for (origin, (count, proven, until_ms)) in &self.losses.0 {
            if now_ms > *until_ms || directory.is_present(origin) {
                continue;
            }
            for replica in directory.up() {
                let request = QueryRequest {
                    n: NOT_AWAITED,
                    prev: [(origin.clone(), *count)].into_iter().collect(),
                    proven: *proven,
                    unheard: vec![origin.clone()],
                    request: Query::Search { title: String::new(), limit: 1 },
                    wait_ms: 0,
                };
                step.outputs.push(Output::Query(replica, request));
            }
        }
        // A record of a replica that is there again may be lost again.
        self.losses.0.retain(|origin, _| !directory.is_present(origin));
    }
}
