//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use natter_broker::duration::parse_duration;

use crate::section::Section;
use crate::world::pinning::Pin;

const EXAMPLES: &str = "\
Examples:
  bench --quick                              the most important figures, in about a minute
  bench --json bench.json --plots plots      everything, in about 35 minutes
  bench --list                               what there is to measure
  bench --only core/read,core/update         reads and updates only, beside raw request-reply
  bench --only durable --rounds 5            one section, more rounds
  bench --only guarantees                    promises that are kept or broken while a node fails, in five minutes
  bench --before old/bench                   this build beside an earlier one, too

Each figure is the median of the rounds, with the least and the greatest in brackets; a ratio is the median of
the ratios in each round. What else runs on the machine shows: let nothing else run.";

/// Measures how fast Natter is, beside raw request-reply through the same broker, JetStream's key-value store and Valkey
///
/// Starts all that it needs, brokers too, on free ports, and leaves nothing behind. Progress goes to standard error, the
/// report to standard output. Ends with an error where an answer was wrong or did not come. Where a node is made to fail, a
/// request without an answer is no error.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// The most important figures only, with short measurements
    #[arg(long)]
    pub(crate) quick: bool,

    /// Sections, or subjects as section/name, with commas between; raw requests are always measured beside them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// The program `bench` of an earlier build: its frontends and replicas are measured beside those of this build
    #[arg(long, value_name = "PATH")]
    pub(crate) before: Option<PathBuf>,

    /// Show what there is to measure, and end
    #[arg(long)]
    pub(crate) list: bool,

    /// Number of measurements of each, in turn [default: 3; 5 against the build before and
    /// of watched clusters; 1 of growing memory and of guarantees]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,

    /// Time of each measurement in a round [default: 2s, with --quick 400ms; memory 60s, with --quick 5s; guarantees
    /// 20s, with --quick 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) measure: Option<Duration>,

    /// Warm-up time before each measurement; its results are discarded [default: 500ms, with --quick 100ms]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) warm_up: Option<Duration>,

    /// Numbers of requests in flight, one measurement each [default: 1,64,512]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) in_flight: Vec<u32>,

    /// Requests a second in open loops, one measurement each
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1000,5000,20000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rates: Vec<u32>,

    /// Number of connections of the load generator; never more than requests in flight
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) connections: u32,

    /// Number of ratings in the data set, where a section does not vary it
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    pub(crate) ratings: u64,

    /// Processors that processes run on: free, wherever the system puts them, or apart, the first for the load
    /// generator only
    #[arg(long, value_name = "HOW", default_value = "free")]
    pub(crate) pin: Pin,

    /// Write all that was measured, each round, into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write plots (SVG) into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,

    /// Keep the data sets that are made, 0.7 GB, in this folder, for other runs [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl BenchArgs {
    /// Number of measurements of each in a section.
    pub(crate) fn rounds(&self, section: Section) -> u32 {
        self.rounds.unwrap_or(match section {
            Section::Before | Section::Watched => 5, // small differences need more pairs
            Section::Memory => 1,                    // a minute each
            Section::Guarantees => 1,                // many operations in one
            _ => 3,
        })
    }

    /// Returns the time of each measurement in a round.
    pub(crate) fn measure(&self, section: Section) -> Duration {
        self.measure.unwrap_or(Duration::from_millis(match (section, self.quick) {
            (Section::Memory, true) => 5000,
            (Section::Memory, false) => 60_000,
            // JetStream elects another leader after 4 to 9 seconds, while three fifths of this time pass.
            (Section::Guarantees, true) => 10_000,
            (Section::Guarantees, false) => 20_000,
            // Processor time is told in hundredths of a second.
            (Section::Before | Section::Watched, true) => 1000,
            (_, true) => 400,
            (_, false) => 2000,
        }))
    }

    /// Returns the warm-up time, whose results are discarded.
    pub(crate) fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or(Duration::from_millis(if self.quick { 100 } else { 500 }))
    }

    /// Returns the numbers of requests in flight, in ascending order.
    pub(crate) fn in_flight(&self) -> Vec<usize> {
        let usual: &[u32] = &[1, 64, 512];
        let mut in_flight: Vec<usize> =
            if self.in_flight.is_empty() { usual } else { &self.in_flight }.iter().map(|n| *n as usize).collect();
        in_flight.sort_unstable();
        in_flight.dedup();
        in_flight
    }

    /// Whether a section is asked for, or something in it.
    pub(crate) fn wants_section(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.split('/').next() == Some(section.name()))
    }

    /// Whether a subject is asked for.
    pub(crate) fn wants(&self, section: Section, name: &str) -> bool {
        self.only.is_empty()
            || self.only.iter().any(|only| *only == section.name() || *only == format!("{}/{name}", section.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &[&str]) -> Result<BenchArgs, String> {
        BenchArgs::try_parse_from(std::iter::once(&"bench").chain(line)).map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_sound() {
        BenchArgs::command().debug_assert();
    }

    #[test]
    fn quick_is_shorter_unless_told_otherwise() {
        assert_eq!(read(&[]).unwrap().in_flight(), [1, 64, 512]);
        let quick = read(&["--quick"]).unwrap();
        assert_eq!(
            (quick.in_flight(), quick.measure(Section::Core).as_millis(), quick.warm_up().as_millis()),
            (vec![1, 64, 512], 400, 100)
        );
        let told = read(&["--quick", "--in-flight", "8,2,8", "--measure", "3s"]).unwrap();
        assert_eq!((told.in_flight(), told.measure(Section::Memory).as_secs()), (vec![2, 8], 3));
    }

    #[test]
    fn small_differences_get_more_rounds_and_memory_more_time() {
        let full = read(&[]).unwrap();
        assert_eq!([Section::Core, Section::Before, Section::Memory].map(|section| full.rounds(section)), [3, 5, 1]);
        assert_eq!(full.measure(Section::Memory).as_secs(), 60);
        let told = read(&["--rounds", "2"]).unwrap();
        assert_eq!([Section::Core, Section::Before, Section::Memory].map(|section| told.rounds(section)), [2, 2, 2]);
    }

    #[test]
    fn only_names_sections_or_subjects() {
        let arguments = read(&["--only", "durable,core/read"]).unwrap();
        assert!(arguments.wants(Section::Durable, "update-full") && arguments.wants(Section::Core, "read"));
        assert!(!arguments.wants(Section::Core, "update") && !arguments.wants_section(Section::Replicas));
        assert!(arguments.wants_section(Section::Core));
    }

    #[test]
    fn wrong_lines_are_answered_in_words() {
        for line in
            [&["--rounds", "0"][..], &["--in-flight", "0"], &["--pin", "here"], &["--measure", "0s"], &["--quik"]]
        {
            assert!(read(line).is_err(), "{line:?}");
        }
    }
}
