//! Lets faults happen, several at a time, by a seed; after each round all is well again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::faults::Fault;
use super::inflict::Wound;
use super::stage::Stage;

/// Maximum faults at the same time.
const AT_ONCE_MAX: usize = 3;
/// Maximum pause before each fault of a round begins, in milliseconds.
const BEGIN_WITHIN_MS: u64 = 300;
/// Maximum attempts in a row without an effect; then the test fails.
const IN_VAIN_MAX: u32 = 5;

/// Results of all rounds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of faults of each kind that had their effect.
    pub faults: BTreeMap<Fault, u64>,
    /// Number of faults that had none, and were not counted.
    pub in_vain: u64,
    /// Number of times that all was well again.
    pub rounds: u64,
    /// The longest time from the end of the last fault of a round until all was well.
    pub slowest_recovery: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.faults.values().sum();
        let Self { rounds, in_vain, slowest_recovery, .. } = self;
        write!(
            f,
            "{total} faults in {rounds} rounds ({in_vain} more had no effect), well again after {slowest_recovery:.1?} at most:"
        )?;
        self.faults.iter().try_for_each(|(fault, count)| write!(f, "\n  {count:4} {fault}"))
    }
}

/// Source of faults.
pub struct Nemesis {
    pub(super) generator: Rng,
    /// Faults whose turn is still to come: each kind comes once before any comes again.
    deck: Vec<Fault>,
    vain: BTreeMap<Fault, u32>,
    /// The number of the next newcomer.
    pub(super) next: u64,
    /// Names of the processes that faults of this round have hit.
    pub(super) taken: BTreeSet<String>,
    /// Ids of replicas whose mode could not be set right yet.
    pub(super) still_wrong: Vec<String>,
    report: Report,
}

impl Nemesis {
    /// Draws faults by this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            generator: Rng::with_seed(seed),
            deck: Vec::new(),
            vain: BTreeMap::new(),
            next: 10,
            taken: BTreeSet::new(),
            still_wrong: Vec::new(),
            report: Report::default(),
        }
    }

    /// Causes faults for this time, and until every kind of fault had its effect.
    pub async fn run(mut self, stage: &mut Stage<'_>, time: Duration) -> Report {
        let began = Instant::now();
        while began.elapsed() < time || self.report.faults.len() < Fault::ALL.len() {
            let round = self.draw();
            self.suffer(stage, &round).await;
            let healed = Instant::now();
            stage.until_well().await;
            self.report.slowest_recovery = self.report.slowest_recovery.max(healed.elapsed());
            self.report.rounds += 1;
        }
        self.report
    }

    /// The faults of the next round.
    fn draw(&mut self) -> Vec<Fault> {
        let count = self.generator.usize(1..=AT_ONCE_MAX);
        let mut round: Vec<Fault> = Vec::new();
        for _ in 0..count {
            if self.deck.is_empty() {
                self.deck = Fault::ALL.to_vec();
                self.generator.shuffle(&mut self.deck);
            }
            let fits = |fault: &Fault| round.iter().all(|other| fault.goes_with(*other));
            if let Some(place) = self.deck.iter().rposition(fits) {
                round.push(self.deck.remove(place));
            }
        }
        round
    }

    /// Each begins, lasts, and is healed when its time has come.
    async fn suffer(&mut self, stage: &mut Stage<'_>, round: &[Fault]) {
        self.taken.clear();
        let mut wounds: Vec<(Instant, Fault, Wound)> = Vec::new();
        for &fault in round {
            let pause_ms = self.generator.u64(..BEGIN_WITHIN_MS);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let lasts = Duration::from_millis(self.generator.u64(fault.lasts_ms()));
            let wound = self.inflict(stage, fault).await;
            wounds.push((Instant::now() + lasts, fault, wound));
        }
        wounds.sort_by_key(|(until, ..)| *until);
        for (until, fault, wound) in wounds {
            tokio::time::sleep_until(until.into()).await;
            let had_effect = self.heal(stage, wound).await;
            self.count(fault, had_effect);
        }
        self.heal_the_rest(stage).await;
    }

    fn count(&mut self, fault: Fault, had_effect: bool) {
        if had_effect {
            self.vain.remove(&fault);
            *self.report.faults.entry(fault).or_default() += 1;
            return;
        }
        self.report.in_vain += 1;
        let vain = self.vain.entry(fault).or_default();
        *vain += 1;
        assert!(*vain < IN_VAIN_MAX, "{fault} had no effect, {vain} times in a row");
        self.deck.push(fault);
    }

    /// One of those that no other fault has hit in this round.
    pub(super) fn pick(&mut self, names: &[String]) -> String {
        let free: Vec<&String> = names.iter().filter(|name| !self.taken.contains(*name)).collect();
        let name = self.generator.choice(free).expect("more processes than faults at once").clone();
        self.taken.insert(name.clone());
        name
    }
}
