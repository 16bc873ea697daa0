//! Messages that cannot be read: counted, and told of at most once a second.

use std::time::{Duration, Instant};

use tracing::warn;

const TELL_EVERY: Duration = Duration::from_secs(1);

/// Counts malformed messages.
#[derive(Debug, Default)]
pub struct Malformed {
    total: u64,
    untold: u64,
    told: Option<Instant>,
}

impl Malformed {
    /// Counts one, and tells of it unless that was done just now.
    pub fn count(&mut self, subject: &str, reason: &dyn std::fmt::Display) {
        self.total += 1;
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let reason: String = reason.to_string().chars().take(200).collect();
            warn!(subject, reason, messages = self.untold, "dropped malformed messages");
            self.untold = 0;
            self.told = Some(Instant::now());
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total
    }
}
