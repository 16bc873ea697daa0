//! Faults of a run: crashes, pauses, cuts, statuses, joins. Drawn from the seed, within the limits of the plan.

mod ahead;
mod lives;
mod neighbours;

use std::collections::BTreeMap;

use fastrand::Rng;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Role};

use super::cluster::Cluster;
use super::cluster::permissions::Denied;
use super::disk::{Disk, Sync};
use super::invariants::Invariants;
use super::kind::Kind;
use super::network::Link;
use super::plan::{Flavour, Plan};
use super::process::Life;
use ahead::Ahead;

/// Time for which a replica counts as in trouble after it is well again, in microseconds: gossip brings it, and the
/// others from it, what is missing.
const CONVALESCENCE_US: u64 = 3_000_000;

/// So far clocks are wrong at most, however often they jump, in milliseconds.
const SKEW_MS_MAX: i64 = 10_000;

/// Number of faults by kind.
pub type Counts = BTreeMap<&'static str, u64>;

/// End of a fault.
#[derive(Clone, Debug)]
pub enum Cure {
    /// A paused process goes on.
    Wake(ReplicaId),
    /// Cut links are mended.
    Mend(Vec<Link>),
    /// A replica manager is measured again.
    Measure(ReplicaId),
    /// Another replica manager takes the place of one that died.
    Replace(ReplicaId),
    /// A replica manager that died goes on with what is on its disk.
    Restart(ReplicaId),
    /// A replica that restarts often begins another life, and then ends again, the given number of times.
    LiveAgain {
        /// Its last life.
        id: ReplicaId,
        /// Number of lives that follow this one.
        lives: u32,
        /// Maximum duration of a life, in microseconds.
        every_us: u64,
    },
    /// It ends again.
    EndAgain {
        /// Its life.
        id: ReplicaId,
        /// See [`Cure::LiveAgain`].
        lives: u32,
        /// See [`Cure::LiveAgain`].
        every_us: u64,
    },
    /// Replica managers begin with the copies of directories.
    StartCopies,
    /// Another frontend takes the place of one that died.
    StartFrontend,
    /// Clocks that were ahead are right again.
    SetClocksRight,
    /// A bystander goes.
    EndBystander(Kind),
    /// A permission is given back.
    Permit(ReplicaId, Denied),
}

/// Faults of a run, and the processes in trouble because of them.
#[derive(Debug)]
pub struct Faults {
    /// Number of faults by kind.
    pub counts: Counts,
    seed: u64,
    generator: Rng,
    strikes: u64,
    troubled: BTreeMap<ReplicaId, u64>,
    long_cut_until_us: u64,
    /// Clocks that are ahead.
    pub ahead: Ahead,
    names: usize,
    /// Copies of directories that were not started yet, with the life that was stopped then.
    copies: Vec<(ReplicaId, Disk)>,
    /// Number of times that all replicas were started anew with nothing.
    pub anew: u64,
    /// When all replica managers ended at once last, in microseconds.
    pub struck_all_us: u64,
}

impl Faults {
    /// Nothing has gone wrong yet.
    pub fn new(seed: u64) -> Self {
        let generator = Rng::with_seed(seed);
        Self {
            counts: Counts::new(),
            seed,
            generator,
            strikes: 0,
            troubled: BTreeMap::new(),
            long_cut_until_us: 0,
            ahead: Ahead::default(),
            names: 0,
            copies: Vec::new(),
            anew: 0,
            struck_all_us: 0,
        }
    }

