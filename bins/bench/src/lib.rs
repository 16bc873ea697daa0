//! The bench: how fast Natter is, measured side by side with what it could be.
//!
//! - the command line: `arguments`; the processes that this executable can be: `roles`
//! - what is measured: `catalogue`, all subjects by `section`; `world`, the brokers and processes that they need, running
//! - how: `load`, the load generator in a process of its own, and `echo`, the raw responder
//! - when: `bench`, what is there for a whole run; `run`, section by section, round by round, all subjects of a section in turn; `special`, what has another shape:
//!   convergence lag, growth of memory, and how replicas start; `guarantees`, sessions while a node fails, judged by the history checker
//! - what comes out: `measurements`, and `statistics` of them; `report`: tables, JSON, plots; `targets`
//!
//! A figure is the median of several rounds, with the least and the greatest. Ratios are of figures from the same round, so
//! that a machine that is slower for a while changes neither.

mod arguments;
mod bench;
mod catalogue;
mod echo;
mod guarantees;
mod load;
mod measurements;
mod progress;
mod report;
mod roles;
mod run;
mod section;
mod special;
mod statistics;
mod targets;
mod world;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use natter_processes::guard;

use crate::arguments::BenchArgs;

/// The whole program: parses the arguments (the first is the program's name), runs, and gives the exit status. Where the
/// second names a role, this is that role.
pub fn main_with(arguments: Vec<OsString>) -> ExitCode {
    if let Some(status) = roles::play(&arguments) {
        return status;
    }
    match BenchArgs::try_parse_from(arguments) {
        Ok(arguments) => block_on("bench", run::run(arguments)),
        Err(error) => {
            let _ = error.print(); // nobody to tell
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Is a guard, with the arguments that [`guard::arguments`] gave. To be called by the process's main thread.
pub fn guard_with(arguments: Vec<OsString>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(guard::run(arguments)),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs a process to its end, on a runtime of one thread; what stopped it goes to standard error.
fn block_on(name: &str, life: impl Future<Output = Result<()>>) -> ExitCode {
    let ended = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(life);
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::tell(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
