//! Taking a snapshot: what a replica manager lacks that the logs of the others no longer have.
//!
//! Rows that come are kept aside (`Value::stage`), and nothing shows them: until the last chunk has come, this replica
//! manager is what it was, goes on as it was, and may begin anew with somebody else. Then all that the snapshot reflects
//! is held here, and its rows are **merged**, some at a time, by the greater (stamp, id): what was accepted here and is
//! unknown there stays. While they are merged the value reflects no single value timestamp, so nobody is served and no
//! digest shown; nothing from outside is needed to end it.

use super::durable::Merging;
use super::waiting::Parked;
use super::{Notice, Output, ReplicaManager, Step};
use crate::clock::Stamp;
use crate::ids::ReplicaId;
use crate::messages::{
    Replicas, Reply, SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest, Status,
};
use crate::presence::SnapshotProgress;
use crate::record::ExecutedOperation;
use crate::timestamp::{COUNT_MAX, Timestamp};
use crate::value::ValueError;

/// A chunk that has not come by then is asked for again, in milliseconds.
const CHUNK_TIMEOUT_MS: u64 = 1000;
/// Consecutive missing chunks after which another peer is asked.
const FAILURES_MAX: u32 = 3;
/// Pause before a snapshot that broke off, or was not available, is begun anew, in milliseconds.
const PAUSE_MS: u64 = 100;
/// Chunks whose rows are merged at once.
const MERGE_CHUNKS: usize = 2;
/// Rows between two notices of progress.
const PROGRESS_ROWS: u64 = 100_000;
/// Maximum executed updates that are taken in: more than can be accepted within the time for which they are remembered.
const EXECUTED_MAX: usize = 20_000_000;

/// A snapshot that is being taken.
#[derive(Clone, Debug)]
pub(super) struct Loading {
    peer: ReplicaId,
    /// Its number there; 0 before the first chunk has come.
    snapshot: u64,
    place: SnapshotPlace,
    until_ms: u64,
    failures: u32,
    value_timestamp: Timestamp,
    clock: Stamp,
    executed: Vec<ExecutedOperation>,
    retired: Timestamp,
    rows: u64,
    rows_in_all: u64,
}

impl Loading {
    /// Nothing of the snapshot of `peer` has come.
    fn new(peer: ReplicaId) -> Self {
        Self {
            peer,
            snapshot: 0,
            place: SnapshotPlace::Start,
            until_ms: 0,
            failures: 0,
            value_timestamp: Timestamp::new(),
            clock: Stamp::ZERO,
            executed: Vec::new(),
            retired: Timestamp::new(),
            rows: 0,
            rows_in_all: 0,
        }
    }

    pub(super) fn progress(&self) -> SnapshotProgress {
        SnapshotProgress { rows: self.rows, of: self.rows_in_all }
    }
}

impl ReplicaManager {
    /// Whether rows of a snapshot are being merged.
    pub fn is_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// Begins to take the snapshot of `peer`, whose log no longer reaches back to what is held here.
    pub(super) fn begin_loading(&mut self, peer: ReplicaId, step: &mut Step<'_>) -> Result<(), ValueError> {
        if self.loading.is_some() || self.is_merging() || self.left {
            return Ok(());
        }
        step.value.clear_stage()?;
        self.changes.staged = true;
        step.notice(Notice::SnapshotBegins { from: peer.clone() });
        self.loading = Some(Loading::new(peer));
        self.ask_for_chunk(step);
        Ok(())
    }

    fn ask_for_chunk(&mut self, step: &mut Step<'_>) {
        let Some(loading) = &mut self.loading else { return };
        loading.until_ms = step.now.monotonic_ms + CHUNK_TIMEOUT_MS;
        let request =
            SnapshotRequest { id: self.config.id.clone(), snapshot: loading.snapshot, from: loading.place.clone() };
        step.outputs.push(Output::FetchSnapshot(loading.peer.clone(), request));
    }

    /// Asks again for a chunk that did not come, and in the end somebody else.
    pub(super) fn tick_loading(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        if step.now.monotonic_ms < loading.until_ms {
            return Ok(());
        }
        loading.failures += 1;
        let may_give = |status: Status| !matches!(status, Status::Offline | Status::Left);
        let is_there = |id: &ReplicaId| {
            self.roster.get(id).is_some_and(|member| member.is_present() && may_give(member.presence.status))
        };
        if loading.failures < FAILURES_MAX && is_there(&loading.peer) {
            self.ask_for_chunk(step);
            return Ok(());
        }
        // Not all that the next one shows may be what this one showed: it begins at the start.
        let peer = loading.peer.clone();
        let has_more = |id: &ReplicaId| {
            self.table.get(id).is_some_and(|entry| !self.value_timestamp.covers(&entry.value_timestamp))
        };
        let may_give_more = |id: &ReplicaId, status| may_give(status) && has_more(id);
        let others =
            self.roster.present().filter(|(id, member)| **id != peer && may_give_more(id, member.presence.status));
        // A snapshot of one that serves is worth more than one of another newcomer.
        let other = others.min_by_key(|(_, member)| !member.is_up()).map(|(id, _)| id.clone());
        let other = other.or_else(|| Some(peer.clone()).filter(|_| is_there(&peer)));
        self.loading = None;
        step.notice(Notice::SnapshotBroken { from: peer, reason: "nothing for too long".to_owned() });
        match other {
            Some(other) => self.begin_loading(other, step),
            None => Ok(()),
        }
    }

    /// The chunk that was asked for cannot come from there.
    pub(super) fn loading_failed(&mut self, peer: &ReplicaId) {
        if let Some(loading) = self.loading.as_mut().filter(|loading| loading.peer == *peer) {
            loading.until_ms = 0;
            loading.failures = FAILURES_MAX;
        }
    }

