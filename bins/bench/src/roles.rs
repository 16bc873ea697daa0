//! The processes that this executable can be: `bench replica …` is `replica …`, and so on.
//!
//! `bench` needs no other binary: it starts itself again for the processes that it measures, and for the load
//! generator.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::{echo, load};

/// The first argument of a frontend's process.
pub(crate) const FRONTEND: &str = "frontend";
/// The first argument of a replica manager's process.
pub(crate) const REPLICA: &str = "replica";
/// The first argument of an observer's process.
pub(crate) const OBSERVER: &str = "observer";
/// The first argument of the process that answers raw requests.
pub(crate) const ECHO: &str = "echo";
/// The first argument of the load generator's process.
pub(crate) const LOAD: &str = "load";

/// Plays a role, where the second of these arguments names one.
pub(crate) fn play(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, word, rest @ ..] = arguments else { return None };
    let word = word.to_str()?;
    let named = || std::iter::once(OsString::from(format!("bench {word}"))).chain(rest.iter().cloned());
    match word {
        FRONTEND => Some(natter_frontend::main_with(named())),
        REPLICA => Some(natter_replica::main_with(named())),
        OBSERVER => Some(natter_observer::main_with(named())),
        ECHO => Some(echo::main_with(rest)),
        LOAD => Some(load::main()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_first_words_are_the_benchs_own() {
        for line in [&["bench"][..], &["bench", "--quick"], &["bench", "--only", "load"], &[]] {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert!(play(&line).is_none(), "{line:?}");
        }
    }
}
