//! Everything that is there for the whole run.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::arguments::BenchArgs;
use crate::load::handle::Generator;
use crate::load::job::{Job, Load, Target};
use crate::measurements::Results;
use crate::progress::Progress;
use crate::section::Section;
use crate::world::broker::Broker;

/// Time of a measurement beside warm-up and measuring: connecting, the last answers.
const AROUND: Duration = Duration::from_millis(60);

/// Everything that is there for the whole run.
pub(crate) struct Bench {
    /// The command line.
    pub(crate) arguments: BenchArgs,
    /// The nats-server that all brokers are.
    pub(crate) binary: PathBuf,
    /// The load generator.
    pub(crate) generator: Generator,
    /// The broker of Natter and raw requests.
    pub(crate) broker: Broker,
    /// Results so far.
    pub(crate) results: Results,
    /// Progress of the run.
    pub(crate) progress: Progress,
    /// Folder for logs and directories of processes; removed when all of them have ended.
    pub(crate) folder: TempDir,
}

impl Bench {
    /// A job with the times that the command line says.
    pub(crate) fn job(&self, section: Section, server: String, target: Target, load: Load, round: u32) -> Job {
        Job {
            server,
            connections: self.arguments.connections as usize,
            target,
            load,
            warm_up_ms: milliseconds(self.arguments.warm_up()),
            measure_ms: milliseconds(self.arguments.measure(section)),
            seed: u64::from(round),
        }
    }

    /// Returns the time of one measurement in a section.
    pub(crate) fn each(&self, section: Section) -> Duration {
        self.arguments.warm_up() + self.arguments.measure(section) + AROUND
    }

    /// Returns the folder of the data sets.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.arguments.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }
}

/// In whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
