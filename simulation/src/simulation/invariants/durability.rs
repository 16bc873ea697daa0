//! Durability (guarantee 4): an acknowledged update is held by those that the reply names, by as many as are asked for
//! or all that are up; and nobody shows an update that fewer hold.

use std::collections::BTreeSet;

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::record::{Record, RecordRef};
use natter_common::timestamp::Timestamp;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::cluster::Cluster;
use crate::simulation::message::ClientAnswer;
use crate::simulation::process::{Caller, Process};

/// Minimum time for which a frontend listens before it has heard of all processes, in microseconds: three presence intervals,
/// less the millisecond by which the clock of its core is coarser than that of the simulation.
const LISTENING_US: u64 = 1_499_000;

/// Time within which a replica that begins to serve has shown itself to all, in microseconds.
const SHOWN_US: u64 = 600_000;

/// Records that were acknowledged, and those that were shown.
#[derive(Debug, Default)]
pub struct Durability {
    /// Records that answers to updates named.
    pub acknowledged: BTreeSet<RecordRef>,
    /// Timestamp that covers these records: each holder of one holds its origin's earlier ones too.
    covered: Timestamp,
    /// Records that a replica applied.
    pub shown: BTreeSet<RecordRef>,
    /// Number of updates that were acknowledged by fewer replicas than asked for.
    pub acknowledged_by_fewer: u64,
    /// Records of such updates: no more losses are promised to be survived than others hold them.
    held_by_fewer: BTreeSet<RecordRef>,
    /// Replica managers that ended together, with all they had: their promises are void.
    void: BTreeSet<ReplicaId>,
}

fn holds(ledger: &Ledger, process: &Process, name: &RecordRef) -> bool {
    // A record that retires stands for what it retires only where it is applied.
    process.replica().is_some_and(|(manager, _)| {
        manager.committed_timestamp().get(&name.i) >= name.seq
            || ledger.expanded(manager.value_timestamp()).get(&name.i) >= name.seq
    })
}

impl Durability {
    /// All replica managers end, and others begin with nothing.
    pub fn begin_anew(&mut self, cluster: &Cluster) {
        *self = Self {
            acknowledged_by_fewer: self.acknowledged_by_fewer,
            void: cluster.processes.keys().cloned().collect(),
            ..Self::default()
        };
    }

    /// `process` applied `record`: so it shows it. The first one to do so must know that enough hold it.
    pub fn applied(
        &mut self,
        ledger: &Ledger,
        cluster: &Cluster,
        process: &Process,
        record: &Record,
    ) -> Result<(), Violation> {
        let name = record.name();
        if !self.shown.insert(name.clone()) || self.covered.get(&name.i) >= name.seq {
            return Ok(());
        }
        let now_us = cluster.now_us();
        let all = cluster.processes.values().filter(|other| holds(ledger, other, &name));
        // A disk keeps what it holds while its replica manager is gone.
        let keeps = |other: &&Process| other.disk.is_some() || !process.knows_that_is_gone(&other.id, now_us);
        let holders: Vec<&ReplicaId> = all.filter(keeps).map(|other| &other.id).collect();
        let enough = (record.copies as usize).min(1 + process.certainly_up(now_us));
        check(holders.len() >= enough, "visible when held", || {
            format!("{} applied {name}, which {holders:?} hold, and knows of {enough} that are up", process.id)
        })
    }

