//! Pulls: asking others for records that gossip did not bring, and answering those who ask.

use std::collections::BTreeMap;

use super::{Notice, Output, ReplicaManager, ReplyTo, Step};
use crate::ids::ReplicaId;
use crate::messages::{LogPage, LogRequest, Replicas};
use crate::timestamp::Timestamp;
use crate::value::ValueError;

/// Maximum records in a page of a log.
const PAGE_RECORDS_MAX: usize = 1000;
/// Maximum size of the records in one message, in bytes: enough to catch up fast, and no more than others wait for.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Estimated size of what a message has beside records, and of an entry of its timestamps, in bytes.
const HEAD_BYTES: usize = 200;
const ENTRY_BYTES: usize = 40;
/// Gossip brings a record within a hop or two; what is missing for longer is pulled.
const GOSSIP_TAKES_MS: u64 = 100;
/// The same, while a request waits for it.
const GOSSIP_TAKES_WANTED_MS: u64 = 20;
/// A pull without an answer is given up after this.
const PULL_TIMEOUT_MS: u64 = 1000;
/// Maximum peers that are pulled from at the same time.
const PULLS_MAX: usize = 4;
/// After a pull that failed or brought nothing, its peer is left alone for this long.
const PULL_PAUSE_MS: u64 = 250;

/// The pulls under way: one at a time for each peer, or catching up becomes a storm.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulls {
    peers: BTreeMap<ReplicaId, Peer>,
    /// For each origin of which something is missing: the number last heard of, and since when it is missing.
    missing: BTreeMap<ReplicaId, (u64, u64)>,
    /// By peer: the retired of which its log still has records, as far as they are applied here. Timestamps leave them out,
    /// so a peer that is not told sends these records again and again, and where a page has room for no others, nothing else.
    retired: BTreeMap<ReplicaId, Timestamp>,
}

#[derive(Clone, Debug)]
enum Peer {
    /// Asked; the answer is awaited until then.
    Asked { until_ms: u64 },
    /// Left alone until then.
    Paused { until_ms: u64 },
}

impl Pulls {
    /// The pull from `peer` has failed.
    pub(super) fn failed(&mut self, peer: &ReplicaId, now_ms: u64) {
        if self.peers.contains_key(peer) {
            self.peers.insert(peer.clone(), Peer::Paused { until_ms: now_ms + PULL_PAUSE_MS });
        }
    }

    /// The log of `peer` has records of these. Says whether that is news.
    fn has_retired(&mut self, peer: &ReplicaId, retired: &Timestamp) -> bool {
        if retired.is_empty() || self.retired.get(peer).is_some_and(|known| known.covers(retired)) {
            return false;
        }
        self.retired.entry(peer.clone()).or_default().merge(retired);
        true
    }

    fn tick(&mut self, now_ms: u64) {
        for peer in self.peers.values_mut() {
            if let Peer::Asked { until_ms } = peer
                && *until_ms <= now_ms
            {
                *peer = Peer::Paused { until_ms: now_ms + PULL_PAUSE_MS };
            }
        }
        self.peers.retain(|_, peer| match peer {
            Peer::Asked { .. } => true,
            Peer::Paused { until_ms } => *until_ms > now_ms,
        });
    }

    /// Notes what is missing, and gives what has been for longer than `patience_ms`.
    fn overdue(&mut self, shown: &Timestamp, held: &Timestamp, patience_ms: u64, now_ms: u64) -> Timestamp {
        // Records that no present replica shows are not missed: their holders are gone.
        self.missing.retain(|origin, (count, _)| *count > held.get(origin) && *count <= shown.get(origin));
        for (origin, count) in shown.iter().filter(|(origin, count)| *count > held.get(origin)) {
            self.missing.entry(origin.clone()).or_insert((count, now_ms));
        }
        let overdue = self.missing.iter().filter(|(_, (_, since_ms))| now_ms >= since_ms + patience_ms);
        overdue.map(|(origin, (count, _))| (origin.clone(), *count)).collect()
    }
}

