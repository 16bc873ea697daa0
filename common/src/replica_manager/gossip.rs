//! Gossip: telling others what is new, and taking in what they tell.

use std::sync::Arc;

use super::update_log::{Inserted, UpdateLog};
use super::{Notice, Output, ReplicaManager, Step};
use crate::ids::ReplicaId;
use crate::messages::{Acknowledgement, Gossip, Presence, Replicas, Status};
use crate::record::{COPIES_MAX, Record, RecordRef};
use crate::roster::{Change, MEMBERS_MAX, PRESENCE_INTERVAL_MS};
use crate::timestamp::{COUNT_MAX, Timestamp};
use crate::value::{Digest, ValueError};

/// Maximum records in a gossip message.
const GOSSIP_RECORDS_MAX: usize = 1000;
/// Pause before another snapshot is taken of a replica that still differs, in milliseconds, doubled each time up to the
/// second: its own exchange may not be over, and where damage is the reason none helps.
const EXCHANGE_PAUSE_MS: u64 = 2_000;
const EXCHANGE_PAUSE_MS_MAX: u64 = 60_000;
/// A newcomer is shown who is there at most so long after the presence before, in milliseconds.
const NEWCOMERS_WAIT_MS: u64 = 50;

impl ReplicaManager {
    /// Sends the records accepted since the last message to all, and acknowledgements to the origins of those taken in.
    pub(super) fn gossip_what_is_new(&mut self, step: &mut Step<'_>) {
        let own = self.config.id.clone();
        let accepted = self.log.replica_timestamp().get(&own);
        // Without a digest there is no gossip; what is new is told when the rows are exact again.
        while self.gossiped < accepted && !self.is_merging() {
            let news = self.log.of_origin_after(&own, self.gossiped);
            let records = UpdateLog::page(news, GOSSIP_RECORDS_MAX, self.page_bytes());
            self.gossiped = records.last().map_or(accepted, |record| record.seq);
            let gossip = self.gossip(records, step);
            step.outputs.push(Output::Gossip(gossip));
            self.gossip_due_ms = step.now.monotonic_ms + self.config.gossip_interval_ms;
            self.acknowledge_to_all = false;
            self.unacknowledged.clear();
        }
        if !self.is_merging() && std::mem::take(&mut self.acknowledge_to_all) {
            self.unacknowledged.clear();
            let gossip = self.gossip(Vec::new(), step);
            step.outputs.push(Output::Gossip(gossip));
        }
        for origin in std::mem::take(&mut self.unacknowledged) {
            if self.roster.get(&origin).is_some_and(|member| member.is_present()) {
                let replica_timestamp = Replicas::from(self.log.replica_timestamp());
                let acknowledgement = Acknowledgement { id: own.clone(), replica_timestamp };
                step.outputs.push(Output::Acknowledge(origin, acknowledgement));
            }
        }
    }

    /// This process listens and sends again: messages that were on their way with the connection before may be lost, in
    /// both directions. Own records that a present replica was not heard to hold go out once more, and all learn what is
    /// held here. Of many records only the latest message is repeated: a replica that lacks more pulls.
    pub(super) fn connected(&mut self, step: &mut Step<'_>) {
        self.roster.connected(step.now.monotonic_ms);
        let own = &self.config.id;
        let accepted = self.log.replica_timestamp().get(own);
        let heard = |id: &ReplicaId| self.table.get(id).map_or(0, |entry| entry.replica_timestamp.get(own));
        let acknowledged = self.roster.up().map(|(id, _)| heard(id)).min().unwrap_or(accepted);
        let repeated_after = acknowledged.max(accepted.saturating_sub(GOSSIP_RECORDS_MAX as u64));
        self.gossiped = self.gossiped.min(repeated_after);
        self.acknowledge_to_all = true;
        // Others may count it as gone meanwhile.
        self.presence_due_ms = step.now.monotonic_ms;
    }

    pub(super) fn gossip(&self, records: Vec<Arc<Record>>, step: &Step<'_>) -> Gossip {
        Gossip {
            id: self.config.id.clone(),
            replica_timestamp: Replicas::from(self.log.replica_timestamp()),
            value_timestamp: Replicas::from(&self.value_timestamp),
            digest: step.value.digest(),
            records,
        }
    }

