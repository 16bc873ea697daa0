//! `client trace`, as the program runs it: one command, and a listener beside it.

use std::time::Duration;

use natter_broker::connection::ConnectionEvent;
use natter_broker::signals;
use natter_common::counted::counted;
use natter_common::messages::Role;
use natter_common::request::{ALL_LIMIT_DEFAULT, Query, Update};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::api::Client;
use crate::commands::{ClientArgs, Command, MovieName};
use crate::error::ClientError;
use crate::failure::Failure;
use crate::perform::{found, perform};
use crate::transport::NatsTransport;
use crate::watch::diagram;
use crate::watch::line::Line;
use crate::watch::listen::{Happening, Listener, Scope};
use crate::watch::status::Board;
use crate::watch::tap;
use crate::watch::trace::{Recording, Trace, Wanted};
use crate::watching::{listen, observe_once};
use crate::{complain, first_paragraph, interrupted, start, told};

/// Time for which the recording goes on after the answer, until all replicas show the update as applied.
const AFTER_ANSWER: Duration = Duration::from_millis(1500);

/// Does a command, and draws the way of its request.
pub(crate) async fn trace(args: &ClientArgs) -> Result<String, Failure> {
    let inner = args.traced().map_err(|error| Failure::usage(first_paragraph(&error.to_string())))?;
    tokio::select! {
        traced = run(&inner) => traced,
        () = signals::interrupt() => Err(interrupted("interrupted while tracing; an update may still take effect", None)),
    }
}

async fn run(args: &ClientArgs) -> Result<String, Failure> {
    let mut listener = listen(args, "client-trace", Scope::Everything).await?;
    let mut board = Board::new(&args.broker.prefix);
    observe_once(&mut listener, &mut board, args.patience).await?;
    let mut client = start(args, args.user_id).await?;
    let Some((command, wanted)) = wanted(args, &mut client).await.map_err(|error| told(&error, args.user_id))? else {
        return Err(Failure::usage("`trace` needs a command of one request, such as `client trace 42 read 1`"));
    };
    let mut recording = Recording::default();
    let mut hidden = Vec::new();
    listen_until_all_show(&mut listener, &mut recording, &mut hidden).await;
    recording.replicas = listener
        .shown()
        .filter(|shown| shown.presence.role == Role::Replica && shown.presence.is_serving())
        .map(|shown| shown.presence.id.clone())
        .collect();
    recording.begin();

    let done = {
        let mut doing = std::pin::pin!(perform(&mut client, args.user_id, &command, args.json));
        loop {
            tokio::select! {
                done = &mut doing => break done,
                happening = listener.next() => note(happening, &listener, &mut recording, &mut hidden),
            }
        }
    };
    let end = Instant::now() + AFTER_ANSWER;
    while !recording.is_complete(&wanted) {
        tokio::select! {
            happening = listener.next() => note(happening, &listener, &mut recording, &mut hidden),
            () = sleep_until(end) => break,
        }
    }
    let trace = recording.trace(&wanted, board.names());
    hidden.extend(doubt(&trace));
    let drawn = if args.json { String::new() } else { diagram::draw(&trace, board.names()) };
    match done {
        Ok(reply) if args.json => {
            let mut answer: serde_json::Value = serde_json::from_str(&reply).unwrap_or_default();
            answer["trace"] = to_json(&trace, &hidden);
            Ok(answer.to_string())
        }
        Ok(reply) => {
            hidden.iter().for_each(|note| complain(note));
            Ok(format!("{reply}\n\n{drawn}"))
        }
        Err(error) => {
            hidden.iter().for_each(|note| complain(note));
            if !args.json {
                let _ = crate::print(&format!("{drawn}\n")); // the failure is told all the same
            }
            let failure = told(&error, args.user_id);
            Err(if args.json { failure.with_trace(to_json(&trace, &hidden)) } else { failure })
        }
    }
}

/// The member `trace` of an answer or an error.
fn to_json(trace: &Trace, notes: &[String]) -> serde_json::Value {
    json!({"steps": steps(trace), "waits": waits(trace), "notes": notes})
}

