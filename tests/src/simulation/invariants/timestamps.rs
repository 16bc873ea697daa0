//! Value timestamp <= replica timestamp; neither ever falls; the timestamp table is never ahead of the truth
//! (Ladin et al. 1992, §3.3).

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::ReplicaManager;
use natter_common::timestamp::Timestamp;

use super::{Violation, check};
use crate::simulation::cluster::Cluster;

/// What each replica manager showed before.
#[derive(Debug, Default)]
pub struct Timestamps {
    before: BTreeMap<ReplicaId, (Timestamp, Timestamp)>,
}

impl Timestamps {
    /// A replica manager handled something.
    pub fn stepped(&mut self, cluster: &Cluster, id: &ReplicaId, manager: &ReplicaManager) -> Result<(), Violation> {
        let (value, held) = (manager.value_timestamp(), manager.replica_timestamp());
        check(held.covers(value), "value <= replica timestamp", || format!("{id} applied {value}, holds {held}"))?;
        let before = self.before.entry(id.clone()).or_default();
        check(value.covers(&before.0) && held.covers(&before.1), "timestamps never fall", || {
            format!("{id} from {before:?} to ({value}, {held})")
        })?;
        if before.0 != *value || before.1 != *held {
            *before = (value.clone(), held.clone());
        }
        for (other, entry) in manager.timestamp_table().iter() {
            let Some((other_manager, _)) = cluster.processes.get(other).and_then(|process| process.replica()) else {
                continue;
            };
            let true_enough = other_manager.replica_timestamp().covers(&entry.replica_timestamp)
                && other_manager.value_timestamp().covers(&entry.value_timestamp);
            check(true_enough, "the timestamp table is never ahead of the truth", || {
                format!("{id} believes {entry:?} of {other_manager:?}")
            })?;
        }
        Ok(())
    }
}
