//! `client tap`: one readable line for each message as it travels. Heartbeats are folded into one line.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use natter_broker::connection::ConnectionEvent;
use natter_broker::logs::date_and_time;
use natter_common::counted::counted;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{Presence, Role, Status};
use natter_common::record::RecordRef;
use natter_common::timestamp::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::exchange::Exchanges;
use super::line::{self, Line};
use super::listen::{GONE_AFTER, Happening, INBOXES, Listener};
use super::message::{Heard, What};
use super::names::Names;

/// Interval of the line that counts heartbeats.
const FOLD_EVERY: Duration = Duration::from_secs(10);
/// Maximum reply subjects of requests that concern a followed update.
const FOLLOWED_MAX: usize = 1000;

/// Options of `client tap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapOptions {
    /// One JSON object a line.
    pub json: bool,
    /// Only what concerns this update.
    pub follow: Option<UpdateId>,
    /// End after this time.
    pub limit: Option<Duration>,
}

/// Prints lines until the time is over, the output is closed, or the connection is.
///
/// # Errors
///
/// The output cannot be written.
pub async fn tap(listener: Listener, options: &TapOptions, output: impl Write) -> io::Result<()> {
    let colours = !options.json && io::stdout().is_terminal() && colours_are_wanted();
    let mut tap = Tap {
        follow: options.follow.map(Followed::of),
        json: options.json,
        colours,
        output,
        names: Names::default(),
        exchanges: Exchanges::default(),
        shown: BTreeMap::new(),
        malformed: 0,
        heartbeats: Heartbeats::default(),
    };
    let written = tap.run(listener, options.limit).await;
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Whether `NO_COLOR` is not set, or is empty.
pub fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Tap<W> {
    json: bool,
    colours: bool,
    output: W,
    follow: Option<Followed>,
    names: Names,
    exchanges: Exchanges,
    /// Status of each process as it was told last.
    shown: BTreeMap<(Role, ReplicaId), Status>,
    malformed: u64,
    heartbeats: Heartbeats,
}

#[derive(Default)]
struct Heartbeats {
    count: u64,
    of: BTreeSet<ReplicaId>,
}

/// The way of one update.
struct Followed {
    id: UpdateId,
    /// Reply subjects of requests that concern it.
    replies: HashSet<String>,
    /// Its records.
    records: BTreeSet<RecordRef>,
    /// Replicas that showed that they hold it.
    holders: BTreeSet<ReplicaId>,
    /// Replicas that showed that they applied it.
    applied: BTreeSet<ReplicaId>,
}

impl Followed {
    fn of(id: UpdateId) -> Self {
        let (replies, records) = (HashSet::new(), BTreeSet::new());
        Self { id, replies, records, holders: BTreeSet::new(), applied: BTreeSet::new() }
    }

    fn is_in(&self, timestamp: &Timestamp) -> bool {
        self.records.iter().any(|record| timestamp.get(&record.i) >= record.seq)
    }
}

impl<W: Write> Tap<W> {
    async fn run(&mut self, mut listener: Listener, limit: Option<Duration>) -> io::Result<()> {
        let begun = Instant::now();
        let mut fold_at = begun + FOLD_EVERY;
        let mut has_said_nobody = false;
        loop {
            let end = limit.map(|limit| begun + limit);
            let happening = tokio::select! {
                happening = listener.next() => happening,
                () = sleep_until(end.unwrap_or(begun)), if end.is_some() => return self.fold(),
                () = sleep_until(fold_at) => {
                    fold_at = Instant::now() + FOLD_EVERY;
                    self.fold()?;
                    continue;
                }
            };
            match happening {
                None => return self.fold(),
                Some(Happening::Heard(messages)) => {
                    for heard in &messages {
                        self.hear(heard)?;
                    }
                    self.output.flush()?;
                }
                Some(Happening::Follows { frontends, replicas }) => {
                    let clients = if frontends { "clients' requests" } else { "no requests of clients" };
                    let text = format!("{clients}, and the requests to {}", counted(replicas, "replica"));
                    self.tell("listens to", &text, json!({"frontends": frontends, "replicas": replicas}))?;
                }
                Some(Happening::Connection(event)) => self.tell_connection(&event, &listener)?,
                Some(Happening::Tick) => {
                    self.tell_gone(&listener)?;
                    if !has_said_nobody && self.shown.is_empty() && begun.elapsed() > GONE_AFTER {
                        has_said_nobody = true;
                        let prefix = listener.subjects().prefix();
                        self.notice(&format!("no frontend or replica shows itself under the prefix \"{prefix}\" yet"))?;
                    }
                }
            }
        }
    }

    fn hear(&mut self, heard: &Heard) -> io::Result<()> {
        match &heard.what {
            What::Presence(presence) => {
                self.count_heartbeat(&presence.id);
                self.hear_presence(heard, presence)?;
                let applied = presence.value_timestamp.as_ref().map(|timestamp| &timestamp.replicas);
                let held = presence.replica_timestamp.as_ref().map(|timestamp| &timestamp.replicas);
                return self.follow_timestamps(&presence.id, held, applied);
            }
            What::Probe => return Ok(()),
            What::Malformed(reason) => return self.hear_malformed(heard, reason),
            What::Answer => return self.hear_answer(heard),
            What::Gossip(gossip) => {
                let concerns = self.follow.as_mut().is_some_and(|followed| {
                    let records = gossip.records.iter().filter(|record| record.id == followed.id);
                    followed.records.extend(records.map(|record| record.name()));
                    heard.names(followed.id)
                });
                if heard.is_heartbeat() {
                    self.count_heartbeat(&gossip.id);
                } else if concerns || self.follow.is_none() {
                    self.print_message(heard)?;
                }
                let (held, applied) = (&gossip.replica_timestamp.replicas, &gossip.value_timestamp.replicas);
                return self.follow_timestamps(&gossip.id, Some(held), Some(applied));
            }
            What::Acknowledgement(_, acknowledgement) if self.follow.is_some() => {
                let held = &acknowledgement.replica_timestamp.replicas;
                let is_new = self.follow.as_mut().is_some_and(|followed| {
                    followed.is_in(held) && followed.holders.insert(acknowledgement.id.clone())
                });
                return if is_new { self.print_message(heard) } else { Ok(()) };
            }
            _ => {}
        }
        self.exchanges.note(heard);
        if let Some(followed) = &mut self.follow {
            if !heard.names(followed.id) {
                return Ok(());
            }
            if let (Some(reply), true) = (&heard.reply, followed.replies.len() < FOLLOWED_MAX) {
                followed.replies.insert(reply.clone());
            }
        }
        self.print_message(heard)
    }

    fn hear_answer(&mut self, heard: &Heard) -> io::Result<()> {
        if self.follow.as_ref().is_some_and(|followed| !followed.replies.contains(&heard.subject)) {
            return Ok(());
        }
        let Some(matched) = self.exchanges.matched(heard) else { return Ok(()) };
        let line = line::of_reply(&matched, &self.names);
        if line.kind == "malformed" {
            return self.hear_malformed(heard, &line.text);
        }
        self.print(heard, &line)
    }

    fn hear_presence(&mut self, heard: &Heard, presence: &Presence) -> io::Result<()> {
        self.names.learn(&presence.id);
        let key = (presence.role, presence.id.clone());
        let before = if presence.status == Status::Left {
            self.shown.remove(&key)
        } else {
            self.shown.insert(key, presence.status)
        };
        if before == Some(presence.status) || self.follow.is_some() {
            return Ok(());
        }
        if before.is_none() && presence.status == Status::Left {
            return Ok(());
        }
        let text = match before {
            Some(before) => format!("{} is {}, no longer {before}", presence.role, presence.status),
            None => format!("{} is {}", presence.role, presence.status),
        };
        let (from, to) = (presence.id.to_string(), "all".to_owned());
        self.print(heard, &Line { kind: "presence", from, to, text, took: None })
    }

    /// Tells, once for each replica, that it holds and has applied the followed update.
    fn follow_timestamps(
        &mut self,
        id: &ReplicaId,
        held: Option<&Timestamp>,
        applied: Option<&Timestamp>,
    ) -> io::Result<()> {
        let Some(followed) = &mut self.follow else { return Ok(()) };
        if let Some(held) = held
            && followed.is_in(held)
        {
            followed.holders.insert(id.clone());
        }
        let is_new = applied.is_some_and(|applied| followed.is_in(applied)) && followed.applied.insert(id.clone());
        if !is_new {
            return Ok(());
        }
        let (holders, applied) = (followed.holders.len(), followed.applied.len());
        let text = format!(
            "{} shows that the update is applied ({applied} have applied it, {holders} hold it)",
            self.names.of(id)
        );
        self.tell("applied", &text, json!({"replica": id}))
    }

    fn hear_malformed(&mut self, heard: &Heard, reason: &str) -> io::Result<()> {
        self.malformed += 1;
        let text = format!("number {}, at {}: {reason}", self.malformed, crate::show::clean(&heard.subject));
        self.tell("malformed", &text, json!({"number": self.malformed, "subject": heard.subject, "reason": reason}))
    }

    fn print_message(&mut self, heard: &Heard) -> io::Result<()> {
        match line::of_message(heard, &self.names) {
            Some(line) => self.print(heard, &line),
            None => Ok(()),
        }
    }

    fn print(&mut self, heard: &Heard, line: &Line) -> io::Result<()> {
        if self.json {
            return writeln!(self.output, "{}", json!({"value": line.to_json(heard)}));
        }
        let text = line.to_text(heard, &self.names);
        match colour(line.kind).filter(|_| self.colours) {
            Some(colour) => writeln!(self.output, "\u{1b}[{colour}m{text}\u{1b}[0m"),
            None => writeln!(self.output, "{text}"),
        }
    }

    fn count_heartbeat(&mut self, id: &ReplicaId) {
        self.heartbeats.count += 1;
        if self.heartbeats.of.len() < FOLLOWED_MAX {
            self.heartbeats.of.insert(id.clone());
        }
    }

    /// Tells of the heartbeats since the last such line.
    fn fold(&mut self) -> io::Result<()> {
        let Heartbeats { count, of } = std::mem::take(&mut self.heartbeats);
        if count == 0 || self.follow.is_some() {
            return Ok(());
        }
        let names: Vec<&str> = of.iter().map(|id| self.names.of(id)).collect();
        let text = format!("{count} heartbeats of {}", names.join(" "));
        self.tell("heartbeats", &text, json!({"count": count, "of": of}))
    }

    fn tell_gone(&mut self, listener: &Listener) -> io::Result<()> {
        let here: BTreeSet<(Role, ReplicaId)> =
            listener.shown().map(|shown| (shown.presence.role, shown.presence.id.clone())).collect();
        let gone: Vec<(Role, ReplicaId)> = self.shown.keys().filter(|key| !here.contains(key)).cloned().collect();
        for key in gone {
            self.shown.remove(&key);
            if self.follow.is_none() {
                let text = format!("{} {} does not show itself any more", key.0, self.names.of(&key.1));
                self.tell("gone", &text, json!({"role": key.0, "id": key.1}))?;
            }
        }
        Ok(())
    }

    fn tell_connection(&mut self, event: &ConnectionEvent, listener: &Listener) -> io::Result<()> {
        match event {
            ConnectionEvent::Connected => self.notice("connected to the broker"),
            ConnectionEvent::Disconnected => self.notice("no connection to the broker: messages are missed"),
            ConnectionEvent::SlowConsumer { dropped } => {
                let dropped = counted(*dropped, "message");
                self.notice(&format!("not shown: {dropped} that came faster than this program reads"))
            }
            ConnectionEvent::Denied(denial) => self.notice(&hidden(&denial.subject, listener)),
        }
    }

    /// A line beside the messages.
    fn notice(&mut self, text: &str) -> io::Result<()> {
        self.tell("notice", text, json!({}))
    }

    fn tell(&mut self, kind: &str, text: &str, mut object: Value) -> io::Result<()> {
        let time = date_and_time(SystemTime::now()).to_string();
        if self.json {
            object["time"] = json!(time);
            object["kind"] = json!(kind);
            object["text"] = json!(text);
            writeln!(self.output, "{}", json!({"value": object}))?;
        } else {
            let (dim, plain) = if self.colours { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
            writeln!(self.output, "{dim}{}  {kind}: {text}{plain}", time.get(11..24).unwrap_or(&time))?;
        }
        self.output.flush()
    }
}

/// The words for a subscription that the broker refuses.
pub fn hidden(subject: &str, listener: &Listener) -> String {
    let prefix = listener.subjects().prefix();
    let what = match subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
        None if subject == INBOXES => "replies",
        Some(rest) if rest.starts_with("frontend.") => "requests of clients",
        Some(rest) if rest.starts_with("replica.") => "requests to a replica",
        Some(rest) if rest.starts_with("gossip.") => "gossip",
        Some(rest) if rest.starts_with("changed.") => "changes",
        Some(rest) if rest.starts_with("presence.replica") => "presence of replicas",
        Some(rest) if rest.starts_with("presence.frontend") => "presence of frontends",
        _ => "some messages",
    };
    format!("hidden: the broker does not permit this user to subscribe to {subject}, so {what} cannot be shown")
}

/// The colour of a kind on a terminal, as a number of the terminal.
fn colour(kind: &str) -> Option<u8> {
    match kind {
        "request" | "answer" => Some(36),
        "accept?" | "confirm?" | "query" | "reply" => Some(32),
        "gossip" | "acknowledge" => Some(33),
        "change" => Some(34),
        "pull" | "log page" | "snapshot?" | "snapshot" => Some(35),
        "error" => Some(31),
        _ => None,
    }
}
