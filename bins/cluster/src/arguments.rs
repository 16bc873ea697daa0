//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use natter_broker::duration::parse_duration;
use natter_broker::options::BrokerOptions;
use natter_broker::size::{ByteSize, parse_size};
use natter_common::ids::UserId;
use natter_common::messages::Mode;
use natter_common::record::COPIES_MAX;

/// More processes of one role than a single machine is good for.
pub(crate) const MEMBERS_MAX: u8 = 64;

const CLUSTER: &str = "Cluster";
const REPLICAS: &str = "Replicas";
const FRONTENDS: &str = "Frontends";

const EXAMPLES: &str = "\
Examples:
  cluster                       1 frontend, 3 replicas, and the menu for a random user
  cluster 2 4 42                2 frontends, 4 replicas, and the menu for user 42
  cluster --no-client           the same without a menu, until ctrl-c
  cluster --observe             a live page of the cluster in a browser
  cluster --console             kill, pause and add processes by words like `kill r2`
  cluster --sites 2 --console   two sites, and `cut` and `heal` for the link between them
  cluster demo                  scenes that show how replication works, each in a cluster of its own
  cluster --logs logs           every step of every process in logs/*.log

The roles are in this program too, each with a --help of its own:
  cluster client 42 read 1      also: cluster frontend, replica, observer";

/// Runs a whole Natter on this machine: a broker, frontends, replicas, and in this terminal a client
///
/// When the client ends, everything ends, and nothing is left behind. The broker is a nats-server that is started here,
/// on loopback only, unless one is named by --server, --context or NATS_URL.
#[derive(Clone, Debug, Parser)]
#[command(name = "cluster", version, after_help = EXAMPLES)]
pub(crate) struct ClusterArgs {
    /// Number of frontends, from 1 to 64
    #[arg(value_name = "FRONTENDS", default_value = "1", value_parser = parse_count)]
    pub(crate) frontends: u8,

    /// Number of replicas, from 1 to 64
    #[arg(value_name = "REPLICAS", default_value = "3", value_parser = parse_count)]
    pub(crate) replicas: u8,

    /// User of the menu, a number [default: a random one from 1 to 610]
    #[arg(value_name = "USER_ID", value_parser = parse_user)]
    pub(crate) user_id: Option<UserId>,

    /// No menu: stay in the foreground until ctrl-c or SIGTERM
    #[arg(long, help_heading = CLUSTER)]
    pub(crate) no_client: bool,

    /// No menu: read verbs from standard input, one a line, like `kill r2` or `add replica` (`help` lists all)
    #[arg(long, conflicts_with = "no_client", help_heading = CLUSTER)]
    pub(crate) console: bool,

    /// Number of sites, 2: each gets a broker of its own, members belong to them by turns, and `cut` parts the two
    /// [default: one broker]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=2), help_heading = CLUSTER)]
    pub(crate) sites: Option<u8>,

    /// Start the observer, a live page of the cluster, and print its address [default address: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8080", help_heading = CLUSTER)]
    pub(crate) observe: Option<SocketAddr>,

    /// Let the observer's page set the status of replicas, kill, pause and add processes, and cut the link between sites
    #[arg(long, requires = "observe", help_heading = CLUSTER)]
    pub(crate) control: bool,

    /// Keep a log of every step of each process in this folder; logs of an earlier run are moved into a folder in it
    /// [default: short logs in a temporary folder]
    #[arg(long, value_name = "DIR", help_heading = CLUSTER)]
    pub(crate) logs: Option<PathBuf>,

    /// The port of the broker that is started here, 0 for any free one [default: 4222 where it is free]
    #[arg(long, value_name = "PORT", help_heading = CLUSTER)]
    pub(crate) port: Option<u16>,

    /// Maximum time until all frontends and replicas serve [default: 30s, with --database 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = CLUSTER)]
    pub(crate) ready_within: Option<Duration>,

    /// The data set: a folder in MovieLens' layout, or a file that `dataset import` made [default: the sample]
    #[arg(long, value_name = "PATH", help_heading = REPLICAS)]
    pub(crate) database: Option<PathBuf>,

    /// Source of the replicas' status: active, overloaded, offline, arbitrary or measured
    #[arg(long, value_name = "MODE", default_value_t = Mode::Measured, help_heading = REPLICAS)]
    pub(crate) status: Mode,

    /// Each replica keeps its state in a directory of its own in this one, and goes on from there [default: in memory]
    #[arg(long, value_name = "DIR", help_heading = REPLICAS)]
    pub(crate) data_dir: Option<PathBuf>,

    /// When what replicas say to hold is safe: full (from power loss) or normal (from the end of the process only)
    #[arg(long, value_name = "WHEN", default_value = "full", requires = "data_dir", value_parser = ["full", "normal"], help_heading = REPLICAS)]
    pub(crate) sync: String,

    /// Memory of each replica for ratings of the data set that were read lately, like 64MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size, help_heading = REPLICAS)]
    pub(crate) cache: ByteSize,

    /// Replicas that are gone for longer hold no log back any more
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration, help_heading = REPLICAS)]
    pub(crate) forget_after: Duration,

    /// Maximum time between two gossip messages of a replica
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration, help_heading = REPLICAS)]
    pub(crate) gossip_interval: Duration,

    /// Publish each change of a rating (`client watch`)
    #[arg(long, help_heading = REPLICAS)]
    pub(crate) changes: bool,

    /// Give the frontends to the first replicas, which then answer clients themselves (`replica --frontend`)
    #[arg(long, help_heading = FRONTENDS)]
    pub(crate) together: bool,

    /// Number of replicas that hold an update before it is acknowledged
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_copies(), help_heading = FRONTENDS)]
    pub(crate) fault_tolerance: u32,

    /// Refuse updates that fewer replicas hold
    #[arg(long, help_heading = FRONTENDS)]
    pub(crate) strict: bool,

    /// Maximum time for a frontend to answer a request
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration, help_heading = FRONTENDS)]
    pub(crate) timeout: Duration,

    #[allow(missing_docs)] // a comment here would become a part of the help
    #[command(flatten)]
    pub(crate) broker: BrokerOptions,
}

impl ClusterArgs {
    /// Parses a command line, the program's name first, and checks what belongs together.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let arguments = Self::from_arg_matches(&matches)?;
        match arguments.contradiction(&matches) {
            Some(contradiction) => Err(command.error(ErrorKind::ArgumentConflict, contradiction)),
            None => Ok(arguments),
        }
    }

    /// Whether a broker is named, so that none is started.
    pub(crate) fn names_a_broker(&self) -> bool {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        given(&self.broker.server) || given(&self.broker.context)
    }

    /// Maximum time until all serve.
    pub(crate) fn ready_within(&self) -> Duration {
        // A large data set takes its time; a process that can't go on ends, which is noticed at once.
        let seconds = if self.database.is_some() { 600 } else { 30 };
        self.ready_within.unwrap_or(Duration::from_secs(seconds))
    }

    fn contradiction(&self, matches: &ArgMatches) -> Option<String> {
        // At a broker that runs already, replicas of others may be among those that hold updates.
        if self.strict && self.fault_tolerance > self.replicas.into() && !self.names_a_broker() {
            return Some(format!(
                "--strict asks for {} replicas to hold each update, and {} started, so every update would be \
                 refused: start more replicas or lower --fault-tolerance",
                self.fault_tolerance,
                only_started(self.replicas)
            ));
        }
        if self.together && self.frontends > self.replicas {
            return Some(format!(
                "--together gives a frontend to each of the first {} replicas, and {} started: start more replicas or \
                 fewer frontends",
                self.frontends,
                only_started(self.replicas)
            ));
        }
        if self.sites.is_some() && self.replicas < 2 {
            return Some(
                "--sites 2 gives the replicas to two sites by turns, but only 1 is started: start more replicas"
                    .to_owned(),
            );
        }
        if self.sites.is_some() && self.names_a_broker() {
            return Some(
                "--sites starts a broker for each site, but one is named already (by --server, --context, NATS_URL or \
                 NATS_CONTEXT): leave out one of the two"
                    .to_owned(),
            );
        }
        if self.names_a_broker() {
            return self.port.map(|_| {
                "--port is for a broker that is started here, but one is named already (by --server, --context, NATS_URL \
                 or NATS_CONTEXT): leave out one of the two"
                    .to_owned()
            });
        }
        let on_command_line = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        ["creds", "user", "password"]
            .into_iter()
            .find(on_command_line)
            .map(|option| format!("--{option} is for a broker that runs already: name it with --server or --context"))
    }
}

fn parse_copies() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(COPIES_MAX))
}

fn parse_count(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(count) if (1..=MEMBERS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("write a number from 1 to {MEMBERS_MAX}")),
    }
}

fn parse_user(text: &str) -> Result<UserId, String> {
    let number = text.parse::<u64>().map_err(|_| "a user is a number from 1 to 4294967295".to_owned())?;
    UserId::try_from(number).map_err(|error| error.to_string())
}

/// `only 1 is`, `only 2 are`.
fn only_started(replicas: u8) -> String {
    format!("only {replicas} {}", if replicas == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<ClusterArgs, String> {
        let line = std::iter::once(&"cluster").chain(line).map(OsString::from);
        ClusterArgs::read(line).map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_sound() {
        ClusterArgs::command().debug_assert();
    }

    #[test]
    fn numbers_are_frontends_replicas_and_user() {
        let numbers = |line: &[&str]| {
            let arguments = read(line).unwrap();
            (arguments.frontends, arguments.replicas, arguments.user_id.map(UserId::get))
        };
        assert_eq!(numbers(&[]), (1, 3, None));
        assert_eq!(numbers(&["2"]), (2, 3, None));
        assert_eq!(numbers(&["2", "4", "42"]), (2, 4, Some(42)));
        assert_eq!(numbers(&["64", "64", "4294967295", "--no-client"]), (64, 64, Some(u32::MAX)));
    }

    #[test]
    fn wrong_lines_are_answered_in_words() {
        for (line, why) in [
            (&["0"][..], "from 1 to 64"),
            (&["1", "0"], "from 1 to 64"),
            (&["1", "65"], "from 1 to 64"),
            (&["-1"], "-1"),
            (&["many"], "from 1 to 64"),
            (&["1", "3", "0"], "out of range"),
            (&["1", "3", "ann"], "a user is a number"),
            (&["--status", "asleep"], "arbitrary, measured"),
            (&["--timeout", "0s"], "zero"),
            (&["--port", "65536"], "65536"),
            (&["--port", "4300", "--server", "nats://a:1"], "--port is for a broker that is started here"),
            (&["--user", "ann"], "--user is for a broker that runs already"),
            (&["--databse", "x"], "--database"),
            (&["--observe=8080"], "invalid socket address"),
            (&["--control"], "--observe"),
            (&["--console", "--no-client"], "--no-client"),
            (&["--sites", "3"], "3"),
            (&["--sites", "2", "1", "1"], "start more replicas"),
            (&["--sites", "2", "--server", "nats://a:1"], "one is named already"),
            (&["--strict", "--fault-tolerance", "5", "1", "3"], "asks for 5 replicas to hold each update, and only 3"),
            (&["--strict", "1", "1"], "asks for 2 replicas"),
            (&["--together", "3", "2"], "each of the first 3 replicas, and only 2"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(why), "{line:?}: {error}");
        }
    }

    #[test]
    fn large_data_sets_get_more_time() {
        let seconds = |line: &[&str]| read(line).unwrap().ready_within().as_secs();
        assert_eq!((seconds(&[]), seconds(&["--database", "x"]), seconds(&["--ready-within", "5s"])), (30, 600, 5));
    }
}
