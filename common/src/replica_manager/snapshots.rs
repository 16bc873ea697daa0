//! Giving snapshots: what differs from the data set, as it stood when the snapshot was begun, however the value moves on.
//!
//! The rows are read chunk by chunk, in the order of their keys. An update that writes to a row that is still to be read
//! leaves the row as it was before with each snapshot that wants it. So a snapshot shows exactly one value timestamp and
//! costs no more than what is written while it is read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::retire::Retired;
use super::{Output, ReplicaManager, ReplyTo, Step};
use crate::clock::Stamp;
use crate::ids::ReplicaId;
use crate::messages::{
    Replicas, SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest, SnapshotRow,
};
use crate::rating::RatingKey;
use crate::timestamp::Timestamp;
use crate::value::{Row, Value, ValueError};

/// Maximum snapshots that are given at the same time.
const SNAPSHOTS_MAX: usize = 4;
/// A snapshot that nobody asked for in this time is given up, in milliseconds.
const IDLE_MS_MAX: u64 = 10_000;
/// The same, while somebody else wants one, in milliseconds: twice the time after which a chunk is asked for again.
const SLOW_MS: u64 = 2000;
/// Maximum rows in a chunk: few enough that requests hardly wait for it.
const CHUNK_ROWS_MAX: usize = 500;
/// About how many bytes a row, an executed update or a retired replica manager takes in a message.
const ITEM_BYTES: usize = 250;

/// The snapshots that are being given, by who takes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    given: BTreeMap<ReplicaId, Snapshot>,
    last: u64,
}

#[derive(Clone, Debug)]
struct Snapshot {
    number: u64,
    value_timestamp: Timestamp,
    retired: Retired,
    clock: Stamp,
    used_ms: u64,
    /// The taker has all rows up to this one.
    taken: Option<RatingKey>,
    /// Whether the taker has all rows.
    rows_taken: bool,
    /// Rows after `taken` that were written to since the snapshot was begun, as they were before; `None` where there was
    /// no row.
    before: BTreeMap<RatingKey, Option<Row>>,
}

impl Snapshots {
    /// `key` is about to be written to.
    pub(super) fn before_write(&mut self, key: RatingKey, value: &dyn Value) -> Result<(), ValueError> {
        for snapshot in self.given.values_mut() {
            if !snapshot.rows_taken
                && snapshot.taken.is_none_or(|taken| key > taken)
                && let Entry::Vacant(entry) = snapshot.before.entry(key)
            {
                entry.insert(value.row(key)?.filter(|row| row.update_id.is_some()));
            }
        }
        Ok(())
    }

    /// Gives up the one that nobody asked for for the longest time, if that is long. Says whether there was one.
    fn give_one_up(&mut self, now_ms: u64) -> bool {
        let idle = self.given.iter().filter(|(_, snapshot)| now_ms.saturating_sub(snapshot.used_ms) >= SLOW_MS);
        let Some(id) = idle.min_by_key(|(_, snapshot)| snapshot.used_ms).map(|(id, _)| id.clone()) else {
            return false;
        };
        self.given.remove(&id);
        true
    }

    /// Gives up those that nobody asks for any more.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.given.retain(|_, snapshot| now_ms.saturating_sub(snapshot.used_ms) < IDLE_MS_MAX);
    }
}

impl Snapshot {
    /// At most `limit` rows after `after`, as they were, and where to go on if there may be more.
    fn rows(
        &mut self,
        after: Option<RatingKey>,
        limit: usize,
        value: &dyn Value,
    ) -> Result<(Vec<SnapshotRow>, Option<RatingKey>), ValueError> {
        let rows = value.changed_after(after, limit)?;
        let last = rows.last().map(|(key, _)| *key).filter(|_| rows.len() >= limit);
        if let Some(after) = after {
            self.before = self.before.split_off(&after);
            self.before.remove(&after);
            self.taken = Some(after);
        }
        let as_it_was = |(key, row): (RatingKey, Row)| match self.before.get(&key) {
            Some(before) => before.as_ref().and_then(|row| SnapshotRow::new(key, row)),
            None => SnapshotRow::new(key, &row),
        };
        Ok((rows.into_iter().filter_map(as_it_was).collect(), last))
    }
}

impl ReplicaManager {
    /// Gives a chunk of a snapshot, whatever is being done here, but while another one is merged.
    pub(super) fn handle_snapshot_request(
        &mut self,
        to: ReplyTo,
        request: SnapshotRequest,
        step: &mut Step<'_>,
    ) -> Result<(), ValueError> {
        if !self.takes_in(&request.id, &[]) {
            return Ok(());
        }
        let part = match self.snapshot_of(&request, step) {
            Ok(mut snapshot) => {
                let chunk = self.chunk(&mut snapshot, request.from, step)?;
                if chunk.next.is_some() {
                    self.snapshots.given.insert(request.id, snapshot);
                }
                SnapshotPart::Chunk(Box::new(chunk))
            }
            Err(reason) => SnapshotPart::Unavailable { reason: reason.to_owned() },
        };
        step.outputs.push(Output::Snapshot(to, SnapshotReply { id: self.config.id.clone(), part }));
        Ok(())
    }

