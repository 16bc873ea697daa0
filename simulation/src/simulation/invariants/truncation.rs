//! No record leaves a log while a present replica lacks it (guarantee 6 must not cost a pull): the timestamp table says
//! which replica has it.

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::ReplicaManager;
use natter_common::timestamp::Timestamp;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::cluster::Cluster;
use crate::simulation::process::Process;

/// Maximum time between two looks at records that can go, with a margin, in microseconds.
const SLACK_US: u64 = 400_000;

/// Numbers after which each log began, by origin.
#[derive(Debug, Default)]
pub struct Truncation {
    starts: BTreeMap<ReplicaId, Timestamp>,
}

impl Truncation {
    /// A replica manager handled something. Records that it took from a snapshot were never in its log.
    pub fn stepped(
        &mut self,
        ledger: &Ledger,
        cluster: &Cluster,
        process: &Process,
        manager: &ReplicaManager,
        took_snapshot: bool,
    ) -> Result<(), Violation> {
        if !self.starts.contains_key(&process.id) {
            self.starts.insert(process.id.clone(), Timestamp::new());
        }
        let Some(starts) = self.starts.get_mut(&process.id) else { return Ok(()) };
        let now = manager.log().starts();
        if starts.covers(&now) {
            return Ok(());
        }
        for (origin, start) in now.iter() {
            let before = starts.get(origin);
            starts.set(origin, start);
            if start <= before || took_snapshot {
                continue;
            }
            // The log lets go of a retired origin. Its entry begins there again once its old presence is believed.
            if ledger.has_retired(manager.value_timestamp(), origin, start) {
                continue;
            }
            let now_us = cluster.now_us();
            let awaited_us = cluster.settings.forget_after_ms * 1000;
            for (id, heard) in process.certain_of(now_us) {
                // A replica that was silent for nearly this time may be forgotten by now.
                if heard.silent_us(now_us) + SLACK_US > awaited_us {
                    continue;
                }
                // A dead replica, of which a bystander repeats old presence, asks for nothing any more.
                let Some(other) = cluster.processes.get(id).filter(|other| other.is_alive()) else { continue };
                let Some((other, _)) = other.replica() else { continue };
                let has = other.replica_timestamp().get(origin) >= start
                    || ledger.expanded(other.value_timestamp()).get(origin) >= start;
                check(has, "no record leaves a log that somebody lacks who is there", || {
                    format!("{} let {origin}:{start} go, and {other} has not", process.id)
                })?;
            }
        }
        Ok(())
    }
}