    /// Starts a replica manager under a new id.
    pub fn start_replica(&mut self, plan: &Plan, cluster: &mut Cluster) {
        let (name, skew_ms) = (self.name('r'), self.skew_now_ms(plan));
        let is_durable = self.generator.u32(..1000) < plan.durable_permille;
        let is_unsynced = self.generator.u32(..1000) < plan.unsynced_permille;
        let is_colocated = plan.colocated_permille > 0 && self.generator.u32(..1000) < plan.colocated_permille;
        let id = match (is_durable, is_unsynced) {
            _ if is_colocated => {
                self.count("a replica manager that is a frontend began");
                let sync = if is_unsynced { Sync::Normal } else { Sync::Full };
                cluster.start_colocated(&name, is_durable.then_some(sync), skew_ms)
            }
            (false, _) => cluster.start_replica(&name, Mode::Measured, skew_ms),
            (true, false) => cluster.start_durable(&name, Sync::Full, skew_ms),
            (true, true) => cluster.start_durable(&name, Sync::Normal, skew_ms),
        };
        self.troubled.insert(id, cluster.now_us() + CONVALESCENCE_US + 1_500_000);
    }

    /// Starts a frontend under a new id.
    pub fn start_frontend(&mut self, plan: &Plan, cluster: &mut Cluster) {
        let (name, skew_ms) = (self.name('f'), self.skew_now_ms(plan));
        cluster.start_frontend(&name, skew_ms);
    }

    /// Draws the error of a clock, in milliseconds.
    pub fn skew_ms(&mut self, plan: &Plan) -> i64 {
        self.generator.i64(-plan.skew_ms_max..=plan.skew_ms_max)
    }

    /// The same, of a machine on which a process starts now.
    fn skew_now_ms(&mut self, plan: &Plan) -> i64 {
        self.skew_ms(plan) + self.ahead.of_all_ms
    }

    fn name(&mut self, role: char) -> String {
        self.names += 1;
        format!("{role}{}", self.names)
    }

