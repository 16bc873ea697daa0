//! Many seeds, and what happened in all of them together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::faults::Counts;
use super::outcome::{Failure, Report};
use super::run::run;

/// The kinds of things that must have happened in a run over many seeds: otherwise the simulation has lost its teeth.
const MUST_HAPPEN: [&str; 58] = [
    "a silent subscriber",
    "messages to nobody that met with silence",
    "a bystander that answered beside another",
    "a bystander that answered in another's place",
    "old answers of bystanders",
    "a bystander that repeated old messages",
    "presence and gossip repeated by bystanders",
    "presence and gossip that cannot be decoded",
    "messages ignored",
    "a publication was denied",
    "a subscription was denied",
    "processes that stopped serving and went on",
    "clocks were ahead",
    "a frontend was restarted with its clock right again",
    "a replica manager was restarted with its clock right again",
    "labels with a raised clock",
    "a replica manager was restarted from its disk",
    "a directory was copied",
    "a copy of a directory was started",
    "two copies of a directory lived by turns",
    "a directory restarted often",
    "all replica managers were restarted from their directories",
    "all replica managers were started anew with nothing",
    "sessions of another cluster that were told so",
    "snapshots merged",
    "snapshots broken off",
    "ids retired",
    "a replica manager crashed",
    "a replica manager died in the middle of sending",
    "a replica manager that is a frontend began",
    "a replica manager left",
    "a replica manager joined",
    "a replica manager was paused",
    "a replica manager was OFFLINE",
    "a replica manager was OVERLOADED",
    "a replica manager's status was arbitrary",
    "a frontend crashed",
    "a frontend was paused",
    "a clock jumped ahead",
    "a clock jumped back",
    "a client's clock jumped",
    "a cut",
    "a cut in one direction",
    "a long cut",
    "messages lost",
    "messages duplicated",
    "messages overtaken",
    "messages cut off",
    "updates acknowledged by fewer than asked for",
    "updates in several records",
    "updates under an id without a stamp",
    "records that lost against a greater stamp",
    "deletes that took nothing away",
    "pulls",
    "turns with requests of several clients",
    "turns with messages of several processes",
    "messages with several requests",
    "messages with several replies",
];
/// Number of histories from which on every entry of `MUST_HAPPEN` must have happened.
pub const HISTORIES_MIN: u64 = 1000;

/// Sums over many runs.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Number of runs.
    pub histories: u64,
    /// See [`Report`].
    pub events: u64,
    /// See [`Report`].
    pub answered: u64,
    /// See [`Report`].
    pub refused: u64,
    /// See [`Report`].
    pub unknown: u64,
    /// Number of runs that lost the last copy of a record.
    pub lost: u64,
    /// By kind.
    pub counts: Counts,
    /// Seeds that failed, and why.
    pub failures: BTreeMap<u64, String>,
}

impl Total {
    /// One more run.
    pub fn add(&mut self, seed: u64, outcome: &Result<Report, Box<Failure>>) {
        self.histories += 1;
        match outcome {
            Ok(report) => {
                self.events += report.events;
                self.answered += report.answered;
                self.refused += report.refused;
                self.unknown += report.unknown;
                self.lost += u64::from(report.lost);
                for (kind, count) in &report.counts {
                    *self.counts.entry(kind).or_default() += count;
                }
            }
            Err(failure) => {
                self.events += failure.events;
                self.failures.insert(seed, failure.violation.to_string());
            }
        }
    }

    /// The runs of another total too.
    pub fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.events += other.events;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lost += other.lost;
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    /// The kinds of faults that never had any effect, where there were enough runs to show them all.
    pub fn never_happened(&self) -> Vec<&'static str> {
        let never = |kind: &&&str| self.counts.get(**kind).is_none_or(|count| *count == 0);
        match self.histories {
            HISTORIES_MIN.. => MUST_HAPPEN.iter().filter(never).copied().collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, events, answered, refused, unknown, lost, .. } = self;
        writeln!(
            f,
            "{histories} histories, {events} events, {answered} operations answered, {refused} refused, {unknown} unknown, \
             {lost} runs lost a last copy, {} failed",
            self.failures.len()
        )?;
        self.counts.iter().try_for_each(|(kind, count)| writeln!(f, "{count:>12}  {kind}"))
    }
}

/// Runs so many seeds from `first` on, in so many threads. Stops at the first failure unless it is to `keep_going`.
pub fn run_many(first: u64, seeds: u64, jobs: usize, keep_going: bool) -> Total {
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let work = || {
        let mut own = Total::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(seeds) {
                break;
            }
            let outcome = run(seed, false).map(|(report, _)| report);
            own.add(seed, &outcome);
            if outcome.is_err() && !keep_going {
                stop.store(true, Ordering::Relaxed);
            }
        }
        total.lock().unwrap().merge(own);
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap()
}
