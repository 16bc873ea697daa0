//! Verbs as text.

use std::fmt;

use natter_common::messages::{Mode, Role};

/// All verbs, for people.
pub(crate) const VERBS: &str = "kill NAME, pause NAME, resume NAME, restart NAME, add replica, add frontend, active NAME, \
    overloaded NAME, offline NAME, arbitrary NAME, measured NAME, cut, heal, status, help, quit";
/// Maximum characters of a wrong word that an error repeats.
const SHOWN_CHARS: usize = 40;

/// A change of the running cluster, or a question about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Ends a process without asking (SIGKILL).
    Kill(Name),
    /// Freezes a process (SIGSTOP).
    Pause(Name),
    /// Lets a paused process go on (SIGCONT).
    Resume(Name),
    /// Ends a process, where it still runs, and starts it again under the same name.
    Restart(Name),
    /// Starts one more process of a role.
    Add(Role),
    /// Sets the mode of a replica.
    Set(Name, Mode),
    /// Cuts the link between the two sites.
    Cut,
    /// Lets the link between the two sites work again.
    Heal,
    /// Tells the state of every process.
    Status,
    /// Tells the verbs.
    Help,
    /// Ends the cluster.
    Quit,
}

/// A process as a person calls it: its name (`r2`), its id (`r2-amegxysk`), or the beginning of one of them. Empty where
/// none was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

/// Why a text is no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerbError {
    /// The first word is none of the verbs.
    #[error("\"{0}\" is no verb: write one of {VERBS}")]
    Unknown(String),
    /// `add` needs a role.
    #[error("`add` needs a role: write `add replica` or `add frontend`")]
    Role,
    /// Words follow that the verb does not take.
    #[error("\"{extra}\" is too much: `{verb}` takes {takes}")]
    Extra {
        /// First word that is too much.
        extra: String,
        /// The verb.
        verb: &'static str,
        /// Words that the verb takes, for people.
        takes: &'static str,
    },
}

impl Verb {
    /// Parses a line, in capital letters or small ones.
    pub(crate) fn parse(line: &str) -> Result<Self, VerbError> {
        let line = line.to_lowercase();
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let of_name = |verb: &'static str, make: fn(Name) -> Self| match rest[..] {
            [] => Ok(make(Name::default())),
            [name] => Ok(make(Name(name.to_owned()))),
            [_, extra, ..] => Err(VerbError::Extra { extra: shown(extra), verb, takes: "one name" }),
        };
        let alone = |verb: &'static str, made: Self| match rest[..] {
            [] => Ok(made),
            [extra, ..] => Err(VerbError::Extra { extra: shown(extra), verb, takes: "no more words" }),
        };
        match first {
            "kill" => of_name("kill", Self::Kill),
            "pause" => of_name("pause", Self::Pause),
            "resume" => of_name("resume", Self::Resume),
            "restart" => of_name("restart", Self::Restart),
            "active" => of_name("active", |name| Self::Set(name, Mode::Active)),
            "overloaded" => of_name("overloaded", |name| Self::Set(name, Mode::Overloaded)),
            "offline" => of_name("offline", |name| Self::Set(name, Mode::Offline)),
            "arbitrary" => of_name("arbitrary", |name| Self::Set(name, Mode::Arbitrary)),
            "measured" => of_name("measured", |name| Self::Set(name, Mode::Measured)),
            "add" => match rest[..] {
                ["replica"] => Ok(Self::Add(Role::Replica)),
                ["frontend"] => Ok(Self::Add(Role::Frontend)),
                ["replica" | "frontend", extra, ..] => Err(VerbError::Extra {
                    extra: shown(extra),
                    verb: "add",
                    takes: "a role, and names the process itself",
                }),
                _ => Err(VerbError::Role),
            },
            "cut" => alone("cut", Self::Cut),
            "heal" => alone("heal", Self::Heal),
            "status" => alone("status", Self::Status),
            "help" | "?" => alone("help", Self::Help),
            "quit" | "exit" | "q" => alone("quit", Self::Quit),
            unknown => Err(VerbError::Unknown(shown(unknown))),
        }
    }
}

/// A part of wrong input as an error repeats it: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name(name.to_owned())
    }

    #[test]
    fn lines_are_verbs_whatever_their_blanks_and_capitals() {
        for (line, verb) in [
            ("kill r2", Verb::Kill(name("r2"))),
            ("  KILL \t R2\r\n", Verb::Kill(name("r2"))),
            ("pause r2-amegxysk", Verb::Pause(name("r2-amegxysk"))),
            ("resume f1", Verb::Resume(name("f1"))),
            ("restart r1", Verb::Restart(name("r1"))),
            ("add replica", Verb::Add(Role::Replica)),
            ("add frontend", Verb::Add(Role::Frontend)),
            ("offline r2", Verb::Set(name("r2"), Mode::Offline)),
            ("measured r2", Verb::Set(name("r2"), Mode::Measured)),
            ("kill", Verb::Kill(name(""))),
            ("cut", Verb::Cut),
            ("heal", Verb::Heal),
            ("status", Verb::Status),
            ("?", Verb::Help),
            ("q", Verb::Quit),
        ] {
            assert_eq!(Verb::parse(line), Ok(verb), "{line:?}");
        }
    }

    #[test]
    fn wrong_lines_are_answered_in_words() {
        for (line, why) in [
            ("kil r2", "\"kil\" is no verb: write one of kill NAME,"),
            ("", "\"\" is no verb"),
            ("kill r2 r3", "\"r3\" is too much: `kill` takes one name"),
            ("cut r2", "\"r2\" is too much: `cut` takes no more words"),
            ("add", "`add replica` or `add frontend`"),
            ("add r9", "`add replica` or `add frontend`"),
            ("add replica r9", "\"r9\" is too much"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
        ] {
            let error = Verb::parse(line).unwrap_err().to_string();
            assert!(error.contains(why), "{line:?}: {error}");
        }
        let long = Verb::parse(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 400, "{}", long.len());
    }
}
