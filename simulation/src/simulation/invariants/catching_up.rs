//! A replica that joins, or comes back from OFFLINE, serves only when it has applied what the others showed by then.

use std::collections::BTreeSet;

use natter_common::ids::ReplicaId;
use natter_common::messages::Status;
use natter_common::replica_manager::ReplicaManager;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::process::Process;

/// Replicas that serve.
#[derive(Debug, Default)]
pub struct CatchingUp {
    serving: BTreeSet<ReplicaId>,
}

impl CatchingUp {
    /// A replica manager handled something.
    pub fn stepped(
        &mut self,
        ledger: &Ledger,
        process: &Process,
        manager: &ReplicaManager,
        now_us: u64,
    ) -> Result<(), Violation> {
        if !matches!(manager.status(), Status::Active | Status::Overloaded) {
            // Replicas that stop for a moment to merge a snapshot go on where they were.
            if !manager.is_merging() {
                self.serving.remove(&process.id);
            }
            return Ok(());
        }
        if !self.serving.insert(process.id.clone()) {
            return Ok(());
        }
        let applied = manager.value_timestamp();
        process.certain_of(now_us).try_for_each(|(other, heard)| {
            let caught_up = heard.applied_at_first.as_ref().is_none_or(|first| ledger.covers(applied, first));
            check(caught_up, "nobody serves before it has caught up", || {
                format!("{} serves at {applied}; {other} had shown {:?}", process.id, heard.applied_at_first)
            })
        })
    }
}
