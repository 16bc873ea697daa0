//! Sessions: what one client has seen, and the ids of its updates.
//!
//! A session sends its label as `prev` with every request and merges the label of every answer, of refusals too (404 and
//! 409). So it reads its own writes and never reads backwards, on whichever frontend and replica manager.
//!
//! Its update ids are version 7 UUIDs whose time and counter bits are the stamp of a hybrid logical clock above the
//! label's. A frontend takes the stamp from the id, so a retry through any frontend carries the same stamp, and applying
//! it again changes nothing.

use serde::{Deserialize, Serialize};

use crate::clock::HybridLogicalClock;
use crate::ids::UpdateId;
use crate::label::Label;
use crate::timestamp::Timestamp;

/// Session of a client: the updates that it has seen. Reads no clock and draws nothing at random: both come from the
/// caller.
///
/// Serialised as its label alone, the rest follows from that.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Label", into = "Label")]
pub struct Session {
    label: Label,
    clock: HybridLogicalClock,
}

impl Session {
    /// Nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// The label seen so far: the `prev` of the next request.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Takes in the label of an answer or of a refusal. Says whether that was news.
    pub fn merge(&mut self, label: &Label) -> bool {
        let news = !self.label.replicas.covers(&label.replicas) || self.label.clock < label.clock;
        self.label.merge(label);
        news
    }

    /// Leaves out updates that are lost, by replica the number of the last one: no answer will ever reflect them.
    pub fn forget(&mut self, lost: &Timestamp) {
        for (replica, count) in lost.iter() {
            if self.label.replicas.get(replica) <= count {
                self.label.replicas.set(replica, 0);
            }
        }
    }

    /// Leaves out replicas that are retired, as the answer to `prev` tells whose label was taken in: that stands for their
    /// updates.
    pub fn leave_out(&mut self, retired: &Timestamp) {
        self.label.replicas.leave_out(retired);
    }

    /// An id for a new update, whose stamp is above the label's clock and above that of every id made before, and not
    /// before `wall_ms`. The low 58 bits of `random` tell sessions apart.
    pub fn update_id(&mut self, wall_ms: u64, random: u64) -> UpdateId {
        UpdateId::from_stamp(self.clock.tick(wall_ms, self.label.clock), random)
    }
}

impl From<Label> for Session {
    fn from(label: Label) -> Self {
        Self { label, clock: HybridLogicalClock::default() }
    }
}

impl From<Session> for Label {
    fn from(session: Session) -> Self {
        session.label
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::ids::ReplicaId;
    use proptest::prelude::*;

    fn label(entries: &[(&str, u64)], clock: Stamp) -> Label {
        let named = |(id, count): &(&str, u64)| (ReplicaId::new(id).unwrap(), *count);
        Label { replicas: entries.iter().map(named).collect(), clock }
    }

    #[test]
    fn labels_are_merged_and_news_is_told_from_the_known() {
        let mut session = Session::new();
        assert!(session.merge(&label(&[("a", 2)], Stamp(20))));
        assert!(session.merge(&label(&[("a", 1), ("b", 1)], Stamp(10))));
        assert!(!session.merge(&label(&[("a", 2)], Stamp(5))));
        assert!(session.merge(&label(&[], Stamp(21))));
        assert_eq!(session.label(), &label(&[("a", 2), ("b", 1)], Stamp(21)));
    }

    #[test]
    fn ids_of_a_slow_machine_are_above_what_the_session_has_seen() {
        let seen = Stamp::new(5_000, 3);
        let mut session = Session::from(label(&[("a", 1)], seen));
        assert_eq!(session.update_id(1_000, 1).stamp(), Some(seen.next()));
        assert_eq!(session.update_id(6_000, 1).stamp(), Some(Stamp::new(6_000, 0)));
    }

    #[test]
    fn a_session_is_stored_as_its_label() {
        let mut session = Session::from(label(&[("a", 1)], Stamp(9)));
        session.update_id(1_000, 1);
        let text = serde_json::to_string(&session).unwrap();
        assert_eq!(text, r#"{"replicas":{"a":1},"clock":9}"#);
        let again: Session = serde_json::from_str(&text).unwrap();
        assert_eq!(again.label(), session.label());
    }

    proptest! {
        #[test]
        fn stamps_of_ids_rise_above_the_label_and_each_other(
            steps in prop::collection::vec((0u64..1 << 40, 0u64..1 << 56, any::<u64>()), 1..40),
        ) {
            let mut session = Session::new();
            let mut before = Stamp::ZERO;
            for (wall_ms, clock, random) in steps {
                session.merge(&label(&[], Stamp(clock)));
                let stamp = session.update_id(wall_ms, random).stamp().unwrap();
                prop_assert!(stamp > before && stamp > session.label().clock && stamp.milliseconds() >= wall_ms);
                before = stamp;
            }
        }
    }
}
