//! Requests per second and latency, as clients see them.

use std::collections::VecDeque;

use super::{Micros, SECOND};

/// Seconds that are kept.
const SECONDS_MAX: usize = 60;
/// Buckets of a histogram. Each is a quarter of an octave wide, from 50 µs on; the last one takes all that is slower.
const BUCKETS: usize = 72;
const FIRST_BUCKET_US: f64 = 50.0;
const BUCKETS_IN_OCTAVE: f64 = 4.0;

#[derive(Debug)]
struct Slot {
    requested: f64,
    answered: u64,
    failed: u64,
    latencies: [u32; BUCKETS],
}

impl Default for Slot {
    fn default() -> Self {
        Self { requested: 0.0, answered: 0, failed: 0, latencies: [0; BUCKETS] }
    }
}

/// Rates of the last minute.
#[derive(Debug)]
pub(super) struct Rates {
    slots: VecDeque<Slot>,
    /// The second of the last slot.
    second: u64,
    shares: [f64; 2],
}

impl Default for Rates {
    fn default() -> Self {
        Self { slots: VecDeque::new(), second: 0, shares: [1.0; 2] }
    }
}

/// Rates and percentiles, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub(super) struct RatesShown {
    /// Operations per second over the last whole second.
    pub(super) now: f64,
    /// Operations in each second, oldest first.
    pub(super) curve: Vec<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    /// Answers seen and failures among them, in the last minute.
    pub(super) answered: u64,
    pub(super) failed: u64,
}

impl Rates {
    pub(super) fn set_shares(&mut self, shares: [f64; 2]) {
        self.shares = shares.map(|share| share.clamp(0.001, 1.0));
    }

    /// Counts a request, for as many as its sample stands for.
    pub(super) fn requested(&mut self, operations: usize, has_user_in_subject: bool, now: Micros) {
        let share = self.shares[usize::from(has_user_in_subject)];
        self.slot(now).requested += operations as f64 / share;
    }

    pub(super) fn answered(&mut self, latency: Micros, operations: usize, has_failed: bool, now: Micros) {
        let octaves = (latency as f64 / FIRST_BUCKET_US).max(1.0).log2();
        let bucket = ((octaves * BUCKETS_IN_OCTAVE) as usize).min(BUCKETS - 1);
        let slot = self.slot(now);
        slot.answered += operations as u64;
        slot.failed += if has_failed { operations as u64 } else { 0 };
        slot.latencies[bucket] += 1;
    }

    pub(super) fn tick(&mut self, now: Micros) {
        self.slot(now);
    }

    fn slot(&mut self, now: Micros) -> &mut Slot {
        let second = now / SECOND;
        let passed = usize::try_from(second.saturating_sub(self.second)).unwrap_or(usize::MAX);
        for _ in 0..passed.min(SECONDS_MAX + 1) {
            self.slots.push_back(Slot::default());
        }
        self.second = self.second.max(second);
        while self.slots.len() > SECONDS_MAX + 1 {
            self.slots.pop_front();
        }
        if self.slots.is_empty() {
            self.slots.push_back(Slot::default());
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }

    pub(super) fn shown(&self) -> RatesShown {
        // The last slot is not full yet.
        let whole = self.slots.len().saturating_sub(1);
        let curve: Vec<f64> = self.slots.iter().take(whole).map(|slot| slot.requested).collect();
        let mut latencies = [0u64; BUCKETS];
        for slot in &self.slots {
            for (sum, count) in latencies.iter_mut().zip(slot.latencies) {
                *sum += u64::from(count);
            }
        }
        RatesShown {
            now: curve.last().copied().unwrap_or(0.0),
            curve,
            p50: percentile(&latencies, 0.5),
            p95: percentile(&latencies, 0.95),
            p99: percentile(&latencies, 0.99),
            answered: self.slots.iter().map(|slot| slot.answered).sum(),
            failed: self.slots.iter().map(|slot| slot.failed).sum(),
        }
    }
}

/// The upper end of the bucket that has this share of all latencies below it, in milliseconds.
fn percentile(latencies: &[u64; BUCKETS], share: f64) -> Option<f64> {
    let total: u64 = latencies.iter().sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let mut below = 0;
    let bucket = latencies.iter().position(|count| {
        below += count;
        total > 0 && below >= wanted
    })?;
    Some(FIRST_BUCKET_US * 2f64.powf((bucket + 1) as f64 / BUCKETS_IN_OCTAVE) / 1000.0)
}
