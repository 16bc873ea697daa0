//! `dataset fingerprint --verify`: reads a SQLite file from end to end, and counts and hashes it anew.

use std::collections::HashMap;
use std::path::Path;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::Digest;
use rusqlite::Connection;

use crate::base::{self, Description};
use crate::builder::base_row;
use crate::error::{DataError, FileProblem};
use crate::fingerprint::add;
use crate::progress::{Progress, RATINGS_PER_REPORT};

/// Checks that every rating in the file is sound and that its counts, sums and fingerprint fit them.
pub fn verify(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Description, DataError> {
    let connection = base::connect()?;
    base::attach_file(&connection, path)?;
    check(&connection, progress).map_err(|problem| DataError::File { path: path.display().to_string(), problem })
}

fn check(connection: &Connection, progress: &mut dyn FnMut(Progress)) -> Result<Description, FileProblem> {
    let sqlite = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
    let (description, catalogue) = base::load(connection)?;
    let sound: String = connection.query_row("PRAGMA base.quick_check(1)", (), |row| row.get(0)).map_err(sqlite)?;
    if sound != "ok" {
        return Err(FileProblem::Damaged(sound));
    }
    let found = Found::count(connection, description.counts.ratings, progress)?;
    if found.digest != description.digest || found.ratings != description.counts.ratings {
        return Err(FileProblem::Damaged("its digest does not fit its ratings".to_owned()));
    }
    if let Some(movie_id) = catalogue.differs(&found.movies) {
        return Err(FileProblem::Damaged(format!("its count or sum for movie {movie_id} does not fit its ratings")));
    }
    // Equal numbers of users, and no user of one without an equal count in the other.
    let strangers: i64 = connection
        .query_row(
            "SELECT COUNT(*) FROM (SELECT user_id, COUNT(*) FROM base.rating GROUP BY user_id
             EXCEPT SELECT user_id, count FROM base.user)",
            (),
            |row| row.get(0),
        )
        .map_err(sqlite)?;
    let users: i64 = connection.query_row("SELECT COUNT(*) FROM base.user", (), |row| row.get(0)).map_err(sqlite)?;
    if strangers != 0 || users as u64 != description.counts.users || found.users != description.counts.users {
        return Err(FileProblem::Damaged("its counts for users do not fit its ratings".to_owned()));
    }
    Ok(description)
}

#[derive(Default)]
struct Found {
    ratings: u64,
    users: u64,
    digest: Digest,
    /// Count and sum of half stars of each movie.
    movies: HashMap<u32, (u64, u64)>,
}

impl Found {
    fn count(connection: &Connection, expected: u64, progress: &mut dyn FnMut(Progress)) -> Result<Self, FileProblem> {
        let sqlite = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
        let mut found = Self::default();
        let mut last_user = 0;
        let mut select = connection
            .prepare("SELECT user_id, movie_id, half_stars, timestamp FROM base.rating ORDER BY user_id, movie_id")
            .map_err(sqlite)?;
        let mut rows = select.query(()).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let (user, movie, half_stars, timestamp): (u32, u32, u8, i64) = row.try_into().map_err(sqlite)?;
            let (Ok(user_id), Ok(movie_id), Ok(stars)) =
                (UserId::new(user), MovieId::new(movie), Stars::from_half_stars(half_stars))
            else {
                return Err(FileProblem::Damaged(format!("user {user}, movie {movie}: {half_stars} half stars")));
            };
            found.ratings += 1;
            found.users += u64::from(user != last_user);
            last_user = user;
            let totals = found.movies.entry(movie).or_default();
            *totals = (totals.0 + 1, totals.1 + u64::from(half_stars));
            add(&mut found.digest, RatingKey { user_id, movie_id }, &base_row(stars, timestamp));
            if found.ratings.is_multiple_of(RATINGS_PER_REPORT) {
                let fraction = found.ratings as f64 / expected.max(1) as f64;
                progress(Progress { doing: "verifying ratings", ratings: found.ratings, fraction });
            }
        }
        Ok(found)
    }
}
