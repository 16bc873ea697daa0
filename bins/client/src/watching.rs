//! The commands that look at a running cluster, as the program runs them.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use async_nats::Client;
use natter_broker::ask::{AskError, WrongAnswer, ask};
use natter_broker::connection::{self, Access, ConnectError, ConnectionEvent, ConnectionSettings, Patience};
use natter_broker::environment::Environment;
use natter_broker::signals;
use natter_broker::target::Target;
use natter_common::counted::counted;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{Mode, Role, StatusReply, StatusRequest};
use natter_common::subjects::Subjects;
use natter_common::wire;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::commands::ClientArgs;
use crate::failure::{Failure, Status};
use crate::generated;
use crate::interrupted;
use crate::json;
use crate::terminal::Progress;
use crate::watch::listen::{Happening, Listener, Scope};
use crate::watch::names::Names;
use crate::watch::screen;
use crate::watch::shiviz;
use crate::watch::status::{Board, Snapshot};
use crate::watch::tap::{self, TapOptions};

/// Presence messages of one process after which all others have shown themselves too.
const ROUNDS: u64 = 3;
/// Interval at which the screen is drawn again.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Prints messages until ctrl-c, or for `limit`.
pub(crate) async fn tap(
    args: &ClientArgs,
    follow: Option<UpdateId>,
    limit: Option<Duration>,
) -> Result<String, Failure> {
    let options = TapOptions { json: args.json, follow, limit };
    let tapping = async {
        let listener = listen(args, "client-tap", Scope::Everything).await?;
        tap::tap(listener, &options, io::stdout()).await.map_err(unwritable)
    };
    until_interrupted(tapping).await
}

/// Shows the state of the cluster, once or until ctrl-c.
pub(crate) async fn status(args: &ClientArgs, watch: bool) -> Result<String, Failure> {
    let showing = async {
        let mut listener = listen(args, "client-status", Scope::State).await?;
        let mut board = Board::new(&args.broker.prefix);
        observe_once(&mut listener, &mut board, args.patience).await?;
        if watch {
            return watch_status(args, &mut listener, &mut board).await;
        }
        let snapshot = board.snapshot(listener.shown());
        shown(&snapshot, &board, args.json)
    };
    if watch {
        return until_interrupted(async { showing.await.map(|_| ()) }).await;
    }
    tokio::select! {
        shown = showing => shown,
        () = signals::interrupt() => Err(interrupted("interrupted before the cluster was seen", None)),
    }
}

/// Shows the status of a replica, or sets its mode.
pub(crate) async fn replica(args: &ClientArgs, name: &str, mode: Option<Mode>) -> Result<String, Failure> {
    let asking = async {
        let mut listener = listen(args, "client-replica", Scope::State).await?;
        let id = resolve(&mut listener, name, args.patience).await?;
        let reply = ask_status(&mut listener, &id, mode, args.timeout).await?;
        if args.json {
            return json::line(&reply);
        }
        let mut text = format!("{} is {} (mode {})", reply.id, reply.status, reply.mode);
        if reply.lost > 0 {
            text += &format!("; it counts {} as lost", counted(reply.lost, "record"));
        }
        if !reply.diverged.is_empty() {
            text += &format!("; other digests at the same timestamp: {}", crate::show::names(&reply.diverged));
        }
        Ok(text)
    };
    tokio::select! {
        asked = asking => asked,
        () = signals::interrupt() => Err(interrupted("interrupted before the replica answered", None)),
    }
}

/// Converts the logs of a run.
pub(crate) fn shiviz(folder: &Path, json: bool) -> Result<String, Failure> {
    let (text, unmatched) = shiviz::convert(folder).map_err(|error| Failure::file(error.to_string()))?;
    if unmatched > 0 {
        crate::complain(&format!(
            "{} without a sending in any of these logs: the sender was killed, or logs elsewhere; each is an event \
             without a cause",
            counted(unmatched, "received message")
        ));
    }
    generated::text(text.as_bytes(), json)
}

/// Runs a command whose usual end is ctrl-c.
pub(crate) async fn until_interrupted(running: impl Future<Output = Result<(), Failure>>) -> Result<String, Failure> {
    tokio::select! {
        ended = running => ended.map(|()| String::new()),
        () = signals::interrupt() => Ok(String::new()),
    }
}

