//! Natter's client: rates movies by a menu or by single commands, and keeps the session's promises.
//!
//! - the library: [`session`], with a [`Session`](session::Session) that connects by itself
//! - requests: [`requests`]; the typed calls, with retries: [`api`]; errors of requests: [`error`], and of the program,
//!   with exit statuses and JSON: [`failure`]
//! - how it gets to a frontend: [`transport`]; what a session has seen, and where: [`memory`]; between runs: [`state`]
//! - the program: [`commands`] (the command line), [`perform`] (one command), [`import`] (a file),
//!   [`menu`] and the lines that it reads ([`lines`] from a pipe, [`editor`] in a terminal), [`decode`], and [`show`], the
//!   words; [`watch`]: commands that look at a running cluster; `feed`: the change feed
//! - [`terminal`]: messages, a line being typed and a progress line side by side
//!
//! [`main_with`] is the whole program; [`run`] is the same with arguments already parsed, inside a runtime.
//!
//! A session carries what it has seen from call to call, and retries under the same id:
//!
//! ```no_run
//! use natter_client::session::{MovieId, Session, Stars, UserId};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut session = Session::connect("nats://127.0.0.1:4222").await?;
//! let (user, movie) = (UserId::new(42)?, MovieId::new(1)?);
//! session.create(user, movie, Stars::try_from(4.5)?).await?;
//! println!("{:?}", session.read(user, movie).await?.value.rating);
//! # Ok(())
//! # }
//! ```

pub mod api;
pub mod commands;
pub mod decode;
pub mod editor;
pub mod error;
pub mod failure;
#[cfg(test)]
mod fake;
mod feed;
mod generated;
pub mod import;
mod json;
pub mod lines;
pub mod memory;
pub mod menu;
pub mod perform;
pub mod requests;
mod retry;
pub mod session;
pub mod show;
pub mod state;
pub mod terminal;
mod traced;
pub mod transport;
pub mod watch;
mod watching;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use natter_broker::connection::{self, ConnectError, ConnectionSettings, Patience};
use natter_broker::environment::Environment;
use natter_broker::signals::Signal;
use natter_broker::target::Target;
use natter_broker::{logs, signals};
use natter_common::counted::counted;
use natter_common::ids::{UpdateId, UserId};
use natter_common::subjects::Subjects;
use tokio::io::BufReader;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::unbounded_channel;
use tracing::level_filters::LevelFilter;

use crate::api::{Client, Settings};
use crate::commands::{ClientArgs, Command};
use crate::editor::LineEditor;
use crate::error::ClientError;
use crate::failure::{Failure, Status};
use crate::import::{Home, ImportOptions, Source};
use crate::memory::Memory;
use crate::menu::{Manner, Menu, MenuEnd};
use crate::requests::Asked;
use crate::state::{SessionStore, State};
use crate::terminal::Progress;
use crate::transport::NatsTransport;

/// Largest user drawn at random: MovieLens' small data set and the sample have ratings of users 1 to this.
pub const RANDOM_USER_MAX: u32 = 610;

/// The whole program: parses `args` (the first is the program's name), runs, and gives the exit status.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let wants_json = args.iter().any(|arg| arg == "--json");
    let args = match ClientArgs::read(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print(); // nobody to tell
            if wants_json && error.use_stderr() {
                print(&Failure::usage(first_paragraph(&error.to_string())).to_json());
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Status::Usage as u8));
        }
    };
    if args.command == Some(Command::Decode) {
        return decode_standard_input(args.json);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&Failure::new(Status::Failed, 500, "SYSTEM", format!("can't start: {error}")), args.json);
        }
    };
    let status = runtime.block_on(run(args));
    // A read from the terminal can't be taken back: don't wait for it.
    runtime.shutdown_background();
    status
}

/// The text of clap's error up to its usage lines.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

