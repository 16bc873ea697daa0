//! Missed updates: a session or a frontend has seen them, their origins are gone, and no present replica shows them.
//!
//! Silence is no proof of death: behind a partial partition a replica may be silent here and heard by a third one,
//! which brings all its updates, only later. So an update counts as lost when its origin is dead by all that is known
//! here, *and* it was missed for [`LOST_AFTER_MS`] in vain.

use std::collections::BTreeMap;

use crate::ids::ReplicaId;
use crate::roster::LOST_AFTER_MS;

/// For each origin, the number of the first of its updates that is missed, and since when, in milliseconds.
type Origins = BTreeMap<ReplicaId, (u64, u64)>;

/// Missed updates of two kinds: labels of replicas prove the ones, clients only claim the others. A claim must not make
/// a proven update count as lost sooner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missed {
    proven: Origins,
    claimed: Origins,
}

impl Missed {
    /// Update `count` of `origin` is missed. Says whether it, or an earlier one, has been for [`LOST_AFTER_MS`].
    pub(crate) fn note(&mut self, origin: &ReplicaId, count: u64, proven: bool, now_ms: u64) -> bool {
        if !proven && is_in_vain(&self.proven, origin, count, now_ms) {
            return true;
        }
        let origins = if proven { &mut self.proven } else { &mut self.claimed };
        let (first, since_ms) = origins.entry(origin.clone()).or_insert((count, now_ms));
        if *first > count {
            (*first, *since_ms) = (count, now_ms);
        }
        is_in_vain(origins, origin, count, now_ms)
    }

    /// Another process hears `origin`: its updates count as missed only from now on.
    pub(crate) fn is_heard(&mut self, origin: &ReplicaId) {
        self.proven.remove(origin);
        self.claimed.remove(origin);
    }

    /// Forgets what is not missed any more, as `is_missed` says of an origin and a number.
    pub(crate) fn retain(&mut self, mut is_missed: impl FnMut(&ReplicaId, u64) -> bool) {
        for origins in [&mut self.proven, &mut self.claimed] {
            origins.retain(|origin, (count, _)| is_missed(origin, *count));
        }
    }
}

/// Whether update `count` of `origin`, or an earlier one, has been missed for [`LOST_AFTER_MS`].
fn is_in_vain(origins: &Origins, origin: &ReplicaId, count: u64, now_ms: u64) -> bool {
    let entry = origins.get(origin);
    entry.is_some_and(|(first, since_ms)| *first <= count && now_ms.saturating_sub(*since_ms) >= LOST_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(n: u32) -> ReplicaId {
        ReplicaId::new(&format!("r{n}")).unwrap()
    }

    #[test]
    fn an_update_is_missed_in_vain_after_a_while_counted_from_when_it_was_missed_first() {
        let mut missed = Missed::default();
        assert!(!missed.note(&r(1), 8, true, 60_000));
        assert!(!missed.note(&r(1), 8, true, 60_000 + LOST_AFTER_MS - 1));
        assert!(missed.note(&r(1), 8, true, 60_000 + LOST_AFTER_MS));
        assert!(missed.note(&r(1), 9, true, 60_000 + LOST_AFTER_MS), "what depends on it");
        assert!(!missed.note(&r(1), 7, true, 60_000 + LOST_AFTER_MS), "not what came before it");
        assert!(!missed.note(&r(2), 8, true, 60_000 + LOST_AFTER_MS), "nor what somebody else accepted");
    }

    #[test]
    fn what_has_come_is_not_missed_and_the_next_one_has_its_own_time() {
        let mut missed = Missed::default();
        missed.note(&r(1), 8, true, 0);
        missed.retain(|_, count| count > 8);
        assert!(!missed.note(&r(1), 9, true, LOST_AFTER_MS));
    }

    #[test]
    fn what_somebody_hears_is_missed_anew_when_nobody_hears_it_any_more() {
        for proven in [true, false] {
            let mut missed = Missed::default();
            missed.note(&r(1), 8, proven, 0);
            missed.is_heard(&r(1));
            assert!(!missed.note(&r(1), 8, proven, LOST_AFTER_MS));
            assert!(missed.note(&r(1), 8, proven, 2 * LOST_AFTER_MS));
        }
    }

    #[test]
    fn what_is_only_claimed_makes_nothing_proven_lost_but_what_is_proven_lost_ends_claims() {
        let mut missed = Missed::default();
        missed.note(&r(1), 8, false, 0);
        assert!(!missed.note(&r(1), 8, true, LOST_AFTER_MS));
        assert!(missed.note(&r(1), 8, false, LOST_AFTER_MS));
        missed.note(&r(2), 8, true, 0);
        assert!(missed.note(&r(2), 9, false, LOST_AFTER_MS));
    }
}
