//! The value in memory, and the rows it is made of.

use std::collections::BTreeMap;

use natter_common::clock::Stamp;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{Average, Movie, Movies, Rating, RatingKey, Ratings, Stars};
use natter_common::replica_manager::Changes;
use natter_common::request::{Answer, Query};
use natter_common::value::{Commit, Digest, QueryError, Row, Value, ValueError};

/// Row that stands for each key, deletion markers included.
pub type Rows = BTreeMap<RatingKey, Row>;

/// The movies there are, by ascending number from 1.
pub const CATALOGUE: [&str; 6] =
    ["Metropolis (1927)", "Ikiru (1952)", "La dolce vita (1960)", "Solaris (1972)", "Stalker (1979)", "Ran (1985)"];

/// Ratings in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryValue {
    rows: Rows,
    staged: Rows,
    digest: u64,
    /// Commits since they were last taken, for the disk.
    committed: Vec<Written>,
    /// Whether a commit takes time.
    is_slow: bool,
}

/// Contents of one commit.
#[derive(Clone, Debug)]
pub struct Written {
    /// Changes that the core saves.
    pub changes: Changes,
    /// The ratings.
    pub value: MemoryValue,
}

/// A key, from plain numbers.
pub fn key(user_id: u32, movie_id: u32) -> RatingKey {
    RatingKey { user_id: UserId::new(user_id).unwrap(), movie_id: MovieId::new(movie_id).unwrap() }
}

/// Ratings of the data set: user 1 has rated movie 1.
pub fn base_rows() -> Rows {
    let stars = Some(Stars::from_half_stars(6).unwrap());
    Rows::from([(key(1, 1), Row { stars, timestamp: 1_000, stamp: Stamp::ZERO, update_id: None })])
}

/// The movie's title.
pub fn title(movie_id: MovieId) -> Option<&'static str> {
    CATALOGUE.get(movie_id.get() as usize - 1).copied()
}

/// Keeps the greater of `row` and what stands.
pub fn keep_greater(rows: &mut Rows, key: RatingKey, row: Row) -> bool {
    let stands = rows.get(&key).is_none_or(|old| row.order() > old.order());
    if stands {
        rows.insert(key, row);
    }
    stands
}

impl MemoryValue {
    /// The data set.
    pub fn new() -> Self {
        let rows = base_rows();
        let digest = rows.iter().fold(0u64, |sum, (key, row)| sum.wrapping_add(weight(*key, row)));
        Self { rows, digest, ..Self::default() }
    }

    /// Whether commits take time from now on: the core has to be told when one has ended.
    pub fn be_slow(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
    }

    /// Drops what is kept aside.
    pub fn drop_stage(&mut self) {
        self.staged.clear();
    }

    /// Takes out what was committed since the last time, in order. A turn may commit several times; only the last
    /// commit can be under way.
    pub fn take_committed(&mut self) -> Vec<Written> {
        std::mem::take(&mut self.committed)
    }

    /// The rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
}

impl Value for MemoryValue {
    fn title(&self, movie_id: MovieId) -> Option<&str> {
        title(movie_id)
    }

    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError> {
        Ok(self.rows.get(&key).copied())
    }

    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError> {
        let before = self.rows.get(&key).map_or(0, |row| weight(key, row));
        let stands = keep_greater(&mut self.rows, key, row);
        if stands {
            self.digest = self.digest.wrapping_sub(before).wrapping_add(weight(key, &row));
        }
        Ok(stands)
    }

    fn changed_after(&self, after: Option<RatingKey>, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        let later = self.rows.iter().filter(|(key, row)| row.update_id.is_some() && after.is_none_or(|a| **key > a));
        Ok(later.take(limit).map(|(key, row)| (*key, *row)).collect())
    }

    fn changed_count(&self) -> u64 {
        self.rows.values().filter(|row| row.update_id.is_some()).count() as u64
    }

    fn stage(&mut self, rows: &mut dyn Iterator<Item = (RatingKey, Row)>) -> Result<(), ValueError> {
        self.staged.extend(rows);
        Ok(())
    }

    fn clear_stage(&mut self) -> Result<(), ValueError> {
        self.staged.clear();
        Ok(())
    }

