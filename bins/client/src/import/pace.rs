//! Limit of operations in flight: as many as frontends and replicas take. Reads no clock.
//!
//! A window, as TCP has it: it grows with what is answered, is halved when a frontend has no room or no time, and then
//! grows slowly.

use std::time::Duration;

/// Minimum of the window.
const WINDOW_MIN: usize = 100;
/// Number of operations in flight at the beginning.
const WINDOW_FIRST: usize = 2_000;
/// Time for which nothing is sent after a frontend had no room.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The window.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    window: usize,
    most: usize,
    /// Up to here it grows fast.
    threshold: usize,
    /// Batches sent before this one don't halve it again.
    halved_at: u64,
}

impl Pace {
    /// At most `most` operations.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(WINDOW_MIN);
        Self { window: WINDOW_FIRST.min(most), most, threshold: most, halved_at: 0 }
    }

    /// Maximum number of operations in flight.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Widens the window: `operations` were answered, none of them with an error for want of room or time.
    pub(super) fn went_well(&mut self, operations: usize) {
        let step = if self.window < self.threshold { operations } else { operations * WINDOW_MIN / self.window };
        self.window = (self.window + step.max(1)).min(self.most);
    }

    /// A batch met want of room or time. `batch` is its number, `last` that of the batch that was sent last. Says whether
    /// the window was halved.
    pub(super) fn went_badly(&mut self, batch: u64, last: u64) -> bool {
        if batch < self.halved_at {
            return false;
        }
        self.halved_at = last + 1;
        self.window = (self.window / 2).max(WINDOW_MIN);
        self.threshold = self.window;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_to_its_most_and_is_halved_once_for_all_that_was_on_its_way() {
        let mut pace = Pace::new(8_000);
        for _ in 0..100 {
            pace.went_well(1_000);
        }
        assert_eq!(pace.window(), 8_000);
        assert!(pace.went_badly(100, 107));
        assert!(!pace.went_badly(101, 107) && !pace.went_badly(107, 107));
        assert_eq!(pace.window(), 4_000);
        pace.went_well(1_000);
        assert!((4_001..4_100).contains(&pace.window()), "slowly: {}", pace.window());
        assert!(pace.went_badly(108, 110));
        for batch in 0..20 {
            pace.went_badly(200 + 10 * batch, 201 + 10 * batch);
        }
        assert_eq!(pace.window(), WINDOW_MIN);
    }
}
