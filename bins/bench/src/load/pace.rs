//! Times of requests in an open loop: random, and independent of the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::Notify;

/// A wake-up costs some microseconds: there are no more than this many a second, each for all requests that are due.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);

/// Maximum pause between two looks at the flag that ends the thread.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Times of a Poisson process: requests of many independent clients.
pub(super) struct Schedule {
    random: Rng,
    mean_gap: f64,
    next: Instant,
}

impl Schedule {
    /// Starts at `start`, with `per_second` times a second on average.
    pub(super) fn new(start: Instant, per_second: f64, seed: u64) -> Self {
        let mut schedule = Self { random: Rng::with_seed(seed), mean_gap: per_second.max(0.001).recip(), next: start };
        schedule.advance();
        schedule
    }

    /// The next time, if it has come by `now`.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        (self.next <= now).then(|| {
            let due = self.next;
            self.advance();
            due
        })
    }

    /// The next time.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn advance(&mut self) {
        let gap = -(1.0 - self.random.f64()).ln() * self.mean_gap;
        self.next += Duration::from_secs_f64(gap);
    }
}

/// Wakes a task at the times of a schedule. The runtime's own timers know only whole milliseconds; a thread that sleeps is as
/// exact as the system, some 50 µs.
pub(super) struct Pacer {
    wake: Arc<Notify>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Wakes at the times of this schedule.
    pub(super) fn start(mut schedule: Schedule) -> Self {
        let (wake, is_over) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (wake, is_over) = (Arc::clone(&wake), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    let pause = schedule.next().saturating_duration_since(Instant::now()).min(LONGEST_PAUSE);
                    std::thread::sleep(pause.max(SHORTEST_PAUSE));
                    let now = Instant::now();
                    while schedule.due(now).is_some() {}
                    wake.notify_one();
                }
            }
        });
        Self { wake, is_over, thread: Some(thread) }
    }

    /// Waits for the next time, or comes at once where one has passed since.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A pacer that panicked has nothing to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_at_the_rate_asked_for_and_are_the_same_for_a_seed() {
        let start = Instant::now();
        let times = |seed| {
            let mut schedule = Schedule::new(start, 1000.0, seed);
            std::iter::from_fn(move || schedule.due(start + Duration::from_secs(10))).collect::<Vec<_>>()
        };
        let seen = times(1);
        assert!((9_500..10_500).contains(&seen.len()), "{}", seen.len());
        assert!(seen.is_sorted());
        assert_eq!(seen, times(1));
        assert_ne!(seen, times(2));
    }
}
