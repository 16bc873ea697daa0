//! Natter's client: rates films by a menu or by single commands, and keeps the session's promises.
//!
//! - what is asked: [`requests`]; the typed calls, with retries: [`api`]; what goes wrong: [`error`]
//! - how it gets to a frontend: [`transport`]; what a session has seen, between runs: [`state`]
//! - the program: [`commands`] (the command line), [`perform`] (one command), [`import`] (a file),
//!   [`menu`], [`decode`], and [`show`], the words
//!
//! [`main_with`] is the whole program; [`run`] is the same with arguments already parsed, inside a runtime.

pub mod api;
pub mod commands;
pub mod decode;
pub mod error;
#[cfg(test)]
mod fake;
pub mod import;
pub mod menu;
pub mod perform;
pub mod requests;
mod retry;
pub mod show;
pub mod state;
pub mod transport;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use natter_broker::connection::{self, ConnectionSettings, Patience};
use natter_broker::environment::Environment;
use natter_broker::target::Target;
use natter_broker::{logs, signals};
use natter_common::ids::UserId;
use natter_common::session::Session;
use natter_common::subjects::Subjects;
use tokio::io::BufReader;
use tracing::level_filters::LevelFilter;

use crate::api::{Client, Settings};
use crate::commands::{ClientArgs, Command};
use crate::error::ClientError;
use crate::import::{ImportOptions, Source};
use crate::menu::{Manner, Menu};
use crate::requests::Asked;
use crate::state::SessionFile;
use crate::transport::NatsTransport;

/// A user chosen at random is one of those that MovieLens' small data set and the sample have ratings of: 1 to this.
pub const RANDOM_USER_MAX: u32 = 610;
/// The status of a program that was interrupted: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
/// The status for a wrong command line, as clap has it.
const WRONG_USAGE: u8 = 2;

/// The whole program: parses `args` (the first is the program's name), runs, and gives the exit status.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match ClientArgs::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print(); // nobody to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE));
        }
    };
    if args.command == Some(Command::Decode) {
        return decode_standard_input();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(run(args));
    // A read from the terminal can't be taken back: don't wait for it.
    runtime.shutdown_background();
    status
}

