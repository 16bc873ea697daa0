//! Progress of a long piece of work.

/// Report about every few thousand ratings; the receiver decides how often it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Name of the work.
    pub doing: &'static str,
    /// Number of ratings that are done.
    pub ratings: u64,
    /// Fraction of the work that is done, from 0 to 1.
    pub fraction: f64,
}

/// Number of ratings between two reports.
pub(crate) const RATINGS_PER_REPORT: u64 = 1 << 14;

/// Shows nothing.
pub fn silent(_: Progress) {}
