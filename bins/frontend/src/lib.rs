//! The frontend's shell: arguments, connections, and one task that owns the protocol core.
//!
//! - [`run`]: the loop; [`half`]: the way of a message: `inbox` decodes it, the core handles it, `outbox` performs what the core
//!   asks for; `half::serving`: whether clients are served
//! - `line`: all that connects it with the broker
//! - `witness`: the broker's word on replicas that keep a request waiting
//! - `permits`: what the broker does not permit any more
//! - `clients`: the service that clients talk to, and the way back to each of them
//! - `attendance`: whether it takes part in the queue group; `hearing`: whether replicas are heard; `ghosts`: places in
//!   the queue group that a frozen server keeps
//! - `steps`: the log of each step; `metrics`: metrics and health
//!
//! The arguments are those of the command line, and each process has an id of its own:
//!
//! ```
//! use clap::Parser;
//! use natter_frontend::FrontendArgs;
//!
//! let arguments = FrontendArgs::try_parse_from(["frontend", "--name", "f1", "--fault-tolerance", "3"])?;
//! assert_eq!(arguments.options.fault_tolerance, 3);
//! let (one, other) = (arguments.new_id()?, arguments.new_id()?);
//! assert!(one.as_str().starts_with("f1-") && one != other);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attendance;
mod clients;
mod ghosts;
pub mod half;
mod hearing;
mod inbox;
mod line;
mod metrics;
mod outbox;
mod permits;
mod shell;
mod steps;
mod traces;
mod witness;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use natter_broker::duration::parse_duration;
use natter_broker::metrics::MetricsOptions;
use natter_broker::options::BrokerOptions;
use natter_broker::role::RoleError;
use natter_broker::{role, shutdown};
use natter_common::ids::ReplicaId;
use natter_common::record::COPIES_MAX;

pub use metrics::FrontendMetrics;
pub use shell::{new_core, run};

/// One frontend: takes requests from clients, has them served by replicas, and answers.
#[derive(Parser, Clone, Debug)]
#[command(name = "frontend", version)]
pub struct FrontendArgs {
    /// Beginning of its id: letters, digits, _ and -, at most 48; a random ending is added
    #[arg(long, value_name = "NAME", default_value = "frontend", value_parser = role::parse_name)]
    pub name: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub options: FrontendOptions,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub metrics: MetricsOptions,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub broker: BrokerOptions,
}

/// Options of a frontend, whether it has a process of its own or shares one with a replica.
#[derive(Args, Clone, Debug)]
pub struct FrontendOptions {
    /// Number of replicas that must hold an update before it is acknowledged (all that are up, if they are fewer)
    #[arg(long, value_name = "COPIES", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(COPIES_MAX)))]
    pub fault_tolerance: u32,

    /// Refuse an update that fewer replicas hold, even where fewer are up
    #[arg(long)]
    pub strict: bool,

    /// A client has its answer within this time
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Maximum requests that may wait here; more are refused as OVERLOADED
    #[arg(long, value_name = "REQUESTS", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue_length: u32,
}

impl FrontendArgs {
    /// Makes an id that no process has had before.
    ///
    /// # Errors
    ///
    /// The name is too long, or has other characters than letters, digits, `_` and `-`.
    pub fn new_id(&self) -> Result<ReplicaId, RoleError> {
        role::new_id(&self.name)
    }
}

/// Runs the role with these command-line arguments, the program's name first, until a signal ends it.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match FrontendArgs::try_parse_from(arguments) {
        Ok(arguments) => role::run("frontend", &arguments.broker.clone(), || run(arguments, shutdown::requested())),
        Err(error) => role::print_usage(&error),
    }
}
