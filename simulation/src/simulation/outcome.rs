//! Results of a run.

use std::fmt;

use super::faults::Counts;
use super::invariants::Violation;
use super::only::Only;
use super::plan::Plan;

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Operations that were answered.
    pub answered: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Operations whose outcome stayed unknown.
    pub unknown: u64,
    /// Faults and other things that happened, by kind.
    pub counts: Counts,
    /// Whether the last copy of something shown was lost, by more faults than Natter covers.
    pub lost: bool,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Number of events until then.
    pub events: u64,
    /// The broken invariant.
    pub violation: Violation,
    /// The part of the seed's plan that was kept.
    pub only: Only,
    /// The plan of the run.
    pub plan: Plan,
    /// Everything that happened, where it was written down.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAILED {} (event {})", self.violation, self.events)?;
        writeln!(f, "plan: {:?}", self.plan)?;
        for line in &self.trace[self.trace.len().saturating_sub(40)..] {
            writeln!(f, "{line}")?;
        }
        let only = match self.only.to_string() {
            only if only.is_empty() => only,
            only => format!(" SIM_ONLY=\"{only}\""),
        };
        let seed = self.seed;
        write!(f, "reproduce: SIM_SEED={seed}{only} cargo test -p natter-simulation --test simulation -- --nocapture")
    }
}
