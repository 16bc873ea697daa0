//! A message as one line for people, and as one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use natter_broker::logs::date_and_time;
use natter_common::counted::counted;
use natter_common::edge::ClientRequest;
use natter_common::ids::ReplicaId;
use natter_common::messages::{NumberedReply, Reply as ReplicaReply, SnapshotPart};
use natter_common::request::{Parameters, Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::wire::Format;
use serde_json::{Value, json};

use super::exchange::{Matched, Reply, asker};
use super::message::{Heard, What};
use super::names::Names;
use crate::show::clean;

/// A message in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its kind, in a word.
    pub kind: &'static str,
    /// The sender: an id, `client` or `frontend`.
    pub from: String,
    /// The receiver: an id, `client`, `frontend` or `all`.
    pub to: String,
    /// Its content.
    pub text: String,
    /// Time since the request, of a reply.
    pub took: Option<Duration>,
}

impl Line {
    /// For people: time, way, kind and content.
    pub fn to_text(&self, heard: &Heard, names: &Names) -> String {
        let time = date_and_time(heard.wall).to_string();
        // The time of the day to the tenth of a millisecond.
        let time = time.get(11..24).unwrap_or(&time);
        let way = format!("{} -> {}", name(names, &self.from), name(names, &self.to));
        let took = self.took.map(|took| format!("  {}", milliseconds(took))).unwrap_or_default();
        format!("{time}  {way:<20}  {:<11} {}{took}", self.kind, self.text)
    }

    /// For programs. `message` is the payload.
    pub fn to_json(&self, heard: &Heard) -> Value {
        let mut object = json!({
            "time": date_and_time(heard.wall).to_string(),
            "kind": self.kind,
            "from": self.from,
            "to": self.to,
            "subject": heard.subject,
            "text": self.text,
            "message": payload(heard),
        });
        if let Some(took) = self.took {
            object["took_ms"] = json!(rounded(took));
        }
        if let Some((code, text)) = &heard.error {
            object["error"] = json!({"code": code, "text": text});
        }
        object
    }
}

/// The name of a process; other words are as they are.
fn name<'a>(names: &Names, word: &'a str) -> std::borrow::Cow<'a, str> {
    match ReplicaId::known(word) {
        Ok(id) => names.of(&id).to_owned().into(),
        Err(_) => word.into(),
    }
}

/// `1.2 ms`.
pub fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", rounded(duration))
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The payload as JSON; text where it is neither MessagePack nor JSON.
fn payload(heard: &Heard) -> Value {
    let payload = &heard.payload;
    if payload.is_empty() {
        return Value::Null;
    }
    Format::of(payload).decode(payload).unwrap_or_else(|_| Value::String(payload.escape_ascii().to_string()))
}