/// Listens until each process that is there has shown itself.
pub(crate) async fn observe_once(
    listener: &mut Listener,
    board: &mut Board,
    patience: Duration,
) -> Result<(), Failure> {
    let end = Instant::now() + patience.max(Duration::from_secs(1));
    let mut denials = 0;
    while !listener.shown().any(|shown| shown.times >= ROUNDS) {
        let happening = tokio::select! {
            happening = listener.next() => happening,
            () = sleep_until(end) => break,
        };
        denials += usize::from(take_in(happening, listener, board)?);
        if denials == 2 {
            let text = "the broker does not permit this user to see presence: use a user that may subscribe to it";
            return Err(Failure::new(Status::Refused, 403, "DENIED", text));
        }
    }
    if listener.shown().next().is_none() {
        let prefix = listener.subjects().prefix();
        let text = format!(
            "no frontend or replica shows itself under the prefix \"{prefix}\" within {patience:?}: start a cluster, or \
             name its prefix by --prefix"
        );
        return Err(Failure::new(Status::Unavailable, 503, "NO_CLUSTER", text));
    }
    Ok(())
}

/// Takes in what happened. Returns whether presence of a role is hidden.
fn take_in(happening: Option<Happening>, listener: &Listener, board: &mut Board) -> Result<bool, Failure> {
    match happening {
        None => Err(Failure::new(Status::Unavailable, 503, "NO_BROKER", "the connection to the broker is closed")),
        Some(Happening::Heard(messages)) => {
            board.hear(&messages);
            Ok(false)
        }
        Some(Happening::Connection(ConnectionEvent::Denied(denial))) => {
            board.hide(tap::hidden(&denial.subject, listener));
            Ok(denial.subject.contains(".presence."))
        }
        Some(Happening::Connection(_) | Happening::Tick | Happening::Follows { .. }) => Ok(false),
    }
}

/// Draws the state again and again.
async fn watch_status(args: &ClientArgs, listener: &mut Listener, board: &mut Board) -> Result<String, Failure> {
    let draws = io::stdout().is_terminal() && !args.json;
    let mut output = io::stdout();
    let mut before = None;
    let mut draw_at = Instant::now();
    if draws {
        write!(output, "\u{1b}[2J").map_err(unwritable)?;
    }
    loop {
        tokio::select! {
            happening = listener.next() => {
                take_in(happening, listener, board)?;
                continue;
            }
            () = sleep_until(draw_at) => {}
        }
        draw_at = Instant::now() + DRAW_EVERY;
        let snapshot = board.snapshot(listener.shown());
        let essence = snapshot.essence();
        let written = if draws {
            let lines = screen::lines(&snapshot, board.names(), terminal_width());
            let drawn: String = lines.iter().map(|line| format!("{line}\u{1b}[K\r\n")).collect();
            write!(output, "\u{1b}[H{drawn}\u{1b}[J").and_then(|()| output.flush())
        } else if before.as_ref() == Some(&essence) {
            Ok(())
        } else {
            let blank = if args.json || before.is_none() { "" } else { "\n" };
            let text = shown(&snapshot, board, args.json)?;
            writeln!(output, "{blank}{text}").and_then(|()| output.flush())
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(String::new()),
            written => written.map_err(unwritable)?,
        }
        before = Some(essence);
    }
}

fn shown(snapshot: &Snapshot, board: &Board, json: bool) -> Result<String, Failure> {
    if json {
        return json::line(snapshot);
    }
    Ok(screen::lines(snapshot, board.names(), terminal_width()).join("\n"))
}

