//! Messages between frontends and replicas, and requests among replicas.

use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{
    Acknowledgement, ConfirmRequest, LogPage, LogRequest, QueryRequest, Refusal, Replies, Reply, Requests, Role,
    SnapshotPart, SnapshotReply, SnapshotRequest, StatusReply, StatusRequest, UpdateRequest,
};
use natter_common::request::Query;

use super::clients::OTHERS;
use super::event::{Draft, Item, Kind, counted, shown};
use super::pending::Asked;
use super::updates::described;
use super::{Arrival, Micros, Model, Unreadable, decode, id_of};

/// Name of the sender where several frontends are there and the reply subject names none.
const A_FRONTEND: &str = "a frontend";

impl Model {
    /// A message to a replica.
    pub(super) fn hear_request(
        &mut self,
        id: &str,
        endpoint: &str,
        arrival: Arrival<'_>,
        now: Micros,
    ) -> Result<(), Unreadable> {
        let id = id_of(id)?;
        // Processes try at their start whether the broker permits what they need, with empty messages.
        if arrival.payload.is_empty() && endpoint != "status" {
            return Ok(());
        }
        match endpoint {
            "update" => self.hear_updates(&id, arrival, now),
            "confirm" => self.hear_confirms(&id, arrival, now),
            "query" => self.hear_queries(&id, arrival, now),
            "acknowledge" => self.hear_acknowledgement(&id, decode(arrival.payload)?, now),
            "log" => self.hear_pull(&id, arrival, now),
            "snapshot" => self.hear_snapshot_request(&id, arrival, now),
            "status" => self.hear_status_request(&id, arrival, now),
            _ => Err("a replica has no such endpoint".into()),
        }
    }

    fn hear_updates(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let Requests::<UpdateRequest> { requests } = decode(arrival.payload)?;
        let from = self.frontend_of(arrival.reply);
        let what = match &requests[..] {
            [only] => format!("asks to accept {}", described(&only.request)),
            several => format!("asks to accept {}", counted(several.len(), "update")),
        };
        let mut draft = Draft::new(Kind::Accept, from.clone(), vec![id.to_string()], what);
        for request in &requests {
            self.claim(&from, Some(request.id), Some(&request.request), None);
            self.updates.asked(request.id, &request.request, Some(request.stamp), now);
            self.updates.passed_on(request.id);
            draft.list(|| Item {
                update: Some(request.id.to_string()),
                what: described(&request.request),
                prev: Some(shown(&request.prev)),
                stamp: Some(request.stamp.0.to_string()),
                ..Item::default()
            });
        }
        let updates = requests.iter().map(|request| (request.n, request.id)).collect();
        self.ask(draft, arrival.reply, updates, now);
        Ok(())
    }

    fn hear_confirms(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let Requests::<ConfirmRequest> { requests } = decode(arrival.payload)?;
        let from = self.frontend_of(arrival.reply);
        let what = format!("asks whether {} is held", counted(requests.len(), "update"));
        let mut draft = Draft::new(Kind::Confirm, from.clone(), vec![id.to_string()], what);
        for request in &requests {
            self.claim(&from, Some(request.id), None, None);
            draft.list(|| Item { update: Some(request.id.to_string()), ..Item::default() });
        }
        let updates = requests.iter().map(|request| (request.n, request.id)).collect();
        self.ask(draft, arrival.reply, updates, now);
        Ok(())
    }

    fn hear_queries(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let Requests::<QueryRequest> { requests } = decode(arrival.payload)?;
        let from = self.frontend_of(arrival.reply);
        let what = match &requests[..] {
            [only] => format!("asks to {}", asked_for(&only.request)),
            several => format!("asks {}", counted(several.len(), "question")),
        };
        let mut draft = Draft::new(Kind::Query, from.clone(), vec![id.to_string()], what);
        for request in &requests {
            self.claim(&from, None, None, Some(&request.request));
            draft.list(|| Item {
                what: asked_for(&request.request),
                prev: Some(shown(&request.prev)),
                ..Item::default()
            });
        }
        self.ask(draft, arrival.reply, Vec::new(), now);
        Ok(())
    }

