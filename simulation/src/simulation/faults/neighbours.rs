//! Bystanders that come and go, and permissions that are taken away and given back.

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;

use super::{CONVALESCENCE_US, Cure, Faults, Kind};
use crate::simulation::bystanders::Reach;
use crate::simulation::cluster::Cluster;
use crate::simulation::cluster::permissions::Denied;
use crate::simulation::plan::{Flavour, Plan};

impl Faults {
    /// Draws a fault by bystanders or permissions, now and then, if the plan has them.
    pub(super) fn neighbours_kind(&mut self, plan: &Plan) -> Option<Kind> {
        if !plan.neighbours || self.generator.bool() {
            return None;
        }
        let crashes_only = plan.flavour == Flavour::Crashes;
        Some(match self.generator.u32(..4) {
            0 => Kind::Silence,
            1 => Kind::Answers,
            2 => Kind::Repeats,
            _ if crashes_only => Kind::Silence,
            _ => Kind::Denial,
        })
    }

    fn reach(&mut self, cluster: &Cluster) -> Reach {
        let ids: Vec<ReplicaId> = cluster.processes.keys().cloned().collect();
        match self.generator.choice(ids) {
            Some(id) if self.generator.bool() => Reach::Of(id),
            _ => Reach::All,
        }
    }

    /// A bystander comes.
    pub(super) fn strike_neighbours(
        &mut self,
        kind: Kind,
        plan: &Plan,
        cluster: &mut Cluster,
        for_us: u64,
    ) -> Option<(u64, Cure)> {
        match kind {
            Kind::Silence if cluster.bystanders.silent == Reach::Nothing => {
                self.count("a silent subscriber");
                let reach = self.reach(cluster);
                cluster.note(|| format!("a bystander listens: {reach:?}"));
                cluster.bystanders.silent = reach;
            }
            Kind::Answers if cluster.bystanders.answers == Reach::Nothing => {
                let reach = self.reach(cluster);
                cluster.note(|| format!("a bystander answers: {reach:?}"));
                cluster.bystanders.answers = reach;
                cluster.bystanders.takes_requests = plan.flavour != Flavour::Crashes && self.generator.bool();
                self.count(match cluster.bystanders.takes_requests {
                    true => "a bystander that answered in another's place",
                    false => "a bystander that answered beside another",
                });
            }
            Kind::Repeats if !cluster.bystanders.repeats => {
                self.count("a bystander that repeated old messages");
                cluster.bystanders.repeats = true;
                cluster.note(|| "a bystander repeats old messages".to_owned());
            }
            Kind::Denial => return self.deny(plan, cluster, for_us),
            _ => return None,
        }
        Some((for_us, Cure::EndBystander(kind)))
    }

    /// A process loses a permission.
    fn deny(&mut self, plan: &Plan, cluster: &mut Cluster, for_us: u64) -> Option<(u64, Cure)> {
        let is_frontend = self.generator.u32(..3) == 0;
        // A process with a replica too has its share of trouble as a replica.
        let is_only_frontend = |id: &ReplicaId| cluster.process(id).replica().is_none();
        let victims: Vec<ReplicaId> = match is_frontend {
            true => cluster.alive(Role::Frontend).into_iter().filter(is_only_frontend).collect(),
            false => cluster.alive(Role::Replica),
        };
        let victim = self.generator.choice(victims)?;
        if !cluster.process(&victim).is_up() {
            return None;
        }
        if !is_frontend {
            let is_well = !self.troubled.contains_key(&victim);
            let are_many = is_well && self.troubled.len() + 1 > plan.troubled_max();
            if are_many || (!is_well && plan.flavour != Flavour::Wild) {
                return None;
            }
            self.troubled.insert(victim.clone(), cluster.now_us() + for_us + CONVALESCENCE_US + 2_000_000);
        }
        let denied = match (is_frontend, self.generator.u32(..6)) {
            (true, 0) => Denied::HearPresence,
            (true, 1) => Denied::HearReplies,
            (true, 2) => Denied::Answers,
            (true, _) => Denied::RequestsTo(self.generator.choice(cluster.alive(Role::Replica))?),
            (false, 0) => Denied::Gossip,
            (false, 1) => Denied::Presence,
            (false, 2) => Denied::Answers,
            (false, 3) => Denied::HearGossip,
            (false, 4) => Denied::HearPresence,
            // A replica that answers clients hears answers to more than pulls.
            (false, _) if cluster.process(&victim).frontend().is_some() && self.generator.bool() => Denied::HearReplies,
            (false, _) => Denied::HearRequests,
        };
        self.count(match denied.is_heard() {
            true => "a subscription was denied",
            false => "a publication was denied",
        });
        cluster.deny(&victim, denied.clone());
        Some((for_us, Cure::Permit(victim, denied)))
    }

    /// A bystander goes.
    pub(super) fn end_bystander(&mut self, kind: Kind, plan: &Plan, cluster: &mut Cluster) {
        cluster.note(|| format!("the bystander of kind {} goes", kind.name()));
        match kind {
            Kind::Silence if plan.silent_always => {}
            Kind::Silence => cluster.bystanders.silent = Reach::Nothing,
            Kind::Answers => cluster.bystanders.answers = Reach::Nothing,
            _ => cluster.bystanders.repeats = false,
        }
    }

    /// All go, but one that only listens and stays for ever; all permissions are given back.
    pub(super) fn end_neighbours(&mut self, plan: &Plan, cluster: &mut Cluster) {
        for kind in [Kind::Silence, Kind::Answers, Kind::Repeats] {
            self.end_bystander(kind, plan, cluster);
        }
        cluster.permit_all();
    }
}
