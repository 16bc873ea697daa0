//! Options that every binary shares: broker, identity and logs.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use clap::ArgAction;
use clap::builder::{OsStringValueParser, TypedValueParser};

/// Where a broker is looked for when nobody says where.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// The subject prefix when nobody gives another.
pub const DEFAULT_PREFIX: &str = "ratings";

/// The longest prefix in bytes, so that every subject stays far below what brokers accept.
const PREFIX_BYTES_MAX: usize = 128;

const BROKER: &str = "Broker";
const LOGS: &str = "Logs";

/// Options for the broker, the identity and the logs, flattened into the arguments of every binary.
#[derive(clap::Args, Clone)]
pub struct BrokerOptions {
    /// The broker's URL, or several with commas between them [default: nats://127.0.0.1:4222]
    #[arg(short = 's', long, value_name = "URL", env = "NATS_URL", hide_env_values = true, global = true, help_heading = BROKER)]
    pub server: Option<String>,

    /// A context of the nats CLI, by name: server, credentials and TLS; the options here win over it
    #[arg(long, value_name = "NAME", env = "NATS_CONTEXT", global = true, help_heading = BROKER)]
    pub context: Option<String>,

    /// A credentials file (JWT and NKey seed)
    #[arg(long, value_name = "FILE", env = "NATS_CREDS", value_parser = any_path(), global = true, help_heading = BROKER)]
    pub creds: Option<PathBuf>,

    /// The user name; without a password, a token
    #[arg(long, value_name = "NAME", env = "NATS_USER", hide_env_values = true, global = true, help_heading = BROKER)]
    pub user: Option<String>,

    /// The user's password (better given in the environment, where other users don't see it)
    #[arg(long, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true, global = true, help_heading = BROKER)]
    pub password: Option<String>,

    /// First words of all subjects; each cluster on a broker has its own
    #[arg(long, value_name = "SUBJECT", default_value = DEFAULT_PREFIX, value_parser = parse_prefix, global = true, help_heading = BROKER)]
    pub prefix: String,

    /// Format of the logs, which go to standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, global = true, help_heading = LOGS)]
    pub log_format: LogFormat,

    /// Log more: -v for each step of the protocol, -vv for everything (the variable RUST_LOG wins over this)
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = LOGS)]
    pub verbose: u8,
}

/// A path that may be empty, as a variable may be that is set to nothing.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Format of the logs.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people: time, level, message, fields
    Text,
    /// A JSON object a line
    Json,
}

impl LogFormat {
    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for BrokerOptions {
    /// Options of an empty command line in an empty environment.
    fn default() -> Self {
        Self {
            server: None,
            context: None,
            creds: None,
            user: None,
            password: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            log_format: LogFormat::Text,
            verbose: 0,
        }
    }
}

impl BrokerOptions {
    /// Returns the same prefix and logs for another broker, which the caller started and which needs no credentials.
    pub fn for_own_server(&self, url: &str) -> Self {
        Self { server: Some(url.to_owned()), context: None, creds: None, user: None, password: None, ..self.clone() }
    }

    /// Hands all of this on to a child process that takes [`BrokerOptions`] too, so that it gets these and no others.
    ///
    /// Values that may hold a secret (user, token, password, a URL with a password) go by the environment, where other
    /// users of the machine don't see them. The rest goes by arguments. Variables that would add something that is not
    /// in these options are removed from the child's environment.
    pub fn apply_to(&self, command: &mut Command) {
        for variable in ["NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "NATS_USER", "NATS_PASSWORD"] {
            command.env_remove(variable);
        }
        match &self.server {
            Some(server) if server.contains('@') => {
                command.env("NATS_URL", server);
            }
            Some(server) => {
                command.arg("--server").arg(server);
            }
            None => {}
        }
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        if let Some(creds) = &self.creds {
            command.arg("--creds").arg(creds);
        }
        if let Some(user) = &self.user {
            command.env("NATS_USER", user);
        }
        if let Some(password) = &self.password {
            command.env("NATS_PASSWORD", password);
        }
        command.arg("--prefix").arg(&self.prefix).arg("--log-format").arg(self.log_format.as_str());
        for _ in 0..self.verbose {
            command.arg("-v");
        }
    }
}

/// Hides what is or may be secret.
impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |value: &Option<String>| value.as_ref().map(|_| "…");
        f.debug_struct("BrokerOptions")
            .field("server", &self.server.as_deref().map(crate::secrets::without_secrets))
            .field("context", &self.context)
            .field("creds", &self.creds)
            .field("user", &hidden(&self.user))
            .field("password", &hidden(&self.password))
            .field("prefix", &self.prefix)
            .field("log_format", &self.log_format)
            .field("verbose", &self.verbose)
            .finish()
    }
}

