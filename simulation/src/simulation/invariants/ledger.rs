//! The true history: every record ever accepted, and the ratings that follow from any set of them.
//!
//! It knows nothing of how replica managers work but the rule that the greater (stamp, id) stays.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use natter_common::clock::{STAMP_AHEAD_MS_MAX, Stamp};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::record::{Record, RecordRef};
use natter_common::timestamp::Timestamp;

use super::{Violation, check};
use crate::simulation::process::EPOCH_MS;
use crate::simulation::value::{Rows, base_rows, keep_greater};

/// Maximum timestamps whose ratings are kept; beyond that the oldest go.
const KEPT_MAX: usize = 12;

/// Ratings that were computed lately: those after a little more follow from them. A copy begins without.
#[derive(Debug, Default)]
struct Kept(RefCell<VecDeque<(Timestamp, Rows)>>);

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// All records.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: BTreeMap<RecordRef, Arc<Record>>,
    /// The greatest stamp of each record and those before it of its origin.
    greatest: BTreeMap<RecordRef, Stamp>,
    kept: Kept,
    by_id: BTreeMap<UpdateId, Vec<RecordRef>>,
    /// Records that retire replica managers.
    retirements: Vec<Arc<Record>>,
    /// Records that died with the last replica that held them: by origin, the greatest number.
    lost: Timestamp,
}

impl Ledger {
    /// A replica manager accepted an update.
    pub fn accepted(&mut self, record: &Arc<Record>) -> Result<(), Violation> {
        let name = record.name();
        let earlier = self.greatest.range(..&name).next_back().filter(|(other, _)| other.i == name.i);
        let greatest = earlier.map_or(record.stamp, |(_, stamp)| record.stamp.max(*stamp));
        self.greatest.insert(name.clone(), greatest);
        let before = self.records.insert(name.clone(), Arc::clone(record));
        check(before.is_none(), "a sequence number is used once", || format!("{name} was there already"))?;
        if record.request.is_none() {
            self.retirements.push(Arc::clone(record));
        }
        let names = self.by_id.entry(record.id).or_default();
        names.push(name);
        let first = names.first().and_then(|first| self.records.get(first));
        check(first.is_none_or(|first| first.request == record.request), "one id, one content", || {
            format!("{record:?} differs from {first:?}")
        })
    }

    /// `timestamp` with what it leaves out: the updates of replica managers that a record it covers has retired.
    pub fn expanded(&self, timestamp: &Timestamp) -> Timestamp {
        let mut expanded = timestamp.clone();
        loop {
            let mut is_done = true;
            for record in &self.retirements {
                if expanded.get(&record.i) >= record.seq && !expanded.covers(&record.retires) {
                    expanded.merge(&record.retires);
                    is_done = false;
                }
            }
            if is_done {
                return expanded;
            }
        }
    }

    /// Whether a record that `timestamp` covers has retired `origin` with `count` updates.
    pub fn has_retired(&self, timestamp: &Timestamp, origin: &ReplicaId, count: u64) -> bool {
        let covered = self.expanded(timestamp);
        let retires = |record: &&Arc<Record>| record.retires.get(origin) == count;
        self.retirements.iter().filter(retires).any(|record| covered.get(&record.i) >= record.seq)
    }

    /// Whether everything that `b` stands for is in `a`, but for what is lost.
    pub fn covers(&self, a: &Timestamp, b: &Timestamp) -> bool {
        a.covers(b) || {
            let mut expanded = self.expanded(a);
            expanded.merge(&self.lost);
            expanded.covers(&self.expanded(b))
        }
    }

    /// Notes that the records of `origin` up to `until` are lost: no replica waits for them any more.
    pub fn lost(&mut self, origin: &ReplicaId, until: u64) {
        self.lost.raise(origin, until);
    }

    /// The record of this name.
    pub fn get(&self, name: &RecordRef) -> Option<&Arc<Record>> {
        self.records.get(name)
    }