    fn take_staged(&mut self, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        let rows: Vec<_> = self.staged.iter().take(limit).map(|(key, row)| (*key, *row)).collect();
        for (key, _) in &rows {
            self.staged.remove(key);
        }
        Ok(rows)
    }

    fn commit_turn(&mut self, changes: &Changes) -> Result<Commit, ValueError> {
        // A replica in memory has nothing to save.
        if changes.is_empty() {
            return Ok(Commit::Done);
        }
        let value =
            Self { rows: self.rows.clone(), staged: self.staged.clone(), digest: self.digest, ..Self::default() };
        self.committed.push(Written { changes: changes.clone(), value });
        Ok(if self.is_slow { Commit::UnderWay } else { Commit::Done })
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        answer(&self.rows, query)
    }

    fn digest(&self) -> Digest {
        Digest(self.digest)
    }
}

/// Number that a row adds to the digest; 0 for a deletion marker.
fn weight(key: RatingKey, row: &Row) -> u64 {
    let Some(stars) = row.stars else { return 0 };
    let id = row.update_id.map_or(0, |id| id.as_uuid().as_u128());
    let parts = [
        u64::from(key.user_id.get()),
        u64::from(key.movie_id.get()),
        u64::from(stars.half_stars()),
        row.timestamp as u64,
        id as u64,
        (id >> 64) as u64,
    ];
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, part| {
        let mixed = (hash ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    })
}

/// The answer that these rows give.
pub fn answer(rows: &Rows, query: &Query) -> Result<Answer, QueryError> {
    let titled = |movie_id: MovieId| title(movie_id).ok_or(QueryError::MovieNotFound(movie_id));
    Ok(match *query {
        Query::Read { user_id, movie_id } => {
            let key = RatingKey { user_id, movie_id };
            Answer::Rating(rating(key, titled(movie_id)?, rows.get(&key)))
        }
        Query::All { user_id, limit, after } => {
            let live: Vec<_> = rows.iter().filter(|(key, row)| key.user_id == user_id && row.stars.is_some()).collect();
            let rest = live.iter().filter(|(key, _)| key.movie_id.get() > after);
            let page: Vec<_> = rest.clone().take(limit as usize).collect();
            let next = page.last().filter(|_| rest.count() > page.len()).map(|(key, _)| key.movie_id);
            let ratings = page
                .into_iter()
                .map(|(key, row)| rating(**key, title(key.movie_id).unwrap_or_default(), Some(*row)))
                .collect();
            Answer::Ratings(Ratings { ratings, total: live.len() as u64, next })
        }
        Query::Average { movie_id } => {
            let title = titled(movie_id)?.to_owned();
            let (average, count) = average(rows, movie_id);
            Answer::Average(Average { movie_id, title, average, count })
        }
        Query::Search { ref title, limit } => {
            let numbered = CATALOGUE.iter().zip(1..);
            let found = numbered.filter(|(name, _)| name.to_lowercase().contains(&title.to_lowercase()));
            let movie = |(name, number): (&&str, u32)| {
                let movie_id = MovieId::new(number).unwrap();
                let (average, count) = average(rows, movie_id);
                Movie { movie_id, title: (*name).to_owned(), genres: Vec::new(), average, count }
            };
            Answer::Movies(Movies { movies: found.take(limit as usize).map(movie).collect(), shortened: false })
        }
    })
}

fn rating(key: RatingKey, title: &str, row: Option<&Row>) -> Rating {
    Rating {
        user_id: key.user_id,
        movie_id: key.movie_id,
        title: title.to_owned(),
        rating: row.and_then(|row| row.stars),
        timestamp: row.map(|row| row.timestamp),
        update_id: row.and_then(|row| row.update_id),
    }
}

fn average(rows: &Rows, movie_id: MovieId) -> (Option<f64>, u64) {
    let stars = rows.iter().filter(|(key, _)| key.movie_id == movie_id).filter_map(|(_, row)| row.stars);
    let (sum, count) = stars.fold((0u64, 0u64), |(sum, count), stars| (sum + u64::from(stars.half_stars()), count + 1));
    ((count > 0).then(|| sum as f64 / 2.0 / count as f64), count)
}
