//! Wall clocks that are once ahead, by more than a minute, and right again later: after a restart of their processes or
//! while these run. Sessions keep labels of that time.

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;

use super::{Cure, Faults, Kind};
use crate::simulation::cluster::Cluster;
use crate::simulation::disk::Sync;
use crate::simulation::plan::{Flavour, Plan};

/// A clock that is ahead by more than this is one of these, in milliseconds: others are wrong by seconds only.
pub(super) const AHEAD_MS_MIN: i64 = 30_000;

/// Clocks that are ahead.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Time by which all clocks are ahead, those of new processes too, in milliseconds.
    pub(super) of_all_ms: i64,
    /// Time by which the clocks of clients are ahead, in milliseconds.
    pub of_clients_ms: i64,
    /// Whether it happened.
    is_over: bool,
    /// Whether processes are restarted when their clocks are right again.
    restarts: bool,
}

impl Ahead {
    /// Whether it has not happened yet: it does at the first strike.
    pub(super) fn is_due(&self) -> bool {
        !self.is_over
    }
}

impl Faults {
    /// The clocks of all processes, of one, or of clients too, are ahead from now on. Gives what ends that, and when.
    pub(super) fn set_clocks_ahead(&mut self, plan: &Plan, cluster: &mut Cluster) -> (u64, Cure) {
        self.ahead.is_over = true;
        self.ahead.restarts = self.generator.bool();
        let is_only_frontend = |id: &ReplicaId| cluster.process(id).replica().is_none();
        let frontends = cluster.alive(Role::Frontend).into_iter().filter(is_only_frontend);
        let ids: Vec<ReplicaId> = cluster.alive(Role::Replica).into_iter().chain(frontends).collect();
        let victims = match self.generator.u32(..3) {
            0 => self.generator.choice(&ids).into_iter().cloned().collect(),
            drawn => {
                self.ahead.of_all_ms = plan.ahead_ms;
                self.ahead.of_clients_ms = if drawn == 1 { plan.ahead_ms } else { 0 };
                ids
            }
        };
        self.count("clocks were ahead");
        cluster.note(|| format!("clocks of {victims:?} are ahead by {} ms", plan.ahead_ms));
        for id in victims {
            cluster.process_mut(&id).skew_ms += plan.ahead_ms;
        }
        (self.generator.u64(200_000..plan.faulty_us.max(400_000)), Cure::SetClocksRight)
    }

    /// Clocks that were ahead are right again.
    pub(super) fn set_clocks_right(&mut self, plan: &Plan, cluster: &mut Cluster) {
        self.ahead.of_all_ms = 0;
        self.ahead.of_clients_ms = 0;
        let is_ahead = |cluster: &Cluster, id: &ReplicaId| cluster.process(id).skew_ms >= AHEAD_MS_MIN;
        let ids: Vec<ReplicaId> = cluster.processes.keys().filter(|id| is_ahead(cluster, id)).cloned().collect();
        if !ids.is_empty() {
            cluster.note(|| "clocks that were ahead are right again".to_owned());
        }
        for id in ids {
            cluster.process_mut(&id).skew_ms -= plan.ahead_ms;
            if !self.ahead.restarts || !cluster.process(&id).is_up() {
                continue;
            }
            let is_frontend = cluster.process(&id).replica().is_none();
            let keeps_all = cluster.process(&id).disk.as_ref().is_some_and(|disk| disk.sync == Sync::Full);
            if is_frontend && plan.faults.contains(&Kind::FrontendCrash) {
                self.count("a frontend was restarted with its clock right again");
                cluster.crash(&id);
                self.start_frontend(plan, cluster);
            } else if keeps_all && plan.flavour != Flavour::Crashes {
                self.count("a replica manager was restarted with its clock right again");
                cluster.crash(&id);
                self.restart(&id, cluster);
            }
        }
    }
}
