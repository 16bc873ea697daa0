//! The command line.

use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use natter_broker::duration::{parse_duration, parse_duration_or_zero};
use natter_broker::options::BrokerOptions;
use natter_common::edge::TITLE_BYTES_MAX;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::Stars;
use natter_common::request::{SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX};

use crate::import::Source;

const SESSION: &str = "Session";

const COMMANDS: &str = "create, update, delete, read, all, average, search, import, decode";

/// Half of what a frontend takes, so that others find room beside an import.
const IN_FLIGHT_DEFAULT: u32 = 4096;

const EXAMPLES: &str = "\
Examples:
  client                      the menu, for a random user
  client 42                   the menu, for user 42
  client 42 create 1 4.5      user 42 gives movie 1 four and a half stars
  client 42 read 1 --json     the rating, as one JSON object
  client search \"toy story\"   movies by a part of their title
  client import ratings.csv   all ratings of a file in MovieLens' layout

Exit status:
  0    done
  1    failed for another reason: a file, or an answer that cannot be read
  2    wrong command line
  3    refused: the request, a rating that exists already, the credentials, or lines of an import
  4    not found: no such movie, or no such rating
  5    unavailable: no broker, frontend or replica answered in time
  6    stale: no reachable replica holds what this session has seen
  130  interrupted

The reason is on standard error. With --json it is also one object {code, name, message, update_id} on standard output.
`update_id` names an update that may still take effect: to retry it, give the same command with --id.";

/// Rates movies: with a command as a script's tool, without one by a menu.
#[derive(Clone, Debug, Parser)]
#[command(name = "client", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct ClientArgs {
    /// User, by number; only the menu draws a random one, from 1 to 610, where none is given
    #[arg(value_name = "USER_ID", value_parser = parse_user)]
    pub user_id: Option<UserId>,

    /// Where a command is expected but another word stands: to say so.
    #[arg(value_name = "COMMAND", value_parser = refuse_command, hide = true)]
    not_a_command: Vec<Infallible>,

    /// What to do [default: the menu]
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Print one JSON object: the reply {value, label, replicas}, or the error {code, name, message, update_id}
    #[arg(long, global = true)]
    pub json: bool,

    /// Time to try again where that may help; 0s makes one attempt
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration_or_zero, global = true)]
    pub patience: Duration,

    /// Time to wait for one answer, longer than the frontends' own --timeout
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_duration, global = true)]
    pub timeout: Duration,

    /// Go on without what this user's session has seen: a new session begins
    #[arg(long, global = true, help_heading = SESSION)]
    pub new_session: bool,

    /// Don't keep the session between calls: neither read its file nor write it
    #[arg(long, global = true, help_heading = SESSION)]
    pub no_state: bool,

    /// Use the subjects of this user alone, which a broker's permissions can tie to a connection [default: only after the
    /// broker has refused the general ones]
    #[arg(long, global = true)]
    pub own_subject: bool,

    /// Whether the menu leaves no session behind: for a cluster that ends with it.
    #[arg(skip)]
    pub forget_session: bool,

    #[allow(missing_docs)] // a comment here would become a part of the help
    #[command(flatten)]
    pub broker: BrokerOptions,
}

impl ClientArgs {
    /// Parses a command line, the program's name first, and checks what belongs together.
    ///
    /// # Errors
    ///
    /// Where it is wrong, or asks for help or the version.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = Self::try_parse_from(arguments)?;
        match arguments.contradiction() {
            Some((kind, contradiction)) => Err(Self::command().error(kind, contradiction)),
            None => Ok(arguments),
        }
    }

    fn contradiction(&self) -> Option<(ErrorKind, String)> {
        let Some(command) = &self.command else {
            let text = "--json needs a command, such as `client 42 read 1 --json`";
            return self.json.then(|| (ErrorKind::MissingRequiredArgument, text.to_owned()));
        };
        let name = command.name();
        match (command.users(), self.user_id) {
            (Users::One, None) => {
                let text =
                    format!("`{name}` needs a user: put its number before the command, like `client 42 {name} ...`");
                Some((ErrorKind::MissingRequiredArgument, text))
            }
            (Users::Several, Some(user_id)) => {
                let text = format!("`{name}` takes no user: leave out {user_id}, as the users are in its input");
                Some((ErrorKind::ArgumentConflict, text))
            }
            (Users::Several, None) if self.new_session => {
                let text = format!("`{name}` has no session, so it can't begin a new one: leave out --new-session");
                Some((ErrorKind::ArgumentConflict, text))
            }
            _ => None,
        }
    }
}