    /// A frontend answers a client.
    pub fn answers(
        &mut self,
        ledger: &Ledger,
        cluster: &Cluster,
        frontend: &Process,
        caller: &Caller,
        answer: &ClientAnswer,
    ) -> Result<(), Violation> {
        let Ok(reply) = answer else { return Ok(()) };
        if caller.is_query {
            let covers = ledger.covers(&reply.label.replicas, &caller.frontend_prev);
            return check(covers, "a frontend never shows older data", || {
                format!("{} answers {} and had seen {}", frontend.id, reply.label, caller.frontend_prev)
            });
        }
        let now_us = cluster.now_us();
        for (i, seq) in reply.label.replicas.iter() {
            let name = RecordRef { i: i.clone(), seq };
            let named: Vec<&Process> = reply.replicas.iter().map(|id| cluster.process(id)).collect();
            check(named.iter().all(|process| holds(ledger, process, &name)), "those named hold it", || {
                format!("{name}: {:?} are named", reply.replicas)
            })?;
            let asked = cluster.settings.fault_tolerance as usize;
            let up = if now_us - frontend.started_us < LISTENING_US && cluster.network.weather.loss_permille == 0 {
                let connected = |id: &ReplicaId| !cluster.network.cut.contains(&(id.clone(), frontend.id.clone()));
                let serving = cluster.alive(Role::Replica).into_iter();
                // Another process heard of it long enough ago.
                let is_shown = |id: &ReplicaId| {
                    let heard = cluster.processes.values().filter_map(|other| other.heard.get(id));
                    heard.filter_map(|heard| heard.serving_since_us).any(|since_us| since_us + SHOWN_US < now_us)
                };
                serving.filter(|id| cluster.is_serving(id) && connected(id) && is_shown(id)).count()
            } else {
                frontend.certainly_up(now_us)
            };
            let enough = asked.min(up).max(1);
            let counted = reply.replicas.iter().filter(|id| !frontend.knows_that_is_gone(id, now_us)).count();
            check(counted >= enough, "acknowledged when held", || {
                format!("{} acknowledges {name}, held by {:?}; {up} are up", frontend.id, reply.replicas)
            })?;
            if reply.replicas.len() < asked {
                self.acknowledged_by_fewer += 1;
                self.held_by_fewer.insert(name.clone());
            }
            if !self.void.contains(i) {
                self.covered.raise(i, seq);
                self.acknowledged.insert(name);
            }
        }
        Ok(())
    }

    /// `id` gives up the record after number `after` of `origin`: no replica may be left that holds it.
    pub fn given_up(
        &self,
        ledger: &Ledger,
        cluster: &Cluster,
        id: &ReplicaId,
        origin: &ReplicaId,
        after: u64,
    ) -> Result<(), Violation> {
        let name = RecordRef { i: origin.clone(), seq: after + 1 };
        let holder = self.holder(ledger, cluster, &name);
        check(holder.is_none(), "what is given up is lost", || format!("{id} gives {name} up, which {holder:?} holds"))
    }

    /// Name of a process that runs, or may run again, and holds this record.
    pub fn holder<'a>(&self, ledger: &Ledger, cluster: &'a Cluster, name: &RecordRef) -> Option<&'a ReplicaId> {
        let survives = |process: &&Process| process.is_alive() || process.disk.is_some();
        let mut survivors = cluster.processes.values().filter(survives);
        survivors.find(|process| holds(ledger, process, name)).map(|process| &process.id)
    }

    /// The first acknowledged or shown record that no living replica holds.
    pub fn lost<'a>(&'a self, ledger: &Ledger, cluster: &Cluster) -> Option<&'a RecordRef> {
        self.acknowledged.iter().chain(&self.shown).find(|name| self.holder(ledger, cluster, name).is_none())
    }

    /// Whether nothing is lost but what was acknowledged by fewer than asked for.
    pub fn is_promise_kept(&self, ledger: &Ledger, cluster: &Cluster) -> bool {
        let mut promised =
            self.acknowledged.iter().chain(&self.shown).filter(|name| !self.held_by_fewer.contains(name));
        promised.all(|name| self.holder(ledger, cluster, name).is_some())
    }

    /// Everything has been well for a while.
    pub fn at_end(&self, ledger: &Ledger, cluster: &Cluster, nothing_may_be_lost: bool) -> Result<(), Violation> {
        if nothing_may_be_lost {
            let lost = self.lost(ledger, cluster);
            check(lost.is_none(), "what was acknowledged or shown survives", || format!("{lost:?} is gone"))?;
        }
        for name in self.acknowledged.iter().chain(&self.shown) {
            let everywhere = cluster
                .alive(Role::Replica)
                .iter()
                .all(|id| ledger.expanded(cluster.manager(id).value_timestamp()).get(&name.i) >= name.seq);
            check(everywhere, "what was acknowledged or shown is everywhere in the end", || name.to_string())?;
        }
        Ok(())
    }
}