/// A request, gossip or an acknowledgement in words. `None` for presence, checks, replies and what cannot be read.
pub fn of_message(heard: &Heard, names: &Names) -> Option<Line> {
    let sender = asker(heard).map_or_else(|| "frontend".to_owned(), |id| id.to_string());
    let line = |kind, from: String, to: &str, text| Some(Line { kind, from, to: to.to_owned(), text, took: None });
    match &heard.what {
        What::Asked(operation, request) => {
            line("request", "client".to_owned(), "frontend", client_request(operation.name(), request, names))
        }
        What::Updates(to, requests) => {
            let text = many(requests, |one| {
                let label = timestamp(&one.prev, names);
                format!("{}, prev {label}, {} copies, id {}", update(&one.request), one.copies, one.id)
            });
            line("accept?", sender, to.as_str(), text)
        }
        What::Confirms(to, requests) => {
            let text = many(requests, |one| match one.wait_ms {
                0 => format!("id {}, only to look it up", one.id),
                _ => format!("id {}", one.id),
            });
            line("confirm?", sender, to.as_str(), text)
        }
        What::Queries(to, requests) => {
            let text = many(requests, |one| format!("{}, prev {}", query(&one.request), timestamp(&one.prev, names)));
            line("query", sender, to.as_str(), text)
        }
        What::Pull(to, request) => {
            line("pull", sender, to.as_str(), format!("it has {}", timestamp(&request.have.replicas, names)))
        }
        What::Snapshot(to, request) => line("snapshot?", sender, to.as_str(), format!("from {}", place(&request.from))),
        What::Status(to, request) => {
            let text = request.mode.map_or_else(|| "asks for it".to_owned(), |mode| format!("sets mode {mode}"));
            line("status?", "client".to_owned(), to.as_str(), text)
        }
        What::Gossip(gossip) => {
            let count = gossip.records.len();
            let mut text = counted(count, "record");
            if let Some(record) = gossip.records.first() {
                let what = record.request.as_ref().map_or_else(|| "retires replicas".to_owned(), update);
                let _ = write!(text, ": {}:{} {what}", names.of(&record.i), record.seq);
                text += &and_more(count);
            }
            let _ = write!(text, "; it holds {}", timestamp(&gossip.replica_timestamp.replicas, names));
            line("gossip", gossip.id.to_string(), "all", text)
        }
        What::Acknowledgement(to, acknowledgement) => {
            let text = format!("it holds {}", timestamp(&acknowledgement.replica_timestamp.replicas, names));
            line("acknowledge", acknowledgement.id.to_string(), to.as_str(), text)
        }
        What::Changed(change) => {
            let (method, stars) = (change.method.name().to_lowercase(), change.rating);
            let stars = stars.map(|stars| format!(": {stars}")).unwrap_or_default();
            let record = format!("{}:{}", names.of(&change.record.i), change.record.seq);
            let label = timestamp(&change.label.replicas, names);
            let (user, movie) = (change.user_id, change.movie_id);
            let text = format!("{method} user {user} movie {movie}{stars}, record {record}, label {label}");
            line("change", change.record.i.to_string(), "all", text)
        }
        What::Presence(_) | What::Answer | What::Probe | What::Malformed(_) => None,
    }
}

/// A reply in words.
pub fn of_reply(matched: &Matched<'_>, names: &Names) -> Line {
    let request = &matched.open.request;
    let (from, to) = match &request.what {
        What::Asked(..) => {
            (matched.open.frontend.as_ref().map_or_else(|| "frontend".to_owned(), ToString::to_string), "client".into())
        }
        What::Status(replica, _) => (replica.to_string(), "client".to_owned()),
        What::Updates(replica, _)
        | What::Confirms(replica, _)
        | What::Queries(replica, _)
        | What::Pull(replica, _)
        | What::Snapshot(replica, _) => {
            (replica.to_string(), asker(request).map_or_else(|| "frontend".to_owned(), |id| id.to_string()))
        }
        _ => (String::new(), String::new()),
    };
    let (kind, text) = match &matched.reply {
        Reply::Client(reply) => {
            let what = match (&reply.value, &reply.outcomes) {
                (_, Some(outcomes)) => counted(outcomes.len(), "outcome"),
                (Some(value), None) => value_in_words(value),
                (None, None) => String::new(),
            };
            let served: Vec<&str> = reply.replicas.iter().map(|id| names.of(id)).collect();
            ("answer", format!("{what}, label {}, by {}", timestamp(&reply.label.replicas, names), served.join(" ")))
        }
        Reply::Replies(replies) => ("reply", many(&replies.replies, |one| replica_reply(one, names))),
        Reply::Page(page) => {
            let holds = timestamp(&page.replica_timestamp.replicas, names);
            ("log page", format!("{}; it holds {holds}", counted(page.records.len(), "record")))
        }
        Reply::Chunk(reply) => match &reply.part {
            SnapshotPart::Chunk(chunk) => {
                let at = timestamp(&chunk.value_timestamp.replicas, names);
                ("snapshot", format!("{} of about {}, at {at}", chunk.rows.len(), counted(chunk.rows_in_all, "row")))
            }
            SnapshotPart::Unavailable { reason } => ("snapshot", format!("unavailable: {}", clean(reason))),
        },
        Reply::Status(reply) => ("status", format!("{} (mode {})", reply.status, reply.mode)),
        Reply::Error(code, text) => ("error", format!("{code} {text}")),
        Reply::Malformed(reason) => ("malformed", reason.clone()),
    };
    Line { kind, from, to, text, took: Some(matched.took) }
}

