//! The update log: records of each origin, without a gap, and those that came before their turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ids::ReplicaId;
use crate::messages::Alike;
use crate::record::Record;
use crate::timestamp::{Timestamp, position_of};

/// Maximum records that are kept before their turn. Further ones are dropped, and pulled when it is their turn.
pub const AHEAD_RECORDS_MAX: usize = 10_000;

/// Outcome for a record that was put into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is held now, and perhaps some that had waited for it.
    Held,
    /// It is kept until those before it have come.
    Ahead,
    /// It was held already.
    Known,
    /// Too many are kept already.
    Dropped,
}

/// Records by origin. Invariant: those of one origin are numbered without a gap, and the last one's number is the
/// origin's entry in the replica timestamp.
#[derive(Clone, Debug, Default)]
pub struct UpdateLog {
    origins: Origins,
    replica_timestamp: Timestamp,
    length: usize,
    /// Number of records that came before their turn.
    ahead: usize,
}

/// The logs of origins, in the order of their ids.
#[derive(Clone, Debug, Default)]
struct Origins(Vec<(ReplicaId, OriginLog)>);

impl Origins {
    fn position(&self, id: &ReplicaId) -> Result<usize, usize> {
        position_of(id, &self.0)
    }

    fn get(&self, id: &ReplicaId) -> Option<&OriginLog> {
        self.position(id).ok().map(|position| &self.0[position].1)
    }

    fn get_mut(&mut self, id: &ReplicaId) -> Option<&mut OriginLog> {
        self.position(id).ok().map(|position| &mut self.0[position].1)
    }

    fn get_or_insert(&mut self, id: &ReplicaId) -> &mut OriginLog {
        let position = self.position(id).unwrap_or_else(|position| {
            self.0.insert(position, (id.clone(), OriginLog::default()));
            position
        });
        &mut self.0[position].1
    }

    fn remove(&mut self, id: &ReplicaId) -> Option<OriginLog> {
        self.position(id).ok().map(|position| self.0.remove(position).1)
    }
}

#[derive(Clone, Debug, Default)]
struct OriginLog {
    /// The records, in the order of their numbers.
    records: VecDeque<Arc<Record>>,
    /// Came before their turn, by number: not held.
    ahead: BTreeMap<u64, Arc<Record>>,
}

impl UpdateLog {
    /// The replica timestamp: the records that are held.
    pub fn replica_timestamp(&self) -> &Timestamp {
        &self.replica_timestamp
    }

    /// Number of records, without those that came before their turn.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts `record` in its place and appends to `held` all records that are held by that, in order.
    pub fn insert(&mut self, record: Arc<Record>, held: &mut Vec<Arc<Record>>) -> Inserted {
        let mut next = self.replica_timestamp.get(&record.i) + 1;
        if record.seq < next {
            return Inserted::Known;
        }
        if record.seq > next {
            if self.ahead >= AHEAD_RECORDS_MAX {
                return Inserted::Dropped;
            }
            let is_new = self.origins.get_or_insert(&record.i).ahead.insert(record.seq, record).is_none();
            self.ahead += usize::from(is_new);
            return Inserted::Ahead;
        }
        let origin = self.origins.get_or_insert(&record.i);
        let mut hold = |record: &Arc<Record>| {
            origin.records.push_back(Arc::clone(record));
            held.push(Arc::clone(record));
            self.length += 1;
        };
        hold(&record);
        while let Some(later) = origin.ahead.remove(&(next + 1)) {
            hold(&later);
            next += 1;
            self.ahead -= 1;
        }
        self.replica_timestamp.set(&record.i, next);
        Inserted::Held
    }

    /// Holds everything of `origin` up to `seq` by a snapshot, without the records. Appends to `held` those that are
    /// held by that because they had waited.
    pub fn jump(&mut self, origin: &ReplicaId, seq: u64, held: &mut Vec<Arc<Record>>) {
        if seq <= self.replica_timestamp.get(origin) {
            return;
        }
        let log = self.origins.get_or_insert(origin);
        self.length -= log.records.len();
        log.records.clear();
        let later = log.ahead.split_off(&(seq + 1));
        self.ahead -= log.ahead.len();
        log.ahead = later;
        self.replica_timestamp.set(origin, seq);
        if let Some(next) = log.ahead.remove(&(seq + 1)) {
            self.ahead -= 1;
            self.insert(next, held);
        }
    }