    /// Takes out the snapshot that is asked for, or begins it.
    fn snapshot_of(&mut self, request: &SnapshotRequest, step: &Step<'_>) -> Result<Snapshot, &'static str> {
        let now_ms = step.now.monotonic_ms;
        let known = self.snapshots.given.remove(&request.id);
        if request.snapshot != 0 {
            let known = known.filter(|snapshot| snapshot.number == request.snapshot);
            return known.map(|snapshot| Snapshot { used_ms: now_ms, ..snapshot }).ok_or("that snapshot is given up");
        }
        if self.is_merging() {
            return Err("it merges a snapshot itself");
        }
        if request.from != SnapshotPlace::Start {
            return Err("a snapshot begins at its start");
        }
        if self.snapshots.given.len() >= SNAPSHOTS_MAX && !self.snapshots.give_one_up(now_ms) {
            return Err("it gives as many snapshots as it can");
        }
        self.snapshots.last += 1;
        Ok(Snapshot {
            number: self.snapshots.last,
            value_timestamp: self.value_timestamp.clone(),
            retired: self.retired.clone(),
            clock: self.clock,
            used_ms: now_ms,
            taken: None,
            rows_taken: false,
            before: BTreeMap::new(),
        })
    }

    /// Number of rows in one chunk, well below the broker's largest payload.
    pub(super) fn rows_at_once(&self) -> usize {
        (self.page_bytes() / ITEM_BYTES).clamp(1, CHUNK_ROWS_MAX)
    }

    fn chunk(
        &self,
        snapshot: &mut Snapshot,
        from: SnapshotPlace,
        step: &Step<'_>,
    ) -> Result<SnapshotChunk, ValueError> {
        let limit = self.rows_at_once();
        let mut chunk = SnapshotChunk {
            snapshot: snapshot.number,
            from: from.clone(),
            value_timestamp: Replicas::from(&snapshot.value_timestamp),
            clock: snapshot.clock,
            rows_in_all: step.value.changed_count(),
            rows: Vec::new(),
            executed: Vec::new(),
            retired: Replicas::default(),
            next: None,
        };
        match from {
            SnapshotPlace::Start => chunk.read_rows(snapshot, None, limit, step)?,
            SnapshotPlace::AfterRow(user_id, movie_id) => {
                chunk.read_rows(snapshot, Some(RatingKey { user_id, movie_id }), limit, step)?;
            }
            SnapshotPlace::Executed => self.read_executed(&mut chunk, snapshot, None, limit),
            SnapshotPlace::AfterExecuted(id) => self.read_executed(&mut chunk, snapshot, Some(id), limit),
            SnapshotPlace::Retired => chunk.read_retired(&snapshot.retired, None, limit),
            SnapshotPlace::AfterRetired(id) => chunk.read_retired(&snapshot.retired, Some(id), limit),
        }
        Ok(chunk)
    }

    /// Only updates that the rows reflect: whoever takes the snapshot says that it holds them.
    fn read_executed(
        &self,
        chunk: &mut SnapshotChunk,
        snapshot: &mut Snapshot,
        after: Option<crate::ids::UpdateId>,
        limit: usize,
    ) {
        snapshot.rows_taken = true;
        snapshot.before.clear();
        let mut last = after;
        chunk.next = Some(SnapshotPlace::Retired);
        for operation in self.executed.after(after) {
            // The records of one id are not parted.
            if chunk.executed.len() >= limit && last != Some(operation.id) {
                chunk.next = last.map(SnapshotPlace::AfterExecuted);
                break;
            }
            last = Some(operation.id);
            let reflected = snapshot.value_timestamp.get(&operation.i).max(snapshot.retired.get(&operation.i));
            if reflected >= operation.seq {
                chunk.executed.push(operation);
            }
        }
    }
}

impl SnapshotChunk {
    fn read_rows(
        &mut self,
        snapshot: &mut Snapshot,
        after: Option<RatingKey>,
        limit: usize,
        step: &Step<'_>,
    ) -> Result<(), ValueError> {
        let (rows, last) = snapshot.rows(after, limit, step.value)?;
        self.rows = rows;
        self.next = Some(match last {
            Some(key) => SnapshotPlace::AfterRow(key.user_id, key.movie_id),
            None => SnapshotPlace::Executed,
        });
        Ok(())
    }

    fn read_retired(&mut self, retired: &Retired, after: Option<ReplicaId>, limit: usize) {
        for (n, (id, count)) in retired.after(after.as_ref()).enumerate() {
            if n >= limit {
                self.next = self.retired.replicas.iter().last().map(|(id, _)| SnapshotPlace::AfterRetired(id.clone()));
                break;
            }
            self.retired.replicas.set(id, count);
        }
    }
}