/// Columns of standard output, where that is a terminal.
fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// The replica that a person means by `name`.
async fn resolve(listener: &mut Listener, name: &str, patience: Duration) -> Result<ReplicaId, Failure> {
    let end = Instant::now() + patience.max(Duration::from_secs(1));
    loop {
        let mut names = Names::default();
        let replicas = || listener.shown().filter(|shown| shown.presence.role == Role::Replica);
        replicas().for_each(|shown| names.learn(&shown.presence.id));
        let meant = names.meant(name);
        let has_heard_all = listener.shown().any(|shown| shown.times >= ROUNDS);
        match &meant[..] {
            [id] if id.as_str() == name || has_heard_all => return Ok(id.clone()),
            [] | [_] if !has_heard_all => {}
            [] => {
                let here: Vec<&str> = replicas().map(|shown| names.of(&shown.presence.id)).collect();
                let text = format!("no replica is named \"{name}\": these are there: {}", here.join(", "));
                return Err(Failure::new(Status::NotFound, 404, "REPLICA_NOT_FOUND", text));
            }
            several => {
                let text = format!("\"{name}\" is not clear: name one of {} in full", crate::show::names(several));
                return Err(Failure::usage(text));
            }
        }
        let happening = tokio::select! {
            happening = listener.next() => happening,
            () = sleep_until(end) => {
                let text = format!("no replica shows itself under the prefix \"{}\"", listener.subjects().prefix());
                return Err(Failure::new(Status::Unavailable, 503, "NO_CLUSTER", text));
            }
        };
        match happening {
            Some(Happening::Connection(ConnectionEvent::Denied(denial)))
                if denial.subject == listener.subjects().all_presence(Role::Replica) =>
            {
                // Without presence, only an id in full can be known.
                return ReplicaId::new(name).map_err(|error| Failure::usage(error.to_string()));
            }
            None => return Err(Failure::new(Status::Unavailable, 503, "NO_BROKER", "the connection is closed")),
            Some(_) => {}
        }
    }
}

/// Asks a replica for its status.
async fn ask_status(
    listener: &mut Listener,
    id: &ReplicaId,
    mode: Option<Mode>,
    limit: Duration,
) -> Result<StatusReply, Failure> {
    let subject = listener.subjects().replica(id, "status");
    let payload = wire::encode(&StatusRequest { mode }).map_err(|error| Failure::file(error.to_string()))?;
    let client = listener.client().clone();
    let read = |message: &async_nats::Message| {
        wire::decode::<StatusReply>(&message.payload).map_err(|error| WrongAnswer::of(message, &error))
    };
    let mut asking = std::pin::pin!(ask(&client, subject.clone(), payload.into(), limit, None, read));
    let answered = loop {
        tokio::select! {
            answered = &mut asking => break answered,
            happening = listener.next() => match happening {
                Some(Happening::Connection(ConnectionEvent::Denied(denial)))
                    if denial.subject == subject && denial.access == Access::Publish =>
                {
                    break Err(AskError::Denied(denial));
                }
                _ => {}
            },
        }
    };
    answered.map_err(|error| match error {
        AskError::Denied(denial) => {
            let text = format!("the broker does not permit this user to {denial}: use an operator's user");
            Failure::new(Status::Refused, 403, "DENIED", text)
        }
        AskError::NoResponders => {
            Failure::new(Status::NotFound, 404, "REPLICA_NOT_FOUND", format!("no replica {id} listens at {subject}"))
        }
        error => {
            let text = format!("replica {id} does not answer within {limit:?} ({error}): it may be frozen or gone");
            Failure::new(Status::Unavailable, 503, "NO_ANSWER", text)
        }
    })
}

pub(crate) fn unwritable(error: io::Error) -> Failure {
    Failure::file(format!("standard output can't be written: {error}"))
}

/// Connects, and begins to listen.
pub(crate) async fn listen(args: &ClientArgs, name: &str, scope: Scope) -> Result<Listener, Failure> {
    let (client, events, subjects) = connect(args, name).await?;
    let listening = Listener::start(client, subjects, scope, events).await;
    listening.map_err(|error| Failure::new(Status::Unavailable, 503, "NO_BROKER", format!("can't listen: {error}")))
}

/// Connects to the broker of a cluster.
pub(crate) async fn connect(
    args: &ClientArgs,
    name: &str,
) -> Result<(Client, UnboundedReceiver<ConnectionEvent>, Subjects), Failure> {
    let target = Target::resolve(&args.broker, &Environment::of_process()).map_err(ConnectError::from)?;
    let prefix = &args.broker.prefix;
    let subjects = Subjects::new(prefix)
        .ok_or_else(|| Failure::usage(format!("the prefix \"{prefix}\" is not words with dots between them")))?;
    let patience = Patience::GiveUpAfter(args.patience);
    let settings = ConnectionSettings { name: name.to_owned(), no_echo: false, patience };
    let (sender, events) = unbounded_channel();
    let _progress = if args.json { Progress::default() } else { Progress::begin("connecting to the broker") };
    Ok((connection::connect_to(&target, &settings, Some(sender)).await?, events, subjects))
}
