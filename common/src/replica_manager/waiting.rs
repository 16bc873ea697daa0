//! Requests that wait: for the value to cover what they have seen, or for an update to be held.

use std::collections::{BTreeMap, BTreeSet};

use super::io::ReplyTo;
use crate::ids::{ReplicaId, UpdateId};
use crate::messages::{QueryRequest, UpdateRequest};
use crate::timestamp::Timestamp;

/// Maximum requests that may wait at one replica. Further ones are sent away at once.
pub const WAITING_MAX: usize = 16_384;

/// A request that the value does not allow to answer yet.
#[derive(Clone, Debug)]
pub enum Request {
    /// To read.
    Query(QueryRequest),
    /// To modify.
    Update(UpdateRequest),
}

/// A request, with the address of the answer and the end of the wait.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Address of the answer.
    pub to: ReplyTo,
    /// The request itself.
    pub request: Request,
    /// Time at which the wait is over, in milliseconds.
    pub deadline_ms: u64,
    /// Time at which the wait began, in milliseconds.
    pub since_ms: u64,
}

/// One update that a request waits for, and a ticket to tell requests apart.
type Place = (ReplicaId, u64, u64);

/// Requests, each parked at one update that it lacks, so that an update that is applied finds exactly those that waited
/// for it.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    parked: BTreeMap<Place, Parked>,
    deadlines: BTreeSet<(u64, Place)>,
    tickets: u64,
}

impl Waiting {
    /// Number of waiting requests.
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Whether no further request may wait.
    pub fn is_full(&self) -> bool {
        self.parked.len() >= WAITING_MAX
    }

    /// Waits until record `seq` of `origin` is applied.
    pub fn park(&mut self, origin: &ReplicaId, seq: u64, parked: Parked) {
        self.tickets += 1;
        let place = (origin.clone(), seq, self.tickets);
        self.deadlines.insert((parked.deadline_ms, place.clone()));
        self.parked.insert(place, parked);
    }

    /// Takes out the requests whose missing update `value_timestamp` covers now, first come first.
    pub fn take_covered(&mut self, value_timestamp: &Timestamp) -> Vec<Parked> {
        let mut places = Vec::new();
        if !self.parked.is_empty() {
            for (origin, count) in value_timestamp.iter() {
                let range = (origin.clone(), 0, 0)..=(origin.clone(), count, u64::MAX);
                places.extend(self.parked.range(range).map(|(place, _)| place.clone()));
            }
        }
        places.sort_by_key(|place| place.2);
        places.into_iter().filter_map(|place| self.take(&place)).collect()
    }

    /// Takes out the requests whose wait is over.
    pub fn take_expired(&mut self, now_ms: u64) -> Vec<Parked> {
        let mut expired = Vec::new();
        while let Some((deadline_ms, place)) = self.deadlines.first().cloned() {
            if deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_first();
            expired.extend(self.parked.remove(&place));
        }
        expired
    }

    /// Takes out all waiting requests.
    pub fn take_all(&mut self) -> Vec<Parked> {
        self.deadlines.clear();
        std::mem::take(&mut self.parked).into_values().collect()
    }

    /// Drops all waiting requests without an answer.
    pub fn clear(&mut self) {
        self.parked.clear();
        self.deadlines.clear();
    }

    /// Whether a request has waited since before `before_ms`.
    pub fn has_waited_since(&self, before_ms: u64) -> bool {
        self.parked.values().any(|parked| parked.since_ms <= before_ms)
    }

    fn take(&mut self, place: &Place) -> Option<Parked> {
        let parked = self.parked.remove(place)?;
        self.deadlines.remove(&(parked.deadline_ms, place.clone()));
        Some(parked)
    }
}

/// A confirm whose update is not held yet.
#[derive(Clone, Debug)]
pub struct WaitingConfirm {
    /// Address of the answer.
    pub to: ReplyTo,
    /// Replica that was asked to accept the update.
    pub acceptor: Option<ReplicaId>,
    /// Time at which the wait is over, in milliseconds.
    pub deadline_ms: u64,
    /// Time at which the wait began, in milliseconds.
    pub since_ms: u64,
    /// Whether the acceptor was asked for its log because of it.
    pub pulled: bool,
}

/// Confirms by the update that they wait for.
#[derive(Clone, Debug, Default)]
pub struct Confirms {
    waiting: BTreeMap<UpdateId, Vec<WaitingConfirm>>,
    deadlines: BTreeSet<(u64, UpdateId)>,
    length: usize,
}

impl Confirms {
    /// Whether no further request may wait.
    pub fn is_full(&self) -> bool {
        self.length >= WAITING_MAX
    }

    /// Waits until `id` is held.
    pub fn wait(&mut self, id: UpdateId, confirm: WaitingConfirm) {
        self.length += 1;
        self.deadlines.insert((confirm.deadline_ms, id));
        self.waiting.entry(id).or_default().push(confirm);
    }

    /// Takes out the requests that wait for `id`.
    pub fn take(&mut self, id: &UpdateId) -> Vec<WaitingConfirm> {
        if self.length == 0 {
            return Vec::new();
        }
        let confirms = self.waiting.remove(id).unwrap_or_default();
        for confirm in &confirms {
            self.deadlines.remove(&(confirm.deadline_ms, *id));
        }
        self.length -= confirms.len();
        confirms
    }

    /// Takes out the requests whose wait is over.
    pub fn take_expired(&mut self, now_ms: u64) -> Vec<WaitingConfirm> {
        let mut expired = Vec::new();
        while let Some((deadline_ms, id)) = self.deadlines.first().copied() {
            if deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_first();
            if let Some(confirms) = self.waiting.get_mut(&id) {
                expired.extend(confirms.extract_if(.., |confirm| confirm.deadline_ms <= now_ms));
                if confirms.is_empty() {
                    self.waiting.remove(&id);
                }
            }
        }
        self.length -= expired.len();
        expired
    }

    /// Drops all waiting requests without an answer.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Acceptors of the confirms that have waited since before `before_ms`; each is named once.
    pub fn take_acceptors_waited_for_since(&mut self, before_ms: u64) -> BTreeSet<ReplicaId> {
        let late = self.waiting.values_mut().flatten().filter(|confirm| confirm.since_ms <= before_ms);
        late.filter_map(|confirm| match std::mem::replace(&mut confirm.pulled, true) {
            true => None,
            false => confirm.acceptor.clone(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
