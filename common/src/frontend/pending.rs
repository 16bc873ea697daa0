//! Pending requests: those of clients that have no answer, and those to replicas that have no reply.

use super::pending_update::PendingUpdate;
use super::query::PendingQuery;
use crate::ids::ReplicaId;
use crate::messages::Reply;

/// A request that has no answer yet.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Query(Box<PendingQuery>),
    Update(Box<PendingUpdate>),
}

/// A request to a replica manager that has no reply yet.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) n: u64,
    pub(super) token: u64,
    pub(super) replica: ReplicaId,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Query,
    Accept,
    Confirm,
    LookUp,
}

/// Outcome of an attempt.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// An answer.
    Reply(Reply),
    /// The replica manager is gone; whether it did what it was asked is unknown.
    Gone,
    /// The request reached no replica.
    Undelivered,
    /// The request or its reply is most likely lost; the replica manager is there and can be asked again.
    Lost,
}

impl Pending {
    pub(super) fn wake_ms(&self) -> u64 {
        match self {
            Self::Query(query) => query.wake_ms,
            Self::Update(update) => update.wake_ms,
        }
    }

    pub(super) fn set_wake_ms(&mut self, wake_ms: u64) {
        match self {
            Self::Query(query) => query.wake_ms = wake_ms,
            Self::Update(update) => update.wake_ms = wake_ms,
        }
    }

    /// The time by which the client has its answer.
    pub(super) fn deadline_ms(&self) -> u64 {
        match self {
            Self::Query(query) => query.deadline_ms(),
            Self::Update(update) => update.deadline_ms,
        }
    }

    pub(super) fn attempts(&self) -> &[u64] {
        match self {
            Self::Query(query) => &query.attempts,
            Self::Update(update) => &update.attempts,
        }
    }
}