    /// Lets records go that everybody holds: those of `origin` up to `seq`. Says how many went.
    pub fn truncate(&mut self, origin: &ReplicaId, seq: u64) -> usize {
        let Some(log) = self.origins.get_mut(origin) else { return 0 };
        let keep = log.records.partition_point(|record| record.seq <= seq);
        log.records.drain(..keep);
        self.length -= keep;
        keep
    }

    /// Forgets that there ever was an `origin`.
    pub fn forget(&mut self, origin: &ReplicaId) {
        if let Some(log) = self.origins.remove(origin) {
            self.length -= log.records.len();
            self.ahead -= log.ahead.len();
        }
        self.replica_timestamp.set(origin, 0);
    }

    /// The number after which the records of `origin` begin: earlier ones were dropped, or were never here.
    pub fn start(&self, origin: &ReplicaId) -> u64 {
        let first = self.origins.get(origin).and_then(|log| log.records.front());
        first.map_or_else(|| self.replica_timestamp.get(origin), |record| record.seq - 1)
    }

    /// The timestamp that a replica must hold for this log to bring it up to date.
    pub fn starts(&self) -> Timestamp {
        self.replica_timestamp.iter().map(|(origin, _)| (origin.clone(), self.start(origin))).collect()
    }

    /// The record of `origin` with the number `seq`, if it is in the log.
    pub fn get(&self, origin: &ReplicaId, seq: u64) -> Option<&Arc<Record>> {
        let records = &self.origins.get(origin)?.records;
        let first = records.front()?.seq;
        records.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Whether records of some origin wait for one that is missing.
    pub fn has_gap(&self) -> bool {
        self.ahead > 0
    }

    /// Lets go what came before its turn, where nobody in `shown` holds it: a turn that never comes.
    pub fn retain_ahead(&mut self, shown: &Timestamp) {
        if self.ahead == 0 {
            return;
        }
        for (id, origin) in &mut self.origins.0 {
            let hopeless = origin.ahead.split_off(&(shown.get(id) + 1));
            self.ahead -= hopeless.len();
        }
        self.origins.0.retain(|(_, origin)| !origin.records.is_empty() || !origin.ahead.is_empty());
    }

    /// The records of `origin` after number `seq`, in order.
    pub fn of_origin_after(&self, origin: &ReplicaId, seq: u64) -> impl Iterator<Item = &Arc<Record>> {
        let records = self.origins.get(origin).map(|origin| &origin.records);
        let first = records.and_then(|records| records.front()).map_or(1, |record| record.seq);
        let skip = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        records.into_iter().flat_map(move |records| records.iter().skip(skip))
    }

    /// The records that a holder of `have` lacks: at most `records_max` records of about `bytes_max` bytes, of each
    /// origin in order.
    pub fn after(&self, have: &Timestamp, records_max: usize, bytes_max: usize) -> Vec<Arc<Record>> {
        let lacking = self.origins.0.iter().flat_map(|(origin, _)| self.of_origin_after(origin, have.get(origin)));
        Self::page(lacking, records_max, bytes_max)
    }

    /// The first of `records`, at least one of them: at most `records_max`, of about `bytes_max` bytes.
    pub fn page<'a>(
        records: impl Iterator<Item = &'a Arc<Record>>,
        records_max: usize,
        bytes_max: usize,
    ) -> Vec<Arc<Record>> {
        let mut page: Vec<Arc<Record>> = Vec::new();
        let mut bytes = 0;
        for record in records.take(records_max) {
            bytes += record.bytes_after(page.last());
            if bytes > bytes_max && !page.is_empty() {
                break;
            }
            page.push(Arc::clone(record));
        }
        page
    }
}

#[cfg(test)]
mod tests;