/// The program with its arguments parsed, inside a tokio runtime. The menu reads standard input by a thread of the
/// runtime that ends only with its next line: end the runtime by `shutdown_background`.
pub async fn run(args: ClientArgs) -> ExitCode {
    logs::init(args.broker.log_format, args.broker.verbose, LevelFilter::WARN);
    let json = args.wants_json();
    let progress = match &args.command {
        Some(command) if !json => command.waits_for().map(Progress::begin).unwrap_or_default(),
        _ => Progress::default(),
    };
    let ended = match &args.command {
        None => return run_menu(args).await.0,
        Some(Command::Decode) => return decode_standard_input(json),
        Some(Command::Import { source, again, dry_run, rejects, in_flight }) => tokio::select! {
            ended = import_ratings(&args, source, *again, *dry_run, rejects.as_deref(), *in_flight) => ended,
            () = signals::interrupt() => Err(interrupted("interrupted: to go on, give the same command again", None)),
        },
        Some(Command::Completions { shell }) => generated::completions(*shell, json),
        Some(Command::Man { folder }) => generated::man(folder.as_deref(), json),
        Some(Command::Shiviz { folder }) => watching::shiviz(folder, json),
        Some(Command::Trace { .. }) => traced::trace(&args).await,
        Some(Command::Status { watch }) => watching::status(&args, *watch).await,
        Some(Command::Replica { name, mode }) => watching::replica(&args, name, *mode).await,
        Some(Command::Watch { movie, of_user, count }) => {
            feed::watch(&args, movie.as_ref(), of_user.or(args.user_id), *count).await
        }
        Some(Command::Tap { follow, duration }) => watching::tap(&args, *follow, *duration).await,
        Some(command) => run_command(&args, command).await,
    };
    drop(progress);
    match ended {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => print(&text),
        Err(failure) => fail(&failure, json),
    }
}

/// One command, and the text that it prints.
async fn run_command(args: &ClientArgs, command: &Command) -> Result<String, Failure> {
    let connected = tokio::select! {
        connected = start(args, args.user_id) => connected,
        () = signals::interrupt() => return Err(interrupted("interrupted before it was asked", None)),
    };
    let mut client = connected?;
    let done = tokio::select! {
        done = perform::perform(&mut client, args.user_id, command, args.json) => Some(done),
        () = signals::interrupt() => None,
    };
    match done {
        Some(Ok(text)) => Ok(text),
        Some(Err(error)) => Err(told(&error, args.user_id)),
        None => Err(match client.pending() {
            Some(question) => {
                let text = format!("interrupted while asking: {}", Asked(question));
                interrupted(&text, question.update_id())
            }
            None => interrupted("interrupted", None),
        }),
    }
}

/// The menu, and why it ended, where it began.
pub async fn run_menu(args: ClientArgs) -> (ExitCode, Option<MenuEnd>) {
    logs::init(args.broker.log_format, args.broker.verbose, LevelFilter::WARN);
    let user_id = args.user_id.unwrap_or_else(random_user);
    let connected = tokio::select! {
        connected = start(&args, Some(user_id)) => connected,
        () = signals::interrupt() => return (Status::Interrupted.into(), None),
    };
    let mut client = match connected {
        Ok(client) => client,
        Err(failure) => return (fail(&failure, false), None),
    };
    let interactive = io::stdin().is_terminal();
    let manner = if interactive { Manner::Interactive } else { Manner::Scripted };
    let editor = LineEditor::open(!args.no_state);
    let edits = editor.is_some();
    let menu = Menu::new(&mut client, user_id, BufReader::new(tokio::io::stdin()), io::stdout(), manner);
    let menu = menu.with_editor(editor);
    let ended = tokio::select! {
        ended = menu.run() => Some(ended),
        () = signals::interrupt() => None,
        // The editor leaves the terminal as it was found.
        status = killed(), if edits => return (status, None),
    };
    if args.forget_session {
        client.forget_session();
    }
    match ended {
        Some(Ok(end)) => (ExitCode::SUCCESS, Some(end)),
        Some(Err(error)) => (fail(&Failure::file(format!("the menu ends: {error}")), false), None),
        None => {
            complain("");
            // Between two questions it is a way to quit like others.
            let Some(question) = client.pending() else { return (ExitCode::SUCCESS, Some(MenuEnd::Quit)) };
            let text = format!("interrupted while asking: {}", Asked(question));
            (fail(&interrupted(&text, question.update_id()), false), None)
        }
    }
}

