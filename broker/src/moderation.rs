//! Log lines that others can cause as often as they like: counted, and told of in moderation.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use tracing::warn;

/// Length of a period, in which at most [`LINES_MAX`] lines of a kind are logged.
const PERIOD: Duration = Duration::from_secs(1);
/// Maximum lines of a kind that are logged in a period. More are only counted.
const LINES_MAX: u32 = 8;

/// Counts what happened of each kind, and says what to tell.
#[derive(Debug, Default)]
pub struct Moderation {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    told: u32,
    untold: u64,
}

impl Moderation {
    /// Whether to tell of this one. Where some of this kind were not told of before, says how many.
    pub fn admits(&mut self, kind: &'static str) -> bool {
        let now = Instant::now();
        let entry = self.kinds.entry(kind).or_insert(Kind { since: now, told: 0, untold: 0 });
        if now.duration_since(entry.since) >= PERIOD {
            if entry.untold > 0 {
                warn!(kind, lines = entry.untold, "more of these came than were told of");
            }
            *entry = Kind { since: now, told: 0, untold: 0 };
        }
        if entry.told < LINES_MAX {
            entry.told += 1;
            return true;
        }
        entry.untold += 1;
        false
    }
}

/// Counts messages that cannot be read.
#[derive(Debug, Default)]
pub struct Malformed {
    total: u64,
    moderation: Moderation,
}

impl Malformed {
    /// Number of messages so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Counts one, and tells of it.
    pub fn count(&mut self, subject: &str, reason: &dyn Display) {
        self.total += 1;
        if self.moderation.admits("malformed messages") {
            let reason: String = reason.to_string().chars().take(200).collect();
            warn!(subject, reason, total = self.total, "dropped a malformed message");
        }
    }
}
