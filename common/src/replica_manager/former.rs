//! Former ids: a replica that keeps its state on disk takes a new id at each start, and shows the ids of its earlier lives.
//!
//! So no number is used twice, even if the directory is a copy, or older than the last gossip of its replica. The new
//! life holds the records of an earlier life like those of any other origin, and they spread like these. No process
//! waits for the former id any more, as the new life has everything that it left. It leaves the timestamps as soon as
//! all replicas have applied the same number of its records.

use std::collections::BTreeSet;

use super::{Notice, ReplicaManager, Saved, Step};
use crate::ids::ReplicaId;
use crate::messages::Presence;

/// Former ids that are kept although no timestamp names them any more: others may still wait for them. One restart every
/// five seconds needs twelve of them a minute.
const KEPT_UNNAMED: usize = 32;
/// Dead ids that are remembered. Of those that are gone for longer, what is missing is not given up as lost.
pub(super) const DEAD_MAX: usize = 4096;

impl Saved {
    /// The former ids of the next life: these, and then `last`, the id of the life that has saved this. Ids that no
    /// timestamp names any more are kept for a while.
    pub fn former_of_next(&self, former: &[ReplicaId], last: &ReplicaId) -> Vec<ReplicaId> {
        let all: Vec<&ReplicaId> = former.iter().filter(|id| *id != last).chain([last]).collect();
        let recent = all.len().saturating_sub(KEPT_UNNAMED);
        let names = |id: &ReplicaId| {
            self.state.value_timestamp.replicas.get(id) > 0 || self.state.replica_timestamp.replicas.get(id) > 0
        };
        let kept = all.iter().enumerate().filter(|(place, id)| *place >= recent || names(id));
        let kept: Vec<ReplicaId> = kept.map(|(_, id)| (*id).clone()).collect();
        kept[kept.len().saturating_sub(Presence::FORMER_MAX)..].to_vec()
    }
}

/// Ids that are gone for good; the oldest ones make room.
#[derive(Clone, Debug, Default)]
pub(super) struct Dead {
    ids: BTreeSet<ReplicaId>,
    order: std::collections::VecDeque<ReplicaId>,
}

impl Dead {
    pub(super) fn insert(&mut self, id: ReplicaId) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
            if self.order.len() > DEAD_MAX
                && let Some(first) = self.order.pop_front()
            {
                self.ids.remove(&first);
            }
        }
    }

    pub(super) fn contains(&self, id: &ReplicaId) -> bool {
        self.ids.contains(id)
    }

    /// Forgets those that are there after all.
    pub(super) fn retain(&mut self, mut is_dead: impl FnMut(&ReplicaId) -> bool) {
        let before = self.ids.len();
        self.ids.retain(|id| is_dead(id));
        if self.ids.len() < before {
            let ids = &self.ids;
            self.order.retain(|id| ids.contains(id));
        }
    }
}

impl ReplicaManager {
    /// The ids of earlier lives of this replica.
    pub fn former(&self) -> &[ReplicaId] {
        &self.former
    }

    /// Begins a life after these.
    pub(super) fn begin_after(&mut self, former: &[ReplicaId]) {
        for id in former {
            self.note_mortal(id.clone());
            self.dead.insert(id.clone());
        }
        self.former = former.to_vec();
    }

    /// `id` shows itself, and these are ids of its earlier lives.
    pub(super) fn hear_former(&mut self, id: &ReplicaId, former: &[ReplicaId], step: &mut Step<'_>) {
        // One that runs is no earlier life: the directory here is a copy of the one there.
        self.former.retain(|own| own != id);
        let now_ms = step.now.monotonic_ms;
        for earlier in former {
            let is_copy = self.roster.get(earlier).is_some_and(|member| member.has_outlived(id));
            if *earlier == self.config.id || is_copy {
                continue;
            }
            if self.roster.supersede(earlier, id, now_ms) {
                self.pulls.failed(earlier, now_ms);
                self.dead.insert(earlier.clone());
                step.notice(Notice::PeerRestarted { id: id.clone(), former: earlier.clone() });
                self.follow_retirement(earlier, step);
            }
            let is_named = self.value_timestamp.get(earlier) > 0 || self.log.replica_timestamp().get(earlier) > 0;
            if is_named && self.roster.get(earlier).is_none_or(|member| !member.is_present()) {
                self.note_mortal(earlier.clone());
                self.dead.insert(earlier.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ReplicaId {
        ReplicaId::new(&format!("d_{n}")).unwrap()
    }

    #[test]
    fn former_ids_stay_few_however_often_a_replica_restarts() {
        let mut saved = Saved::default();
        // The records of this one are not everywhere yet.
        saved.state.replica_timestamp.replicas.set(&id(3), 7);
        let mut former = Vec::new();
        for n in 0..120_960 {
            former = saved.former_of_next(&former, &id(n));
            assert!(former.len() <= KEPT_UNNAMED + 1 && former.last() == Some(&id(n)));
        }
        assert!(former.contains(&id(3)) && !former.contains(&id(4)));
        for n in 0..1000 {
            saved.state.value_timestamp.replicas.set(&id(n), 1);
            former = saved.former_of_next(&former, &id(n));
        }
        assert_eq!(former.len(), Presence::FORMER_MAX);
    }

    #[test]
    fn of_the_dead_the_last_ones_are_remembered() {
        let mut dead = Dead::default();
        for n in 0..2 * DEAD_MAX {
            dead.insert(id(n));
        }
        assert!(dead.contains(&id(2 * DEAD_MAX - 1)) && !dead.contains(&id(0)) && dead.order.len() == DEAD_MAX);
        dead.retain(|other| *other != id(2 * DEAD_MAX - 1));
        assert!(!dead.contains(&id(2 * DEAD_MAX - 1)) && dead.order.len() == DEAD_MAX - 1);
    }
}