/// The command with everything that names its request, and how that request reads.
async fn wanted(
    args: &ClientArgs,
    client: &mut Client<NatsTransport>,
) -> Result<Option<(Command, Wanted)>, ClientError> {
    let (Some(mut command), user) = (args.command.clone(), args.user_id) else { return Ok(None) };
    // A title is looked up before, so that only the request itself is traced.
    if let Command::Create { movie, .. }
    | Command::Update { movie, .. }
    | Command::Delete { movie, .. }
    | Command::Read { movie }
    | Command::Average { movie } = &mut command
    {
        *movie = MovieName::Id(found(client, movie).await?);
    }
    if let Command::Create { id, .. } | Command::Update { id, .. } | Command::Delete { id, .. } = &mut command
        && id.is_none()
    {
        *id = Some(client.new_update_id());
    }
    let wanted = match (&command, user) {
        (Command::Create { movie: MovieName::Id(movie_id), rating, id: Some(id) }, Some(user_id)) => {
            Wanted::Update(Update::Create { user_id, movie_id: *movie_id, rating: *rating }, *id)
        }
        (Command::Update { movie: MovieName::Id(movie_id), rating, id: Some(id) }, Some(user_id)) => {
            Wanted::Update(Update::Update { user_id, movie_id: *movie_id, rating: *rating }, *id)
        }
        (Command::Delete { movie: MovieName::Id(movie_id), id: Some(id) }, Some(user_id)) => {
            Wanted::Update(Update::Delete { user_id, movie_id: *movie_id }, *id)
        }
        (Command::Read { movie: MovieName::Id(movie_id) }, Some(user_id)) => {
            Wanted::Query(Query::Read { user_id, movie_id: *movie_id })
        }
        // Its first page.
        (Command::All { limit, after }, Some(user_id)) => {
            let limit = limit.unwrap_or(ALL_LIMIT_DEFAULT).min(ALL_LIMIT_DEFAULT);
            Wanted::Query(Query::All { user_id, limit, after: *after })
        }
        (Command::Average { movie: MovieName::Id(movie_id) }, _) => {
            Wanted::Query(Query::Average { movie_id: *movie_id })
        }
        (Command::Search { title, limit }, _) => Wanted::Query(Query::Search { title: title.clone(), limit: *limit }),
        _ => return Ok(None),
    };
    Ok(Some((command, wanted)))
}

/// Listens until each process has shown itself once more, so that all subscriptions are in place.
async fn listen_until_all_show(listener: &mut Listener, recording: &mut Recording, hidden: &mut Vec<String>) {
    let times: Vec<_> = listener.shown().map(|shown| (shown.presence.id.clone(), shown.times)).collect();
    let end = Instant::now() + AFTER_ANSWER;
    let has_shown = |listener: &Listener| {
        times.iter().all(|(id, before)| {
            listener.shown().find(|shown| shown.presence.id == *id).is_none_or(|shown| shown.times > *before)
        })
    };
    while !has_shown(listener) {
        tokio::select! {
            happening = listener.next() => note(happening, listener, recording, hidden),
            () = sleep_until(end) => return,
        }
    }
}

fn note(happening: Option<Happening>, listener: &Listener, recording: &mut Recording, hidden: &mut Vec<String>) {
    match happening {
        Some(Happening::Heard(messages)) => recording.hear(messages),
        Some(Happening::Connection(ConnectionEvent::Denied(denial))) => {
            hidden.push(tap::hidden(&denial.subject, listener));
        }
        Some(Happening::Connection(ConnectionEvent::SlowConsumer { dropped })) => {
            hidden.push(format!(
                "{} came faster than this program reads: steps may be missing",
                counted(dropped, "message")
            ));
        }
        _ => {}
    }
}

/// A note where steps are missing that every request has.
fn doubt(trace: &Trace) -> Option<String> {
    if trace.steps.is_empty() {
        return Some("no message of this request was heard: permissions may hide it, or it was not sent".to_owned());
    }
    let is_asked = |line: &Line| ["accept?", "query"].contains(&line.kind);
    if trace.steps.iter().any(|step| is_asked(&step.line)) {
        return None;
    }
    let text = "no request to a replica was heard: a `replica --frontend` asks itself within its process";
    Some(text.to_owned())
}

fn steps(trace: &Trace) -> Vec<serde_json::Value> {
    let step = |step: &crate::watch::trace::Step| {
        let Line { kind, from, to, text, took } = &step.line;
        let ms = |time: Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        json!({"ms": ms(step.at), "kind": kind, "from": from, "to": to, "text": text, "took_ms": took.map(ms)})
    };
    trace.steps.iter().map(step).collect()
}

fn waits(trace: &Trace) -> Vec<serde_json::Value> {
    trace.waits.iter().map(|wait| json!({"process": wait.process, "text": wait.text})).collect()
}
