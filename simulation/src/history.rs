//! Decides from what clients saw, and from nothing else, whether the promises were kept: no label, no timestamp, no
//! stamp, no order of ids.
//!
//! - [`operation`], [`recorder`], [`mod@file`]: a history, how it is taken down, how it is stored
//! - `index`, `causality`: the write that each read saw, and the causal order that follows
//! - [`checks`]: one promise each
//! - [`formats`]: the same history for public checkers
//!
//! Every write has an id and every read names it, so which write a read saw is known, and the causal order is what
//! follows from that and from the order of each session. Under this condition causal convergence is decided in
//! polynomial time: Bouajjani, Enea, Guerraoui & Hamza, "On Verifying Causal Consistency", POPL 2017; Biswas & Enea,
//! "On the Complexity of Checking Transactional Consistency", OOPSLA 2019. The way to near-linear time, vector clocks
//! and only the latest write of each session, is that of Møldrup & Pavlogiannis, "AWDIT: An Optimal Weak Database
//! Isolation Tester", PLDI 2025.

mod causality;
pub mod checks;
pub mod file;
pub mod formats;
mod index;
pub mod operation;
pub mod recorder;

use std::collections::BTreeMap;
use std::fmt;

pub use checks::Promise;
pub use operation::{Cell, Final, History, Kind, Mean, Operation, Outcome, Reason, Row, Seen};
pub use recorder::Recorder;

/// Maximum violations of one promise that are told; the others are only counted.
const TOLD_MAX: usize = 10;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// Description of the case.
    pub text: String,
    /// The operations that show it, with what leads from each to the next.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)?;
        self.story.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Size of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations.
    pub operations: usize,
    /// Sessions.
    pub sessions: usize,
    /// Reads of one key whose write is known.
    pub reads: usize,
    /// Reads that tell only whether a rating is there.
    pub glimpses: usize,
    /// Updates without an answer that a session saw.
    pub unknown_seen: usize,
    /// Orders of two writes of one key that follow from reads.
    pub conflicts: usize,
    /// Means that could be computed from the rest.
    pub means_checked: usize,
    /// Means that could not.
    pub means_skipped: usize,
}

/// Result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Size of the history that was checked.
    pub counts: Counts,
    /// Violations, those of the simplest promises first.
    pub violations: Vec<Violation>,
    /// Number of further violations, beyond the maximum for one promise.
    pub untold: usize,
    /// Reads of an old value by node and key, with the promise that each breaks.
    stale: BTreeMap<(usize, usize), Promise>,
}

impl Verdict {
    /// Whether nothing is broken.
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether this promise is broken.
    pub fn breaks(&self, promise: Promise) -> bool {
        self.violations.iter().any(|violation| violation.promise == promise)
    }

    /// Number of reads of an old value that break this promise. Each read counts once, for the simplest promise that it
    /// breaks. A replica at the end counts once for each key ([`Promise::NoLostUpdate`]).
    pub fn stale_reads(&self, promise: Promise) -> usize {
        self.stale.values().filter(|broken| **broken == promise).count()
    }

    /// Number of all violations, those included that are not told.
    pub fn count(&self) -> usize {
        self.violations.len() + self.untold
    }

    /// Whether this node's read of this key was told to be one of an old value.
    fn is_stale(&self, reader: usize, key: usize) -> bool {
        self.stale.contains_key(&(reader, key))
    }

    /// Adds a read of an old value of `key` by the node `reader`.
    fn add_stale(&mut self, (reader, key): (usize, usize), violation: Violation) {
        let promise = self.stale.entry((reader, key)).or_insert(violation.promise);
        *promise = violation.promise.min(*promise);
        self.add(violation);
    }

    fn add(&mut self, violation: Violation) {
        let told = self.violations.iter().filter(|other| other.promise == violation.promise).count();
        if told < TOLD_MAX {
            self.violations.push(violation);
        } else {
            self.untold += 1;
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        let Counts { operations, sessions, reads, glimpses, unknown_seen, conflicts, means_checked, means_skipped } =
            &self.counts;
        write!(
            f,
            "{} violations in {operations} operations of {sessions} sessions ({reads} reads, {glimpses} glimpses, \
             {unknown_seen} updates seen that had no answer, {conflicts} conflicts ordered, {means_checked} means \
             checked, {means_skipped} not)",
            self.count()
        )
    }
}

/// Decides.
///
/// Time: operations × sessions, and logarithms; a page counts as many reads as its user has keys in the history.
/// Memory: operations × (4 bytes × sessions + 1 bit × updates without an answer that were seen).
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    checks::well_formed::check(history, &mut verdict);
    let index = index::Index::new(history, &mut verdict);
    checks::thin_air::check(&index, &mut verdict);
    match causality::Causality::new(&index) {
        Ok(causality) => checks::causal(&index, &causality, &mut verdict),
        Err(cycle) => checks::convergence::cyclic(&index, &cycle, &mut verdict),
    }
    verdict.violations.sort_by_key(|violation| violation.promise);
    verdict
}
