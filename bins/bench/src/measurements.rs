//! Results of a run, and figures of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalogue::{RAW, Subject};
use crate::guarantees::judge::Judged;
use crate::load::job::Lag;
use crate::load::job::{Latency, Load, Outcome};
use crate::section::Section;
use crate::statistics::Spread;
use crate::world::cluster::Start;

/// One subject under one load in one round.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    /// The subject that was measured.
    pub(crate) subject: Subject,
    /// The load.
    pub(crate) load: Load,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// Its results.
    pub(crate) outcome: Outcome,
    /// Processor time an answer, in microseconds, by what the processes are.
    pub(crate) processor_us: BTreeMap<&'static str, f64>,
    /// Resident memory of the largest process of each kind afterwards, in MiB.
    pub(crate) resident_mib: BTreeMap<&'static str, f64>,
}

impl Measurement {
    /// Processor time of an answer without that of the load generator, in microseconds; `None` where it is unknown.
    pub(crate) fn processor_us_of_system(&self) -> Option<f64> {
        let of_system = self.processor_us.iter().filter(|(what, _)| **what != "load");
        Some(of_system.map(|(_, us)| us).sum()).filter(|sum: &f64| *sum > 0.0)
    }
}

/// Start of a replica in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartMeasured {
    /// The size of its data set.
    pub(crate) ratings: u64,
    /// Its duration and memory.
    pub(crate) start: Start,
}

/// Kinds of clusters whose memory is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A separate frontend and three replicas.
    Separate,
    /// Three replicas, one of which also answers clients.
    Together,
    /// A separate frontend and three replicas of the build before.
    Before,
}

impl Kind {
    /// Its name in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Separate => "separate frontend and replicas",
            Self::Together => "one replica --frontend",
            Self::Before => "separate frontend and replicas, the build before",
        }
    }
}

/// Growth of the replicas' memory in one cluster that is updated at full rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    /// The cluster's kind.
    pub(crate) kind: Kind,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// Resident memory of each replica before and after, in MiB.
    pub(crate) resident_mib: Vec<(f64, f64)>,
    /// The updates.
    pub(crate) updates: Outcome,
}

impl Growth {
    /// Growth of the replica that grew most, in bytes an update; `None` where the system tells no memory.
    pub(crate) fn bytes_per_update(&self) -> Option<f64> {
        let grown = self.resident_mib.iter().map(|(before, after)| after - before).max_by(f64::total_cmp)?;
        Some(grown * 1024.0 * 1024.0 / self.updates.answers_in_all.max(1) as f64)
    }
}

/// Machine and settings of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// Number of processors that this process may use.
    pub(crate) processors: usize,
    /// Their name.
    pub(crate) processor: String,
    /// The system's kernel.
    pub(crate) kernel: String,
    /// The version of nats-server.
    pub(crate) nats_server: String,
    /// The commit of the working copy, where there is one.
    pub(crate) commit: String,
    /// Time of the run, in Unix seconds.
    pub(crate) unix_time: u64,
    /// Number of connections of the load generator.
    pub(crate) connections: u32,
    /// Processors that processes ran on.
    pub(crate) pin: &'static str,
    /// The program of the build before, as `--before` names it.
    pub(crate) before: Option<String>,
    /// Whether this is a build with optimisations.
    pub(crate) release: bool,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The machine.
    pub(crate) machine: Machine,
    /// Measurements by the load generator.
    pub(crate) measurements: Vec<Measurement>,
    /// Convergence lag, by round.
    pub(crate) lags: Vec<Lag>,
    /// Growth of memory, by round.
    pub(crate) growths: Vec<Growth>,
    /// Sessions while a node fails, by run and round.
    pub(crate) guarantees: Vec<Judged>,
    /// Subjects that could not be measured, and why.
    pub(crate) missing: Vec<String>,
    /// Starts of replica managers.
    pub(crate) starts: Vec<StartMeasured>,
}

