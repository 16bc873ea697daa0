//! One randomised run: faults while sessions work, then peace, then everything must be equal.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use natter_common::edge::FrontendError;
use natter_common::frontend;
use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::replica_manager::Notice;
use natter_common::request::Update;
use natter_common::roster::LOST_AFTER_MS;

use super::bystanders::{Bystanders, Reach};
use super::client::{Asked, Client, Next, Operation};
use super::cluster::{Cluster, Happened, Settings};
use super::faults::{Cure, Faults};
use super::invariants::{Invariants, Violation, check};
use super::message::ClientAnswer;
use super::only::Only;
use super::outcome::{Failure, Report};
use super::plan::{Flavour, Plan};
use super::process::{Life, Process};
use super::record::Record;
use crate::history::Outcome;

/// Time for replicas and frontends to find each other before the sessions begin, in microseconds.
const BEGIN_US: u64 = 2_500_000;
/// Time after the end of the faults from which on every attempt must succeed, in microseconds.
const RECOVERY_US: u64 = 4_000_000;
/// Time for which every attempt must succeed, in microseconds.
const PEACE_US: u64 = 1_500_000;
/// Time after the last request by which all replicas must be equal, in microseconds.
const QUIET_US: u64 = 4_000_000;
/// Time for which sessions go on after the faults of a brief run end, in microseconds.
const BRIEF_PEACE_US: u64 = 700_000;
/// Interval at which a brief run is checked for having come to rest, in microseconds.
const LOOK_US: u64 = 100_000;
/// Maximum time of a commit after the faults end, in microseconds.
const WELL_SYNC_US_MAX: u64 = 1_000;
/// Time after which a client gives an attempt up, in microseconds.
const CLIENT_TIMEOUT_US: u64 = 2_600_000;
/// Beginning of the error that says that a refusal is not certain.
const REFUSAL_UNCERTAIN: &str = "TIMEOUT: no certain answer";
/// Number of operations that a session begins without much thinking; after them it takes its time.
const BUSY_OPERATIONS: u64 = 60;
/// Maximum time that it thinks from then on, in microseconds.
const LEISURE_US: u64 = 400_000;
/// Maximum messages that all processes together send for one attempt of a client, on average.
const MESSAGES_PER_ATTEMPT_MAX: u64 = 400;

/// Time after the end of all replicas at once by which those that were started since serve, and attempts that began
/// before are over, in microseconds.
const STARTING_US: u64 = 8_000_000;

#[derive(Clone, Debug)]
enum Alarm {
    Begin(usize),
    Attempt(usize),
    GiveUp(usize, u64),
    Strike,
    Cure(Cure),
    Heal,
    Look,
}

struct Run {
    plan: Plan,
    cluster: Cluster,
    clients: Vec<Client>,
    faults: Faults,
    invariants: Invariants,
    alarms: Vec<Alarm>,
    report: Report,
    healed_us: Option<u64>,
    /// Whether all has come to rest, so that there is nothing more to see.
    is_over: bool,
    attempts: u64,
    /// Number of times that all replicas were started anew with nothing.
    epoch: u64,
    /// When that was last, in microseconds.
    epoch_us: u64,
    record: Record,
    /// When each session began its operation, in microseconds.
    began_us: Vec<u64>,
    /// When the latest attempt of each client began.
    attempted_us: Vec<u64>,
}

/// Runs one seed. With `traced`, everything is written down: a run that fails is run again for that.
pub fn run(seed: u64, traced: bool) -> Result<(Report, Vec<String>), Box<Failure>> {
    run_only(seed, &Only::default(), traced)
}

