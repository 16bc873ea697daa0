//! Value timestamp <= replica timestamp; neither ever falls; the timestamp table is never ahead of the truth
//! (Ladin et al. 1992, §3.3).

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::ReplicaManager;
use natter_common::timestamp::Timestamp;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::cluster::Cluster;

/// Timestamps that each replica showed before.
#[derive(Debug, Default)]
pub struct Timestamps {
    before: BTreeMap<ReplicaId, (Timestamp, Timestamp, Timestamp)>,
    /// All that each ever showed, in whatever life: an old disk takes nothing of that back.
    shown: BTreeMap<ReplicaId, (Timestamp, Timestamp)>,
}

impl Timestamps {
    /// A replica manager handled something.
    pub fn stepped(
        &mut self,
        ledger: &Ledger,
        cluster: &Cluster,
        id: &ReplicaId,
        manager: &ReplicaManager,
    ) -> Result<(), Violation> {
        let (value, held) = (manager.value_timestamp(), manager.replica_timestamp());
        let committed = manager.committed_timestamp();
        check(ledger.covers(committed, value), "value <= what outlives a crash", || {
            format!("{id} applied {value}, of which {committed} outlive a crash")
        })?;
        check(held.covers(value), "value <= replica timestamp", || format!("{id} applied {value}, holds {held}"))?;
        if !self.before.contains_key(id) {
            self.before.insert(id.clone(), (Timestamp::new(), Timestamp::new(), Timestamp::new()));
        }
        let Some(before) = self.before.get_mut(id) else { return Ok(()) };
        let rises = ledger.covers(value, &before.0) && ledger.covers(held, &before.1);
        check(rises, "timestamps never fall", || format!("{id} from {before:?} to ({value}, {held})"))?;
        if before.0 != *value || before.1 != *held || before.2 != *committed {
            *before = (value.clone(), held.clone(), committed.clone());
            let shown = self.shown.entry(id.clone()).or_default();
            shown.0.merge(value);
            shown.1.merge(committed);
        }
        let nothing = (Timestamp::new(), Timestamp::new());
        for (other, entry) in manager.timestamp_table().iter() {
            let Some((other_manager, _)) = cluster.processes.get(other).and_then(|process| process.replica()) else {
                continue;
            };
            let (value, held) = self.shown.get(other).unwrap_or(&nothing);
            let true_enough =
                ledger.covers(held, &entry.replica_timestamp) && ledger.covers(value, &entry.value_timestamp);
            check(true_enough, "the timestamp table is never ahead of the truth", || {
                format!("{id} believes {entry:?} of {other_manager}")
            })?;
        }
        Ok(())
    }

    /// A replica manager begins another life with what it saved.
    pub fn reborn(&mut self, id: &ReplicaId, manager: &ReplicaManager) {
        let shown = self.shown.entry(id.clone()).or_default();
        shown.0.merge(manager.value_timestamp());
        shown.1.merge(manager.committed_timestamp());
        let (value, held) = (manager.value_timestamp().clone(), manager.replica_timestamp().clone());
        self.before.insert(id.clone(), (value, held, manager.committed_timestamp().clone()));
    }
}