/// Waits for a signal that would end the program at once, and gives the status that a shell would show.
async fn killed() -> ExitCode {
    let ended = async |kind: SignalKind| match Signal::receive(kind) {
        Ok(mut signal) => signal.next().await,
        // The signal ends the program by itself.
        Err(_) => std::future::pending().await,
    };
    let kind = tokio::select! {
        () = ended(SignalKind::terminate()) => SignalKind::terminate(),
        () = ended(SignalKind::hangup()) => SignalKind::hangup(),
    };
    u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX).into()
}

/// Connects, with the session of earlier runs: that of `user_id`, or of no particular user.
async fn start(args: &ClientArgs, user_id: Option<UserId>) -> Result<Client<NatsTransport>, Failure> {
    let environment = Environment::of_process();
    let target = Target::resolve(&args.broker, &environment).map_err(ConnectError::from)?;
    let name = user_id.map_or_else(|| "client".to_owned(), |user| format!("client-{user}"));
    let transport = transport(args, &target, name).await?.of_user(user_id, args.own_subject);
    Ok(Client::new(transport, memory(args, user_id, &environment, &target), settings(args)))
}

fn settings(args: &ClientArgs) -> Settings {
    Settings { timeout: args.timeout, patience: args.patience, notify: complain }
}

async fn transport(args: &ClientArgs, target: &Target, name: String) -> Result<NatsTransport, Failure> {
    let prefix = &args.broker.prefix;
    let subjects = Subjects::new(prefix)
        .ok_or_else(|| Failure::usage(format!("the prefix \"{prefix}\" is not words with dots between them")))?;
    let settings = ConnectionSettings { name, no_echo: false, patience: Patience::GiveUpAfter(args.patience) };
    let (sender, events) = unbounded_channel();
    let _progress = if args.json { Progress::default() } else { Progress::begin("connecting to the broker") };
    let connection = connection::connect_to(target, &settings, Some(sender)).await?;
    Ok(NatsTransport::new(connection, subjects, &target.servers().join(", "), events))
}

/// Imports a file. Done only where no line of it was refused.
async fn import_ratings(
    args: &ClientArgs,
    source: &Source,
    again: bool,
    dry_run: bool,
    rejects: Option<&Path>,
    in_flight: u32,
) -> Result<String, Failure> {
    let environment = Environment::of_process();
    let target = Target::resolve(&args.broker, &environment).map_err(ConnectError::from)?;
    let transport = transport(args, &target, "client-import".to_owned()).await?.of_user(None, args.own_subject);
    let mut client = Client::new(transport.clone(), Memory::unkept(), settings(args));
    let progress = if args.json { Progress::default() } else { Progress::begin("looking for the cluster") };
    let home = match source {
        // A dry run leaves nothing behind that a later run would go on from.
        Source::File(path) if !dry_run => {
            import::find_home(&mut client, state(args, &environment, &target), path, complain).await?
        }
        Source::File(_) | Source::Stream(_) | Source::StandardInput => Home::default(),
    };
    let options = ImportOptions {
        source: source.clone(),
        cluster: home.cluster,
        journal: home.journal,
        rejects: rejects.map(Path::to_owned),
        dry_run,
        again,
        in_flight: in_flight as usize,
        shows_progress: !args.json,
        timeout: args.timeout,
        patience: args.patience,
        notify: complain,
    };
    drop(progress);
    let imported = import::import(&transport, &options).await?;
    let refused = imported.counts.refused + imported.before.refused;
    if refused == 0 {
        return if args.json { json::line(imported.to_value()) } else { Ok(imported.to_string()) };
    }
    if !args.json {
        print(&imported.to_string());
    }
    let others = if dry_run { "could be imported" } else { "imported" };
    let text = match imported.before.refused {
        0 => format!("{} refused, and the others {others}", lines_were(refused)),
        before => format!("{} refused, {before} of them by earlier runs, and the others imported", lines_were(refused)),
    };
    let failure = Failure::new(Status::Refused, 400, "LINES_REFUSED", text);
    Err(failure.with_value(imported.to_value()))
}

