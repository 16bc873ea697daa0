//! Parts that frontends and replicas share as programs: an id, subjects, a runtime, errors, an exit status.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use natter_common::ids::{IdError, ReplicaId, is_token};
use natter_common::subjects::Subjects;
use tracing::level_filters::LevelFilter;

use crate::access::AccessError;
use crate::connection::ConnectError;
use crate::logs;
use crate::metrics::MetricsError;
use crate::options::BrokerOptions;

/// Requests are short-lived and many: under load the system's allocator takes a fifth of the time, this one half of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The longest name, in bytes, that leaves room for the random ending of an id.
pub const NAME_BYTES_MAX: usize = 48;
/// Number of random letters at the end of an id.
const ENDING_LETTERS: usize = 8;

/// Why a frontend or a replica does not run.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The name does not make an id.
    #[error("--name: {0}")]
    Id(#[source] IdError),
    /// The subject prefix is not one.
    #[error("--prefix: {0:?} is not tokens of A-Z a-z 0-9 _ - joined by dots")]
    Prefix(String),
    /// Metrics and health cannot be shown.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// There is no connection to the broker.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker did not take the subscriptions.
    #[error("the broker did not take the subscriptions: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The broker does not hear the process, or does not permit what it needs.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// For clap: what an id may begin with.
///
/// # Errors
///
/// A sentence for people that says what is allowed.
pub fn parse_name(text: &str) -> Result<String, String> {
    if is_token(text) && text.len() <= NAME_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err(format!("use 1 to {NAME_BYTES_MAX} of the characters A-Z a-z 0-9 _ -"))
    }
}

/// Makes an id that no process has had before: `<name>-<random letters>`.
///
/// # Errors
///
/// `name` is not a short token.
pub fn new_id(name: &str) -> Result<ReplicaId, RoleError> {
    let ending: String = std::iter::repeat_with(fastrand::lowercase).take(ENDING_LETTERS).collect();
    ReplicaId::new(&format!("{name}-{ending}")).map_err(RoleError::Id)
}

/// Subjects below the prefix that the options name.
///
/// # Errors
///
/// The prefix is no subject.
pub fn subjects(options: &BrokerOptions) -> Result<Subjects, RoleError> {
    Subjects::new(&options.prefix).ok_or_else(|| RoleError::Prefix(options.prefix.clone()))
}

/// Runs a role to its end on a runtime of one thread, which is faster here than several under load. `life` is called within
/// the runtime and before anything is logged. An error that ends it goes to standard error after the name of the role.
pub fn run<L, E>(role: &str, options: &BrokerOptions, life: impl FnOnce() -> L) -> ExitCode
where
    L: Future<Output = Result<(), E>>,
    E: Display,
{
    let _logs = logs::init_queued(options.log_format, options.verbose, LevelFilter::INFO);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(role, &format!("the runtime cannot be started: {error}"));
        }
    };
    let life = {
        let _inside = runtime.enter();
        life()
    };
    match runtime.block_on(life) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(role, &error),
    }
}

/// Says why, after what was logged.
fn fail(role: &str, error: &dyn Display) -> ExitCode {
    logs::tell(&format!("{role}: {error}"));
    ExitCode::FAILURE
}

/// Prints clap's message about a command line that it does not accept, or its answer to `--help`.
pub fn print_usage(error: &clap::Error) -> ExitCode {
    // Printing fails if the reader has closed the output; then there is nothing more to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