/// Users that a command concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    /// One, which must be given.
    One,
    /// None in particular. If one is given, the command goes on with that user's session.
    Any,
    /// Those in its input.
    Several,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Rate a movie that the user has not rated
    Create {
        /// The movie's number; `search` finds it
        #[arg(value_name = "MOVIE_ID", value_parser = parse_movie)]
        movie_id: MovieId,
        /// 0.5, 1.0, 1.5, ... 5.0
        #[arg(value_name = "RATING", value_parser = parse_stars, allow_negative_numbers = true)]
        rating: Stars,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Change a rating
    Update {
        /// The movie's number
        #[arg(value_name = "MOVIE_ID", value_parser = parse_movie)]
        movie_id: MovieId,
        /// 0.5, 1.0, 1.5, ... 5.0
        #[arg(value_name = "RATING", value_parser = parse_stars, allow_negative_numbers = true)]
        rating: Stars,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Take a rating away
    Delete {
        /// The movie's number
        #[arg(value_name = "MOVIE_ID", value_parser = parse_movie)]
        movie_id: MovieId,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Show one rating of the user; "no rating" is an answer too
    Read {
        /// The movie's number
        #[arg(value_name = "MOVIE_ID", value_parser = parse_movie)]
        movie_id: MovieId,
    },
    /// Show all ratings of the user, by ascending movie number
    All {
        /// How many at most [default: all]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Only movies with a greater number
        #[arg(long, value_name = "MOVIE_ID", default_value_t = 0)]
        after: u32,
    },
    /// Show the average of a movie's ratings
    Average {
        /// The movie's number
        #[arg(value_name = "MOVIE_ID", value_parser = parse_movie)]
        movie_id: MovieId,
    },
    /// Find movies by a part of their title
    Search {
        /// The part of the title, whatever its case; "" finds all
        #[arg(value_name = "TITLE", value_parser = parse_title)]
        title: String,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = SEARCH_LIMIT_DEFAULT,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(SEARCH_LIMIT_MAX)))]
        limit: u32,
    },
    /// Import the ratings of a CSV file: userId,movieId,rating and, if there is one, timestamp
    ///
    /// Ratings that are not there are created, others updated; each counts as made when it is sent first, and the
    /// timestamps in the file are left out. An import that was interrupted goes on when the same command is given again; a
    /// file that was imported is not imported twice. Lines that can't be imported are told by their numbers, and the rest
    /// is imported.
    Import {
        /// The file; - for standard input. From a pipe, an interrupted import does not go on
        #[arg(value_name = "FILE.csv", value_parser = parse_source)]
        source: Source,
        /// Import it from its beginning, even if it was imported before, or in part
        #[arg(long)]
        again: bool,
        /// How many ratings may be on their way at the same time; fewer are where frontends or replicas take no more
        #[arg(long, value_name = "N", default_value_t = IN_FLIGHT_DEFAULT, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
        in_flight: u32,
    },
    /// Read MessagePack on standard input, write JSON on standard output; needs no broker
    ///
    /// For looking inside with the nats CLI: nats sub 'ratings.>' --translate 'client decode'
    Decode,
}

impl Command {
    /// The word on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Read { .. } => "read",
            Self::All { .. } => "all",
            Self::Average { .. } => "average",
            Self::Search { .. } => "search",
            Self::Import { .. } => "import",
            Self::Decode => "decode",
        }
    }

    fn users(&self) -> Users {
        match self {
            Self::Create { .. } | Self::Update { .. } | Self::Delete { .. } | Self::Read { .. } | Self::All { .. } => {
                Users::One
            }
            Self::Average { .. } | Self::Search { .. } => Users::Any,
            Self::Import { .. } | Self::Decode => Users::Several,
        }
    }
}

fn parse_source(text: &str) -> Result<Source, Infallible> {
    Ok(Source::of(text))
}

fn parse_user(text: &str) -> Result<UserId, String> {
    match text.parse::<u64>() {
        Ok(number) => UserId::try_from(number).map_err(|error| error.to_string()),
        Err(_) if text.is_empty() => Err("the user is empty: write its number, like 42".to_owned()),
        Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => Err(format!("{text} is too large")),
        Err(_) => Err(format!("this is neither a user's number nor one of the commands {COMMANDS}")),
    }
}

fn refuse_command(_: &str) -> Result<Infallible, String> {
    Err(format!("this is none of the commands {COMMANDS}"))
}

/// A movie's number, or why the text is none.
pub(crate) fn parse_movie(text: &str) -> Result<MovieId, String> {
    match text.parse::<u64>() {
        Ok(number) => MovieId::try_from(number).map_err(|error| error.to_string()),
        Err(_) => Err("a movie is named by its number, from 1 to 4294967295; `search` finds it".to_owned()),
    }
}

/// A rating, with the reason where it is none.
pub(crate) fn parse_stars(text: &str) -> Result<Stars, String> {
    const SCALE: &str = "a rating is one of 0.5, 1.0, 1.5, ... 5.0";
    let number: f64 = text.trim().parse().map_err(|_| SCALE.to_owned())?;
    Stars::try_from(number).map_err(|_| SCALE.to_owned())
}

