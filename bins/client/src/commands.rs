//! The command line: module `values` reads its values.

mod values;

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use natter_broker::duration::{parse_duration, parse_duration_or_zero};
use natter_broker::options::BrokerOptions;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::messages::Mode;
use natter_common::rating::Stars;
use natter_common::request::{SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX};

pub(crate) use self::values::{parse_movie, parse_stars, parse_title};
use self::values::{
    parse_movie_name, parse_source, parse_user, parse_user_of_watch, refuse_command, with_own_user_of_watch,
};
use crate::import::Source;

const SESSION: &str = "Session";

const COMMANDS: &str = "create, update, delete, read, all, average, search, import, status, replica, tap, watch, trace, shiviz, completions, man, decode";

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
docs/PROTOCOL.md has the fields of all results. `update_id` names an update that may still take effect: to retry it, give the same command with --id.";

/// Rates movies: with a command as a script's tool, without one by a menu.
#[derive(Clone, Debug, Parser)]
#[command(name = "client", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct ClientArgs {
    /// User, by number; only the menu draws a random one, from 1 to 610, where none is given
    #[arg(value_name = "USER_ID", value_parser = parse_user)]
    pub user_id: Option<UserId>,

    /// Word in the place of a command that is none: it is refused with an error.
    #[arg(value_name = "COMMAND", value_parser = refuse_command, hide = true)]
    not_a_command: Vec<Infallible>,

    /// Command [default: the menu]
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Print JSON, one object a line: results as {value}, answers as {value, label, replicas}, errors as {code, name, message, update_id}
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

    /// The command line itself.
    #[arg(skip)]
    given: Vec<OsString>,

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
        let given: Vec<OsString> = arguments.into_iter().collect();
        let arguments = Self { given: given.clone(), ..Self::try_parse_from(with_own_user_of_watch(given))? };
        match arguments.contradiction() {
            Some((kind, contradiction)) => Err(Self::command().error(kind, contradiction)),
            None => Ok(arguments),
        }
    }

    /// Whether JSON is wanted. Behind `trace`, options belong to the command that it does.
    pub(crate) fn wants_json(&self) -> bool {
        let is_json = |words: &[OsString]| words.iter().any(|word| word == "--json");
        self.json || matches!(&self.command, Some(Command::Trace { words }) if is_json(words))
    }

    /// The command that `trace` is to do: this command line without the word `trace`.
    ///
    /// # Errors
    ///
    /// Where the rest is no command line, or not one of a single request.
    pub(crate) fn traced(&self) -> Result<Self, clap::Error> {
        let is_request = |command: &Command| {
            matches!(
                command,
                Command::Create { .. }
                    | Command::Update { .. }
                    | Command::Delete { .. }
                    | Command::Read { .. }
                    | Command::All { .. }
                    | Command::Average { .. }
                    | Command::Search { .. }
            )
        };
        let text = "`trace` needs a command of one request, such as `client trace 42 read 1`";
        let mut error = Self::command().error(ErrorKind::InvalidValue, text);
        // An option may have the word as its value.
        for place in (1..self.given.len()).filter(|place| self.given[*place] == "trace") {
            let mut rest = self.given.clone();
            rest.remove(place);
            match Self::read(rest) {
                Ok(traced) if traced.command.as_ref().is_some_and(is_request) => return Ok(traced),
                Ok(_) => {}
                Err(reason) => error = reason,
            }
        }
        Err(error)
    }

    fn contradiction(&self) -> Option<(ErrorKind, String)> {
        let Some(command) = &self.command else {
            let text = "--json needs a command, such as `client 42 read 1 --json`";
            return self.json.then(|| (ErrorKind::MissingRequiredArgument, text.to_owned()));
        };
        let name = command.name();
        if let (Command::Watch { of_user: Some(of_user), .. }, Some(user_id)) = (command, self.user_id)
            && *of_user != user_id
        {
            let text = format!("`watch` shows the changes of one user or of all: name either {user_id} or {of_user}");
            return Some((ErrorKind::ArgumentConflict, text));
        }
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
            (Users::None, Some(user_id)) => {
                let text = format!("`{name}` takes no user: leave out {user_id}, as it looks at the whole cluster");
                Some((ErrorKind::ArgumentConflict, text))
            }
            (Users::Several | Users::None, None) if self.new_session => {
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
    /// None: it looks at the cluster.
    None,
}

/// A movie as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MovieName {
    /// By its number.
    Id(MovieId),
    /// By a part of its title.
    Title(String),
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Rate a movie that the user has not rated
    Create {
        /// The movie's number, or a part of its title that only this movie has
        #[arg(value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: MovieName,
        /// 0.5, 1.0, 1.5, ... 5.0
        #[arg(value_name = "RATING", value_parser = parse_stars, allow_negative_numbers = true)]
        rating: Stars,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Change a rating
    Update {
        /// The movie's number, or a part of its title
        #[arg(value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: MovieName,
        /// 0.5, 1.0, 1.5, ... 5.0
        #[arg(value_name = "RATING", value_parser = parse_stars, allow_negative_numbers = true)]
        rating: Stars,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Take a rating away
    Delete {
        /// The movie's number, or a part of its title
        #[arg(value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: MovieName,
        /// The id of an update that may not have been done, to try it again
        #[arg(long, value_name = "UUID")]
        id: Option<UpdateId>,
    },
    /// Show one rating of the user; "no rating" is an answer too
    Read {
        /// The movie's number, or a part of its title
        #[arg(value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: MovieName,
    },
    /// Show all ratings of the user, by ascending movie number
    All {
        /// Maximum number of ratings [default: all]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Only movies with a greater number
        #[arg(long, value_name = "MOVIE_ID", default_value_t = 0)]
        after: u32,
    },
    /// Show the average of a movie's ratings
    Average {
        /// The movie's number, or a part of its title
        #[arg(value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: MovieName,
    },
    /// Find movies by a part of their title
    Search {
        /// The part of the title, whatever its case; "" finds all
        #[arg(value_name = "TITLE", value_parser = parse_title)]
        title: String,
        /// Maximum number of movies
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
        /// Change nothing: compare each line with the rating that stands, and tell how many would be created, updated and refused
        #[arg(long, conflicts_with = "again")]
        dry_run: bool,
        /// Add the refused lines to this file, as they stand in the source: mended there, they can be imported
        #[arg(long, value_name = "FILE")]
        rejects: Option<PathBuf>,
        /// Maximum number of ratings in flight; the import uses fewer while frontends or replicas take no more
        #[arg(long, value_name = "N", default_value_t = IN_FLIGHT_DEFAULT, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
        in_flight: u32,
    },
    /// Show the frontends and replicas on one screen: status, uptime, timestamps, lag, logs, digests, converged or not
    Status {
        /// Go on until ctrl-c: redraw on a terminal, elsewhere print again whenever something changes
        #[arg(long)]
        watch: bool,
    },
    /// Show the status of a replica, or set its mode
    Replica {
        /// The replica's id, or its short name where that is clear: r2
        #[arg(value_name = "NAME")]
        name: String,
        /// active, overloaded, offline, arbitrary or measured [default: leave it as it is]
        #[arg(value_name = "MODE")]
        mode: Option<Mode>,
    },
    /// Print one line for each message of the cluster as it travels, until ctrl-c
    ///
    /// Replies are shown with the time since their request, heartbeats are counted. It listens as an ordinary client of the
    /// broker, whose permissions may hide messages: a line says so.
    Tap {
        /// Only what concerns this update, and the replicas that apply it
        #[arg(long, value_name = "UPDATE_ID")]
        follow: Option<UpdateId>,
        /// End after this time
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        duration: Option<Duration>,
    },
    /// Print each change of a rating once enough replicas hold it, until ctrl-c; replicas need --changes
    Watch {
        /// Only changes of this movie's ratings: its number, or a part of its title that only this movie has
        #[arg(long, value_name = "MOVIE", value_parser = parse_movie_name)]
        movie: Option<MovieName>,
        /// Only changes of this user's ratings; after `watch`, --user means the same, and the broker's user stands before it
        #[arg(long, value_name = "USER_ID", value_parser = parse_user_of_watch)]
        of_user: Option<UserId>,
        /// End after this number of changes
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
    /// Do a command and draw the way of its request: client, frontend, replicas, each step with its time
    ///
    /// For example `client trace 42 create 1 4.5` or `client trace search toy`. It listens as `tap` does.
    Trace {
        /// The command as it stands after `client`
        #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Turn the debug logs of a run into a log for ShiViz, on standard output; needs no broker
    ///
    /// ShiViz reads it with its default expression. Logs in which lines were dropped are refused.
    Shiviz {
        /// The folder of the logs, as `cluster --logs` wrote them
        #[arg(value_name = "LOGDIR")]
        folder: PathBuf,
    },
    /// Print completions of this command line for a shell; needs no broker
    ///
    /// For bash: source <(client completions bash)
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the man page, or write one for each command into a folder; needs no broker
    Man {
        /// The folder [default: print the page of `client`]
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
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
            Self::Status { .. } => "status",
            Self::Replica { .. } => "replica",
            Self::Tap { .. } => "tap",
            Self::Watch { .. } => "watch",
            Self::Trace { .. } => "trace",
            Self::Shiviz { .. } => "shiviz",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
            Self::Decode => "decode",
        }
    }

    /// Words about what the command waits for, where a person may have to wait. Others show by themselves how they get on, or
    /// are done at once.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        match self {
            Self::Create { .. }
            | Self::Update { .. }
            | Self::Delete { .. }
            | Self::Read { .. }
            | Self::All { .. }
            | Self::Average { .. }
            | Self::Search { .. } => Some("waiting for an answer"),
            Self::Status { watch: false } => Some("listening to the cluster"),
            Self::Replica { .. } => Some("listening for the replica"),
            Self::Trace { .. } => Some("listening to the request"),
            Self::Shiviz { .. } => Some("reading the logs"),
            Self::Import { .. }
            | Self::Status { watch: true }
            | Self::Tap { .. }
            | Self::Watch { .. }
            | Self::Completions { .. }
            | Self::Man { .. }
            | Self::Decode => None,
        }
    }

    fn users(&self) -> Users {
        match self {
            Self::Create { .. } | Self::Update { .. } | Self::Delete { .. } | Self::Read { .. } | Self::All { .. } => {
                Users::One
            }
            Self::Average { .. } | Self::Search { .. } | Self::Watch { .. } | Self::Trace { .. } => Users::Any,
            Self::Import { .. } | Self::Completions { .. } | Self::Man { .. } | Self::Decode => Users::Several,
            Self::Status { .. } | Self::Replica { .. } | Self::Tap { .. } | Self::Shiviz { .. } => Users::None,
        }
    }
}

#[cfg(test)]
mod tests;
