//! `client trace`: the way of one request, picked out of everything that travelled meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use natter_common::edge::ClientRequest;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::Reply as ReplicaReply;
use natter_common::record::RecordRef;
use natter_common::request::{Query, Update};
use natter_common::timestamp::Timestamp;

use super::exchange::{Exchanges, Reply, asker};
use super::line::{self, Line, milliseconds};
use super::message::{Heard, What};
use super::names::Names;

/// The request to be traced.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// An update with this id.
    Update(Update, UpdateId),
    /// A query.
    Query(Query),
}

/// One step of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Time since the client's request.
    pub at: Duration,
    /// The message, or the step of one process where sender and receiver are the same.
    pub line: Line,
}

/// Something that the frontend or a replica waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The process that waited.
    pub process: String,
    /// The event, in words.
    pub text: String,
}

/// The way of a request.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Steps, causes before effects.
    pub steps: Vec<Step>,
    /// Waits, in the order in which they ended.
    pub waits: Vec<Wait>,
}

/// Everything that travelled, and how the processes showed themselves before.
#[derive(Debug, Default)]
pub struct Recording {
    heard: Vec<Heard>,
    /// Applied records of each replica, as it showed them last before the request.
    applied: BTreeMap<ReplicaId, Timestamp>,
    /// Replicas that are to apply an update before the recording is complete.
    pub replicas: BTreeSet<ReplicaId>,
}

impl Recording {
    /// Takes in messages.
    pub fn hear(&mut self, messages: Vec<Heard>) {
        self.heard.extend(messages);
    }

    /// Forgets the messages so far; notes what replicas have applied by then.
    pub fn begin(&mut self) {
        for heard in std::mem::take(&mut self.heard) {
            if let Some((id, _, Some(applied))) = timestamps(&heard) {
                self.applied.insert(id.clone(), applied.clone());
            }
        }
    }

    /// Whether the client's answer was heard, and an update is applied by all replicas that serve.
    pub fn is_complete(&self, wanted: &Wanted) -> bool {
        let Some(first) = self.heard.iter().find(|heard| is_request(heard, wanted)) else { return false };
        let is_answered = self.heard.iter().any(|heard| Some(&heard.subject) == first.reply.as_ref());
        let Wanted::Update(_, id) = wanted else { return is_answered };
        let records = self.records(*id);
        let has_applied = |id: &ReplicaId| {
            self.heard.iter().any(|heard| {
                timestamps(heard).is_some_and(|(replica, _, applied)| {
                    replica == id && applied.is_some_and(|applied| covers(applied, &records))
                })
            })
        };
        is_answered && self.replicas.iter().all(has_applied)
    }

    fn records(&self, id: UpdateId) -> BTreeSet<RecordRef> {
        let mut records = BTreeSet::new();
        for heard in &self.heard {
            if let What::Gossip(gossip) = &heard.what {
                records.extend(gossip.records.iter().filter(|record| record.id == id).map(|record| record.name()));
            }
        }
        records
    }

    /// The steps and waits of the request.
    pub fn trace(&self, wanted: &Wanted, names: &Names) -> Trace {
        let mut trace = Trace::default();
        let Some(first) = self.heard.iter().find(|heard| is_request(heard, wanted)) else { return trace };
        let begun = first.at;
        let mut exchanges = Exchanges::default();
        let mut seen = Seen::default();
        if let Wanted::Update(_, id) = wanted {
            seen.records = self.records(*id);
        }
        for heard in self.heard.iter().filter(|heard| heard.at >= begun) {
            exchanges.note(heard);
            let line = match &heard.what {
                What::Answer => self.answer(heard, &exchanges, &mut seen, names, &mut trace.waits),
                _ => self.message(heard, wanted, &mut seen, names, &mut trace.waits),
            };
            trace.steps.extend(line.map(|line| Step { at: heard.at.saturating_duration_since(begun), line }));
        }
        // The request does not say which frontend gets it; what follows does.
        let answer = trace.steps.iter().find(|step| step.line.to == "client" && step.line.from != "frontend");
        if let Some(frontend) = answer.map(|step| step.line.from.clone()) {
            let requests = trace.steps.iter_mut().filter(|step| step.line.from == "client");
            requests.for_each(|step| step.line.to.clone_from(&frontend));
        }
        trace
    }

