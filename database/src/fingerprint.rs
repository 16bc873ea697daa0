//! Fingerprint of a data set, and the digest that shows that two replicas have the same ratings.
//!
//! Both are sums, modulo 2⁶⁴, of one strong hash (XXH3) a row. They do not depend on order: the hash of a deleted row
//! is subtracted, that of a new one is added.

use std::fmt;

use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::{Digest, Row};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Identity of a data set: movies (id, title, genres) and ratings (user, movie, rating, timestamp). It is the same for
/// a folder of CSV files, in any order, and for the SQLite file imported from it. Shown as 16 hexadecimal characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Returns the fingerprint of a data set from the sums over its movies and ratings.
    pub(crate) fn of(movies: u64, movie_sum: u64, ratings: u64, digest: Digest) -> Self {
        let mut hasher = Xxh3::new();
        for part in [movies, movie_sum, ratings, digest.0] {
            hasher.update(&part.to_le_bytes());
        }
        Self(hasher.digest())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The part of one movie in a fingerprint.
pub(crate) fn movie_hash(movie_id: u32, title: &str, genres: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&movie_id.to_le_bytes());
    // The length keeps title and genres apart.
    hasher.update(&(title.len() as u64).to_le_bytes());
    hasher.update(title.as_bytes());
    hasher.update(genres.as_bytes());
    hasher.digest()
}

/// The part of one row in a digest: of user, movie, half stars, timestamp and update id. 0 for a deletion marker.
pub(crate) fn row_hash(key: RatingKey, row: &Row) -> u64 {
    match row.stars {
        Some(stars) => rating_hash(key, stars.half_stars(), row.timestamp, row.update_id.as_ref()),
        None => 0,
    }
}

fn rating_hash(key: RatingKey, half_stars: u8, timestamp: i64, update_id: Option<&UpdateId>) -> u64 {
    // Little-endian: user 4, movie 4, timestamp 8, half stars 1, whether there is an update id 1, the id 16.
    let mut bytes = [0; 34];
    bytes[0..4].copy_from_slice(&key.user_id.get().to_le_bytes());
    bytes[4..8].copy_from_slice(&key.movie_id.get().to_le_bytes());
    bytes[8..16].copy_from_slice(&timestamp.to_le_bytes());
    bytes[16] = half_stars;
    if let Some(update_id) = update_id {
        bytes[17] = 1;
        bytes[18..34].copy_from_slice(update_id.as_bytes());
    }
    xxh3_64(&bytes)
}

/// The part of one row of the overlay in the checksum of all of them: every column, of deletion markers too. 0 for a row
/// that no update wrote.
pub(crate) fn overlay_hash(key: RatingKey, row: &Row) -> u64 {
    let Some(update_id) = &row.update_id else { return 0 };
    // Little-endian: user 4, movie 4, timestamp 8, stamp 8, half stars (0 for a marker) 1, the id 16.
    let mut bytes = [0; 41];
    bytes[0..4].copy_from_slice(&key.user_id.get().to_le_bytes());
    bytes[4..8].copy_from_slice(&key.movie_id.get().to_le_bytes());
    bytes[8..16].copy_from_slice(&row.timestamp.to_le_bytes());
    bytes[16..24].copy_from_slice(&row.stamp.0.to_le_bytes());
    bytes[24] = row.stars.map_or(0, Stars::half_stars);
    bytes[25..41].copy_from_slice(update_id.as_bytes());
    xxh3_64(&bytes)
}

/// Adds `row` to the ratings that `digest` is over.
pub(crate) fn add(digest: &mut Digest, key: RatingKey, row: &Row) {
    digest.0 = digest.0.wrapping_add(row_hash(key, row));
}

/// Takes `row` from the ratings that `digest` is over.
pub(crate) fn subtract(digest: &mut Digest, key: RatingKey, row: &Row) {
    digest.0 = digest.0.wrapping_sub(row_hash(key, row));
}