    /// Every record ever accepted.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    /// The records of an id.
    pub fn records_of(&self, id: UpdateId) -> impl Iterator<Item = &Arc<Record>> {
        self.by_id.get(&id).into_iter().flatten().filter_map(|name| self.records.get(name))
    }

    /// The records that `timestamp` covers.
    pub fn covered<'a>(&'a self, timestamp: &Timestamp) -> impl Iterator<Item = &'a Arc<Record>> {
        let timestamp: Vec<(ReplicaId, u64)> =
            self.expanded(timestamp).iter().map(|(id, count)| (id.clone(), count)).collect();
        timestamp.into_iter().flat_map(|(i, count)| self.between(i, 0, count))
    }

    /// The records of `i` after number `after`, up to `until`.
    fn between(&self, i: ReplicaId, after: u64, until: u64) -> impl Iterator<Item = &Arc<Record>> {
        let range = RecordRef { i: i.clone(), seq: after + 1 }..=RecordRef { i, seq: until.max(after + 1) };
        self.records.range(range).map(|(_, record)| record).filter(move |record| record.seq <= until)
    }

    /// The records that `timestamp` names: of each origin the last one that it covers.
    pub fn named<'a>(&'a self, timestamp: &'a Timestamp) -> impl Iterator<Item = &'a Arc<Record>> {
        timestamp.iter().filter_map(|(i, seq)| self.records.get(&RecordRef { i: i.clone(), seq }))
    }

    /// The greatest stamp of the records that `timestamp` covers.
    pub fn greatest_stamp(&self, timestamp: &Timestamp) -> Stamp {
        let expanded = self.expanded(timestamp);
        let greatest = expanded.iter().filter_map(|(i, seq)| {
            let name = RecordRef { i: i.clone(), seq };
            self.greatest.range(..=&name).next_back().filter(|(other, _)| other.i == *i).map(|(_, stamp)| *stamp)
        });
        greatest.max().unwrap_or_default()
    }

    /// The ratings after exactly the records that `timestamp` covers.
    pub fn rows_at(&self, timestamp: &Timestamp) -> Rows {
        let timestamp = self.expanded(timestamp);
        let mut kept = self.kept.0.borrow_mut();
        let (before, mut rows) = kept
            .iter()
            .rev()
            .find(|(before, _)| timestamp.covers(before))
            .map_or_else(|| (Timestamp::new(), base_rows()), Clone::clone);
        for (i, count) in timestamp.iter() {
            for record in self.between(i.clone(), before.get(i), count) {
                if let Some((key, row)) = record.row() {
                    keep_greater(&mut rows, key, row);
                }
            }
        }
        if before != timestamp {
            kept.push_back((timestamp, rows.clone()));
            if kept.len() > KEPT_MAX {
                kept.pop_front();
            }
        }
        rows
    }

    /// Ids without a stamp whose retries were stamped by themselves.
    pub fn ids_stamped_twice(&self) -> usize {
        self.by_id.keys().filter(|id| self.is_stamped_twice(**id)).count()
    }

    /// Whether `id` carries no stamp and its records have different ones: a retry was stamped by itself. That is the
    /// weakness of such ids, where the first acceptor could not be asked: the retry wins over what was written in
    /// between. An id that was made by a clock which was ahead carries none for those whose clocks are right.
    pub fn is_stamped_twice(&self, id: UpdateId) -> bool {
        let stamps: BTreeSet<Stamp> = self.records_of(id).map(|record| record.stamp).collect();
        let carried = id.stamp().filter(|stamp| stamp.milliseconds() <= EPOCH_MS + STAMP_AHEAD_MS_MAX);
        stamps.len() > 1 && carried.is_none_or(|stamp| !stamps.contains(&stamp))
    }

    /// Ids that stand in more than one record.
    pub fn ids_with_several_records(&self) -> usize {
        self.by_id.values().filter(|names| names.len() > 1).count()
    }
}