/// Runs what `only` leaves of a seed.
pub fn run_only(seed: u64, only: &Only, traced: bool) -> Result<(Report, Vec<String>), Box<Failure>> {
    let mut run = Run::new(seed, only, traced);
    // A core that panics breaks a promise like any other, and the seed is to be told.
    let ended = catch_unwind(AssertUnwindSafe(|| run.go_to_the_end())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        check(false, "nothing panics", || text.unwrap_or_default())
    });
    match ended {
        Ok(()) => Ok((run.report, run.cluster.trace().to_vec())),
        Err(violation) => Err(Box::new(Failure {
            seed,
            events: run.report.events,
            violation,
            only: only.clone(),
            plan: run.plan,
            trace: run.cluster.trace().to_vec(),
        })),
    }
}

impl Run {
    fn new(seed: u64, only: &Only, traced: bool) -> Self {
        let mut generator = Rng::with_seed(seed);
        let plan = Plan::draw(&mut generator).draw_long_cut(seed).draw_ahead(seed).draw_neighbours(seed);
        let mut plan = plan.draw_colocated(seed).draw_slow_disks(seed);
        only.apply(&mut plan);
        if only.salt > 0 {
            generator = Rng::with_seed(seed ^ only.salt.wrapping_mul(0x2545_f491_4f6c_dd1d));
        }
        let settings = Settings {
            fault_tolerance: plan.fault_tolerance,
            tick_us: plan.tick_us,
            processing_us_max: plan.processing_us_max,
            forget_after_ms: plan.forget_after_ms,
            message_bytes_max: plan.message_bytes_max(),
            sync_us_max: plan.sync_us_max,
            ..Settings::default()
        };
        let mut run = Self {
            cluster: Cluster::new(settings, plan.weather.clone(), generator.u64(..), traced),
            clients: Vec::new(),
            faults: Faults::new(generator.u64(..)),
            invariants: Invariants::default(),
            alarms: Vec::new(),
            report: Report::default(),
            healed_us: None,
            is_over: false,
            attempts: 0,
            epoch: 0,
            epoch_us: 0,
            record: Record::default(),
            began_us: vec![0; plan.sessions],
            attempted_us: vec![0; plan.sessions],
            plan,
        };
        run.cluster.bystanders = Bystanders::new(seed, run.plan.neighbours);
        if run.plan.silent_always {
            run.cluster.bystanders.silent = Reach::All;
        }
        run.cluster.note(|| format!("seed {seed} {only}"));
        for n in 0..run.plan.sessions {
            let skew_ms = run.faults.skew_ms(&run.plan);
            run.clients.push(Client::new(&format!("s{n}"), generator.u64(..), skew_ms, &run.plan));
        }
        run
    }