    fn count(&mut self, fault: &'static str) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// When the next fault is due, in microseconds from now.
    pub fn next_us(&mut self, plan: &Plan) -> u64 {
        self.generator.u64(10_000..plan.fault_us_max)
    }

    /// Lets something go wrong. Gives what ends it, and after how many microseconds.
    pub fn strike(&mut self, plan: &Plan, cluster: &mut Cluster, invariants: &Invariants) -> Vec<(u64, Cure)> {
        self.strikes += 1;
        if self.strikes > plan.strikes_max || plan.skipped.contains(&self.strikes) {
            return Vec::new();
        }
        // Each by itself, so that leaving one out changes no other.
        self.generator = Rng::with_seed(self.seed ^ self.strikes.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let now_us = cluster.now_us();
        self.troubled
            .retain(|id, until_us| *until_us > now_us || !cluster.is_serving(id) && cluster.process(id).is_alive());
        if now_us < self.long_cut_until_us {
            return Vec::new();
        }
        if plan.ahead_ms > 0 && self.ahead.is_due() && plan.faults.contains(&Kind::Ahead) {
            return vec![self.set_clocks_ahead(plan, cluster)];
        }
        let (kind, for_us) = match plan.long_cut_us {
            long_us if long_us > 0 && self.strikes == 1 => (Kind::Cut, long_us),
            _ => {
                let kind = self.neighbours_kind(plan);
                (kind.unwrap_or_else(|| self.kind(plan)), self.generator.u64(50_000..4_000_000))
            }
        };
        if for_us == plan.long_cut_us && plan.faults.contains(&kind) {
            self.count("a long cut");
            self.long_cut_until_us = now_us + for_us;
        }
        match kind {
            _ if !plan.faults.contains(&kind) => Vec::new(),
            Kind::Anew => self.strike_all(cluster),
            Kind::Silence | Kind::Answers | Kind::Repeats | Kind::Denial => {
                self.strike_neighbours(kind, plan, cluster, for_us).into_iter().collect()
            }
            Kind::FrontendCrash | Kind::FrontendPause => {
                self.strike_frontend(kind, cluster, for_us).into_iter().collect()
            }
            Kind::Jump => {
                self.jump(plan, cluster);
                Vec::new()
            }
            Kind::Join => {
                if cluster.alive(Role::Replica).len() < plan.replicas + 2 {
                    self.count("a replica manager joined");
                    self.start_replica(plan, cluster);
                }
                Vec::new()
            }
            _ => self.strike_replica(kind, plan, cluster, invariants, for_us),
        }
    }

    /// Draws the kind of the next fault.
    fn kind(&mut self, plan: &Plan) -> Kind {
        if plan.jump_ms_max > 0 && self.generator.u32(..6) == 0 {
            return Kind::Jump;
        }
        if self.generator.u32(..40) == 0 {
            return Kind::Anew;
        }
        if plan.durable_permille > 0 && self.generator.u32(..4) == 0 {
            return if self.generator.bool() { Kind::Copy } else { Kind::Restless };
        }
        let crashes_only = plan.flavour == Flavour::Crashes;
        match if crashes_only { self.generator.u32(..4) } else { self.generator.u32(..16) } {
            0 if self.generator.bool() => Kind::FrontendCrash,
            0 | 3 => Kind::Crash,
            1 | 14 | 15 => Kind::MidSending,
            2 => Kind::Leave,
            4 => Kind::FrontendPause,
            5 => Kind::FrontendCrash,
            6 => Kind::Join,
            7 | 8 => Kind::Pause,
            9 | 10 => Kind::Cut,
            _ => Kind::Status,
        }
    }

    fn strike_replica(
        &mut self,
        kind: Kind,
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
        for_us: u64,
    ) -> Vec<(u64, Cure)> {
        let mut alive = cluster.alive(Role::Replica);
        if for_us == plan.long_cut_us {
            // A replica that answers clients hears all, as frontends do.
            alive.retain(|id| cluster.process(id).frontend().is_none());
        }
        let Some(victim) = self.generator.choice(&alive).cloned() else { return Vec::new() };
        // Only those in trouble are hit, when as many are as may be.
        let all_well = !self.troubled.contains_key(&victim);
        if all_well && self.troubled.len() + 1 > plan.troubled_max() {
            return Vec::new();
        }
        if !all_well && plan.flavour != Flavour::Wild {
            return Vec::new();
        }
        self.troubled.insert(victim.clone(), cluster.now_us() + for_us + CONVALESCENCE_US);
        match kind {
            Kind::Pause => {
                if !cluster.process(&victim).is_up() {
                    return Vec::new();
                }
                self.count("a replica manager was paused");
                cluster.pause(&victim);
                vec![(for_us, Cure::Wake(victim))]
            }
            Kind::Cut if for_us == plan.long_cut_us => {
                vec![(for_us, Cure::Mend(self.cut(cluster, &victim, &alive, false)))]
            }
            Kind::Cut => {
                let all: Vec<_> = [Role::Replica, Role::Frontend].map(|role| cluster.alive(role)).concat();
                let everybody = self.generator.u32(..3) == 0;
                vec![(for_us, Cure::Mend(self.cut(cluster, &victim, &all, everybody)))]
            }
            Kind::Status => {
                let mode = [Mode::Offline, Mode::Arbitrary, Mode::Overloaded][self.generator.usize(..3)];
                self.count(match mode {
                    Mode::Offline => "a replica manager was OFFLINE",
                    Mode::Arbitrary => "a replica manager's status was arbitrary",
                    _ => "a replica manager was OVERLOADED",
                });
                cluster.set_mode(&victim, mode);
                vec![(for_us, Cure::Measure(victim))]
            }
            Kind::Copy | Kind::Restless => self.strike_directory(kind, plan, cluster, invariants, &victim),
            _ => self.crash(plan, cluster, invariants, &victim, kind, for_us).into_iter().collect(),
        }
    }

    /// The wall clock of a process jumps, forwards or backwards; the one that never goes back does not.
    fn jump(&mut self, plan: &Plan, cluster: &mut Cluster) {
        let alive: Vec<ReplicaId> =
            cluster.alive(Role::Replica).into_iter().chain(cluster.alive(Role::Frontend)).collect();
        let Some(id) = self.generator.choice(alive) else { return };
        let by_ms = self.generator.i64(-plan.jump_ms_max..=plan.jump_ms_max);
        self.count(if by_ms < 0 { "a clock jumped back" } else { "a clock jumped ahead" });
        cluster.note(|| format!("the clock of {id} jumps by {by_ms} ms"));
        let skew_ms = &mut cluster.process_mut(&id).skew_ms;
        if *skew_ms < ahead::AHEAD_MS_MIN {
            *skew_ms = (*skew_ms + by_ms).clamp(-SKEW_MS_MAX, SKEW_MS_MAX);
        }
    }

    fn strike_frontend(&mut self, kind: Kind, cluster: &mut Cluster, for_us: u64) -> Option<(u64, Cure)> {
        // Processes that are replicas as well have their share of trouble as replicas.
        let is_only_frontend = |id: &ReplicaId| cluster.process(id).replica().is_none();
        let frontends: Vec<ReplicaId> = cluster.alive(Role::Frontend).into_iter().filter(is_only_frontend).collect();
        let victim = self.generator.choice(frontends)?;
        if !cluster.process(&victim).is_up() {
            return None;
        }
        if kind == Kind::FrontendPause {
            self.count("a frontend was paused");
            cluster.pause(&victim);
            return Some((for_us, Cure::Wake(victim)));
        }
        self.count("a frontend crashed");
        cluster.crash(&victim);
        Some((for_us / 4, Cure::StartFrontend))
    }

    fn crash(
        &mut self,
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
        victim: &ReplicaId,
        kind: Kind,
        for_us: u64,
    ) -> Option<(u64, Cure)> {
        if plan.flavour == Flavour::Wild && has_a_last_copy(cluster, invariants, victim) {
            return None;
        }
        match kind {
            Kind::MidSending if cluster.process(victim).is_up() && plan.flavour == Flavour::Tolerable => {
                self.count("a replica manager died in the middle of sending");
                cluster.crash_after_outputs(victim, self.generator.usize(..3));
            }
            Kind::Leave if cluster.process(victim).is_up() => {
                self.count("a replica manager left");
                cluster.leave(victim);
            }
            _ => {
                self.count("a replica manager crashed");
                cluster.crash(victim);
            }
        }
        // Its place counts as in trouble until another one serves.
        self.troubled.insert(victim.clone(), cluster.now_us() + for_us + 2 * CONVALESCENCE_US);
        match cluster.process(victim).disk {
            Some(_) => Some((for_us, Cure::Restart(victim.clone()))),
            None => Some((for_us, Cure::Replace(victim.clone()))),
        }
    }

    /// Cuts `victim` off from some of `others`, or all, in one direction or both.
    fn cut(&mut self, cluster: &mut Cluster, victim: &ReplicaId, others: &[ReplicaId], all: bool) -> Vec<Link> {
        let (inward, outward) = [(true, true), (true, false), (false, true)][self.generator.usize(..3)];
        self.count(if inward && outward { "a cut" } else { "a cut in one direction" });
        let mut links = Vec::new();
        for other in others {
            if other != victim && (all || self.generator.bool()) {
                if inward {
                    links.push((other.clone(), victim.clone()));
                }
                if outward {
                    links.push((victim.clone(), other.clone()));
                }
            }
        }
        cluster.note(|| format!("cut {links:?}"));
        cluster.network.cut.extend(links.iter().cloned());
        links
    }

    /// Ends a fault. Gives what follows.
    pub fn cure(
        &mut self,
        cure: Cure,
        plan: &Plan,
        cluster: &mut Cluster,
        invariants: &Invariants,
    ) -> Vec<(u64, Cure)> {
        match cure {
            Cure::Wake(id) => {
                if cluster.process(&id).is_alive() {
                    cluster.wake(&id);
                }
            }
            Cure::Mend(links) => {
                cluster.note(|| format!("mend {links:?}"));
                for link in links {
                    cluster.network.cut.remove(&link);
                }
            }
            Cure::Measure(id) => cluster.set_mode(&id, Mode::Measured),
            Cure::Replace(id) => {
                cluster.crash_if_it_is_to(&id);
                if cluster.alive(Role::Replica).len() < plan.replicas {
                    self.start_replica(plan, cluster);
                }
            }
            Cure::Restart(id) => {
                cluster.crash_if_it_is_to(&id);
                self.restart(&id, cluster);
            }
            Cure::StartFrontend => self.start_frontend(plan, cluster),
            Cure::EndBystander(kind) => self.end_bystander(kind, plan, cluster),
            Cure::Permit(id, denied) => cluster.permit(&id, &denied),
            Cure::SetClocksRight => self.set_clocks_right(plan, cluster),
            Cure::LiveAgain { id, lives, every_us } => return self.live_again(&id, lives, every_us, cluster),
            Cure::EndAgain { id, lives, every_us } => {
                return self.end_again((&id, lives, every_us), plan, cluster, invariants);
            }
            Cure::StartCopies => return self.start_copies(plan, cluster, invariants),
        }
        Vec::new()
    }

    /// Another life of a dead one that has a disk. Gives its id.
    fn restart(&mut self, id: &ReplicaId, cluster: &mut Cluster) -> Option<ReplicaId> {
        let process = cluster.process(id);
        if process.is_alive() || process.disk.is_none() {
            return None;
        }
        self.count("a replica manager was restarted from its disk");
        let id = cluster.restart(id);
        self.troubled.insert(id.clone(), cluster.now_us() + CONVALESCENCE_US + 1_500_000);
        Some(id)
    }

    /// Ends all faults.
    pub fn heal(&mut self, plan: &Plan, cluster: &mut Cluster, invariants: &Invariants) {
        cluster.note(|| "everything is well again".to_owned());
        self.start_copies(plan, cluster, invariants);
        cluster.network.cut.clear();
        cluster.network.weather.loss_permille = 0;
        cluster.network.weather.slow_permille = 0;
        self.set_clocks_right(plan, cluster);
        self.end_neighbours(plan, cluster);
        let ids: Vec<ReplicaId> = cluster.processes.keys().cloned().collect();
        for id in ids {
            let process = cluster.process_mut(&id);
            process.dies_after = None;
            let (life, is_replica) = (process.life, process.replica().is_some());
            if let Life::Paused { .. } = life {
                cluster.wake(&id);
            }
            self.restart(&id, cluster);
            if is_replica && !matches!(life, Life::Dead { .. }) {
                cluster.set_mode(&id, Mode::Measured);
            }
        }
        while cluster.alive(Role::Replica).len() < plan.replicas {
            self.start_replica(plan, cluster);
        }
        while cluster.alive(Role::Frontend).len() < plan.frontends {
            self.start_frontend(plan, cluster);
        }
    }
}

/// Whether `victim` alone holds something that was shown or acknowledged, or may be by now.
fn has_a_last_copy(cluster: &Cluster, invariants: &Invariants, victim: &ReplicaId) -> bool {
    if cluster.process(victim).disk.as_ref().is_some_and(|disk| disk.sync == Sync::Full) {
        return false;
    }
    let ledger = &invariants.ledger;
    let holds = |id: &ReplicaId| {
        let mut holds = ledger.expanded(cluster.manager(id).value_timestamp());
        holds.merge(cluster.manager(id).replica_timestamp());
        holds
    };
    let held = holds(victim);
    let others = cluster.alive(Role::Replica).into_iter().filter(|id| id != victim);
    let elsewhere: Vec<_> = others.map(|id| holds(&id)).collect();
    let durability = &invariants.durability;
    durability
        .acknowledged
        .iter()
        .chain(&durability.shown)
        .any(|name| held.get(&name.i) >= name.seq && !elsewhere.iter().any(|other| other.get(&name.i) >= name.seq))
}
