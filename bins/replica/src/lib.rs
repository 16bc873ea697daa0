//! The replica manager's shell: arguments, connection, store, and one task that owns the protocol core.
//!
//! - [`run`]: the way of a message: `inbox` decodes it, the core handles it, the store commits, `outbox` performs what
//!   the core asks for
//! - `steps`: the log of each step; `metrics`: metrics and health
//! - `core`: the protocol core, with or without a frontend; `entrance`: the frontend half of a replica that answers clients
//! - `feed`: the change feed
//! - `disk`: the store, and its commit that waits for the disk on another thread
//! - `storage`: in memory, or in a directory that outlives the process; `wait`: while another program has that open
//! - `line`: all that connects it with the broker
//! - `shell`: the loop that handles a turn, and `shell::ending`, the end of a life
//! - `life`: from the start to the end, and perhaps another life; `offline`: what is left when the store failed;
//!   `suspended`: while the broker does not permit what it needs
//!
//! The arguments are those of the command line. Without `--database` a replica starts from the sample:
//!
//! ```
//! use clap::Parser;
//! use natter_database::DataSource;
//! use natter_replica::ReplicaArgs;
//!
//! let arguments = ReplicaArgs::try_parse_from(["replica", "--name", "r1"])?;
//! assert!(matches!(arguments.source()?, DataSource::Sample));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod core;
mod disk;
mod entrance;
mod error;
mod feed;
mod inbox;
mod life;
mod line;
mod metrics;
mod offline;
mod outbox;
mod shell;
mod steps;
mod storage;
mod suspended;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};
use natter_broker::duration::parse_duration;
use natter_broker::metrics::MetricsOptions;
use natter_broker::options::BrokerOptions;
use natter_broker::size::{ByteSize, parse_size};
use natter_broker::{role, shutdown};
use natter_common::messages::Mode;
use natter_database::{DataSource, Sync};
use natter_frontend::FrontendOptions;

pub use error::ReplicaError;
pub use life::run;

/// One replica: holds the ratings, accepts updates, answers queries and gossips with the others.
#[derive(Parser, Clone, Debug)]
#[command(name = "replica", version)]
pub struct ReplicaArgs {
    /// Beginning of its id: letters, digits, _ and -, at most 48; a random ending is added
    #[arg(long, value_name = "NAME", default_value = "replica", value_parser = role::parse_name)]
    pub name: String,

    /// The data set: a folder in MovieLens' layout, or a file that `dataset import` made [default: the sample]
    #[arg(long, value_name = "PATH")]
    pub database: Option<PathBuf>,

    /// Also answers clients, as a frontend in the same process
    #[arg(long)]
    pub frontend: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub options: FrontendOptions,

    /// Keeps its id, log and ratings in this directory, so that it goes on after a restart [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Failures that acknowledged updates survive: full (also power loss) or normal (the end of the process only)
    #[arg(long, value_name = "WHEN", default_value = "full", requires = "data_dir", value_parser = parse_sync)]
    pub sync: Sync,

    /// Memory for ratings of the data set that were read lately, like 64MiB; a small data set takes less
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub cache: ByteSize,

    /// Mode of its status: active, overloaded, offline, arbitrary (drawn at random again and again) or measured
    #[arg(long, value_name = "MODE", default_value = "measured")]
    pub status: Mode,

    /// Interval of anti-entropy gossip, which tells the other replicas what this one holds
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    pub gossip_interval: Duration,

    /// Time after which a replica that is gone is forgotten
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub forget_after: Duration,

    /// Publishes each change of a rating that this replica accepted, once enough replicas hold it (`client watch`)
    #[arg(long)]
    pub changes: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub metrics: MetricsOptions,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub broker: BrokerOptions,
}

impl ReplicaArgs {
    /// The source of the ratings.
    ///
    /// # Errors
    ///
    /// Nothing is at the path of `--database`.
    pub fn source(&self) -> Result<DataSource, ReplicaError> {
        DataSource::at(self.database.as_deref()).map_err(ReplicaError::Data)
    }
}

fn parse_sync(text: &str) -> Result<Sync, String> {
    match text {
        "full" => Ok(Sync::Full),
        "normal" => Ok(Sync::Normal),
        _ => Err("use full or normal".to_owned()),
    }
}

/// Options of a frontend are refused without `--frontend`.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<ReplicaArgs, clap::Error> {
    let mut command = ReplicaArgs::command();
    for option in ["fault_tolerance", "strict", "timeout", "queue_length"] {
        command = command.mut_arg(option, |argument| argument.requires("frontend"));
    }
    ReplicaArgs::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Runs the role with these command-line arguments, the program's name first, until a signal ends it.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(arguments) {
        Ok(arguments) => role::run("replica", &arguments.broker.clone(), || run(arguments, shutdown::requested())),
        Err(error) => role::print_usage(&error),
    }
}