    fn go_to_the_end(&mut self) -> Result<(), Violation> {
        for _ in 0..self.plan.replicas {
            self.faults.start_replica(&self.plan, &mut self.cluster);
        }
        for _ in 0..self.plan.frontends {
            self.faults.start_frontend(&self.plan, &mut self.cluster);
        }
        for n in 0..self.clients.len() {
            self.alarm(BEGIN_US, Alarm::Begin(n));
        }
        self.alarm(BEGIN_US, Alarm::Strike);
        self.alarm(BEGIN_US + self.plan.faulty_us, Alarm::Heal);
        let healed_us = BEGIN_US + self.plan.faulty_us;
        let end_us = healed_us + RECOVERY_US + PEACE_US + QUIET_US;
        let quiet_us = if self.plan.is_brief { healed_us + BRIEF_PEACE_US } else { end_us - QUIET_US };
        if self.plan.is_brief {
            self.alarm(quiet_us, Alarm::Look);
        }
        while !self.is_over && self.cluster.next_us().is_some_and(|next_us| next_us < end_us) {
            self.report.events += 1;
            for id in std::mem::take(&mut self.cluster.reborn) {
                self.invariants.reborn(&self.cluster, &id);
            }
            match self.cluster.step() {
                Some(Happened::Stepped { process, notices, frontend_notices, answers }) => {
                    self.count(&notices, &frontend_notices);
                    self.invariants.stepped(&self.cluster, &process, &notices, &answers)?;
                }
                Some(Happened::Answered { client, n, answer, .. }) => self.hear(&client, n, &answer)?,
                Some(Happened::Lost { client, lost, .. }) => {
                    *self.faults.counts.entry("sessions told of lost updates").or_default() += 1;
                    if let Some(client) = self.clients.iter_mut().find(|other| other.name == client) {
                        client.hear_lost(&lost);
                    }
                }
                Some(Happened::Retired { client, n, retired }) => {
                    if let Some(client) = self.clients.iter_mut().find(|other| other.name == client) {
                        client.hear_retired(n, retired);
                    }
                }
                Some(Happened::Alarm(alarm)) => self.ring(self.alarms[alarm as usize].clone(), quiet_us)?,
                Some(Happened::Nothing) | None => {}
            }
        }
        let traffic = self.cluster.network.traffic.clone();
        for (kind, count) in [
            ("messages lost", traffic.lost),
            ("messages duplicated", traffic.duplicated),
            ("messages overtaken", traffic.overtook),
            ("messages cut off", traffic.cut),
            ("updates acknowledged by fewer than asked for", self.invariants.durability.acknowledged_by_fewer),
            ("updates in several records", self.invariants.ledger.ids_with_several_records() as u64),
            ("retries with a stamp of their own", self.invariants.ledger.ids_stamped_twice() as u64),
            ("updates under an id without a stamp", self.clients.iter().map(|client| client.unstamped).sum()),
            ("turns with requests of several clients", self.cluster.turns.shared_by_clients),
            ("turns with messages of several processes", self.cluster.turns.shared_by_senders),
            ("messages with several requests", self.cluster.turns.shared_by_requests),
            ("messages with several replies", self.cluster.turns.shared_by_replies),
            ("messages to nobody that met with silence", self.cluster.bystanders.silences),
            ("answers of bystanders", self.cluster.bystanders.answered),
            ("old answers of bystanders", self.cluster.bystanders.answered_again),
            ("presence and gossip repeated by bystanders", self.cluster.bystanders.repeated),
            ("presence and gossip that cannot be decoded", self.cluster.bystanders.undecodable),
            ("messages ignored", self.cluster.ignored),
            ("messages denied", self.cluster.denied_messages),
            ("processes that stopped serving and went on", self.cluster.permitted_again),
            ("labels with a raised clock", self.clients.iter().map(|client| client.raised).sum()),
            ("ids left out of sessions' labels", self.clients.iter().map(|client| client.left_out).sum()),
            ("sessions of another cluster that were told so", self.clients.iter().map(|client| client.strayed).sum()),
            ("a client's clock jumped", self.clients.iter().map(|client| client.jumps).sum()),
        ] {
            *self.faults.counts.entry(kind).or_default() += count;
        }
        self.report.counts = self.faults.counts.clone();
        let allowed = (self.attempts + 200) * MESSAGES_PER_ATTEMPT_MAX;
        check(traffic.sent < allowed, "messages don't breed", || {
            format!("{} messages for {} attempts", traffic.sent, self.attempts)
        })?;
        self.report.lost = self.invariants.durability.lost(&self.invariants.ledger, &self.cluster).is_some();
        for n in 0..self.clients.len() {
            self.note(n, Outcome::Unknown);
        }
        let twice = self.invariants.ledger.ids_stamped_twice() > 0;
        std::mem::take(&mut self.record).judge(&self.cluster, self.plan.users, self.report.lost, twice)?;
        // Requests may still wait for what is lost, or died with the cluster before.
        let Invariants { durability, ledger, .. } = &self.invariants;
        let may_be_lost = self.plan.flavour == Flavour::Wild || durability.is_promise_kept(ledger, &self.cluster);
        if self.report.lost && may_be_lost || self.may_have_met_the_dead() {
            return Ok(());
        }
        self.invariants.at_end(&self.cluster, true)
    }

