//! Rows that updates wrote, in memory: every read of the hot path looks here first, and only then into the base.
//!
//! A point read or a write of SQLite costs several times as much as one of this map, and every update costs one of each at
//! every replica. Rows are found by a hash of their key; their order, which only snapshots, lists and saving need, is kept
//! beside them and changes only with a new key: in a tree of all rows each step of a search misses the processor's cache.
//! A durable store has the same rows in its database too, or records that bring them back
//! ([`Overlay::take_unsaved`], [`crate::kept`]), and fills the map from there when it is opened.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use foldhash::fast::RandomState;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::RatingKey;
use natter_common::value::Row;

use crate::fingerprint::overlay_hash;

/// The rows that updates wrote, deletion markers among them.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: HashMap<RatingKey, Row, RandomState>,
    /// The keys of `rows`, in the order of (user, movie).
    keys: BTreeSet<RatingKey>,
    /// Keys written since the last [`Overlay::take_unsaved`], with the hash of the row that was there before, 0 where
    /// there was none; `None` in a store that does not save them.
    unsaved: Option<Vec<(RatingKey, u64)>>,
}

impl Overlay {
    /// Notes all writes from now on, to be saved.
    pub(crate) fn note_writes(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// Whether writes are noted.
    pub(crate) fn are_writes_noted(&self) -> bool {
        self.unsaved.is_some()
    }

    /// Whether a row was written and not saved yet.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|unsaved| !unsaved.is_empty())
    }

    /// Returns the row that an update wrote for this key.
    pub(crate) fn get(&self, key: RatingKey) -> Option<&Row> {
        self.rows.get(&key)
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the row that an update wrote, to be replaced. The caller then calls [`Overlay::note_write`].
    pub(crate) fn get_mut(&mut self, key: RatingKey) -> Option<&mut Row> {
        self.rows.get_mut(&key)
    }

    /// Writes a row.
    pub(crate) fn insert(&mut self, key: RatingKey, row: Row) {
        let old = self.rows.insert(key, row);
        if old.is_none() {
            self.keys.insert(key);
        }
        self.note_write(key, old.as_ref());
    }

    /// Notes that the row at `key` was written in place of `old`.
    pub(crate) fn note_write(&mut self, key: RatingKey, old: Option<&Row>) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.push((key, old.map_or(0, |old| overlay_hash(key, old))));
        }
    }

    /// The rows after a place, in order.
    pub(crate) fn after(&self, place: Option<RatingKey>) -> impl Iterator<Item = (RatingKey, Row)> {
        let start = place.map_or(Unbounded, Excluded);
        self.keys.range((start, Unbounded)).filter_map(|key| Some((*key, *self.rows.get(key)?)))
    }

    /// A user's rows in ascending movie id, those beyond `after`.
    pub(crate) fn of_user(&self, user_id: UserId, after: u32) -> impl Iterator<Item = (MovieId, &Row)> {
        let first = after.checked_add(1).and_then(|first| MovieId::new(first).ok());
        let keys = first.map(|movie_id| self.keys.range(RatingKey { user_id, movie_id }..));
        let keys = keys.into_iter().flatten().take_while(move |key| key.user_id == user_id);
        keys.filter_map(|key| Some((key.movie_id, self.rows.get(key)?)))
    }

    /// Returns the keys of rows that were written and not saved yet, each once and in order, with the hash of the row
    /// that was there at first. They count as saved from now on.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(RatingKey, u64)> {
        let mut rows = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        // Stable: of several writes the first one has what was there at first.
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by_key(|(key, _)| *key);
        rows
    }
}
