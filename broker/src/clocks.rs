//! The machine's clocks, read for the protocol cores.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use natter_common::clock::Now;

/// Offset added to the wall clock of this process as a fault, in milliseconds; negative if it is behind.
static OFFSET_MS: AtomicI64 = AtomicI64::new(0);

/// Sets the wall clock wrong for this process from now on, as a fault to test with: ahead by `offset_ms`, or behind
/// if it is negative. No program of Natter's calls this; the tests' own does.
pub fn set_wall_clock_ahead(offset_ms: i64) {
    OFFSET_MS.store(offset_ms, Ordering::Relaxed);
}

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

    /// Readings of both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = (wall.as_millis() as u64).saturating_add_signed(OFFSET_MS.load(Ordering::Relaxed));
        Now { monotonic_ms: self.started.elapsed().as_millis() as u64, wall_ms }
    }
}