    fn alarm(&mut self, delay_us: u64, alarm: Alarm) {
        self.alarms.push(alarm);
        self.cluster.set_alarm(delay_us, self.alarms.len() as u64 - 1);
    }

    fn ring(&mut self, alarm: Alarm, quiet_us: u64) -> Result<(), Violation> {
        match alarm {
            Alarm::Begin(n) => {
                if self.cluster.now_us() < quiet_us && self.clients[n].operations < self.plan.operations_max {
                    self.clients[n].ahead_ms = self.faults.ahead.of_clients_ms;
                    self.clients[n].begin(self.cluster.now_us());
                    self.invariants.clocks.shows(self.clients[n].wall_ms(self.cluster.now_us()));
                    self.began_us[n] = self.cluster.now_us();
                    self.attempt(n);
                }
            }
            Alarm::Attempt(n) => self.attempt(n),
            Alarm::GiveUp(n, attempt) => {
                if self.clients[n].operation.as_ref().is_some_and(|operation| operation.n == attempt) {
                    self.failed(n, "no answer at all")?;
                    self.go_on(n, self.clients[n].no_answer());
                }
            }
            Alarm::Strike => {
                if self.healed_us.is_none() {
                    let later = self.faults.strike(&self.plan, &mut self.cluster, &self.invariants);
                    self.schedule(later);
                    self.begin_epoch();
                    let next_us = self.faults.next_us(&self.plan);
                    self.alarm(next_us, Alarm::Strike);
                }
            }
            Alarm::Cure(cure) => {
                if self.healed_us.is_none() {
                    let later = self.faults.cure(cure, &self.plan, &mut self.cluster, &self.invariants);
                    self.schedule(later);
                }
            }
            Alarm::Heal => {
                self.healed_us = Some(self.cluster.now_us());
                // A replica that catches up waits for its disk once a page, which may have a single record.
                self.cluster.settings.sync_us_max = self.cluster.settings.sync_us_max.min(WELL_SYNC_US_MAX);
                self.faults.heal(&self.plan, &mut self.cluster, &self.invariants);
            }
            Alarm::Look => {
                let is_quiet = self.clients.iter().all(|client| client.operation.is_none());
                self.is_over = is_quiet && self.invariants.is_at_rest(&self.cluster);
                self.alarm(LOOK_US, Alarm::Look);
            }
        }
        Ok(())
    }

    fn schedule(&mut self, later: Vec<(u64, Cure)>) {
        for (after_us, cure) in later {
            self.alarm(after_us, Alarm::Cure(cure));
        }
    }

    /// Forgets earlier promises if all replicas were started anew with nothing, and begins another history of the
    /// sessions.
    fn begin_epoch(&mut self) {
        if self.faults.anew > self.epoch {
            self.epoch = self.faults.anew;
            self.epoch_us = self.cluster.now_us();
            self.invariants.begin_anew(&self.cluster);
            self.record = Record::default();
        }
    }

    fn attempt(&mut self, n: usize) {
        match self.clients[n].attempt(&mut self.cluster) {
            Some(attempt) => {
                self.attempts += 1;
                self.attempted_us[n] = self.cluster.now_us();
                self.alarm(CLIENT_TIMEOUT_US, Alarm::GiveUp(n, attempt));
            }
            None => self.alarm(100_000, Alarm::Attempt(n)),
        }
    }