    pub(super) fn hear_snapshot(&mut self, reply: SnapshotReply, step: &mut Step<'_>) -> Result<(), ValueError> {
        if self.loading.as_ref().is_none_or(|loading| loading.peer != reply.id) {
            return Ok(());
        }
        match reply.part {
            SnapshotPart::Chunk(chunk) => self.hear_chunk(*chunk, step),
            SnapshotPart::Unavailable { reason } => self.begin_anew(reason, step),
        }
    }

    fn begin_anew(&mut self, reason: String, step: &mut Step<'_>) -> Result<(), ValueError> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        if loading.rows > 0 {
            step.value.clear_stage()?;
            self.changes.staged = true;
        }
        step.notice(Notice::SnapshotBroken { from: loading.peer.clone(), reason });
        let (until_ms, failures) = (step.now.monotonic_ms + PAUSE_MS, loading.failures);
        *loading = Loading { until_ms, failures, ..Loading::new(loading.peer.clone()) };
        Ok(())
    }

    fn hear_chunk(&mut self, chunk: SnapshotChunk, step: &mut Step<'_>) -> Result<(), ValueError> {
        let Some(mut loading) = self.loading.take() else { return Ok(()) };
        let is_next = loading.place == chunk.from && (loading.snapshot == 0 || loading.snapshot == chunk.snapshot);
        if !is_next || !self.takes_in(&loading.peer, &[&chunk.value_timestamp.replicas, &chunk.retired.replicas]) {
            self.loading = Some(loading);
            return Ok(());
        }
        if loading.snapshot == 0 {
            loading.value_timestamp = chunk.value_timestamp.replicas;
        }
        loading.snapshot = chunk.snapshot;
        loading.clock = loading.clock.max(chunk.clock);
        loading.failures = 0;
        loading.rows_in_all = chunk.rows_in_all;
        let executed = chunk.executed.into_iter().filter(|operation| (1..=COUNT_MAX).contains(&operation.seq));
        loading.executed.extend(executed.take(EXECUTED_MAX - loading.executed.len()));
        loading.retired.merge(&chunk.retired.replicas);
        let value = &mut *step.value;
        let rows: Vec<_> = chunk.rows.iter().filter(|row| value.title(row.movie_id).is_some()).collect();
        value.stage(&mut rows.iter().map(|row| (row.key(), row.row())))?;
        self.changes.staged = true;
        let before = loading.rows;
        loading.rows += rows.len() as u64;
        if loading.rows / PROGRESS_ROWS > before / PROGRESS_ROWS {
            step.notice(Notice::SnapshotProgress { rows: loading.rows, of: chunk.rows_in_all });
        }
        match chunk.next {
            Some(next) => {
                loading.place = next;
                self.loading = Some(loading);
                self.ask_for_chunk(step);
            }
            None => self.begin_merging(loading, step),
        }
        Ok(())
    }

    /// All rows are on the stage: what they reflect is held here from now on.
    fn begin_merging(&mut self, loading: Loading, step: &mut Step<'_>) {
        let before = self.status();
        let now_ms = step.now.monotonic_ms;
        let mut value_timestamp = loading.value_timestamp;
        // The log here knows best which of its own records it holds; others may have applied more of them before.
        let own = &self.config.id;
        value_timestamp.set(own, value_timestamp.get(own).min(self.log.replica_timestamp().get(own)));
        self.clock = self.clock.max(loading.clock);
        self.strip(&mut value_timestamp, step);
        for operation in loading.executed {
            self.executed.insert(&operation, now_ms);
            if self.config.durable {
                self.changes.executed.push(operation);
            }
        }
        for (origin, count) in value_timestamp.iter() {
            self.jump(origin, count, step);
        }
        self.merging = Some(Merging {
            value_timestamp: Replicas { replicas: value_timestamp },
            retired: Replicas { replicas: loading.retired },
            rows: loading.rows,
        });
        for Parked { to, .. } in self.waiting.take_all() {
            step.reply(to, Reply::NotServing);
        }
        self.changed_status(before, step);
    }

    /// Merges some rows of the snapshot that was taken.
    pub(super) fn merge(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        // The last rows make the snapshot visible. So that it is held must be on disk before.
        if self.merging.is_none() || !self.is_all_committed() {
            return Ok(());
        }
        let limit = MERGE_CHUNKS * self.rows_at_once();
        let rows = step.value.take_staged(limit)?;
        self.changes.staged = true;
        let is_last = rows.len() < limit;
        for (key, row) in rows {
            self.snapshots.before_write(key, step.value)?;
            step.value.apply(key, row)?;
        }
        if is_last && let Some(merging) = self.merging.take() {
            let mut value_timestamp = merging.value_timestamp.replicas;
            // Some of it may have been retired here since the last chunk came.
            self.strip(&mut value_timestamp, step);
            self.value_timestamp.merge(&value_timestamp);
            for (id, count) in merging.retired.replicas.iter() {
                self.take_over_retired(id, count, step);
            }
            // Records that were waiting for something are in the snapshot.
            let (value, own) = (&self.value_timestamp, &self.config.id);
            self.accepted.retain(|_, (seq, _)| value.get(own) < *seq);
            self.retirements.retain(|name, _| value.get(&name.i) < name.seq);
            step.notice(Notice::SnapshotLoaded { rows: merging.rows, value_timestamp });
            let is_joining = self.status() == Status::Joining;
            if !is_joining {
                self.changed_status(Status::Joining, step);
            }
        }
        Ok(())
    }
}
