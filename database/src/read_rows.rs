//! Rows of the data set that were read lately: a read of SQLite costs some thirty times as much as one of these.

use std::cell::RefCell;

use natter_common::rating::{RatingKey, Stars};
use natter_common::value::Row;

use crate::builder::base_row;

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