    fn hear(&mut self, client: &ReplicaId, number: u64, answer: &ClientAnswer) -> Result<(), Violation> {
        let Some(n) = self.clients.iter().position(|other| other.name == *client) else { return Ok(()) };
        let Some(operation) = self.clients[n].operation.clone().filter(|operation| operation.n == number) else {
            return Ok(());
        };
        self.invariants.answered(&self.cluster, &operation, answer)?;
        self.check_epoch(n, &operation, answer)?;
        let next = self.clients[n].hear(answer);
        if next == Next::Done {
            let cluster = self.cluster.named_in_answers.remove(&(client.clone(), number)).flatten();
            self.clients[n].belongs_to(cluster.as_ref(), self.epoch);
            self.note(n, Outcome::of(answer.as_ref().map(|reply| &reply.value)));
        }
        match (next, answer) {
            (Next::Done, Ok(_)) => self.report.answered += 1,
            (Next::Done, Err(_)) => self.report.refused += 1,
            // A new one begins.
            (_, Err(FrontendError::OtherCluster { .. })) if self.epoch > 0 => {}
            (_, Err(error)) => self.failed(n, &error.to_string())?,
            (_, Ok(_)) => {}
        }
        if next == Next::Done {
            self.invariants.ended(&operation, answer);
        }
        self.go_on(n, next);
        Ok(())
    }

    /// Whether all was started anew with nothing, and a bystander may have repeated what those showed that ended: then
    /// the two clusters have met, and what sessions and frontends have seen of the older one is missed in vain for a
    /// while.
    fn may_have_met_the_dead(&self) -> bool {
        self.epoch > 0 && self.cluster.bystanders.repeated > 0
    }

    /// Checks that replicas that were started anew do not answer a session that has seen replicas which are gone with
    /// all they had.
    fn check_epoch(&self, n: usize, operation: &Operation, answer: &ClientAnswer) -> Result<(), Violation> {
        let is_older = self.clients[n].epoch.is_some_and(|epoch| epoch < self.epoch)
            && !operation.seen.is_empty()
            && !self.may_have_met_the_dead();
        let Ok(reply) = answer else { return Ok(()) };
        let is_present = |id: &ReplicaId| self.cluster.process(id).started_us > self.epoch_us;
        check(!is_older || !reply.replicas.iter().any(is_present), "a session of another cluster is told so", || {
            format!("{operation:?} got {reply:?}")
        })
    }

    fn go_on(&mut self, n: usize, next: Next) {
        let is_busy = self.clients[n].operations <= BUSY_OPERATIONS;
        let think_us = if is_busy { self.plan.think_us_max } else { self.plan.think_us_max.max(LEISURE_US) };
        let delay_us = self.clients[n].think_us(think_us);
        if next == Next::Retry {
            if let Some(operation) = &mut self.clients[n].operation {
                operation.n = 0;
            }
            return self.alarm(delay_us, Alarm::Attempt(n));
        }
        if next == Next::Unknown {
            self.report.unknown += 1;
            self.note(n, Outcome::Unknown);
        }
        self.clients[n].operation = None;
        self.alarm(delay_us, Alarm::Begin(n));
    }

    /// A session's operation is over.
    fn note(&mut self, n: usize, outcome: Outcome) {
        // Answers of replicas that are gone are no part of the history of those that were started anew. An update that
        // was on its way may be.
        let is_older = self.epoch > 0 && self.began_us[n] <= self.epoch_us;
        let outcome = if is_older { Outcome::Unknown } else { outcome };
        if let Some(operation) = &self.clients[n].operation {
            self.record.ended(operation, self.began_us[n], self.cluster.now_us(), outcome);
        }
    }