/// A part of a title, or why it can't be searched for. An empty one finds all movies.
pub(crate) fn parse_title(text: &str) -> Result<String, String> {
    if text.len() > TITLE_BYTES_MAX {
        return Err(format!("a part of the title has at most {TITLE_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &[&str]) -> Result<ClientArgs, String> {
        let line = std::iter::once(&"client").chain(line).map(OsString::from);
        ClientArgs::read(line).map_err(|error| error.to_string())
    }

    fn movie(number: u32) -> MovieId {
        MovieId::new(number).unwrap()
    }

    #[test]
    fn definition_is_sound() {
        ClientArgs::command().debug_assert();
    }

    #[test]
    fn command_lines_of_the_design_mean_what_they_say() {
        let stars = Stars::try_from(4.5).unwrap();
        let search = |title: &str, limit| Command::Search { title: title.to_owned(), limit };
        for (line, user, command) in [
            (
                &["42", "create", "1", "4.5"][..],
                Some(42),
                Some(Command::Create { movie_id: movie(1), rating: stars, id: None }),
            ),
            (
                &["42", "update", "1", "4.5"],
                Some(42),
                Some(Command::Update { movie_id: movie(1), rating: stars, id: None }),
            ),
            (&["42", "delete", "1"], Some(42), Some(Command::Delete { movie_id: movie(1), id: None })),
            (&["42", "read", "1", "--json"], Some(42), Some(Command::Read { movie_id: movie(1) })),
            (&["--json", "42", "read", "1"], Some(42), Some(Command::Read { movie_id: movie(1) })),
            (&["42", "all"], Some(42), Some(Command::All { limit: None, after: 0 })),
            (&["42", "all", "--limit", "5", "--after", "7"], Some(42), Some(Command::All { limit: Some(5), after: 7 })),
            (&["average", "1"], None, Some(Command::Average { movie_id: movie(1) })),
            (&["7", "average", "1"], Some(7), Some(Command::Average { movie_id: movie(1) })),
            (&["search", "toy story"], None, Some(search("toy story", 20))),
            (&["search", "42", "--limit", "3"], None, Some(search("42", 3))),
            (&["search", ""], None, Some(search("", 20))),
            (&["42", "search", "search"], Some(42), Some(search("search", 20))),
            (
                &["import", "r.csv", "--again"],
                None,
                Some(Command::Import { source: Source::File("r.csv".into()), again: true, in_flight: 4096 }),
            ),
            (
                &["import", "-", "--in-flight", "100"],
                None,
                Some(Command::Import { source: Source::StandardInput, again: false, in_flight: 100 }),
            ),
            (&["decode"], None, Some(Command::Decode)),
            (&["42"], Some(42), None),
            (&[], None, None),
            (&["42", "--new-session"], Some(42), None),
        ] {
            let args = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert_eq!((args.user_id.map(UserId::get), args.command), (user, command), "{line:?}");
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        for line in [
            ["--no-state", "--patience", "2s", "-s", "nats://a:1", "42", "read", "1"],
            ["42", "--no-state", "read", "--patience", "2s", "1", "-s", "nats://a:1"],
        ] {
            let args = parse(&line).unwrap();
            assert!(args.no_state && !args.new_session && !args.json);
            assert_eq!(args.patience, Duration::from_secs(2));
            assert_eq!(args.broker.server.as_deref(), Some("nats://a:1"));
        }
    }

    #[test]
    fn wrong_lines_are_answered_in_words() {
        for (line, why) in [
            (&["0"][..], "0 is out of range"),
            (&["4294967296", "all"], "out of range"),
            (&["99999999999999999999999", "all"], "too large"),
            (&["serch", "x"], "neither a user's number nor one of the commands"),
            (&["42", "serch", "x"], "none of the commands create, update"),
            (&["42", "43"], "none of the commands"),
            (&["42", "create", "1"], "RATING"),
            (&["42", "create", "1", "4.3"], "one of 0.5, 1.0, 1.5"),
            (&["42", "create", "1", "NaN"], "one of 0.5"),
            (&["42", "create", "1", "-1"], "one of 0.5"),
            (&["42", "create", "toy", "4"], "named by its number"),
            (&["42", "create", "1", "4", "--id", "x"], "--id"),
            (&["42", "all", "--limit", "0"], "--limit"),
            (&["search", "x", "--limit", "101"], "1..=100"),
            (&["42", "read", "1", "--timeout", "0s"], "zero"),
            (&["", "read", "1"], "the user is empty"),
            (&["create", "1", "4"], "`create` needs a user"),
            (&["delete", "1"], "`delete` needs a user: put its number before the command, like `client 42 delete"),
            (&["all", "--json"], "`all` needs a user"),
            (&["42", "import", "r.csv"], "`import` takes no user: leave out 42"),
            (&["42", "decode"], "`decode` takes no user"),
            (&["import", "r.csv", "--new-session"], "--new-session"),
            (&["42", "--json"], "--json needs a command"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(why), "{line:?}: {error}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let help = ClientArgs::command().render_help().to_string();
        let commands = ["create", "update", "delete", "read", "all", "average", "search", "import", "decode"];
        for word in commands.into_iter().chain(["--json", "[USER_ID]"]) {
            assert!(help.contains(word), "{word}: {help}");
        }
    }
}
