//! Leaving: what was accepted is handed over before the goodbye.

use crate::clock::Now;
use crate::replica_manager::{Output, ReplicaManager};
use crate::value::Value;

impl ReplicaManager {
    /// Accepts no more updates, so that what was accepted can be handed over.
    pub fn begin_leaving(&mut self) {
        self.leaving = true;
    }

    /// Whether somebody else has all that was accepted here, or nobody is there to have it.
    pub fn is_handed_over(&self) -> bool {
        self.not_handed_over() == 0 || self.roster.present().next().is_none()
    }

    /// Number of records of this and of earlier lives that no other replica is known to hold.
    pub fn not_handed_over(&self) -> u64 {
        let own = [&self.config.id].into_iter().chain(&self.former);
        own.map(|id| {
            let others = self.roster.present().filter_map(|(peer, _)| self.table.get(peer));
            let handed_over = others.map(|entry| entry.replica_timestamp.get(id)).max().unwrap_or(0);
            self.log.replica_timestamp().get(id).saturating_sub(handed_over)
        })
        .sum()
    }

    /// Says goodbye. Requests that were sent before that became known are still handled.
    pub fn leave(&mut self, now: Now, value: &mut dyn Value, outputs: &mut Vec<Output>) {
        if self.is_all_committed() {
            self.flush(now, value, outputs);
        }
        self.left = true;
        outputs.push(Output::Presence(Box::new(self.presence(now, value))));
    }
}