    /// An attempt failed. That must not happen where nothing is wrong.
    fn failed(&mut self, n: usize, error: &str) -> Result<(), Violation> {
        let now_us = self.cluster.now_us();
        *self.faults.counts.entry("attempts failed").or_default() += 1;
        // A frontend whose clock is ahead takes an id that carries no stamp for an old one.
        let is_of_the_faults = self.healed_us.is_none_or(|healed_us| self.attempted_us[n] <= healed_us);
        if is_of_the_faults && self.plan.ahead_ms > 0 && error.contains("made more than a minute ago") {
            return Ok(());
        }
        // Held against the clocks of the replica managers already.
        if self.plan.ahead_ms > 0 && error.contains("more than a minute ahead") {
            return Ok(());
        }
        // An acceptor whose death a bystander hides may be paused and accept the update yet: a refusal by another one
        // is not certain.
        let is_update = |operation: &Operation| matches!(operation.asked, Asked::Update(_));
        let is_update = self.clients[n].operation.as_ref().is_some_and(is_update);
        if is_update && self.cluster.bystanders.silences > 0 && error.starts_with("TIMEOUT") {
            return Ok(());
        }
        if error.starts_with(REFUSAL_UNCERTAIN) && self.has_a_replica_died_lately(now_us) {
            *self.faults.counts.entry("refusals that were not certain").or_default() += 1;
            return Ok(());
        }
        let well = self.healed_us.is_some_and(|healed_us| now_us > healed_us + RECOVERY_US + CLIENT_TIMEOUT_US);
        let well = well || self.plan.flavour == Flavour::Crashes && self.processes_are_well(now_us);
        let is_lost = || self.invariants.durability.lost(&self.invariants.ledger, &self.cluster).is_some();
        if !well || self.may_have_met_the_dead() || is_lost() {
            return Ok(());
        }
        check(false, "availability", || format!("{error}: {:?}", self.clients[n].operation))
    }

    /// Whether a replica has died that would come back with what it accepted if it had only lost its connection: nobody
    /// can tell yet.
    fn has_a_replica_died_lately(&self, now_us: u64) -> bool {
        let died_lately = |process: &Process| match process.life {
            Life::Dead { since_us } => now_us - since_us < LOST_AFTER_MS * 1000 + CLIENT_TIMEOUT_US,
            _ => false,
        };
        self.cluster.processes.values().any(|process| process.replica().is_some() && died_lately(process))
    }

    /// Whether no frontend died lately, so that nothing was lost with it, nor a replica manager that may come back with
    /// an update: then nobody can tell what became of that.
    fn processes_are_well(&self, now_us: u64) -> bool {
        let wall_us = CLIENT_TIMEOUT_US + 100_000;
        let matters = |process: &&Process| process.frontend().is_some() || process.disk.is_some();
        let died_lately = |process: &Process| match process.life {
            Life::Dead { since_us } => process.disk.is_some() || now_us - since_us < wall_us,
            _ => process.disk.is_some() && now_us - process.started_us < wall_us,
        };
        let struck_lately = self.faults.struck_all_us > 0 && now_us - self.faults.struck_all_us < STARTING_US;
        !struck_lately
            && !self.cluster.processes.values().filter(matters).any(died_lately)
            && self.cluster.alive(Role::Replica).len() > 1
    }

    fn count(&mut self, notices: &[Notice], frontend_notices: &[frontend::Notice]) {
        let mut add = |kind| *self.faults.counts.entry(kind).or_default() += 1;
        for notice in notices {
            match notice {
                Notice::Accepted(record) if is_vain(record) => add("deletes that took nothing away"),
                Notice::Waiting { .. } => add("requests that waited"),
                Notice::Pulled { .. } => add("pulls"),
                Notice::SnapshotBegins { .. } => add("snapshots begun"),
                Notice::SnapshotBroken { .. } => add("snapshots broken off"),
                Notice::SnapshotLoaded { .. } => add("snapshots merged"),
                Notice::Retired { .. } => add("ids retired"),
                Notice::Lost { .. } => add("records given up as lost"),
                Notice::ClaimedLost { .. } => add("records that only sessions name given up as lost"),
                Notice::Applied { stands: false, .. } => add("records that lost against a greater stamp"),
                _ => {}
            }
        }
        for notice in frontend_notices {
            match notice {
                frontend::Notice::StampedAgain(_) => add("updates stamped again"),
                frontend::Notice::Retried { .. } => add("silences"),
                _ => {}
            }
        }
    }
}

fn is_vain(record: &natter_common::record::Record) -> bool {
    matches!(record.request, Some(Update::Delete { .. })) && record.deleted.is_none()
}
