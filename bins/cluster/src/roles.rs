//! The roles that this executable carries: `cluster replica …` is `replica …`.
//!
//! So the launcher needs no other binary: its children are itself once more.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use natter_common::messages::Role;

/// The first argument that makes this executable an observer.
pub(crate) const OBSERVER: &str = "observer";

/// Plays a role, where the second of these arguments names one.
pub(crate) fn play(arguments: &[OsString]) -> Option<ExitCode> {
    let [program, word, rest @ ..] = arguments else { return None };
    let role: fn(Vec<OsString>) -> ExitCode = match word.to_str()? {
        "client" => |arguments| natter_client::main_with(arguments),
        "frontend" => |arguments| natter_frontend::main_with(arguments),
        OBSERVER => |arguments| natter_observer::main_with(arguments),
        "replica" => |arguments| natter_replica::main_with(arguments),
        _ => return None,
    };
    // Name of the program in usage and help.
    let mut name = std::path::Path::new(program).file_name().unwrap_or(OsStr::new("cluster")).to_owned();
    name.push(" ");
    name.push(word);
    Some(role(std::iter::once(name).chain(rest.iter().cloned()).collect()))
}

/// The first argument that makes this executable play `role`, which is also what people call it.
pub(crate) fn word(role: Role) -> &'static str {
    match role {
        Role::Frontend => "frontend",
        Role::Replica => "replica",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_first_words_are_the_launchers_own() {
        for line in [&["cluster"][..], &["cluster", "2", "4"], &["cluster", "--logs", "client"], &[]] {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert!(play(&line).is_none(), "{line:?}");
        }
    }
}