fn client_request(operation: &str, request: &ClientRequest, names: &Names) -> String {
    let prev = timestamp(&request.prev().replicas, names);
    match request {
        ClientRequest::Update { request, id: Some(id), .. } => format!("{}, prev {prev}, id {id}", update(request)),
        ClientRequest::Update { request, id: None, .. } => format!("{}, prev {prev}", update(request)),
        ClientRequest::Query { request, .. } => format!("{}, prev {prev}", query(request)),
        ClientRequest::Batch(batch) => {
            format!("{operation} of {}, prev {prev}", counted(batch.operations.len(), "operation"))
        }
    }
}

/// `create user 42 movie 2: 4.5`.
pub fn update(update: &Update) -> String {
    let key = update.key();
    let stars = update.stars().map(|stars| format!(": {stars}")).unwrap_or_default();
    format!("{} user {} movie {}{stars}", update.method().to_lowercase(), key.user_id, key.movie_id)
}

/// `read user 42 movie 2`.
pub fn query(query: &Query) -> String {
    let Parameters { user, movie, title, limit, after } = query.parameters();
    let mut text = query.method().to_lowercase();
    for (word, number) in [("user", user.map(|id| id.get())), ("movie", movie.map(|id| id.get()))] {
        if let Some(number) = number {
            let _ = write!(text, " {word} {number}");
        }
    }
    if let Some(title) = title {
        let _ = write!(text, " \"{}\"", clean(title));
    }
    for (word, number) in [("limit", limit), ("after", after)] {
        if let Some(number) = number {
            let _ = write!(text, " {word} {number}");
        }
    }
    text
}

/// A reply of a replica to one request.
pub fn replica_reply(reply: &NumberedReply, names: &Names) -> String {
    let records = |records: &[natter_common::record::RecordRef]| {
        let names: Vec<String> = records.iter().map(|it| format!("{}:{}", names.of(&it.i), it.seq)).collect();
        names.join(" ")
    };
    match &reply.reply {
        ReplicaReply::Accepted { records: held, .. } => format!("accepted as {}", records(held)),
        ReplicaReply::Answered { label, .. } => format!("answered at {}", timestamp(&label.replicas, names)),
        ReplicaReply::Held { records: held, .. } => format!("holds {}", records(held)),
        ReplicaReply::NotHeld => "does not hold it".to_owned(),
        ReplicaReply::Refused { refusal, label } => {
            format!("refused: {}, at {}", refusal.name(), timestamp(&label.replicas, names))
        }
        ReplicaReply::StampAgain { .. } => "needs a greater stamp".to_owned(),
        ReplicaReply::StampAhead { .. } => "the stamp is ahead of its clock".to_owned(),
        ReplicaReply::IdInUse => "the id belongs to another update".to_owned(),
        ReplicaReply::Behind => "behind: an update of prev is missing there".to_owned(),
        ReplicaReply::NotServing => "does not serve now".to_owned(),
    }
}

/// A timestamp with short names.
pub fn timestamp(timestamp: &Timestamp, names: &Names) -> String {
    names.shorten(timestamp.iter().map(|(id, count)| (id.clone(), count)))
}

/// The first of several, and the number of the others.
fn many<T>(list: &[T], one: impl Fn(&T) -> String) -> String {
    match list.first() {
        None => "nothing".to_owned(),
        Some(first) => format!("{}{}", one(first), and_more(list.len())),
    }
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn place(place: &natter_common::messages::SnapshotPlace) -> String {
    serde_json::to_string(place).unwrap_or_default().replace('"', "")
}

/// The value of a reply to a client.
pub fn value_in_words(value: &Value) -> String {
    let title = || clean(value["title"].as_str().unwrap_or_default());
    if let Some(ratings) = value["ratings"].as_array() {
        return format!("{} of {}", ratings.len(), counted(value["total"].as_u64().unwrap_or_default(), "rating"));
    }
    if let Some(movies) = value["movies"].as_array() {
        return counted(movies.len(), "movie");
    }
    if value.get("count").is_some() {
        return match value["average"].as_f64() {
            Some(mean) => format!("{}: {mean:.2} of {}", title(), value["count"]),
            None => format!("{}: no ratings", title()),
        };
    }
    match value["rating"].as_f64() {
        Some(stars) => format!("{}: {stars:.1}", title()),
        None => format!("{}: no rating", title()),
    }
}
