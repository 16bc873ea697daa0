//! Rows of the data set that were read lately: a read of SQLite costs some thirty times as much as one of these.

use std::cell::RefCell;

use natter_common::rating::{RatingKey, Stars};
use natter_common::value::Row;

use crate::builder::base_row;

/// How many rows are kept at most, a power of two: 1.5 MiB.
const ROWS_MAX: usize = 1 << ROWS_BITS;
const ROWS_BITS: u32 = 16;

/// A key, and what the data set has for it.
#[derive(Clone, Copy, Debug)]
struct Read {
    key: RatingKey,
    base: Option<(Stars, i64)>,
}

/// What was read, each at the one place where it may be: it takes the place of another. The data set never changes, so
/// that what is kept is as good as what would be read.
#[derive(Debug)]
pub(crate) struct ReadRows {
    places: RefCell<Box<[Option<Read>]>>,
}

impl Default for ReadRows {
    fn default() -> Self {
        Self { places: RefCell::new(vec![None; ROWS_MAX].into()) }
    }
}

impl ReadRows {
    /// What the data set has for `key`, if that was read lately.
    pub(crate) fn get(&self, key: RatingKey) -> Option<Option<Row>> {
        let places = self.places.borrow();
        let read = places.get(place(key)).copied().flatten().filter(|read| read.key == key)?;
        Some(read.base.map(|(stars, timestamp)| base_row(stars, timestamp)))
    }

    /// The data set has `base` for `key`.
    pub(crate) fn put(&self, key: RatingKey, base: Option<Row>) {
        let base = base.and_then(|row| row.stars.map(|stars| (stars, row.timestamp)));
        if let Some(place) = self.places.borrow_mut().get_mut(place(key)) {
            *place = Some(Read { key, base });
        }
    }
}

/// Where `key` may be. Multiplication spreads neighbours (Knuth, *The Art of Computer Programming*, vol. 3, §6.4).
fn place(key: RatingKey) -> usize {
    let number = (u64::from(key.user_id.get()) << 32) | u64::from(key.movie_id.get());
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - ROWS_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use natter_common::ids::{MovieId, UserId};

    use super::*;

    fn key(user_id: u32, movie_id: u32) -> RatingKey {
        RatingKey { user_id: UserId::new(user_id).unwrap(), movie_id: MovieId::new(movie_id).unwrap() }
    }

    #[test]
    fn what_was_read_is_what_was_put_or_nothing() {
        let read = ReadRows::default();
        let base = |n: u32| n.is_multiple_of(3).then(|| base_row(Stars::from_half_stars(7).unwrap(), i64::from(n)));
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
        assert!((ROWS_MAX / 2..=ROWS_MAX).contains(&kept), "{kept} kept");
    }
}
