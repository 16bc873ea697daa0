//! The executed-operation table: which updates are known here, so that none takes effect twice.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{ReplicaId, UpdateId};
use crate::record::{ExecutedOperation, RecordRef};

/// How long an update is remembered after it was taken in, in milliseconds: the minute within which a client may retry
/// it, and some, so that a slow message doesn't matter.
pub const RETENTION_MS: u64 = 75_000;

/// Known updates by id. An update that is held here is known, applied or not; after a retry it may stand in several
/// records. The table answers retries and tells duplicates from news; it never decides which stamp stands.
///
/// Bounded: a record is forgotten after [`RETENTION_MS`], when the log has let it go. That is safe because a later retry
/// of an id that carries its stamp writes what it wrote before, with the same (stamp, id), and so changes nothing, and
/// because frontends refuse any other id whose version shows that it is older than a minute.
#[derive(Clone, Debug, Default)]
pub struct ExecutedOperations {
    /// The records of an id are numbered, the first one first.
    operations: BTreeMap<(UpdateId, u32), ExecutedOperation>,
    /// In the order in which they were taken in, with the time.
    ages: VecDeque<(u64, UpdateId, u32)>,
}

impl ExecutedOperations {
    /// `operation` is known from now on. Says whether that is news.
    pub fn insert(&mut self, operation: ExecutedOperation, now_ms: u64) -> bool {
        let id = operation.id;
        let mut next = 0;
        // Most ids are later than all before.
        if self.operations.last_key_value().is_some_and(|(key, _)| key.0 >= id) {
            for (key, known) in self.range(id) {
                if known.seq == operation.seq && known.i == operation.i {
                    return false;
                }
                next = key.1 + 1;
            }
        }
        self.ages.push_back((now_ms, id, next));
        self.operations.insert((id, next), operation);
        true
    }

    fn range(&self, id: UpdateId) -> impl Iterator<Item = (&(UpdateId, u32), &ExecutedOperation)> {
        // Without an upper bound, which would be searched for too.
        self.operations.range((id, 0)..).take_while(move |(key, _)| key.0 == id)
    }

    /// The first record of `id` that is known here.
    pub fn first(&self, id: &UpdateId) -> Option<&ExecutedOperation> {
        self.range(*id).next().map(|(_, operation)| operation)
    }

    /// The names of the records of `id`, the first one first; empty where it is unknown.
    pub fn names(&self, id: &UpdateId) -> Vec<RecordRef> {
        self.range(*id).map(|(_, operation)| operation.name()).collect()
    }

    /// How many records are known.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Forgets records that were taken in longer than [`RETENTION_MS`] ago, but those that are `in_log`, which are asked
    /// about again after as long. Gives what it forgot.
    pub fn expire(&mut self, now_ms: u64, in_log: impl Fn(&ReplicaId, u64) -> bool) -> Vec<RecordRef> {
        let mut forgotten = Vec::new();
        while let Some((since_ms, id, n)) = self.ages.front().copied() {
            if now_ms.saturating_sub(since_ms) < RETENTION_MS {
                break;
            }
            self.ages.pop_front();
            let Some(operation) = self.operations.get(&(id, n)) else { continue };
            if in_log(&operation.i, operation.seq) {
                self.ages.push_back((now_ms, id, n));
            } else if let Some(operation) = self.operations.remove(&(id, n)) {
                forgotten.push(operation.name());
            }
        }
        forgotten
    }

    /// Known records in the order of their ids, after all of `after`.
    pub fn after(&self, after: Option<UpdateId>) -> impl Iterator<Item = &ExecutedOperation> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |id| Excluded((id, u32::MAX)));
        self.operations.range((start, Unbounded)).map(|(_, operation)| operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::ids::{MovieId, UserId};
    use crate::request::Update;

    fn operation(n: u64, i: &str, seq: u64) -> ExecutedOperation {
        ExecutedOperation {
            id: UpdateId::from_stamp(Stamp(n), n),
            i: ReplicaId::new(i).unwrap(),
            seq,
            request: Some(Update::Delete { user_id: UserId::new(1).unwrap(), movie_id: MovieId::new(1).unwrap() }),
            stamp: Stamp(n),
            deleted: None,
        }
    }

    #[test]
    fn an_update_is_remembered_for_more_than_a_minute_and_as_long_as_its_record_is_in_the_log() {
        let mut table = ExecutedOperations::default();
        assert!(table.insert(operation(1, "a", 1), 0));
        assert!(table.insert(operation(1, "b", 1), 10));
        assert!(!table.insert(operation(1, "a", 1), 20), "the same record again");
        assert!(table.expire(60_000, |_, _| false).is_empty());
        let id = operation(1, "a", 1).id;
        assert_eq!(table.names(&id).len(), 2);
        let forgotten = table.expire(RETENTION_MS + 10, |i, _| i.as_str() == "a");
        assert_eq!(forgotten, [operation(1, "b", 1).name()]);
        assert_eq!(table.first(&id).map(ExecutedOperation::name), Some(operation(1, "a", 1).name()));
        assert_eq!(table.expire(3 * RETENTION_MS, |_, _| false).len(), 1);
        assert!(table.is_empty() && table.first(&id).is_none());
    }
}