impl Results {
    /// The measurements of a subject under a load, by round.
    pub(crate) fn of(&self, section: Section, name: &str, load: Load) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(move |measurement| {
            measurement.subject.section == section && measurement.subject.name == name && measurement.load == load
        })
    }

    /// Answers a second.
    pub(crate) fn throughput(&self, section: Section, name: &str, load: Load) -> Option<Spread> {
        Spread::of(self.of(section, name, load).map(|measurement| measurement.outcome.per_second()))
    }

    /// A quantile of the latencies, in milliseconds.
    pub(crate) fn latency_ms(
        &self,
        section: Section,
        name: &str,
        load: Load,
        quantile: impl Fn(&Latency) -> f64,
    ) -> Option<Spread> {
        let of = |measurement: &Measurement| quantile(&measurement.outcome.latency) / 1000.0;
        Spread::of(self.of(section, name, load).map(of))
    }

    /// A figure of one subject divided by that of another, round by round.
    pub(crate) fn ratio(
        &self,
        section: Section,
        names: (&str, &str),
        load: Load,
        figure: impl Fn(&Outcome) -> f64,
    ) -> Option<Spread> {
        self.ratio_of(section, names, load, |measurement| Some(figure(&measurement.outcome)))
    }

    /// Processor time of an operation at broker, frontends and replicas, divided by that of another subject, round by
    /// round. The load generator is the same for both and does not count.
    pub(crate) fn processor_ratio(&self, section: Section, names: (&str, &str), load: Load) -> Option<Spread> {
        self.ratio_of(section, names, load, Measurement::processor_us_of_system)
    }

    fn ratio_of(
        &self,
        section: Section,
        (name, other): (&str, &str),
        load: Load,
        figure: impl Fn(&Measurement) -> Option<f64>,
    ) -> Option<Spread> {
        let in_round = |round| self.of(section, other, load).find(|measurement| measurement.round == round);
        let pairs = self
            .of(section, name, load)
            .filter_map(|measurement| Some(figure(measurement)? / figure(in_round(measurement.round)?)?));
        Spread::of(pairs)
    }

    /// Growth of memory in bytes an update, in clusters of a kind.
    pub(crate) fn growth(&self, kind: Kind) -> Option<Spread> {
        let of_kind = self.growths.iter().filter(|growth| growth.kind == kind);
        Spread::of(of_kind.filter_map(Growth::bytes_per_update))
    }

    /// Growth of memory of a kind divided by that of the build before, round by round.
    pub(crate) fn growth_ratio(&self, kind: Kind) -> Option<Spread> {
        let of = |kind| self.growths.iter().filter(move |growth| growth.kind == kind);
        let pairs = of(kind).filter_map(|growth| {
            let before = of(Kind::Before).find(|before| before.round == growth.round)?;
            Some(growth.bytes_per_update()? / before.bytes_per_update()?)
        });
        Spread::of(pairs)
    }

    /// Its throughput divided by that of raw request-reply in the same round.
    pub(crate) fn to_raw(&self, section: Section, name: &str, load: Load) -> Option<Spread> {
        self.ratio(section, (name, RAW), load, Outcome::per_second)
    }

    /// Returns the number of errors in all, and examples with their subjects.
    pub(crate) fn errors(&self) -> (u64, Vec<String>) {
        let measured = self.measurements.iter().map(|measurement| {
            let Subject { section, name, .. } = &measurement.subject;
            (format!("{}/{name}", section.name()), &measurement.outcome)
        });
        let lags = self.lags.iter().map(|lag| (Section::Convergence.name().to_owned(), &lag.updates));
        let growths = self.growths.iter().map(|growth| (Section::Memory.name().to_owned(), &growth.updates));
        let (mut count, mut examples) = (0, Vec::new());
        for (name, outcome) in measured.chain(lags).chain(growths) {
            count += outcome.errors;
            if let Some(example) = outcome.examples.first() {
                examples.push(format!("{name}: {} wrong, as: {example}", outcome.errors));
            }
        }
        for judged in self.guarantees.iter().filter(|judged| judged.broken() > 0) {
            count += judged.broken();
            let (section, example) = (Section::Guarantees.name(), judged.verdict.examples.first());
            let example = example.map_or("", String::as_str);
            examples.push(format!("{section}: {} violations, as: {example}", judged.broken()));
        }
        (count, examples)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalogue::{Asked, World};

    /// A measurement in the section "core" with this many answers in a second.
    pub(crate) fn measured(name: &str, load: Load, round: u32, answers: u64) -> Measurement {
        let (title, world) = (name.to_owned(), World::Raw);
        let asked = if name == RAW { Asked::Echo } else { Asked::Natter { reads_percent: 100 } };
        let subject = Subject { section: Section::Core, name: name.to_owned(), title, world, asked, loads: vec![load] };
        let us = 1e6 / answers as f64;
        let latency = Latency { p50_us: us, p90_us: us, p99_us: us * 2.0, p999_us: us, max_us: us };
        let outcome = Outcome { answers, seconds: 1.0, answers_in_all: answers, latency, ..Outcome::default() };
        Measurement {
            subject,
            load,
            round,
            outcome,
            processor_us: BTreeMap::from([("broker", 5.0)]),
            resident_mib: BTreeMap::new(),
        }
    }

    /// Growth of a cluster of two replicas by at most this many bytes an update.
    pub(crate) fn growth(kind: Kind, round: u32, bytes: u32) -> Growth {
        let grown = f64::from(bytes) * 1000.0 / (1024.0 * 1024.0);
        let updates = Outcome { answers: 1000, answers_in_all: 1000, seconds: 1.0, ..Outcome::default() };
        Growth { kind, round, resident_mib: vec![(30.0, 30.0 + grown / 2.0), (40.0, 40.0 + grown)], updates }
    }

    #[test]
    fn growth_is_of_the_replica_that_grew_most_and_compared_within_a_round() {
        let growths = vec![
            growth(Kind::Before, 1, 120),
            growth(Kind::Separate, 1, 60),
            growth(Kind::Separate, 2, 12),
            growth(Kind::Before, 2, 120),
        ];
        let results = Results { growths, ..Results::default() };
        let rounded = |spread: Option<Spread>| spread.map(|spread| (spread.median * 1000.0).round() / 1000.0);
        assert_eq!(rounded(results.growth(Kind::Before)), Some(120.0));
        assert_eq!(rounded(results.growth_ratio(Kind::Separate)), Some(0.3));
        assert_eq!(results.growth_ratio(Kind::Together), None);
    }

    #[test]
    fn processor_time_is_compared_without_the_load_generator() {
        let load = Load::Closed { in_flight: 512 };
        let [mut read, mut other] = ["read", "read-before"].map(|name| measured(name, load, 1, 100));
        read.processor_us = BTreeMap::from([("broker", 2.0), ("replica", 4.0), ("load", 9.0)]);
        other.processor_us = BTreeMap::from([("broker", 2.0), ("frontend", 10.0), ("load", 1.0)]);
        let results = Results { measurements: vec![read, other], ..Results::default() };
        let names = ("read", "read-before");
        assert_eq!(results.processor_ratio(Section::Core, names, load).map(|spread| spread.median), Some(0.5));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let load = Load::Closed { in_flight: 512 };
        let rounds = [(1, 100, 90), (2, 50, 40), (3, 200, 100)];
        let measurements = rounds
            .into_iter()
            .flat_map(|(round, raw, read)| [measured(RAW, load, round, raw), measured("read", load, round, read)])
            .collect();
        let results = Results { measurements, ..Results::default() };
        let ratio = results.to_raw(Section::Core, "read", load).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.8, 0.5, 0.9));
        assert_eq!(results.throughput(Section::Core, "read", load).unwrap().median, 90.0);
        assert_eq!(results.to_raw(Section::Core, "read", Load::Closed { in_flight: 1 }), None);
    }
}