    pub(super) fn hear_gossip(&mut self, mut gossip: Gossip, step: &mut Step<'_>) -> Result<(), ValueError> {
        if !self.is_there(&gossip.id)
            || !self.takes_in(&gossip.id, &[&gossip.replica_timestamp.replicas, &gossip.value_timestamp.replicas])
        {
            return Ok(());
        }
        self.strip(&mut gossip.replica_timestamp.replicas, step);
        self.strip(&mut gossip.value_timestamp.replicas, step);
        self.take_in(gossip.records, step);
        let value_timestamp = &gossip.value_timestamp.replicas;
        self.table.heard(&gossip.id, &gossip.replica_timestamp.replicas, Some(value_timestamp));
        // Applied here first, so that both may be compared at the same timestamp.
        self.apply_ready(step)?;
        self.compare_digest(&gossip.id, value_timestamp, gossip.digest, step)
    }

    pub(super) fn hear_acknowledgement(&mut self, mut acknowledgement: Acknowledgement, step: &mut Step<'_>) {
        let is_there = self.is_there(&acknowledgement.id);
        if is_there && self.takes_in(&acknowledgement.id, &[&acknowledgement.replica_timestamp.replicas]) {
            self.strip(&mut acknowledgement.replica_timestamp.replicas, step);
            self.table.heard(&acknowledgement.id, &acknowledgement.replica_timestamp.replicas, None);
        }
    }

