//! The observer: a live page that shows the messages of a running cluster.
//!
//! - [`model`]: what is known of the cluster, without input or output
//! - `listener`: the connection to the broker; `sampling`: how much is subscribed to; `observer`: the loop
//! - `web`: the page and the stream of its data; [`access`]: which browsers and other pages may ask
//! - `page`: the page's files as one document; `control`: the setting of a replica's status; [`launcher`]: verbs for the
//!   launcher that started it
//!
//! It only listens, unless `--control` is given.
//!
//! The page answers only browsers that asked for its own address, so that no other page can read it or drive it:
//!
//! ```
//! use natter_observer::access::Names;
//!
//! let names = Names::new(([127, 0, 0, 1], 8080).into());
//! assert!(names.check_host(Some("127.0.0.1:8080")).is_ok());
//! assert!(names.check_host(Some("natter.example:8080")).is_err());
//! ```

pub mod access;
mod control;
mod error;
pub mod launcher;
mod listener;
pub mod model;
mod observer;
mod page;
mod sampling;
mod stream;
mod web;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use natter_broker::options::BrokerOptions;
use natter_broker::{role, shutdown};

pub use error::ObserverError;
pub use observer::run;

/// Shows a running cluster on a live page: topology, messages, timestamps, lag
///
/// The observer is an ordinary client of the broker and only listens. Open the printed address in a browser.
#[derive(Parser, Clone, Debug)]
#[command(name = "observer", version)]
pub struct ObserverArgs {
    /// Address and port of the page; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Let the page set the status of replicas [default: the page changes nothing]
    #[arg(long)]
    pub control: bool,

    /// Socket of the launcher that started this observer
    #[arg(long, value_name = "PATH", hide = true, requires = "control")]
    pub launcher: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of this struct's fields would be replaced by it")]
    pub broker: BrokerOptions,
}

/// Runs the role with these command-line arguments, the program's name first, until a signal ends it.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match ObserverArgs::try_parse_from(arguments) {
        Ok(arguments) => role::run("observer", &arguments.broker.clone(), || run(arguments, shutdown::requested())),
        Err(error) => role::print_usage(&error),
    }
}
