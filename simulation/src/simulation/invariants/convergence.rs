//! Convergence (guarantee 3): a value timestamp decides the ratings, at every replica and at all times; and when all is
//! well, all show the same.

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::replica_manager::ReplicaManager;
use natter_common::value::{Digest, Value};

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::cluster::Cluster;
use crate::simulation::value::MemoryValue;

/// The digests that were shown at each value timestamp.
#[derive(Debug, Default)]
pub struct Convergence {
    digests: BTreeMap<Vec<(ReplicaId, u64)>, Digest>,
}

impl Convergence {
    /// A replica manager has applied something.
    pub fn applied(
        &mut self,
        ledger: &Ledger,
        id: &ReplicaId,
        manager: &ReplicaManager,
        value: &MemoryValue,
    ) -> Result<(), Violation> {
        let timestamp = manager.value_timestamp();
        let expected = ledger.rows_at(timestamp);
        check(*value.rows() == expected, "the value is what its timestamp says", || {
            format!("{id} at {timestamp} has {:?} instead of {expected:?}", value.rows())
        })?;
        let entries = timestamp.iter().map(|(id, count)| (id.clone(), count)).collect();
        let digest = *self.digests.entry(entries).or_insert(value.digest());
        check(digest == value.digest(), "equal value timestamps, equal digests", || {
            format!("{id} at {timestamp} shows {} and another showed {digest}", value.digest())
        })
    }

    /// Everything has been well for a while.
    pub fn at_end(&self, ledger: &Ledger, cluster: &Cluster) -> Result<(), Violation> {
        let replicas = cluster.alive(Role::Replica);
        let Some(first) = replicas.first().map(|id| cluster.manager(id)) else { return Ok(()) };
        for id in &replicas {
            let manager = cluster.manager(id);
            // Origins that some have retired may have been heard of again by others.
            let equal = ledger.expanded(manager.value_timestamp()) == ledger.expanded(first.value_timestamp())
                && manager.replica_timestamp() == manager.value_timestamp()
                && manager.waiting() == 0
                && cluster.is_serving(id);
            check(equal, "all is well again and all are equal", || format!("{manager} and {first}"))?;
        }
        Ok(())
    }
}
