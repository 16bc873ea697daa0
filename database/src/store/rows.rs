//! Rows in memory: those that updates wrote ([`Overlay`]), and those of the data set that were read lately ([`ReadRows`]).
//!
//! Every read of the hot path looks into the overlay first, and only then into the base. A point read or a write of SQLite
//! costs several times as much as one of the overlay's map, and every update costs one of each at every replica. Rows are
//! found by a hash of their key; their order, which only snapshots, lists and saving need, is kept beside them and changes
//! only with a new key: in a tree of all rows each step of a search misses the processor's cache. A durable store has the
//! same rows in its database too, or records that bring them back ([`Overlay::take_unsaved`],
//! [`crate::durability::journal`]), and fills the map from there when it is opened.
//!
//! A row of the data set never changes. A read of it from SQLite costs some thirty times as much as one that is kept here.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use foldhash::fast::RandomState;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::Row;

use crate::dataset::build::base_row;
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

/// Number of rows in a set: together they fill one line of the processor's cache.
const WAYS: usize = 4;
/// Bytes of a set.
const SET_BYTES: usize = WAYS * 2 * size_of::<u64>();
/// Bits of a rating's half stars, below its timestamp.
const STARS_BITS: u32 = 5;

/// The keys of a set, 0 where there is none, the last one read first; then what the data set has for each. All zeros, so
/// that the system gives memory only as sets are written.
type Set = [u64; 2 * WAYS];

/// Rows that were read, each in the set where it may be: it takes the place of the one that was put there first. The
/// data set never changes, so a kept row is as good as a new read.
#[derive(Debug, Default)]
pub(crate) struct ReadRows {
    /// A power of two, or none.
    sets: RefCell<Vec<Set>>,
    /// Shift of the product of a key that gives the number of its set, in bits.
    shift: u32,
}

impl ReadRows {
    /// Keeps rows in at most `bytes`; in less where a data set of `ratings` has room twice over in less.
    pub(crate) fn new(bytes: u64, ratings: u64) -> Self {
        let sets_max = bytes / SET_BYTES as u64;
        let wanted = ratings.saturating_mul(2).div_ceil(WAYS as u64).max(1);
        let bits = sets_max.min(wanted.checked_next_power_of_two().unwrap_or(u64::MAX)).checked_ilog2();
        let sets =
            bits.and_then(|bits| 1usize.checked_shl(bits)).map_or_else(Vec::new, |sets| vec![[0; 2 * WAYS]; sets]);
        Self { sets: RefCell::new(sets), shift: u64::BITS - bits.unwrap_or(0) }
    }

    /// Returns the row that the data set has for `key`, if that was read lately.
    pub(crate) fn get(&self, key: RatingKey) -> Option<Option<Row>> {
        let sets = self.sets.borrow();
        let (keys, found) = sets.get(self.set_of(key))?.split_at(WAYS);
        let way = keys.iter().position(|kept| *kept == number(key))?;
        Some(unpack(*found.get(way)?))
    }

    /// The data set has `base` for `key`.
    pub(crate) fn put(&self, key: RatingKey, base: Option<Row>) {
        let Some(packed) = pack(base) else { return };
        if let Some(set) = self.sets.borrow_mut().get_mut(self.set_of(key)) {
            let (keys, found) = set.split_at_mut(WAYS);
            keys.rotate_right(1);
            found.rotate_right(1);
            (keys[0], found[0]) = (number(key), packed);
        }
    }

    /// Multiplication spreads neighbours (Knuth, *The Art of Computer Programming*, vol. 3, §6.4).
    fn set_of(&self, key: RatingKey) -> usize {
        let product = number(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product.checked_shr(self.shift).unwrap_or(0) as usize
    }
}

/// Never 0, as ids begin at 1.
fn number(key: RatingKey) -> u64 {
    (u64::from(key.user_id.get()) << 32) | u64::from(key.movie_id.get())
}

/// A row of the data set in one number, 0 for none. `None` where its timestamp is too large for that.
fn pack(base: Option<Row>) -> Option<u64> {
    let Some((stars, timestamp)) = base.and_then(|row| Some((row.stars?, row.timestamp))) else { return Some(0) };
    let shifted = timestamp << STARS_BITS;
    (shifted >> STARS_BITS == timestamp).then_some(shifted as u64 | u64::from(stars.half_stars()))
}

fn unpack(packed: u64) -> Option<Row> {
    let half_stars = u8::try_from(packed & ((1 << STARS_BITS) - 1)).ok()?;
    let stars = Stars::from_half_stars(half_stars).ok()?;
    Some(base_row(stars, packed as i64 >> STARS_BITS))
}

#[cfg(test)]
mod tests {
    use natter_common::ids::{MovieId, UserId};

    use super::*;

    fn key(user_id: u32, movie_id: u32) -> RatingKey {
        RatingKey { user_id: UserId::new(user_id).unwrap(), movie_id: MovieId::new(movie_id).unwrap() }
    }

    fn base(n: u32) -> Option<Row> {
        n.is_multiple_of(3).then(|| base_row(Stars::from_half_stars((n % 10 + 1) as u8).unwrap(), i64::from(n)))
    }

    #[test]
    fn what_was_read_is_what_was_put_or_nothing() {
        let read = ReadRows::new(1 << 20, 1_000_000);
        let mut kept = 0;
        for n in 1..200_000 {
            read.put(key(n, n % 50 + 1), base(n));
            assert_eq!(read.get(key(n, n % 50 + 1)), Some(base(n)));
        }
        for n in 1..200_000 {
            if let Some(found) = read.get(key(n, n % 50 + 1)) {
                assert_eq!(found, base(n));
                kept += 1;
            }
            assert_eq!(read.get(key(n, 51)), None);
        }
        assert!((50_000..=65_536).contains(&kept), "{kept} kept of 65,536 that have room");
    }

    #[test]
    fn nearly_all_of_a_data_set_that_has_room_is_kept() {
        let read = ReadRows::new(64 << 20, 100_000);
        assert!(read.sets.borrow().len() * SET_BYTES <= 4 << 20, "no more memory than it is good for");
        for n in 1..=100_000 {
            read.put(key(n % 600 + 1, n), base(n));
        }
        let kept = (1..=100_000).filter(|n| read.get(key(n % 600 + 1, *n)).is_some()).count();
        assert!(kept > 98_000, "{kept}");
    }

    #[test]
    fn timestamps_of_all_sizes_come_back_or_are_not_kept() {
        let read = ReadRows::new(1 << 12, 10);
        let rows = [0, -1, i64::MAX, i64::MIN, i64::MAX >> STARS_BITS, i64::MIN >> STARS_BITS];
        for (n, timestamp) in (1..).zip(rows) {
            let row = base_row(Stars::from_half_stars(10).unwrap(), timestamp);
            read.put(key(n, 1), Some(row));
            assert!(read.get(key(n, 1)).is_none_or(|found| found == Some(row)), "{timestamp}");
        }
        assert!(read.get(key(1, 1)).is_some() && read.get(key(6, 1)).is_some() && read.get(key(3, 1)).is_none());
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        for read in [ReadRows::default(), ReadRows::new(0, 100), ReadRows::new(63, 100)] {
            read.put(key(1, 1), None);
            assert_eq!(read.get(key(1, 1)), None);
        }
        let one = ReadRows::new(64, 100);
        one.put(key(1, 1), None);
        assert_eq!(one.get(key(1, 1)), Some(None));
    }
}