    /// Takes in records of any origin. A record that was held already changes nothing.
    pub(super) fn take_in(&mut self, records: Vec<Arc<Record>>, step: &mut Step<'_>) {
        let mut dropped: Option<(RecordRef, &'static str, usize)> = None;
        for record in records {
            let name = record.name();
            let retired = self.retired.get(&record.i);
            if retired >= record.seq && record.seq > 0 {
                continue;
            }
            let movie_id = record.request.as_ref().map(|request| request.key().movie_id);
            let reason = if !(1..=COUNT_MAX).contains(&record.seq) || !(1..=COPIES_MAX).contains(&record.copies) {
                "a number in it is out of range"
            } else if !record.prev.is_plausible() || !record.retires.is_plausible() {
                "its prev, or what it retires, has too many entries, or a count that is out of range"
            } else if record.request.is_some() != record.retires.is_empty() {
                "it must either write to a rating or retire"
            } else if movie_id.is_some_and(|movie_id| step.value.title(movie_id).is_none()) {
                "the data set here has no such movie"
            } else if record.i == self.config.id && record.seq > self.log.replica_timestamp().get(&record.i) {
                "it bears this replica's id, but was not accepted here"
            } else if self.hold_of_retired(record, retired, step) == Inserted::Dropped {
                "too many records wait for an earlier one"
            } else {
                continue;
            };
            let (.., count) = dropped.get_or_insert((name, reason, 0));
            *count += 1;
        }
        // Records dropped while a snapshot is loaded are pulled after it.
        let is_expected = self.loading.is_some() || self.is_merging();
        if let Some((record, reason, count)) = dropped.filter(|_| !is_expected) {
            step.notice(Notice::Dropped { record, reason, count });
        }
    }

    /// Holds a record whose origin may be retired with an earlier one as its last.
    fn hold_of_retired(&mut self, record: Arc<Record>, retired: u64, step: &mut Step<'_>) -> Inserted {
        if retired > 0 {
            self.unretire(&record.i, step);
        }
        self.hold(record, step)
    }

    /// Whether `id` shows its presence: other replicas are not believed. Records that a newcomer gossips before its
    /// presence is heard are pulled later.
    fn is_there(&self, id: &ReplicaId) -> bool {
        self.roster.get(id).is_some_and(|member| member.is_present())
    }

    /// Whether anything is believed of `id`.
    pub(super) fn takes_in(&self, id: &ReplicaId, timestamps: &[&Timestamp]) -> bool {
        *id != self.config.id
            && !self.foreign.contains_key(id)
            && timestamps.iter().all(|timestamp| timestamp.is_plausible())
    }

    /// Two replica managers with equal value timestamps must show equal digests. If they do not, each takes the other's
    /// snapshot, deletion markers included: merged by the greater (stamp, id), both come to the same ratings.
    fn compare_digest(
        &mut self,
        peer: &ReplicaId,
        theirs_at: &Timestamp,
        theirs: Digest,
        step: &mut Step<'_>,
    ) -> Result<(), ValueError> {
        if self.is_merging() || *theirs_at != self.value_timestamp {
            return Ok(());
        }
        let ours = step.value.digest();
        if ours == theirs {
            if self.diverged.remove(peer).is_some() {
                step.notice(Notice::Reconciled { peer: peer.clone() });
            }
            return Ok(());
        }
        let now_ms = step.now.monotonic_ms;
        let (due_ms, pause_ms) = match self.diverged.get(peer) {
            Some(exchange) => *exchange,
            None => {
                step.notice(Notice::Diverged { peer: peer.clone(), value_timestamp: theirs_at.clone(), ours, theirs });
                (now_ms, EXCHANGE_PAUSE_MS)
            }
        };
        let is_due = now_ms >= due_ms && self.loading.is_none();
        let next =
            if is_due { (now_ms + pause_ms, (2 * pause_ms).min(EXCHANGE_PAUSE_MS_MAX)) } else { (due_ms, pause_ms) };
        self.diverged.insert(peer.clone(), next);
        if is_due { self.begin_loading(peer.clone(), step) } else { Ok(()) }
    }

    pub(super) fn hear_presence(&mut self, presence: Presence, step: &mut Step<'_>) {
        if presence.id == self.config.id || self.roster.is_repeated(&presence, step.now.monotonic_ms) {
            return;
        }
        let id = presence.id.clone();
        let dataset = presence.dataset.clone().unwrap_or_default();
        if dataset != self.config.dataset && presence.status != Status::Left {
            self.hear_foreign_presence(&presence, dataset, step);
            return;
        }
        let mut replica_timestamp = presence.replica_timestamp.clone().unwrap_or_default().replicas;
        let mut value_timestamp = presence.value_timestamp.clone().unwrap_or_default().replicas;
        if !self.takes_in(&id, &[&replica_timestamp, &value_timestamp]) {
            return;
        }
        if presence.status != Status::Left {
            self.unretire(&id, step);
        }
        self.strip(&mut replica_timestamp, step);
        self.strip(&mut value_timestamp, step);
        if presence.durable == Some(false) {
            self.note_mortal(id.clone());
        }
        // One that leaves is nobody's later life any more, even if nothing else was heard of it.
        let former = if presence.status == Status::Left { Vec::new() } else { presence.former.clone() };
        let change = self.roster.heard(presence, step.now.monotonic_ms);
        self.hear_cluster(&id, step);
        match change {
            Change::Refused => return,
            Change::Joined => {
                step.notice(Notice::PeerJoined(id.clone()));
                // The newcomer learns soon who is there, and many at a time learn it together.
                let soon_ms = self.presence_due_ms.saturating_sub(PRESENCE_INTERVAL_MS) + NEWCOMERS_WAIT_MS;
                self.presence_due_ms = self.presence_due_ms.min(soon_ms.max(step.now.monotonic_ms));
            }
            Change::Left => step.notice(Notice::PeerGone(id.clone())),
            Change::Status | Change::None => {}
        }
        self.table.heard(&id, &replica_timestamp, Some(&value_timestamp));
        self.hear_former(&id, &former, step);
    }

    /// Of two replica managers with different data sets, the one that came later must go.
    fn hear_foreign_presence(&mut self, presence: &Presence, dataset: String, step: &mut Step<'_>) {
        let uptime_ms = step.now.monotonic_ms.saturating_sub(self.started_ms);
        let came_first = (presence.uptime_ms, &presence.id) > (uptime_ms, &self.config.id);
        if !self.phase.is_serving() && came_first {
            step.outputs.push(Output::Stop(format!(
                "replica {} started from another data set (fingerprint {dataset}, here {}): start this one with the \
                 same --database, or under another --prefix",
                presence.id, self.config.dataset
            )));
        } else if self.foreign.len() < MEMBERS_MAX
            && self.foreign.insert(presence.id.clone(), step.now.monotonic_ms).is_none()
        {
            step.notice(Notice::ForeignDataset { peer: presence.id.clone(), dataset });
        }
    }
}
