//! Targets, and whether a run reaches them.

use serde::Serialize;

use crate::catalogue::{BATCH, BEFORE, RAW};
use crate::load::job::{Load, Outcome};
use crate::measurements::{Kind, Results};
use crate::section::Section;
use crate::statistics::Spread;

/// Requests in flight of most targets.
const MANY: Load = Load::Closed { in_flight: 512 };
/// A target for a moderate load.
const SOME: Load = Load::Closed { in_flight: 64 };
/// One after the other.
const ONE: Load = Load::Closed { in_flight: 1 };

/// Figure that a run should reach.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// Name of the figure.
    pub(crate) what: &'static str,
    /// The figure to reach.
    pub(crate) bound: Bound,
    /// The measured figure; `None` where it was not measured.
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

/// All targets. Single requests go to one `replica --frontend`, with the whole data set as the key range; ratios are of
/// one run.
pub(crate) fn targets(results: &Results) -> Vec<Target> {
    let mut list = beside_others(results);
    list.extend(beside_the_build_before(results));
    list.extend(of_watched(results));
    list
}

/// Targets of clusters that are watched, beside those that are not.
fn of_watched(results: &Results) -> Vec<Target> {
    let processor = |name: &str| results.processor_ratio(Section::Watched, (&format!("{name}-metrics"), name), MANY);
    [
        ("processor time of a read, 512 in flight, with --metrics to without", processor("read")),
        ("processor time of an update held by 2, 512 in flight, with --metrics to without", processor("update")),
    ]
    .map(|(what, measured)| Target { what, bound: Bound::AtMost(1.02), measured })
    .into()
}

/// Targets beside raw requests and JetStream.
fn beside_others(results: &Results) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let to_raw = |name, load| results.to_raw(Section::Core, name, load);
    let to_kv = |section, name, other| results.ratio(section, (name, other), MANY, Outcome::per_second);
    let p50 = |name| results.ratio(Section::Core, (name, RAW), ONE, |outcome| outcome.latency.p50_us);
    let (read, update, mix95) = ("read-together-1", "update-together-1", "mix95-together-1");
    let target = |what, bound, measured| Target { what, bound, measured };
    vec![
        target("reads, 512 in flight, to raw", AtLeast(0.80), to_raw(read, MANY)),
        target("updates held by 2, 512 in flight, to raw", AtLeast(0.45), to_raw(update, MANY)),
        target("95/5 mix, 512 in flight, to raw", AtLeast(0.72), to_raw(mix95, MANY)),
        target("reads, 64 in flight, to raw", AtLeast(0.75), to_raw(read, SOME)),
        target("updates held by 2, 64 in flight, to raw", AtLeast(0.36), to_raw(update, SOME)),
        target("read, 1 in flight, p50 to raw's", AtMost(1.3), p50(read)),
        target("update held by 2, 1 in flight, p50 to raw's", AtMost(2.5), p50(update)),
        target(
            "updates held by 2 to KV put, R3 memory, 512 in flight",
            AtLeast(2.0),
            to_kv(Section::Core, update, "kv-r3-memory-put"),
        ),
        target(
            "reads to KV direct get, R3 memory, 512 in flight",
            AtLeast(2.5),
            to_kv(Section::Core, read, "kv-r3-memory-direct-get"),
        ),
        target(
            "durable updates, --sync full, to KV put R3 sync_interval: always, 512 in flight",
            AtLeast(2.0),
            to_kv(Section::Durable, "update-full-together-1", "kv-r3-always-put"),
        ),
    ]
}

/// Targets beside the build before: not measured without `--before`.
fn beside_the_build_before(results: &Results) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let (section, (_, batches)) = (Section::Before, BATCH);
    let batch = |name| results.ratio(section, (name, "batch-before"), batches, Outcome::per_second);
    let processor = |name: &str, load| results.processor_ratio(section, (name, &format!("{name}{BEFORE}")), load);
    let target = |what, bound, measured| Target { what, bound, measured };
    vec![
        target(
            "batches of 1,000 until applied by all, one replica --frontend, to the build before",
            AtLeast(1.8),
            batch("batch-together-1"),
        ),
        target(
            "batches of 1,000 until applied by all, separate frontend, to the build before",
            AtLeast(1.8),
            batch("batch"),
        ),
        target(
            "growth of a replica's memory an update, one replica --frontend, to the build before",
            AtMost(0.35),
            results.growth_ratio(Kind::Together),
        ),
        target(
            "growth of a replica's memory an update, separate frontend, to the build before",
            AtMost(0.35),
            results.growth_ratio(Kind::Separate),
        ),
        target(
            "processor time of a read, separate, 512 in flight, to the build before",
            AtMost(1.05),
            processor("read", MANY),
        ),
        target(
            "processor time of an update, separate, 512 in flight, to the build before",
            AtMost(1.05),
            processor("update", MANY),
        ),
        target(
            "processor time of a 95/5 mix, separate, 512 in flight, to the build before",
            AtMost(1.05),
            processor("mix95", MANY),
        ),
        target(
            "processor time of a read, separate, 64 in flight, to the build before",
            AtMost(1.05),
            processor("read", SOME),
        ),
        target(
            "processor time of an update, separate, 64 in flight, to the build before",
            AtMost(1.05),
            processor("update", SOME),
        ),
        target(
            "processor time of an update in a batch, separate, to the build before",
            AtMost(1.05),
            processor("batch", batches),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurements::Measurement;
    use crate::measurements::tests::{growth, measured};

    fn met(results: &Results) -> Vec<(&'static str, bool)> {
        let list = targets(results);
        list.iter().filter_map(|target| Some((target.what, target.is_met()?))).collect()
    }

    #[test]
    fn targets_are_met_by_the_median_and_unknown_without_one() {
        let measurements = vec![
            measured(RAW, MANY, 1, 100),
            measured("read-together-1", MANY, 1, 81),
            measured("update-together-1", MANY, 1, 44),
            // Figures of a separate frontend do not count for the target.
            measured("mix95", MANY, 1, 99),
            measured(RAW, ONE, 1, 100),
            measured("read-together-1", ONE, 1, 80),
            measured("update-together-1", ONE, 1, 25),
        ];
        let results = Results { measurements, ..Results::default() };
        let expected = [
            ("reads, 512 in flight, to raw", true),
            ("updates held by 2, 512 in flight, to raw", false),
            ("read, 1 in flight, p50 to raw's", true),
            ("update held by 2, 1 in flight, p50 to raw's", false),
        ];
        assert_eq!(met(&results), expected);
        assert_eq!(targets(&results).len(), 22);
    }

    #[test]
    fn builds_are_compared_pair_by_pair() {
        let (_, batches) = BATCH;
        let in_before = |name, load, answers, processor_us| {
            let mut measurement: Measurement = measured(name, load, 1, answers);
            measurement.subject.section = Section::Before;
            measurement.processor_us.insert("broker", processor_us);
            measurement
        };
        let measurements = vec![
            in_before("batch-before", batches, 100, 10.0),
            in_before("batch", batches, 170, 10.4),
            in_before("batch-together-1", batches, 190, 9.0),
            in_before("read-before", MANY, 100, 10.0),
            in_before("read", MANY, 100, 10.6),
        ];
        let growths = vec![growth(Kind::Before, 1, 120), growth(Kind::Separate, 1, 40), growth(Kind::Together, 1, 50)];
        let results = Results { measurements, growths, ..Results::default() };
        let verdicts: Vec<bool> = met(&results).into_iter().map(|(_, is_met)| is_met).collect();
        assert_eq!(verdicts, [true, false, false, true, false, true], "{:?}", met(&results));
    }
}
