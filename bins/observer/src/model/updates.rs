//! The latest updates, and which frontend a client's request reached.

use std::collections::{BTreeMap, HashMap, VecDeque};

use natter_common::clock::Stamp;
use natter_common::edge::SingleOperation;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::rating::RatingKey;
use natter_common::record::RecordRef;
use natter_common::request::{Query, Update};

use super::Micros;

/// Maximum updates that are remembered, so that records can be named by their updates. The oldest are forgotten first.
const UPDATES_MAX: usize = 2_048;
/// Maximum client requests whose frontend is still unknown.
const CLAIMS_MAX: usize = 512;

/// An update that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: UpdateId,
    pub(super) what: String,
    pub(super) stamp: Option<Stamp>,
    pub(super) record: Option<RecordRef>,
    pub(super) first_seen: Micros,
    /// Time of the first record, and of the answer to the client.
    pub(super) accepted: Option<Micros>,
    pub(super) answered: Option<Micros>,
    /// Whether a frontend asked a replica by message to accept it.
    is_passed_on: bool,
}

/// The part of a client's request by which the frontend's request to a replica is recognised.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claim {
    Id(UpdateId),
    Update(RatingKey),
    Query(Query),
}

impl Claim {
    pub(super) fn of(operation: &SingleOperation) -> Self {
        match operation {
            SingleOperation::Update { id: Some(id), .. } => Self::Id(*id),
            SingleOperation::Update { request, id: None } => Self::Update(request.key()),
            SingleOperation::Query(query) => Self::Query(query.clone()),
        }
    }
}

/// Updates by id.
#[derive(Debug, Default)]
pub(super) struct Updates {
    seen: HashMap<UpdateId, Seen>,
    order: VecDeque<UpdateId>,
    by_record: BTreeMap<RecordRef, UpdateId>,
    claims: VecDeque<(Claim, u64, String)>,
}

impl Updates {
    /// Notes a request for an update.
    pub(super) fn asked(&mut self, id: UpdateId, request: &Update, stamp: Option<Stamp>, now: Micros) {
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.stamp = stamp.or(seen.stamp);
            return;
        }
        if self.order.len() >= UPDATES_MAX
            && let Some(forgotten) = self.order.pop_front().and_then(|oldest| self.seen.remove(&oldest))
            && let Some(record) = forgotten.record
        {
            self.by_record.remove(&record);
        }
        let what = described(request);
        let seen = Seen {
            id,
            what,
            stamp,
            record: None,
            first_seen: now,
            accepted: None,
            answered: None,
            is_passed_on: false,
        };
        self.seen.insert(id, seen);
        self.order.push_back(id);
    }

    /// Notes the record of an update. An update with several records keeps the first one.
    pub(super) fn recorded(&mut self, id: UpdateId, record: &RecordRef, now: Micros) {
        let Some(seen) = self.seen.get_mut(&id) else { return };
        if seen.record.is_none() {
            seen.record = Some(record.clone());
            seen.accepted = Some(now);
            self.by_record.insert(record.clone(), id);
        }
    }

    /// Notes that the client has its answer.
    pub(super) fn answered(&mut self, id: UpdateId, now: Micros) {
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.answered.get_or_insert(now);
        }
    }

    /// Known updates and records of an origin after one number, up to another one.
    pub(super) fn records_between(&self, origin: &ReplicaId, after: u64, to: u64) -> Vec<(String, String)> {
        // Only the latest ones are known at all.
        let first = (after + 1).max(to.saturating_sub(64));
        let known = (first..=to).filter_map(|seq| {
            let record = RecordRef { i: origin.clone(), seq };
            self.by_record.get(&record).map(|id| (id.to_string(), record.to_string()))
        });
        known.collect()
    }

    /// The latest updates, newest first.
    pub(super) fn latest(&self, count: usize) -> impl Iterator<Item = &Seen> {
        self.order.iter().rev().take(count).filter_map(|id| self.seen.get(id))
    }

    /// Remembers a client's request until a frontend shows that it has it.
    pub(super) fn await_claim(&mut self, claim: Claim, seq: u64, reply: &str) {
        if self.claims.len() >= CLAIMS_MAX {
            self.claims.pop_front();
        }
        self.claims.push_back((claim, seq, reply.to_owned()));
    }

    /// Notes that a frontend asks a replica by message to accept the update.
    pub(super) fn passed_on(&mut self, id: UpdateId) {
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.is_passed_on = true;
        }
    }

    /// Whether a client asked for this update, and no frontend passed it on by message.
    pub(super) fn is_inner(&self, id: UpdateId) -> bool {
        self.seen.get(&id).is_some_and(|seen| !seen.is_passed_on && seen.record.is_none())
    }

    /// The client's request that a frontend passes on: its event and its reply subject.
    pub(super) fn claimed(
        &mut self,
        id: Option<UpdateId>,
        update: Option<&Update>,
        query: Option<&Query>,
    ) -> Option<(u64, String)> {
        let fits = |claim: &Claim| match claim {
            Claim::Id(claimed) => id == Some(*claimed),
            Claim::Update(key) => update.is_some_and(|update| update.key() == *key),
            Claim::Query(claimed) => query == Some(claimed),
        };
        let position = self.claims.iter().position(|(claim, ..)| fits(claim))?;
        self.claims.remove(position).map(|(_, seq, reply)| (seq, reply))
    }
}

/// An update in words.
pub(super) fn described(update: &Update) -> String {
    let RatingKey { user_id, movie_id } = update.key();
    let method = update.method().to_lowercase();
    match update.stars() {
        Some(stars) => format!("{method} user {user_id}, movie {movie_id}: {stars}"),
        None => format!("{method} user {user_id}, movie {movie_id}"),
    }
}
