//! What is known of an update that has no answer yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::label::Label;
use crate::messages::Refusal;
use crate::record::RecordRef;
use crate::request::{Answer, Update};

/// An update that has no answer yet.
#[derive(Clone, Debug)]
pub(super) struct PendingUpdate {
    pub(super) client: u64,
    pub(super) token: u64,
    pub(super) id: UpdateId,
    pub(super) request: Update,
    pub(super) prev: Label,
    /// Whether this frontend itself has seen all that the session has seen.
    pub(super) seen_here: bool,
    pub(super) stamp: Stamp,
    pub(super) stamped_again: u32,
    /// Whether nobody else can have been asked to accept this id.
    pub(super) fresh: bool,
    /// Whether it counts as fresh once everybody has said that it is not held.
    pub(super) may_be_fresh: bool,
    pub(super) deadline_ms: u64,
    pub(super) wake_ms: u64,
    /// While the id is looked up: who has not answered yet.
    pub(super) looking_up: BTreeSet<ReplicaId>,
    /// Whether everybody who was asked has said that it does not hold the id.
    pub(super) held_by_nobody: bool,
    /// Whether the id is looked up because of a refusal.
    pub(super) verifying: bool,
    /// Whether that look-up began when all who may have accepted it were known to be dead.
    pub(super) verified_dead: bool,
    /// Who is asked to accept it now.
    pub(super) acceptor: Option<ReplicaId>,
    /// Who was asked to accept it in this round.
    pub(super) asked: BTreeSet<ReplicaId>,
    /// Attempts to have it accepted that may have succeeded, by number, and who was asked. One may have been asked twice.
    pub(super) uncertain: BTreeMap<u64, ReplicaId>,
    /// Who was asked to confirm it and has not answered yet.
    pub(super) confirming: BTreeSet<ReplicaId>,
    /// Who was asked to confirm it in this round and could not.
    pub(super) declined: BTreeSet<ReplicaId>,
    /// Who holds which record of it, in their own words.
    pub(super) holders: BTreeMap<RecordRef, BTreeSet<ReplicaId>>,
    /// The answers of those who accepted it, by the record that they gave it for.
    pub(super) values: BTreeMap<RecordRef, Answer>,
    /// At least the stamp of every record that the label will cover.
    pub(super) clock: Stamp,
    /// A refusal that is not certain while somebody may have accepted it.
    pub(super) refused: Option<(Refusal, Label)>,
    /// Whether somebody lacked something of `prev`.
    pub(super) behind: bool,
    pub(super) attempts: Vec<u64>,
}

impl PendingUpdate {
    /// Nobody has been asked yet.
    pub(super) fn new(
        client: u64,
        token: u64,
        id: UpdateId,
        request: Update,
        prev: Label,
        stamp: Stamp,
        deadline_ms: u64,
    ) -> Self {
        Self {
            client,
            token,
            id,
            request,
            prev,
            seen_here: false,
            stamp,
            stamped_again: 0,
            fresh: false,
            may_be_fresh: false,
            deadline_ms,
            wake_ms: 0,
            looking_up: BTreeSet::new(),
            held_by_nobody: false,
            verifying: false,
            verified_dead: false,
            acceptor: None,
            asked: BTreeSet::new(),
            uncertain: BTreeMap::new(),
            confirming: BTreeSet::new(),
            declined: BTreeSet::new(),
            holders: BTreeMap::new(),
            values: BTreeMap::new(),
            clock: Stamp::ZERO,
            refused: None,
            behind: false,
            attempts: Vec::new(),
        }
    }

    /// The answer that goes with `record`, if somebody gave it. That of another record of the update does as well, but for
    /// a DELETE: each record tells what it took away, and its label only covers that.
    pub(super) fn answer(&self, record: &RecordRef) -> Option<&Answer> {
        let any = || self.values.values().next().filter(|_| self.request.stars().is_some());
        self.values.get(record).or_else(any)
    }

    /// Whether all who were asked to accept it have said that they did not. Who did, and died, may have passed it on before.
    pub(super) fn can_be_held_by_nobody(&self) -> bool {
        self.uncertain.is_empty() && self.holders.is_empty()
    }

    /// `replica` says that it holds these records of the update.
    pub(super) fn is_held_by(&mut self, replica: &ReplicaId, records: Vec<RecordRef>, clock: Stamp) {
        self.clock = self.clock.max(clock);
        // Whatever others refused since, it is accepted.
        self.refused = None;
        for record in records {
            self.holders.entry(record).or_default().insert(replica.clone());
        }
    }
}
