//! Progress of the bench, on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Writes a line to standard error, unless that is closed.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Progress of a run.
pub(crate) struct Progress {
    done: usize,
    all: usize,
    begun: Instant,
}

impl Progress {
    /// Starts with the number of all measurements.
    pub(crate) fn of(all: usize) -> Self {
        Self { done: 0, all, begun: Instant::now() }
    }

    /// One more is done; `each` is what one takes, so that the time that is left is known from the first on.
    pub(crate) fn done(&mut self, what: &str, each: Duration) {
        self.done += 1;
        let left = self.all.saturating_sub(self.done);
        let left = each * u32::try_from(left).unwrap_or(u32::MAX);
        tell(&format!("[{:>3}/{}, {} left] {what}", self.done, self.all, minutes(left)));
    }

    /// Takes `count` measurements out of those that are to come.
    pub(crate) fn leave_out(&mut self, count: usize) {
        self.all = self.all.saturating_sub(count);
    }

    /// Returns the time so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// `4:05`.
pub(crate) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(245)), "4:05");
    }
}