/// `1 line was`, `2 lines were`.
fn lines_were(count: u64) -> String {
    format!("{} {}", counted(count, "line"), if count == 1 { "was" } else { "were" })
}

/// The directory of the journals of imports; `None` if none are kept.
fn state(args: &ClientArgs, environment: &Environment, target: &Target) -> Option<State> {
    if args.no_state {
        return None;
    }
    let state = State::locate(environment, &target.servers(), &args.broker.prefix);
    if state.is_none() {
        complain(
            "an import that is interrupted does not go on later: HOME is not set; set NATTER_STATE to a directory",
        );
    }
    state
}

/// The session of earlier runs: its label and cluster. Complaints about its files go to standard error.
fn memory(args: &ClientArgs, user_id: Option<UserId>, environment: &Environment, target: &Target) -> Memory {
    if args.no_state {
        return Memory::unkept();
    }
    let Some(store) = SessionStore::locate(environment, &target.servers(), &args.broker.prefix, user_id) else {
        complain("this session is not kept: HOME is not set; set NATTER_STATE to a directory, or give --no-state");
        return Memory::unkept();
    };
    let (memory, complaints) = Memory::open(store, args.new_session);
    for complaint in complaints {
        complain(&complaint.to_string());
    }
    memory
}

/// A user for the menu, and told.
fn random_user() -> UserId {
    loop {
        if let Ok(user_id) = UserId::new(fastrand::u32(1..=RANDOM_USER_MAX)) {
            complain(&format!("no user given: user {user_id}, chosen at random"));
            return user_id;
        }
    }
}

/// An error of a command, with advice for the command line.
fn told(error: &ClientError, user_id: Option<UserId>) -> Failure {
    let mut failure = Failure::from(error);
    if let (Some(id), Some(user_id)) = (error.doubtful, user_id) {
        failure.message += &format!("; to retry it, give the same command for user {user_id} with --id {id}");
    }
    if error.wants_new_session() {
        failure.message += "; to go on without what this session has seen, add --new-session";
    }
    failure
}

fn interrupted(text: &str, update_id: Option<UpdateId>) -> Failure {
    let doubt = update_id.map_or_else(String::new, |id| format!("; update {id} may still take effect"));
    let failure = Failure::new(Status::Interrupted, 499, "INTERRUPTED", format!("{text}{doubt}"));
    Failure { update_id, ..failure }
}

/// Says why it was not done: the sentence on standard error and, with `json`, the object on standard output.
fn fail(failure: &Failure, json: bool) -> ExitCode {
    complain(&format!("error: {}", failure.message));
    if json {
        print(&failure.to_json());
    }
    failure.status.into()
}

fn print(text: &str) -> ExitCode {
    let written = terminal::without_progress(|| {
        let mut output = io::stdout().lock();
        writeln!(output, "{text}").and_then(|()| output.flush())
    });
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("error: it was done, but standard output can't be written: {error}"));
            Status::Failed.into()
        }
        // No reader of the output is left. The command itself was done.
        _ => ExitCode::SUCCESS,
    }
}

fn decode_standard_input(json: bool) -> ExitCode {
    match decode::decode(io::stdin().lock(), io::BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(decode::DecodeError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&Failure::file(error.to_string()), json),
    }
}

/// A line on standard error, around what stands in the terminal.
fn complain(line: &str) {
    terminal::tell(line);
}
