//! What truly happened: every record ever accepted, and the ratings that follow from any set of them.
//!
//! It knows nothing of how replica managers work but the rule that the greater (stamp, id) stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::record::{Record, RecordRef};
use natter_common::timestamp::Timestamp;

use super::{Violation, check};
use crate::simulation::value::{Rows, base_rows, keep_greater};

/// All records.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: BTreeMap<RecordRef, Arc<Record>>,
    by_id: BTreeMap<UpdateId, Vec<RecordRef>>,
    /// Records that retire replica managers.
    retirements: Vec<Arc<Record>>,
    /// Records that died with the last who held them, up to which number.
    lost: Timestamp,
}

impl Ledger {
    /// A replica manager accepted an update.
    pub fn accepted(&mut self, record: &Arc<Record>) -> Result<(), Violation> {
        let name = record.name();
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
            let before = expanded.clone();
            for record in &self.retirements {
                if expanded.get(&record.i) >= record.seq {
                    expanded.merge(&record.retires);
                }
            }
            if expanded == before {
                return expanded;
            }
        }
    }

    /// Whether everything that `b` stands for is in `a`, but for what is lost.
    pub fn covers(&self, a: &Timestamp, b: &Timestamp) -> bool {
        a.covers(b) || {
            let mut expanded = self.expanded(a);
            expanded.merge(&self.lost);
            expanded.covers(&self.expanded(b))
        }
    }

    /// Nobody waits any more for the records of `origin` up to `until`.
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
        let timestamp = self.expanded(timestamp);
        self.records.values().filter(move |record| timestamp.get(&record.i) >= record.seq)
    }

    /// The greatest stamp of the records that `timestamp` covers.
    pub fn greatest_stamp(&self, timestamp: &Timestamp) -> Stamp {
        self.covered(timestamp).map(|record| record.stamp).max().unwrap_or_default()
    }

    /// The ratings after exactly the records that `timestamp` covers.
    pub fn rows_at(&self, timestamp: &Timestamp) -> Rows {
        let mut rows = base_rows();
        for record in self.covered(timestamp) {
            if let Some((key, row)) = record.row() {
                keep_greater(&mut rows, key, row);
            }
        }
        rows
    }

    /// Ids that stand in more than one record.
    pub fn ids_with_several_records(&self) -> usize {
        self.by_id.values().filter(|names| names.len() > 1).count()
    }
}
