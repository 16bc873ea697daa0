//! The pulse of a shell: time passes for the core, and it is told whether this process kept up with what came in.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Interval of ticks, at which time passes for a core.
pub const TICK: Duration = Duration::from_millis(20);
/// Number of ticks missed because of a backlog after which time passes all the same.
const OVERDUE_TICKS: u32 = 5;

/// Ticks. A loop that polls it only when nothing waits to be read knows, when it ticks, that it has heard everything;
/// [`Pulse::is_overdue`] says when it has not come to that for too long.
#[derive(Debug)]
pub struct Pulse {
    interval: Interval,
    last: Instant,
}

impl Pulse {
    /// Begins to tick.
    pub fn start() -> Self {
        let mut interval = interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, last: Instant::now() }
    }

    /// The next tick. Cancel safe.
    pub async fn tick(&mut self) {
        self.last = self.interval.tick().await;
    }

    /// Whether it is long since the last tick; if so, it counts as having ticked now.
    pub fn is_overdue(&mut self) -> bool {
        let overdue = self.last.elapsed() >= OVERDUE_TICKS * TICK;
        if overdue {
            self.last = Instant::now();
        }
        overdue
    }
}