    fn hear_acknowledgement(
        &mut self,
        origin: &ReplicaId,
        acknowledgement: Acknowledgement,
        now: Micros,
    ) -> Result<(), Unreadable> {
        let Acknowledgement { id, replica_timestamp } = acknowledgement;
        let held = &replica_timestamp.replicas;
        let what = format!("holds {origin}:{}", held.get(origin));
        let mut draft = Draft::new(Kind::Acknowledgement, id.to_string(), vec![origin.to_string()], what);
        let known = self.progress.held_by(&id).get(origin);
        for (update, record) in self.updates.records_between(origin, known, held.get(origin)) {
            draft.list(|| Item { update: Some(update), record: Some(record), ..Item::default() });
        }
        self.history.add(draft, now);
        self.progress.shows(&id, Some(held), None, None, now);
        Ok(())
    }

    fn hear_pull(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let request: LogRequest = decode(arrival.payload)?;
        let what = format!("asks for records beyond {}", shown(&request.have.replicas));
        let draft = Draft::new(Kind::Pull, request.id.to_string(), vec![id.to_string()], what);
        self.ask(draft, arrival.reply, Vec::new(), now);
        Ok(())
    }

    fn hear_snapshot_request(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let request: SnapshotRequest = decode(arrival.payload)?;
        let what = if request.snapshot == 0 { "asks for a snapshot" } else { "asks for the next chunk" };
        let draft = Draft::new(Kind::Snapshot, request.id.to_string(), vec![id.to_string()], what.to_owned());
        self.ask(draft, arrival.reply, Vec::new(), now);
        Ok(())
    }

    fn hear_status_request(&mut self, id: &ReplicaId, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let request: StatusRequest = decode(arrival.payload)?;
        let what =
            request.mode.map_or_else(|| "asks for the status".to_owned(), |mode| format!("sets the mode {mode}"));
        let from = self.clients.name_of(arrival.reply, now);
        let draft = Draft::new(Kind::Status, from, vec![id.to_string()], what);
        self.ask(draft, arrival.reply, Vec::new(), now);
        Ok(())
    }

    /// The answer of a replica.
    pub(super) fn hear_replies(&mut self, asked: &Asked, arrival: Arrival<'_>, now: Micros) -> Result<(), Unreadable> {
        let from = asked.to.clone().unwrap_or_default();
        let mut draft = Draft::new(asked.kind, from, vec![asked.from.clone()], String::new()).answering(asked.seq);
        if let Some(error) = arrival.error {
            draft.failed = true;
            error.clone_into(&mut draft.what);
            self.history.add(draft, now);
            return Ok(());
        }
        // The broker's message that there is no subscriber has neither a body nor such a header.
        if arrival.payload.is_empty() {
            draft.failed = true;
            "there is no subscriber".clone_into(&mut draft.what);
            self.history.add(draft, now);
            return Ok(());
        }
        match asked.kind {
            Kind::Pull => {
                let page: LogPage = decode(arrival.payload)?;
                draft.what = format!("sends {}", counted(page.records.len(), "record"));
                for record in &page.records {
                    self.note_record(record, now);
                    draft.list(|| super::gossip::item_of(record));
                }
            }
            Kind::Snapshot => {
                let reply: SnapshotReply = decode(arrival.payload)?;
                draft.what = match reply.part {
                    SnapshotPart::Chunk(chunk) => format!("sends {} of a snapshot", counted(chunk.rows.len(), "row")),
                    SnapshotPart::Unavailable { reason } => format!("has no such snapshot: {reason}"),
                };
            }
            Kind::Status => {
                let reply: StatusReply = decode(arrival.payload)?;
                draft.what = format!("is {} (mode {})", reply.status, reply.mode);
            }
            _ => self.read_replies(&mut draft, asked, decode(arrival.payload)?, now),
        }
        self.history.add(draft, now);
        Ok(())
    }

