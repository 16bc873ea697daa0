//! The launcher: a broker, frontends, replicas and a client on one machine, with one command.
//!
//! - the command line: `arguments`; the roles that this executable carries: `roles`
//! - the parts of a running cluster: `broker`, `members` (the processes of the roles), `foreground_client`, `observer`
//! - two `sites` with a broker each, and the `relay` between them
//! - their logs: `log_folder`, the `log_file`s in it, and `log_pump`, which fills them
//! - changes of it while it runs: `control` performs verbs such as `kill r2`, `console` reads them, `page_link` brings
//!   those of the observer's page
//! - how they come and go: `launch` starts, watches and stops them; `readiness` waits until they serve; `refusals`: what
//!   the broker does not permit them; `outage` notices
//!   when no replica does; `signals`
//! - scenes that show how replication works: `demo`
//! - what is told: `summary`, `notices`, and `error`, why there is no cluster
//!
//! Frontends, replicas and broker run below guards (see [`natter_processes::guard`]), so that none of them outlives
//! the launcher, however that ends. The client is a thread of the launcher: terminal, ctrl-c and end of input are its own.

mod arguments;
mod broker;
mod console;
mod control;
mod demo;
mod error;
mod foreground_client;
mod launch;
mod log_file;
mod log_folder;
mod log_pump;
mod members;
mod notices;
mod observer;
mod outage;
mod page_link;
mod readiness;
mod refusals;
mod relay;
mod roles;
mod signals;
mod sites;
mod summary;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use natter_broker::logs;
use natter_processes::guard;
use tracing::level_filters::LevelFilter;

use crate::arguments::ClusterArgs;
use crate::notices::tell;

/// The whole program: parses the arguments (the first is the program's name), runs, and gives the exit status. Where the
/// second names a role, this is that role.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(status) = roles::play(&arguments) {
        return status;
    }
    if let Some(status) = demo::play(&arguments) {
        return status;
    }
    let arguments = match ClusterArgs::read(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // nobody to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let _logs = logs::init_queued(arguments.broker.log_format, arguments.broker.verbose, LevelFilter::WARN);
    block_on(launch::run(arguments))
}

/// Is a guard, with the arguments that [`guard::arguments`] gave. To be called by the process's main thread.
pub fn guard_with(arguments: Vec<OsString>) -> ExitCode {
    block_on(guard::run(arguments))
}

fn block_on(program: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(program);
    runtime.shutdown_background();
    status
}
