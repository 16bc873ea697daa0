//! What truly happened: every record ever accepted, and the ratings that follow from any set of them.
//!
//! It knows nothing of how replica managers work but the rule that the greater (stamp, id) stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use natter_common::record::{Record, RecordRef};
use natter_common::timestamp::Timestamp;

use super::{Violation, check};
use crate::simulation::value::{Rows, base_rows, keep_greater};

/// All records.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<RecordRef, Arc<Record>>,
    by_id: BTreeMap<UpdateId, Vec<RecordRef>>,
}

impl Ledger {
    /// A replica manager accepted an update.
    pub fn accepted(&mut self, record: &Arc<Record>) -> Result<(), Violation> {
        let name = record.name();
        let before = self.records.insert(name.clone(), Arc::clone(record));
        check(before.is_none(), "a sequence number is used once", || format!("{name} was there already"))?;
        let names = self.by_id.entry(record.id).or_default();
        names.push(name);
        let first = names.first().and_then(|first| self.records.get(first));
        check(first.is_none_or(|first| first.request == record.request), "one id, one content", || {
            format!("{record:?} differs from {first:?}")
        })
    }

    /// The record of this name.
    pub fn get(&self, name: &RecordRef) -> Option<&Arc<Record>> {
        self.records.get(name)
    }

    /// The records of an id.
    pub fn records_of(&self, id: UpdateId) -> impl Iterator<Item = &Arc<Record>> {
        self.by_id.get(&id).into_iter().flatten().filter_map(|name| self.records.get(name))
    }

    /// The records that `timestamp` covers.
    pub fn covered<'a>(&'a self, timestamp: &'a Timestamp) -> impl Iterator<Item = &'a Arc<Record>> {
        self.records.values().filter(|record| timestamp.get(&record.i) >= record.seq)
    }

    /// The greatest stamp of the records that `timestamp` covers.
    pub fn greatest_stamp(&self, timestamp: &Timestamp) -> Stamp {
        self.covered(timestamp).map(|record| record.stamp).max().unwrap_or_default()
    }

    /// The ratings after exactly the records that `timestamp` covers.
    pub fn rows_at(&self, timestamp: &Timestamp) -> Rows {
        let mut rows = base_rows();
        for record in self.covered(timestamp) {
            keep_greater(&mut rows, record.request.key(), record.row());
        }
        rows
    }

    /// Ids that stand in more than one record.
    pub fn ids_with_several_records(&self) -> usize {
        self.by_id.values().filter(|names| names.len() > 1).count()
    }
}
