//! What is to be reached, and whether it was.

use serde::Serialize;

use crate::catalogue::{CLIENT, RAW};
use crate::load::job::{Load, Outcome};
use crate::measurements::Results;
use crate::section::Section;
use crate::statistics::Spread;

/// With so many requests in flight most targets are meant.
const MANY: Load = Load::Closed { in_flight: 512 };
/// One after the other.
const ONE: Load = Load::Closed { in_flight: 1 };
/// The largest data set.
const LARGE: u64 = 32_000_000;

/// What is to be reached.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// What is measured.
    pub(crate) what: &'static str,
    /// The figure to reach.
    pub(crate) bound: Bound,
    /// What was measured; `None` where it was not.
    pub(crate) measured: Option<Spread>,
}

/// A figure to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Bound {
    /// Whether a figure reaches it.
    pub(crate) fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

impl Target {
    /// Whether it was reached, by the median; `None` where it was not measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.measured.map(|spread| self.bound.is_met_by(spread.median))
    }
}

/// All that the bench can tell.
pub(crate) fn targets(results: &Results) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let to_raw = |name| results.to_raw(Section::Core, name, MANY);
    let per_second = |section, name, other| results.ratio(section, (name, other), MANY, Outcome::per_second);
    let p50 = |name| results.ratio(Section::Core, (name, RAW), ONE, |outcome| outcome.latency.p50_us);
    let lag = Spread::of(results.lags.iter().map(|lag| lag.lag.p99_us / lag.updates.latency.p99_us));
    let starts = || results.starts.iter().filter(|start| start.ratings == LARGE);
    let resident = starts().filter_map(|start| Some(start.start.resident_mib? / 1024.0));
    let target = |what, bound, measured| Target { what, bound, measured };
    vec![
        target("reads, 512 in flight, to raw", AtLeast(0.90), to_raw("read")),
        target("updates held by 2, 512 in flight, to raw", AtLeast(0.75), to_raw("update")),
        target("95/5 mix, 512 in flight, to raw", AtLeast(0.85), to_raw("mix95")),
        target("reads, 512 in flight, to raw by request()", AtLeast(0.90), per_second(Section::Core, "read", CLIENT)),
        target(
            "updates, 512 in flight, to raw by request()",
            AtLeast(0.75),
            per_second(Section::Core, "update", CLIENT),
        ),
        target(
            "95/5 mix, 512 in flight, to raw by request()",
            AtLeast(0.85),
            per_second(Section::Core, "mix95", CLIENT),
        ),
        target("read, 1 in flight, p50 to raw's", AtMost(2.2), p50("read")),
        target("update, 1 in flight, p50 to raw's", AtMost(2.8), p50("update")),
        target(
            "updates to KV put, R3 memory, 512 in flight",
            AtLeast(3.0),
            per_second(Section::Core, "update", "kv-r3-memory-put"),
        ),
        target(
            "reads to KV direct get, R3 memory, 512 in flight",
            AtLeast(3.0),
            per_second(Section::Core, "read", "kv-r3-memory-direct-get"),
        ),
        target(
            "updates in batches, until applied by all, a second",
            AtLeast(300_000.0),
            results.throughput(Section::Core, "batch", Load::Closed { in_flight: 4 }),
        ),
        target(
            "durable updates, --sync full, to KV put R3 sync_interval: always, 512 in flight",
            AtLeast(5.0),
            per_second(Section::Durable, "update-full", "kv-r3-always-put"),
        ),
        target("convergence lag at half the peak rate, p99 to an update's p99", AtMost(3.0), lag),
        target("reads, 8 replicas to 3", AtLeast(0.9), per_second(Section::Replicas, "read-8", "read-3")),
        target("updates, 8 replicas to 3", AtLeast(0.6), per_second(Section::Replicas, "update-8", "update-3")),
        target(
            "reads, 32 million ratings to 100 thousand",
            AtLeast(0.85),
            per_second(Section::Data, "read-32m", "read-100k"),
        ),
        target(
            "updates, 32 million ratings to 100 thousand",
            AtLeast(0.85),
            per_second(Section::Data, "update-32m", "update-100k"),
        ),
        target(
            "start with 32 million ratings, seconds",
            AtMost(10.0),
            Spread::of(starts().map(|start| start.start.seconds)),
        ),
        target("resident with 32 million ratings, GiB", AtMost(2.5), Spread::of(resident)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurements::tests::measured;

    #[test]
    fn a_target_is_met_by_the_median_and_unknown_without_one() {
        let measurements = vec![
            measured(RAW, MANY, 1, 100),
            measured("read", MANY, 1, 91),
            measured("update", MANY, 1, 74),
            measured(RAW, ONE, 1, 100),
            measured("read", ONE, 1, 50),
            measured("update", ONE, 1, 25),
        ];
        let results = Results { measurements, ..Results::default() };
        let met: Vec<Option<bool>> = targets(&results).iter().map(Target::is_met).collect();
        assert_eq!(met[..8], [Some(true), Some(false), None, None, None, None, Some(true), Some(false)]);
        assert!(met[8..].iter().all(Option::is_none));
    }
}