    /// A step that is no reply.
    fn message(
        &self,
        heard: &Heard,
        wanted: &Wanted,
        seen: &mut Seen,
        names: &Names,
        waits: &mut Vec<Wait>,
    ) -> Option<Line> {
        if let Some((id, held, applied)) = timestamps(heard) {
            let is_new = |timestamp: Option<&Timestamp>| timestamp.is_some_and(|it| covers(it, &seen.records));
            let (holds, has_applied) = (is_new(held), is_new(applied));
            let (id, gossips) = (id.clone(), !heard.is_heartbeat());
            if holds {
                seen.holders.insert(id.clone());
            }
            if has_applied && seen.applied.insert(id.clone()) && !gossips {
                let (from, to) = (id.to_string(), id.to_string());
                let text = "shows that it has applied it".to_owned();
                return Some(Line { kind: "applied", from, to, text, took: None });
            }
        }
        let mut numbers: Vec<u64> = Vec::new();
        let belongs = match (&heard.what, wanted) {
            (What::Asked(..), _) => is_request(heard, wanted),
            (What::Updates(_, requests), Wanted::Update(_, id)) => {
                numbers.extend(requests.iter().filter(|request| request.id == *id).map(|request| request.n));
                !numbers.is_empty()
            }
            (What::Confirms(_, requests), Wanted::Update(_, id)) => {
                numbers.extend(requests.iter().filter(|request| request.id == *id).map(|request| request.n));
                !numbers.is_empty()
            }
            (What::Queries(replica, requests), Wanted::Query(query)) => {
                let ours = requests.iter().filter(|request| request.request == *query);
                for request in ours {
                    numbers.push(request.n);
                    waits.extend(self.lacking(replica, &request.prev, names));
                }
                !numbers.is_empty()
            }
            (What::Gossip(_), Wanted::Update(_, id)) => heard.names(*id),
            (What::Acknowledgement(_, acknowledgement), Wanted::Update(..)) => {
                covers(&acknowledgement.replica_timestamp.replicas, &seen.records)
                    && seen.holders.insert(acknowledgement.id.clone())
            }
            // Somebody fetches what it lacks.
            (What::Pull(..), _) => true,
            _ => false,
        };
        if !belongs {
            return None;
        }
        if let Some(reply) = &heard.reply {
            seen.replies.entry(reply.clone()).or_default().extend(numbers);
        }
        if let What::Asked(..) = heard.what {
            seen.client.extend(heard.reply.clone());
        }
        line::of_message(heard, names)
    }

    fn answer(
        &self,
        heard: &Heard,
        exchanges: &Exchanges,
        seen: &mut Seen,
        names: &Names,
        waits: &mut Vec<Wait>,
    ) -> Option<Line> {
        let numbers = seen.replies.get(&heard.subject)?;
        let mut matched = exchanges.matched(heard)?;
        if let Reply::Replies(replies) = &mut matched.reply {
            replies.replies.retain(|reply| numbers.contains(&reply.n));
            if replies.replies.is_empty() {
                return None;
            }
            let frontend = asker(&matched.open.request).map_or_else(|| "the frontend".to_owned(), |id| id.to_string());
            for reply in &replies.replies {
                let what = match reply.reply {
                    ReplicaReply::Accepted { .. } => "to accept it",
                    ReplicaReply::Held { .. } => "to hold it",
                    ReplicaReply::NotHeld => "to look it up",
                    _ => "to answer",
                };
                let needless = if seen.is_answered { ", after the client had its answer" } else { "" };
                let replica = names.of(&replies.id);
                let text = format!("waited {} for {replica} {what}{needless}", milliseconds(matched.took));
                waits.push(Wait { process: frontend.clone(), text });
            }
        }
        let line = line::of_reply(&matched, names);
        if seen.client.contains(&heard.subject) {
            seen.is_answered = true;
        }
        Some(line)
    }

    /// The records of `prev` that a replica had not applied, as it showed last.
    fn lacking(&self, replica: &ReplicaId, prev: &Timestamp, names: &Names) -> Option<Wait> {
        let applied = self.applied.get(replica)?;
        let lacks: Vec<String> = prev
            .iter()
            .filter(|(id, count)| applied.get(id) < *count)
            .map(|(id, count)| format!("{}:{count}", names.of(id)))
            .collect();
        if lacks.is_empty() {
            return None;
        }
        let text = format!("had not shown {} of prev as applied when it was asked", lacks.join(" "));
        Some(Wait { process: replica.to_string(), text })
    }
}

/// State while a recording is gone through.
#[derive(Default)]
struct Seen {
    /// Reply subjects of requests that belong to it, with the numbers of those requests.
    replies: HashMap<String, Vec<u64>>,
    /// Reply subjects of the client's own requests.
    client: BTreeSet<String>,
    records: BTreeSet<RecordRef>,
    holders: BTreeSet<ReplicaId>,
    applied: BTreeSet<ReplicaId>,
    is_answered: bool,
}

/// Whether a message is the client's request.
fn is_request(heard: &Heard, wanted: &Wanted) -> bool {
    let What::Asked(_, request) = &heard.what else { return false };
    match (&**request, wanted) {
        (ClientRequest::Update { id: Some(id), .. }, Wanted::Update(_, wanted)) => id == wanted,
        (ClientRequest::Query { request, .. }, Wanted::Query(wanted)) => request == wanted,
        _ => false,
    }
}

/// The replica that shows timestamps, the records that it holds, and those that it has applied.
fn timestamps(heard: &Heard) -> Option<(&ReplicaId, Option<&Timestamp>, Option<&Timestamp>)> {
    match &heard.what {
        What::Presence(presence) => {
            let held = presence.replica_timestamp.as_ref().map(|it| &it.replicas);
            Some((&presence.id, held, presence.value_timestamp.as_ref().map(|it| &it.replicas)))
        }
        What::Gossip(gossip) => {
            Some((&gossip.id, Some(&gossip.replica_timestamp.replicas), Some(&gossip.value_timestamp.replicas)))
        }
        _ => None,
    }
}

fn covers(timestamp: &Timestamp, records: &BTreeSet<RecordRef>) -> bool {
    records.iter().any(|record| timestamp.get(&record.i) >= record.seq)
}
