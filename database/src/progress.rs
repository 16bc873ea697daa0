//! How far a long piece of work has come.

/// Told every few thousand ratings; whoever shows it decides how often.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub doing: &'static str,
    /// How many ratings are done.
    pub ratings: u64,
    /// How much of the work is done, from 0 to 1.
    pub fraction: f64,
}

/// How many ratings pass between two reports.
pub(crate) const RATINGS_PER_REPORT: u64 = 1 << 14;

/// Shows nothing.
pub fn silent(_: Progress) {}
