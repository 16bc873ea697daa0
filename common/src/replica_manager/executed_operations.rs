//! The executed-operation table: which updates are known here, so that none takes effect twice.

mod block;
mod items;
mod places;

use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::record::{Deleted, ExecutedOperation, Record, RecordRef};
use crate::request::Update;

use items::{Items, Number};
use places::Places;

/// Time for which an update is remembered after it was taken in, in milliseconds: the minute within which a client may
/// retry it, and some more, so that a slow message doesn't matter.
pub const RETENTION_MS: u64 = 75_000;

/// Known updates by id. An update that is held here is known, applied or not; after a retry it may stand in several
/// records. The table answers retries and tells duplicates from news; it never decides which stamp stands.
///
/// Bounded: a record is forgotten after [`RETENTION_MS`], when the log has let it go. This is safe because a later
/// retry of an id that carries its stamp writes what it wrote before, with the same (stamp, id), and so changes
/// nothing, and because frontends refuse any other id whose version shows that it is older than a minute.
///
/// An update takes 37 to 41 bytes: 32 for the item in the queue, its whole id among them, and 4 to 8 for its
/// number in the index. A stamp that the id does not carry takes 16 more, the rating that a delete took away 40.
#[derive(Clone, Debug, Default)]
pub struct ExecutedOperations {
    /// In the order in which they were taken in, with the time.
    items: Items,
    /// Places of the records of an id, the first record first.
    places: Places,
}

/// The fields of a record that the table keeps.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    id: UpdateId,
    origin: &'a ReplicaId,
    seq: u64,
    request: Option<Update>,
    stamp: Stamp,
    deleted: Option<&'a Deleted>,
}

impl<'a> From<&'a Record> for Known<'a> {
    fn from(record: &'a Record) -> Self {
        let Record { id, i, seq, request, stamp, deleted, .. } = record;
        Self { id: *id, origin: i, seq: *seq, request: *request, stamp: *stamp, deleted: deleted.as_ref() }
    }
}

impl<'a> From<&'a ExecutedOperation> for Known<'a> {
    fn from(operation: &'a ExecutedOperation) -> Self {
        let ExecutedOperation { id, i, seq, request, stamp, deleted } = operation;
        Self { id: *id, origin: i, seq: *seq, request: *request, stamp: *stamp, deleted: deleted.as_deref() }
    }
}

impl ExecutedOperations {
    /// A record, or what another table kept of one, is known from now on. Says whether that is news.
    pub fn insert<'a>(&mut self, known: impl Into<Known<'a>>, now_ms: u64) -> bool {
        let known = known.into();
        let id_of = |number| self.items.id(number);
        let mut at = self.places.start_of(known.id, id_of);
        while let Some(number) = self.places.get(at).filter(|number| id_of(*number) == Some(known.id)) {
            if self.items.name(number) == Some((known.origin, known.seq)) {
                return false;
            }
            at = self.places.after(at);
        }
        let number = self.items.push(&known, now_ms);
        self.places.insert(at, known.id, number, |number| self.items.id(number));
        true
    }

    /// The numbers of the records of `id`, the first one first.
    fn of(&self, id: UpdateId) -> impl Iterator<Item = Number> {
        let id_of = |number| self.items.id(number);
        let numbers = self.places.iter_from(self.places.start_of(id, id_of));
        numbers.take_while(move |number| id_of(*number) == Some(id))
    }

    /// The first record of `id` that is known here.
    pub fn first(&self, id: &UpdateId) -> Option<ExecutedOperation> {
        self.of(*id).next().and_then(|number| self.items.get(number))
    }

    /// The names of the records of `id`, the first one first; empty where it is unknown.
    pub fn names(&self, id: &UpdateId) -> Vec<RecordRef> {
        let names = self.of(*id).filter_map(|number| self.items.name(number));
        names.map(|(origin, seq)| RecordRef { i: origin.clone(), seq }).collect()
    }

    /// Number of known records.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets records that were taken in longer than [`RETENTION_MS`] ago, but those that are `in_log`, which are asked
    /// about again after as long. Calls `forget` with each that it forgets.
    pub fn expire(
        &mut self,
        now_ms: u64,
        in_log: impl Fn(&ReplicaId, u64) -> bool,
        mut forget: impl FnMut(&ReplicaId, u64),
    ) {
        while let Some((number, since_ms)) = self.items.first() {
            if now_ms.saturating_sub(since_ms) < RETENTION_MS {
                return;
            }
            if let (Some(id), Some((origin, seq))) = (self.items.id(number), self.items.name(number)) {
                if in_log(origin, seq) {
                    self.renew(id, number, now_ms);
                } else {
                    forget(origin, seq);
                    self.places.remove(id, number, |number| self.items.id(number));
                }
            }
            self.items.pop();
        }
    }

    /// Puts a copy of an operation at the end of the queue. The copy has the operation's place among the records of its id.
    fn renew(&mut self, id: UpdateId, number: Number, now_ms: u64) {
        if let Some(operation) = self.items.get(number) {
            let new = self.items.push(&Known::from(&operation), now_ms);
            self.places.renumber(id, number, new, |number| self.items.id(number));
        }
    }

    /// Known records in the order of their ids, after all of `after`.
    pub fn after(&self, after: Option<UpdateId>) -> impl Iterator<Item = ExecutedOperation> {
        let id_of = |number| self.items.id(number);
        let start = after.map_or_else(Default::default, |id| self.places.start_of(id, id_of));
        let numbers = self.places.iter_from(start).skip_while(move |number| after.is_some() && id_of(*number) == after);
        numbers.filter_map(|number| self.items.get(number))
    }

    /// The memory that the table takes beside itself, in bytes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.items.bytes() + self.places.bytes()
    }
}

#[cfg(test)]
mod tests;
