//! Faults of directories and of whole clusters: a directory that is copied, one that restarts often, and a cluster of
//! which all replica managers are started anew.

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;

use super::{CONVALESCENCE_US, Cluster, Cure, Faults, Invariants, Kind, Plan, Sync, has_a_last_copy};
use crate::simulation::plan::Flavour;

/// Maximum times in a run that all replicas are started anew with nothing.
const ANEW_MAX: u64 = 2;

/// Cures that follow, each with the time until then, in microseconds.
pub(super) type Later = Vec<(u64, Cure)>;

impl Faults {
    /// The directory of a replica manager is copied while that is stopped, or it restarts again and again. One without
    /// a directory crashes.
    pub(super) fn strike_directory(
        &mut self,
        kind: Kind,
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
        victim: &ReplicaId,
    ) -> Later {
        let for_us = self.generator.u64(50_000..1_500_000);
        let Some((after_us, cure)) = self.crash(plan, cluster, invariants, victim, Kind::Crash, for_us) else {
            return Vec::new();
        };
        let Some(disk) = cluster.process(victim).disk.clone() else { return vec![(after_us, cure)] };
        if kind == Kind::Copy {
            self.count("a directory was copied");
            cluster.note(|| format!("the directory of {victim} is copied"));
            self.copies.push((victim.clone(), disk));
            return vec![(after_us, cure), (self.generator.u64(50_000..1_500_000), Cure::StartCopies)];
        }
        self.count("a directory restarted often");
        let (lives, every_us) = (self.generator.u32(2..12), self.generator.u64(60_000..3_000_000));
        vec![(self.pause_us(), Cure::LiveAgain { id: victim.clone(), lives, every_us })]
    }

    fn pause_us(&mut self) -> u64 {
        self.generator.u64(1_000..300_000)
    }

    /// A replica manager that restarts often begins another one of so many lives.
    pub(super) fn live_again(&mut self, id: &ReplicaId, lives: u32, every_us: u64, cluster: &mut Cluster) -> Later {
        let Some(id) = self.restart(id, cluster) else { return Vec::new() };
        match lives {
            0 => Vec::new(),
            _ => vec![(self.generator.u64(every_us / 2..every_us), Cure::EndAgain { id, lives: lives - 1, every_us })],
        }
    }

    /// It ends once more.
    pub(super) fn end_again(
        &mut self,
        (id, lives, every_us): (&ReplicaId, u32, u64),
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
    ) -> Later {
        if !self.stop_one_in_trouble(id, plan, cluster, invariants) {
            return Vec::new();
        }
        vec![(self.pause_us(), Cure::LiveAgain { id: id.clone(), lives, every_us })]
    }

    /// Crashes a replica manager that counts as in trouble already. Says whether it did.
    fn stop_one_in_trouble(
        &mut self,
        id: &ReplicaId,
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
    ) -> bool {
        let may_lose = plan.flavour == Flavour::Wild && has_a_last_copy(cluster, invariants, id);
        if !cluster.process(id).is_alive() || !self.troubled.contains_key(id) || may_lose {
            return false;
        }
        cluster.crash(id);
        self.troubled.insert(id.clone(), cluster.now_us() + 2 * CONVALESCENCE_US);
        true
    }

    /// Copies of directories begin lives of their own; now and then the other life ends before, and goes on later.
    pub(super) fn start_copies(&mut self, plan: &Plan, cluster: &mut Cluster, invariants: &Invariants) -> Later {
        let mut later = Vec::new();
        for (last, disk) in std::mem::take(&mut self.copies) {
            let alive = cluster.alive(Role::Replica);
            let other = alive.into_iter().find(|id| cluster.manager(id).former().contains(&last));
            if let Some(other) = other
                && self.generator.bool()
                && self.stop_one_in_trouble(&other, plan, cluster, invariants)
            {
                self.count("two copies of a directory lived by turns");
                later.push((self.generator.u64(100_000..1_500_000), Cure::Restart(other)));
            }
            self.count("a copy of a directory was started");
            let skew_ms = cluster.process(&last).skew_ms;
            let id = cluster.begin_life(&last, disk, skew_ms);
            self.troubled.insert(id, cluster.now_us() + CONVALESCENCE_US + 1_500_000);
        }
        later
    }

    /// All replica managers end at once, and mostly the frontends too; then as many begin: from their directories, or
    /// with nothing if none ever had a directory. Sessions go on. Clusters with a disk that may lose something are left
    /// alone.
    pub(super) fn strike_all(&mut self, cluster: &mut Cluster) -> Later {
        let replicas = cluster.alive(Role::Replica);
        let is_safe = |id: &ReplicaId| cluster.process(id).disk.as_ref().is_some_and(|disk| disk.sync == Sync::Full);
        let from_directories = replicas.iter().all(is_safe);
        let has_disks = cluster.processes.values().any(|process| process.disk.is_some());
        if replicas.is_empty() || self.anew >= ANEW_MAX || !self.copies.is_empty() || has_disks && !from_directories {
            return Vec::new();
        }
        self.struck_all_us = cluster.now_us();
        if from_directories {
            self.count("all replica managers were restarted from their directories");
        } else {
            self.anew += 1;
            // Old presence makes newcomers believe in the cluster that is gone: that is for an enemy to do.
            cluster.bystanders.forget();
            self.count("all replica managers were started anew with nothing");
        }
        let mut later = Vec::new();
        let down_us = self.generator.u64(1_000..1_500_000);
        for id in replicas {
            cluster.crash(&id);
            self.troubled.insert(id.clone(), cluster.now_us() + down_us + 2 * CONVALESCENCE_US);
            let after_us = down_us + self.generator.u64(..200_000);
            later.push((after_us, if from_directories { Cure::Restart(id) } else { Cure::Replace(id) }));
        }
        if self.generator.u32(..3) > 0 {
            for id in cluster.alive(Role::Frontend) {
                cluster.crash(&id);
                later.push((self.generator.u64(..down_us + 200_000), Cure::StartFrontend));
            }
        }
        later
    }
}