/// The program with its arguments parsed, inside a tokio runtime. The menu reads standard input by a thread of the
/// runtime that ends only with its next line: end the runtime by `shutdown_background`.
pub async fn run(args: ClientArgs) -> ExitCode {
    if args.command == Some(Command::Decode) {
        return decode_standard_input();
    }
    if args.json && args.command.is_none() {
        complain("error: --json needs a command, such as `client 42 read 1 --json`");
        return ExitCode::from(WRONG_USAGE);
    }
    logs::init(args.broker.log_format, args.broker.verbose, LevelFilter::WARN);
    let needs_user = args.command.as_ref().is_none_or(Command::needs_user);
    if let Some(Command::Import { source, again, in_flight }) = &args.command {
        return tokio::select! {
            status = import_ratings(&args, source, *again, *in_flight) => status,
            () = signals::interrupt() => {
                complain("\ninterrupted: to go on, give the same command again");
                ExitCode::from(INTERRUPTED)
            }
        };
    }
    let user_id = user_or_random(args.user_id, needs_user);
    let whose = args.user_id.or(needs_user.then_some(user_id));
    let connected = tokio::select! {
        connected = start(&args, whose) => connected,
        () = signals::interrupt() => return ExitCode::from(INTERRUPTED),
    };
    let mut client = match connected {
        Ok(client) => client,
        Err(reason) => {
            complain(&format!("error: {reason}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = tokio::select! {
        status = converse(&mut client, &args, user_id) => Some(status),
        () = signals::interrupt() => None,
    };
    ended.unwrap_or_else(|| interrupted(&client, args.command.is_none()))
}

/// Connects, with the session of earlier runs: `whose`, or nobody's in particular.
async fn start(args: &ClientArgs, whose: Option<UserId>) -> Result<Client<NatsTransport>, String> {
    let environment = Environment::of_process();
    let target = Target::resolve(&args.broker, &environment).map_err(|error| error.to_string())?;
    let name = whose.map_or_else(|| "client".to_owned(), |user| format!("client-{user}"));
    let transport = transport(args, &target, name).await?;
    let (session, file) = session(args, whose, &environment, &target);
    let settings = Settings { timeout: args.timeout, patience: args.patience, notify: complain };
    Ok(Client::new(transport, session, file, settings))
}

async fn transport(args: &ClientArgs, target: &Target, name: String) -> Result<NatsTransport, String> {
    let subjects = Subjects::new(&args.broker.prefix).ok_or("the prefix is not words with dots between them")?;
    let settings = ConnectionSettings { name, no_echo: false, patience: Patience::GiveUpAfter(args.patience) };
    let connection = connection::connect_to(target, &settings, None).await.map_err(|error| error.to_string())?;
    Ok(NatsTransport::new(connection, subjects))
}

/// Imports a file. Done only where no line of it was refused.
async fn import_ratings(args: &ClientArgs, source: &Source, again: bool, in_flight: u32) -> ExitCode {
    let importing = async {
        let environment = Environment::of_process();
        let target = Target::resolve(&args.broker, &environment).map_err(|error| error.to_string())?;
        let options = ImportOptions {
            source: source.clone(),
            journal: journal(args, source, &environment, &target),
            again,
            in_flight: in_flight as usize,
            timeout: args.timeout,
            patience: args.patience,
            notify: complain,
        };
        let transport = transport(args, &target, "client-import".to_owned()).await?;
        import::import(&transport, &options).await.map_err(|error| error.to_string())
    };
    let imported = match importing.await {
        Ok(imported) => imported,
        Err(reason) => {
            complain(&format!("error: {}", show::clean(&reason)));
            return ExitCode::FAILURE;
        }
    };
    let text = if args.json { imported.to_json() } else { imported.to_string() };
    let printed = print(&text);
    if imported.counts.refused > 0 { ExitCode::FAILURE } else { printed }
}

/// Where it is kept how far the import of a file is, if it is to be.
fn journal(args: &ClientArgs, source: &Source, environment: &Environment, target: &Target) -> Option<PathBuf> {
    let Source::File(path) = source else { return None };
    if args.no_state {
        return None;
    }
    let journal = import::locate_journal(environment, &target.servers().join(","), &args.broker.prefix, path);
    if journal.is_none() {
        complain(
            "an import that is interrupted does not go on later: HOME is not set; set NATTER_STATE to a directory",
        );
    }
    journal
}

fn session(
    args: &ClientArgs,
    whose: Option<UserId>,
    environment: &Environment,
    target: &Target,
) -> (Session, Option<SessionFile>) {
    if args.no_state {
        return (Session::new(), None);
    }
    let servers = target.servers().join(",");
    let Some(file) = SessionFile::locate(environment, &servers, &args.broker.prefix, whose) else {
        complain("this session is not kept: HOME is not set; set NATTER_STATE to a directory, or give --no-state");
        return (Session::new(), None);
    };
    if args.new_session {
        if let Err(error) = file.forget() {
            complain(&error.to_string());
        }
        return (Session::new(), Some(file));
    }
    let (label, complaints) = file.load();
    for complaint in complaints {
        complain(&complaint.to_string());
    }
    (Session::from(label), Some(file))
}

/// The user given, else a random one, which is shown where it matters.
fn user_or_random(given: Option<UserId>, needed: bool) -> UserId {
    match given {
        Some(user_id) => user_id,
        None => loop {
            if let Ok(user_id) = UserId::new(fastrand::u32(1..=RANDOM_USER_MAX)) {
                if needed {
                    complain(&format!("no user given: user {user_id}, chosen at random"));
                }
                break user_id;
            }
        },
    }
}

async fn converse(client: &mut Client<NatsTransport>, args: &ClientArgs, user_id: UserId) -> ExitCode {
    let Some(command) = &args.command else {
        let interactive = io::stdin().is_terminal();
        let manner = if interactive { Manner::Interactive } else { Manner::Scripted };
        let menu = Menu::new(client, user_id, BufReader::new(tokio::io::stdin()), io::stdout(), manner);
        return match menu.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("error: the menu ends: {error}"));
                ExitCode::FAILURE
            }
        };
    };
    match perform::perform(client, user_id, command, args.json).await {
        Ok(text) => print(&text),
        Err(error) => {
            complain(&format!("error: {}", show::clean(&error.to_string())));
            advise(&error, user_id);
            ExitCode::FAILURE
        }
    }
}

/// What to do about an error, on the command line.
fn advise(error: &ClientError, user_id: UserId) {
    if let Some(id) = error.doubtful {
        complain(&format!("to try it again, give the same command for user {user_id} with --id {id}"));
    }
    if error.wants_new_session() {
        complain(
            "to go on without what this session has seen, give the command with --new-session: `client --new-session ...`",
        );
    }
}

fn print(text: &str) -> ExitCode {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("error: it was done, but standard output can't be written: {error}"));
            ExitCode::FAILURE
        }
        // Nobody reads on: nobody minds.
        _ => ExitCode::SUCCESS,
    }
}

/// Ctrl-C: between two questions it ends the menu, and is a way to quit like others.
fn interrupted(client: &Client<NatsTransport>, in_menu: bool) -> ExitCode {
    complain("");
    match client.pending() {
        Some(question) => {
            complain(&format!("interrupted while asking: {}", Asked(question)));
            if let Some(id) = question.update_id() {
                complain(&format!("update {id} may still take effect"));
            }
            ExitCode::from(INTERRUPTED)
        }
        None if in_menu => ExitCode::SUCCESS,
        None => ExitCode::from(INTERRUPTED),
    }
}

fn decode_standard_input() -> ExitCode {
    match decode::decode(io::stdin().lock(), io::BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(decode::DecodeError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line on standard error; where that is closed, nobody is told.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
