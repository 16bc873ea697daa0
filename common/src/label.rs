//! Labels: what a session has seen.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::timestamp::Timestamp;

/// The timestamp in a reply, which a session merges into its `prev` and sends with its next request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Label {
    /// The updates that the session has seen.
    pub replicas: Timestamp,
    /// At least the stamp of every record that `replicas` covers; 0 where nothing was seen.
    pub clock: Stamp,
}

impl Label {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self { replicas: Timestamp::new(), clock: Stamp::ZERO }
    }

    /// Covers what `other` covers too.
    pub fn merge(&mut self, other: &Self) {
        self.replicas.merge(&other.replicas);
        self.clock = self.clock.max(other.clock);
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.replicas, f)
    }
}