/// Checks a subject prefix: tokens of `[A-Za-z0-9_-]` with dots between them, at most 128 bytes.
///
/// # Errors
///
/// A sentence for people that names the offending character or place.
pub fn parse_prefix(text: &str) -> Result<String, String> {
    const RULE: &str = "write words of letters, digits, _ and - with dots between them, like ratings or team.ratings";
    if text.is_empty() {
        return Err(format!("the prefix is empty: {RULE}"));
    }
    if text.len() > PREFIX_BYTES_MAX {
        return Err(format!("the prefix is {} bytes long, at most {PREFIX_BYTES_MAX} are allowed: {RULE}", text.len()));
    }
    if let Some(bad) = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))) {
        return Err(format!("the prefix \"{text}\" contains {bad:?}: {RULE}"));
    }
    if text.split('.').any(str::is_empty) {
        return Err(format!("the prefix \"{text}\" has a dot with nothing before or after it: {RULE}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// Purpose of the program
    #[derive(Parser, Debug)]
    struct Program {
        #[command(flatten)]
        broker: BrokerOptions,
        #[command(subcommand)]
        command: Option<Subcommand>,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Subcommand {
        Read { movie_id: u32 },
    }

    fn parse(arguments: &[&str]) -> BrokerOptions {
        Program::try_parse_from(std::iter::once(&"program").chain(arguments)).unwrap().broker
    }

    #[test]
    fn definition_is_sound() {
        use clap::CommandFactory;
        Program::command().debug_assert();
        let about = Program::command().get_about().map(ToString::to_string);
        assert_eq!(
            about.as_deref(),
            Some("Purpose of the program"),
            "the shared options must not speak for the program"
        );
    }

    #[test]
    fn options_work_before_and_after_a_subcommand() {
        for arguments in [
            ["-s", "nats://a:1", "-vv", "--log-format", "json", "--prefix", "x.y", "read", "7"],
            ["read", "7", "-s", "nats://a:1", "-vv", "--log-format", "json", "--prefix", "x.y"],
        ] {
            let options = parse(&arguments);
            assert_eq!(options.server.as_deref(), Some("nats://a:1"));
            assert_eq!((options.verbose, options.log_format, options.prefix.as_str()), (2, LogFormat::Json, "x.y"));
        }
    }

    #[test]
    fn prefix_is_checked_with_a_reason() {
        for good in ["ratings", "a.b-c.D_9"] {
            assert_eq!(parse_prefix(good).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", "empty"),
            ("a..b", "nothing before or after"),
            (".a", "nothing"),
            ("a.*", "'*'"),
            ("a b", "' '"),
            ("é", "'é'"),
        ] {
            let error = parse_prefix(bad).unwrap_err();
            assert!(error.contains(why) && error.contains("team.ratings"), "{error}");
        }
        assert!(parse_prefix(&"a".repeat(129)).is_err());
    }

    #[test]
    fn a_child_gets_the_same_options_and_secrets_by_environment() {
        let options = BrokerOptions {
            server: Some("nats://ann:pw@a:1".into()),
            user: Some("ann".into()),
            password: Some("secret".into()),
            creds: Some("/x.creds".into()),
            prefix: "p".into(),
            verbose: 2,
            ..BrokerOptions::default()
        };
        let mut command = Command::new("child");
        options.apply_to(&mut command);
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments, ["--creds", "/x.creds", "--prefix", "p", "--log-format", "text", "-v", "-v"]);
        let variable = |name: &str| {
            let (_, value) = command.get_envs().find(|(key, _)| *key == name).unwrap();
            value.map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(variable("NATS_URL").as_deref(), Some("nats://ann:pw@a:1"));
        assert_eq!(variable("NATS_USER").as_deref(), Some("ann"));
        assert_eq!(variable("NATS_PASSWORD").as_deref(), Some("secret"));
        assert_eq!(variable("NATS_CONTEXT"), None);
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret") && !shown.contains("pw") && !shown.contains("ann"), "{shown}");
    }

    #[test]
    fn own_server_needs_no_credentials() {
        let options = BrokerOptions { user: Some("u".into()), prefix: "p".into(), ..BrokerOptions::default() };
        let own = options.for_own_server("nats://127.0.0.1:9");
        assert_eq!((own.server.as_deref(), own.user, own.prefix.as_str()), (Some("nats://127.0.0.1:9"), None, "p"));
    }
}