impl ReplicaManager {
    /// Pulls what others are known to hold and gossip did not bring in time, and what requests wait for.
    pub(super) fn pull_what_is_missing(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        let now_ms = step.now.monotonic_ms;
        self.pulls.tick(now_ms);
        let roster = &self.roster;
        self.pulls.retired.retain(|peer, _| roster.get(peer).is_some());
        if self.loading.is_some() {
            return self.tick_loading(step);
        }
        if self.is_merging() {
            return Ok(());
        }
        let mut shown = Timestamp::new();
        for (id, _) in self.roster.present() {
            if let Some(entry) = self.table.get(id) {
                shown.merge(&entry.replica_timestamp);
            }
        }
        self.log.retain_ahead(&shown);
        let wanted = self.waiting.has_waited_since(now_ms.saturating_sub(GOSSIP_TAKES_WANTED_MS));
        let patience_ms = match (self.phase.is_serving(), wanted, self.log.has_gap()) {
            (false, _, _) => 0,
            (true, false, false) => GOSSIP_TAKES_MS,
            (true, _, _) => GOSSIP_TAKES_WANTED_MS,
        };
        let overdue = self.pulls.overdue(&shown, self.log.replica_timestamp(), patience_ms, now_ms);
        let acceptors = self.confirms.take_acceptors_waited_for_since(now_ms.saturating_sub(GOSSIP_TAKES_MS));
        // A record that a request waits for may still be somewhere, even if no replica is known to hold it: all
        // replicas are asked, in turn.
        let in_doubt = wanted && overdue.is_empty();
        let peers: Vec<ReplicaId> = self
            .roster
            .present()
            .filter(|(_, member)| member.presence.status != crate::messages::Status::Offline)
            .map(|(id, _)| id.clone())
            .filter(|id| !self.pulls.peers.contains_key(id))
            .collect();
        let mut expected = Timestamp::new();
        for (id, peer) in &self.pulls.peers {
            if let (Peer::Asked { .. }, Some(entry)) = (peer, self.table.get(id)) {
                expected.merge(&entry.replica_timestamp);
            }
        }
        for peer in peers {
            let in_flight = self.pulls.peers.values().filter(|peer| matches!(peer, Peer::Asked { .. })).count();
            if in_flight >= PULLS_MAX {
                break;
            }
            let Some(entry) = self.table.get(&peer) else { continue };
            let gains = overdue.iter().any(|(origin, _)| {
                let has = entry.replica_timestamp.get(origin);
                has > self.log.replica_timestamp().get(origin) && has > expected.get(origin)
            });
            if gains || in_doubt || acceptors.contains(&peer) {
                expected.merge(&entry.replica_timestamp);
                self.pull(peer, step);
            }
        }
        match self.lacks_retired(now_ms) {
            Some(peer) => self.begin_loading(peer, step),
            None => Ok(()),
        }
    }

    fn pull(&mut self, peer: ReplicaId, step: &mut Step<'_>) {
        let until_ms = step.now.monotonic_ms + PULL_TIMEOUT_MS;
        self.pulls.peers.insert(peer.clone(), Peer::Asked { until_ms });
        let mut have = self.log.replica_timestamp().clone();
        if let Some(retired) = self.pulls.retired.get(&peer) {
            have.merge(&self.retired.of(retired));
        }
        step.notice(Notice::Pulled { from: peer.clone() });
        let have = Replicas { replicas: have };
        step.outputs.push(Output::Pull(peer, LogRequest { id: self.config.id.clone(), have }));
    }

    /// Target size of the records in one message, in bytes: half of what the broker takes, or what the timestamps of the
    /// message leave of it. A message of one record may be larger.
    pub(super) fn page_bytes(&self) -> usize {
        let bytes_max = self.config.message_bytes_max;
        let entries = 2 * self.log.replica_timestamp().len() + self.value_timestamp.len();
        let left = bytes_max.saturating_sub(HEAD_BYTES + ENTRY_BYTES * entries);
        left.min(bytes_max / 2).min(PAGE_BYTES_MAX)
    }

    pub(super) fn handle_log_request(&mut self, to: ReplyTo, request: LogRequest, step: &mut Step<'_>) {
        if !self.takes_in(&request.id, &[&request.have.replicas]) {
            return;
        }
        let mut held = request.have.replicas.clone();
        self.strip(&mut held, step);
        self.table.heard_if_known(&request.id, &held);
        let page = LogPage {
            id: self.config.id.clone(),
            replica_timestamp: Replicas::from(self.log.replica_timestamp()),
            value_timestamp: Replicas::from(&self.value_timestamp),
            start: Replicas { replicas: self.log.starts() },
            gone: self.gone_for_good(),
            records: self.log.after(&request.have.replicas, PAGE_RECORDS_MAX, self.page_bytes()),
        };
        step.outputs.push(Output::Log(to, page));
    }

    pub(super) fn hear_log_page(&mut self, page: LogPage, step: &mut Step<'_>) -> Result<(), ValueError> {
        let LogPage { id, mut replica_timestamp, mut value_timestamp, mut start, gone, records } = page;
        if !matches!(self.pulls.peers.get(&id), Some(Peer::Asked { .. }))
            || !self.takes_in(&id, &[&replica_timestamp.replicas, &value_timestamp.replicas, &start.replicas])
        {
            return Ok(());
        }
        for timestamp in [&mut replica_timestamp, &mut value_timestamp, &mut start] {
            self.strip(&mut timestamp.replicas, step);
        }
        self.note_gone(gone);
        let before = self.log.len();
        let retired_in_page: Timestamp = records
            .iter()
            .map(|record| (&record.i, self.retired.get(&record.i)))
            .filter(|(_, count)| *count > 0)
            .map(|(origin, count)| (origin.clone(), count))
            .collect();
        let is_asked_for_less = self.pulls.has_retired(&id, &retired_in_page);
        if !records.is_empty() {
            self.unacknowledged.insert(id.clone());
        }
        self.take_in(records, step);
        self.table.heard(&id, &replica_timestamp.replicas, Some(&value_timestamp.replicas));
        self.pulls.peers.remove(&id);
        start.replicas.set(&self.config.id, 0);
        if !self.log.replica_timestamp().covers(&start.replicas) {
            self.begin_loading(id, step)?;
        } else if self.log.len() == before && !is_asked_for_less {
            let until_ms = step.now.monotonic_ms + PULL_PAUSE_MS;
            self.pulls.peers.insert(id, Peer::Paused { until_ms });
        } else if !self.log.replica_timestamp().covers(&replica_timestamp.replicas) {
            self.pull(id, step);
        }
        Ok(())
    }
}
