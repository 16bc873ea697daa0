//! The machine's clocks, read for the protocol cores.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use natter_common::clock::Now;

/// Reads both clocks. The monotonic one counts from the creation of this value.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    started: Instant,
}

impl Clocks {
    /// Begins to count.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// What the clocks say.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: self.started.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }
}