    fn read_replies(&mut self, draft: &mut Draft, asked: &Asked, Replies { id, replies }: Replies, now: Micros) {
        draft.from = id.to_string();
        let outcomes: Vec<_> = replies.iter().map(|numbered| outcome(&numbered.reply)).collect();
        draft.failed = replies.iter().any(|numbered| has_failed(&numbered.reply));
        draft.what = match &outcomes[..] {
            [only] => only.clone(),
            several if several.iter().all(|outcome| *outcome == several[0]) => {
                format!("{} times {}", several.len(), several[0])
            }
            several => counted(several.len(), "answer"),
        };
        for (numbered, what) in replies.into_iter().zip(outcomes) {
            let update = asked.updates.iter().find(|(n, _)| *n == numbered.n).map(|(_, update)| *update);
            let (label, records) = match &numbered.reply {
                Reply::Accepted { records, .. } | Reply::Held { records, .. } => (None, &records[..]),
                Reply::Answered { label, .. } | Reply::Refused { label, .. } => (Some(&label.replicas), &[][..]),
                _ => (None, &[][..]),
            };
            if let Some(update) = update {
                for record in records {
                    self.updates.recorded(update, record, now);
                }
            }
            draft.list(|| Item {
                update: update.map(|update: UpdateId| update.to_string()),
                what,
                label: label.map(shown),
                record: records.first().map(ToString::to_string),
                ..Item::default()
            });
        }
    }

    /// Adds a request and remembers it until its reply comes.
    pub(super) fn ask(&mut self, draft: Draft, reply: Option<&str>, updates: Vec<(u64, UpdateId)>, now: Micros) -> u64 {
        let (kind, from, what) = (draft.kind, draft.from.clone(), draft.what.clone());
        let (to, operations) = (draft.to.first().cloned(), (draft.items.len() + draft.more).max(1));
        let seq = self.history.add(draft, now);
        if let Some(reply) = reply {
            self.pending.add(reply, Asked { seq, kind, from, to, at: now, updates, operations, what });
        }
        seq
    }

    /// The frontend that asks: its reply subject names it as `....<frontend>.<replica>.<numbers>`.
    fn frontend_of(&self, reply: Option<&str>) -> String {
        let named = reply.and_then(|reply| reply.rsplit('.').nth(2));
        match named {
            Some(id) if self.processes.of(Role::Frontend).contains_key(id) => self.processes.process_of(id),
            _ => self.processes.only_frontend().unwrap_or_else(|| A_FRONTEND.to_owned()),
        }
    }

    /// Whether a reply subject names a frontend that is there.
    pub(super) fn is_to_frontend(&self, subject: &str) -> bool {
        let named = subject.rsplit('.').nth(2);
        named.is_some_and(|id| self.processes.of(Role::Frontend).contains_key(id))
    }

    /// The request of a client that a frontend passes on now is one that this frontend received.
    fn claim(
        &mut self,
        frontend: &str,
        id: Option<UpdateId>,
        update: Option<&natter_common::request::Update>,
        query: Option<&Query>,
    ) {
        if frontend == A_FRONTEND || frontend == OTHERS {
            return;
        }
        if let Some((seq, reply)) = self.updates.claimed(id, update, query) {
            self.history.correct(seq, frontend);
            self.pending.resolve(&reply, frontend);
        }
    }
}

/// A question in words.
pub(super) fn asked_for(query: &Query) -> String {
    match query {
        Query::Read { user_id, movie_id } => format!("read user {user_id}, movie {movie_id}"),
        Query::All { user_id, .. } => format!("list the ratings of user {user_id}"),
        Query::Average { movie_id } => format!("tell the average of movie {movie_id}"),
        Query::Search { title, .. } => format!("search for {:?}", title.chars().take(40).collect::<String>()),
    }
}

fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Accepted { .. } => "accepted".to_owned(),
        Reply::Answered { .. } => "answered".to_owned(),
        Reply::Held { .. } => "held".to_owned(),
        Reply::NotHeld => "not held".to_owned(),
        Reply::Refused { refusal, .. } => format!("refused: {}", Refusal::name(*refusal)),
        Reply::StampAgain { .. } => "needs a greater stamp".to_owned(),
        Reply::StampAhead { .. } => "the stamp is too far ahead".to_owned(),
        Reply::IdInUse => "the id belongs to another update".to_owned(),
        Reply::Behind => "behind: lacks part of prev".to_owned(),
        Reply::NotServing => "not serving".to_owned(),
    }
}

fn has_failed(reply: &Reply) -> bool {
    !matches!(reply, Reply::Accepted { .. } | Reply::Answered { .. } | Reply::Held { .. } | Reply::NotHeld)
}
