//! Joining: no requests before this replica manager has caught up with what the others showed.

use super::{Notice, ReplicaManager, Status, Step};
use crate::roster::{MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};
use crate::timestamp::Timestamp;
use crate::value::ValueError;

/// Progress of a replica towards serving.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// Listens for the presence of others.
    Starting {
        /// Time at which it began to listen, in milliseconds.
        since_ms: u64,
    },
    /// Has heard who is there and what they have applied; has not applied all of it.
    CatchingUp {
        /// The merge of what they had applied then.
        target: Timestamp,
    },
    /// Serves.
    Serving,
}

impl Phase {
    pub(super) fn is_serving(&self) -> bool {
        *self == Self::Serving
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }
}

impl ReplicaManager {
    /// Goes on to the next phase when its time has come.
    pub(super) fn advance_phase(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        if self.status.status() == Status::Offline {
            return Ok(());
        }
        if let Phase::Starting { since_ms } = self.phase {
            // Every replica shows its presence once an interval, and soon after it hears a newcomer. Silence takes
            // longer to believe: if no other is present, this is the first.
            let alone = self.roster.present().next().is_none();
            let intervals = if alone { MISSED_INTERVALS_MAX } else { MISSED_INTERVALS_MAX - 1 };
            if step.now.monotonic_ms.saturating_sub(since_ms) < intervals * PRESENCE_INTERVAL_MS {
                return Ok(());
            }
            if !self.has_identity(since_ms, step) {
                return Ok(());
            }
            self.catch_up();
            // The earlier life may not have saved its last value timestamp. The records are applied again before the first answer.
            self.apply_ready(step)?;
        }
        if let Phase::CatchingUp { target } = &self.phase {
            // Entries that no present replica shows any more are left out: waiting for them would never end.
            let mut target = target.common(&self.shown_by_others());
            self.retired.strip(&mut target);
            if self.value_timestamp.covers(&target) {
                let before = self.status();
                self.phase = Phase::Serving;
                step.notice(Notice::CaughtUp { target });
                self.changed_status(before, step);
            }
        }
        Ok(())
    }

    /// Begins to catch up with what the others show now.
    pub(super) fn catch_up(&mut self) {
        self.phase = Phase::CatchingUp { target: self.shown_by_others() };
    }

    /// Merge of the value timestamps of the other replicas present. An OFFLINE replica does not count as present.
    fn shown_by_others(&self) -> Timestamp {
        let mut shown = Timestamp::new();
        for (id, member) in self.roster.present() {
            if member.presence.status != Status::Offline
                && let Some(entry) = self.table.get(id)
            {
                shown.merge(&entry.value_timestamp);
            }
        }
        shown
    }
}
