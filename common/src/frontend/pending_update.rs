//! State of an update that has no answer yet.

use smallvec::{SmallVec, smallvec};

use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::label::Label;
use crate::messages::Refusal;
use crate::record::RecordRef;
use crate::request::{Answer, Update};
use crate::timestamp::Timestamp;

/// Mostly one, which needs no memory of its own.
pub(super) type Few<T> = SmallVec<[T; 1]>;

/// An update that has no answer yet. Of all that there may be several of there is mostly one, and seldom more than three:
/// a vector holds them.
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
    /// The latest wall clock that its stamp may follow, in Unix milliseconds: that of a replica which refused a stamp as too
    /// far ahead.
    pub(super) wall_ms_max: u64,
    /// Whether nobody else can have been asked to accept this id.
    pub(super) fresh: bool,
    /// Whether it counts as fresh once everybody has said that it is not held.
    pub(super) may_be_fresh: bool,
    pub(super) deadline_ms: u64,
    pub(super) wake_ms: u64,
    /// While the id is looked up: who has not answered yet, with the number of the attempt.
    pub(super) looking_up: Vec<(u64, ReplicaId)>,
    /// Whether everybody who was asked has said that it does not hold the id.
    pub(super) held_by_nobody: bool,
    /// Every replica that the look-up asks.
    pub(super) looked_up: Vec<ReplicaId>,
    /// Whether everybody who may hold it could be asked.
    pub(super) everybody_was_asked: bool,
    /// Whether the id is looked up because of a refusal.
    pub(super) verifying: bool,
    /// Whether that look-up began when all who may have accepted it were known to be dead.
    pub(super) verified_dead: bool,
    /// The replica that is asked to accept it now.
    pub(super) acceptor: Option<ReplicaId>,
    /// The replica that asked for another stamp last: it holds what the stamp has to be above, and others may not yet.
    pub(super) stamper: Option<ReplicaId>,
    /// Replicas that were asked to accept it in this round.
    pub(super) asked: Few<ReplicaId>,
    /// Attempts to have it accepted that may have succeeded, by number, with the replica asked. A replica may appear
    /// twice.
    pub(super) uncertain: Few<(u64, ReplicaId)>,
    /// Replicas that were asked to confirm it and have not answered yet.
    pub(super) confirming: Few<ReplicaId>,
    /// Replicas that were asked to confirm it in this round and could not, or hold another record of it.
    pub(super) declined: Vec<ReplicaId>,
    /// Records of it, each with the replicas that said they hold it; both in ascending order.
    pub(super) holders: Few<(RecordRef, SmallVec<[ReplicaId; 2]>)>,
    /// The answers of the replicas that accepted it, each with the record that it was given for.
    pub(super) values: Few<(RecordRef, Answer)>,
    /// Retired ids of `prev`, by the record that stands for their updates.
    pub(super) retired: Vec<(RecordRef, Timestamp)>,
    /// At least the stamp of every record that the label will cover.
    pub(super) clock: Stamp,
    /// A refusal that is not certain while somebody may have accepted it.
    pub(super) refused: Option<(Refusal, Label)>,
    /// Whether somebody lacked something of `prev`.
    pub(super) behind: bool,
    pub(super) attempts: SmallVec<[u64; 2]>,
}

impl PendingUpdate {
    /// An update that no replica was asked to accept yet.
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
            wall_ms_max: u64::MAX,
            fresh: false,
            may_be_fresh: false,
            deadline_ms,
            wake_ms: 0,
            looking_up: Vec::new(),
            held_by_nobody: false,
            looked_up: Vec::new(),
            everybody_was_asked: false,
            verifying: false,
            verified_dead: false,
            acceptor: None,
            stamper: None,
            asked: SmallVec::new(),
            uncertain: SmallVec::new(),
            confirming: SmallVec::new(),
            declined: Vec::new(),
            holders: SmallVec::new(),
            values: SmallVec::new(),
            retired: Vec::new(),
            clock: Stamp::ZERO,
            refused: None,
            behind: false,
            attempts: SmallVec::new(),
        }
    }

    /// The answer for the record at this place of `holders`, if a replica gave one. The answer for another record of
    /// the update does as well, but for a DELETE: each record tells which rating it took away, and its label only
    /// covers that.
    pub(super) fn answer_of(&self, place: usize) -> Option<&Answer> {
        let (record, _) = self.holders.get(place)?;
        let its_own = self.values.iter().find(|(of, _)| of == record);
        let any = || self.values.first().filter(|_| self.request.stars().is_some());
        its_own.or_else(any).map(|(_, answer)| answer)
    }

    /// Takes that answer out, where there is nothing more to be asked of the update.
    pub(super) fn take_answer_of(&mut self, place: usize) -> Option<Answer> {
        let (record, _) = self.holders.get(place)?;
        let its_own = self.values.iter().position(|(of, _)| of == record);
        let any = || (self.request.stars().is_some() && !self.values.is_empty()).then_some(0);
        let place = its_own.or_else(any)?;
        Some(self.values.swap_remove(place).1)
    }

    /// Retired ids for whose updates the record at this place of `holders` stands.
    pub(super) fn retired_of(&self, place: usize) -> Option<&Timestamp> {
        let (record, _) = self.holders.get(place)?;
        self.retired.iter().find(|(of, _)| of == record).map(|(_, retired)| retired)
    }

    /// Replicas that hold the record at this place of `holders`.
    pub(super) fn holders_at(&self, place: usize) -> &[ReplicaId] {
        self.holders.get(place).map_or(&[], |(_, holders)| holders)
    }

    /// Whether every replica that was asked to accept it has said that it did not. One that accepted it and died may
    /// have passed it on before.
    pub(super) fn can_be_held_by_nobody(&self) -> bool {
        self.uncertain.is_empty() && self.holders.is_empty()
    }

    /// `replica` says that it holds these records of the update.
    pub(super) fn is_held_by(&mut self, replica: &ReplicaId, records: Vec<RecordRef>, clock: Stamp) {
        self.clock = self.clock.max(clock);
        // The update is accepted: a refusal by another replica does not count any more.
        self.refused = None;
        for record in records {
            match self.holders.binary_search_by(|(known, _)| known.cmp(&record)) {
                Ok(place) => {
                    let holders = &mut self.holders[place].1;
                    if let Err(place) = holders.binary_search(replica) {
                        holders.insert(place, replica.clone());
                    }
                }
                Err(place) => self.holders.insert(place, (record, smallvec![replica.clone()])),
            }
        }
    }
}
