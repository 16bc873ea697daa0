//! The executed-operation table: which updates are known here, so that none takes effect twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::UpdateId;
use crate::record::{Record, RecordRef};

/// Records by update id. An update that is held here is known, applied or not; after a retry it may stand in several
/// records. The table answers retries and tells duplicates from news; it never decides which stamp stands.
#[derive(Debug, Default)]
pub struct ExecutedOperations {
    records: BTreeMap<UpdateId, Vec<Arc<Record>>>,
}

impl ExecutedOperations {
    /// `record` is held from now on.
    pub fn insert(&mut self, record: Arc<Record>) {
        self.records.entry(record.id).or_default().push(record);
    }

    /// The records of `id` that are held here, the first one first; empty where it is unknown.
    pub fn get(&self, id: &UpdateId) -> &[Arc<Record>] {
        self.records.get(id).map_or(&[], Vec::as_slice)
    }

    /// The names of the records of `id`.
    pub fn names(&self, id: &UpdateId) -> Vec<RecordRef> {
        self.get(id).iter().map(|record| record.name()).collect()
    }
}
