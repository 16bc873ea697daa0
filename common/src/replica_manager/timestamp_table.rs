//! The timestamp table: what each other replica manager was last heard to hold and to have applied.

use std::collections::BTreeMap;

use crate::ids::ReplicaId;
use crate::timestamp::Timestamp;

/// Timestamps that another replica has shown.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Timestamp of the records that it holds.
    pub replica_timestamp: Timestamp,
    /// Timestamp of the records that it has applied.
    pub value_timestamp: Timestamp,
}

/// Entries by replica manager (Ladin et al. 1992, §3.3.5). Never ahead of the truth: an entry is what its subject said,
/// and timestamps never fall.
#[derive(Clone, Debug, Default)]
pub struct TimestampTable {
    entries: BTreeMap<ReplicaId, Entry>,
    changes: u64,
}

impl TimestampTable {
    /// `id` said that it holds `replica_timestamp` and, where it said so, has applied `value_timestamp`.
    pub fn heard(&mut self, id: &ReplicaId, replica_timestamp: &Timestamp, value_timestamp: Option<&Timestamp>) {
        self.changes += 1;
        let entry = match self.entries.get_mut(id) {
            Some(entry) => entry,
            None => self.entries.entry(id.clone()).or_default(),
        };
        entry.replica_timestamp.merge_said(replica_timestamp);
        if let Some(value_timestamp) = value_timestamp {
            entry.value_timestamp.merge_said(value_timestamp);
        }
    }

    /// The same, where `id` is in the table already.
    pub fn heard_if_known(&mut self, id: &ReplicaId, replica_timestamp: &Timestamp) {
        self.changes += 1;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.replica_timestamp.merge_said(replica_timestamp);
        }
    }

    /// Number of changes so far: a result drawn from the table holds as long as this is the same.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The timestamps of `id`, if it has shown any.
    pub fn get(&self, id: &ReplicaId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Number of updates of `origin` that some other replica is known to have applied.
    pub fn applied_by_someone(&self, origin: &ReplicaId) -> u64 {
        self.entries.values().map(|entry| entry.value_timestamp.get(origin)).max().unwrap_or(0)
    }

    /// Whether anyone is known to have applied record `seq` of `origin`.
    pub fn is_applied_by_someone(&self, origin: &ReplicaId, seq: u64) -> bool {
        self.applied_by_someone(origin) >= seq
    }

    /// The first `count` updates of `origin` say nothing any more, of whoever has no more of them.
    pub fn forget_origin(&mut self, origin: &ReplicaId, count: u64) {
        self.changes += 1;
        for entry in self.entries.values_mut() {
            for timestamp in [&mut entry.replica_timestamp, &mut entry.value_timestamp] {
                if timestamp.get(origin) <= count {
                    timestamp.set(origin, 0);
                }
            }
        }
    }

    /// Forgets those that `keep` doesn't want.
    pub fn retain(&mut self, mut keep: impl FnMut(&ReplicaId) -> bool) {
        self.changes += 1;
        self.entries.retain(|id, _| keep(id));
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, &Entry)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests;
