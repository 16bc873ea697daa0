//! The database of a data set in the making: [`Builder`] takes movies, then ratings, and counts and hashes them on the way;
//! [`create`] makes a file of it, whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use natter_common::clock::Stamp;
use natter_common::ids::MovieId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::{Digest, Row, ValueError};
use rusqlite::{Connection, Statement};

use super::Progress;
use super::file::{Counts, Description, attach_new};
use crate::error::{DataError, LineProblem};
use crate::fingerprint::{Fingerprint, add, movie_hash};
use crate::partial::Partial;
use crate::schema;
use crate::sqlite::{connect, failed};

/// Why a movie or a rating was not taken.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// The line can't stand beside the others.
    Refused(LineProblem),
    /// SQLite failed.
    Failed(ValueError),
}

impl From<ValueError> for BuildError {
    fn from(error: ValueError) -> Self {
        Self::Failed(error)
    }
}

/// Fills the empty database that is attached as [`schema::BASE`], in one transaction.
pub(crate) struct Builder<'connection> {
    connection: &'connection Connection,
    insert_movie: Statement<'connection>,
    insert_rating: Statement<'connection>,
    /// In the order of movies, so that the same ratings make the same bytes.
    totals: BTreeMap<MovieId, Totals>,
    movie_sum: u64,
    ratings: u64,
    digest: Digest,
}

#[derive(Default)]
struct Totals {
    count: u64,
    sum_half_stars: u64,
}

const DOING: &str = "building the data set";

impl<'connection> Builder<'connection> {
    /// Creates the tables.
    pub(crate) fn new(connection: &'connection Connection) -> Result<Self, ValueError> {
        let begin = || {
            // No process sees the base before it is whole, and a failed one is thrown away: no journal is needed.
            connection.execute_batch(
                "PRAGMA base.journal_mode = OFF; PRAGMA base.synchronous = OFF; PRAGMA base.cache_size = -131072;",
            )?;
            connection.execute_batch(&format!("PRAGMA base.application_id = {};", schema::APPLICATION_ID))?;
            connection.execute_batch("BEGIN")?;
            connection.execute_batch(schema::CREATE_BASE)?;
            let insert_movie = connection.prepare("INSERT OR IGNORE INTO base.movie VALUES (?1, ?2, ?3, 0, 0)")?;
            let insert_rating = connection.prepare("INSERT OR IGNORE INTO base.rating VALUES (?1, ?2, ?3, ?4)")?;
            Ok((insert_movie, insert_rating))
        };
        let (insert_movie, insert_rating) = begin().map_err(failed("creating the tables of a data set"))?;
        Ok(Self {
            connection,
            insert_movie,
            insert_rating,
            totals: BTreeMap::new(),
            movie_sum: 0,
            ratings: 0,
            digest: Digest::default(),
        })
    }

    /// Adds a movie; `genres` parted by '|'.
    pub(crate) fn movie(&mut self, movie_id: MovieId, title: &str, genres: &str) -> Result<(), BuildError> {
        let changes = self.insert_movie.execute((movie_id.get(), title, genres)).map_err(failed(DOING))?;
        if changes == 0 {
            return Err(BuildError::Refused(LineProblem::DuplicateMovie(movie_id)));
        }
        self.movie_sum = self.movie_sum.wrapping_add(movie_hash(movie_id.get(), title, genres));
        self.totals.insert(movie_id, Totals::default());
        Ok(())
    }

    /// Adds a rating of a movie that was added before. Fastest in the order of users, then movies.
    pub(crate) fn rating(&mut self, key: RatingKey, stars: Stars, timestamp: i64) -> Result<(), BuildError> {
        let RatingKey { user_id, movie_id } = key;
        let Some(totals) = self.totals.get_mut(&movie_id) else {
            return Err(BuildError::Refused(LineProblem::UnknownMovie(movie_id)));
        };
        let changes = self
            .insert_rating
            .execute((user_id.get(), movie_id.get(), stars.half_stars(), timestamp))
            .map_err(failed(DOING))?;
        if changes == 0 {
            let (user_id, movie_id) = (user_id.get(), movie_id.get());
            return Err(BuildError::Refused(LineProblem::DuplicateRating { user_id, movie_id }));
        }
        totals.count += 1;
        totals.sum_half_stars += u64::from(stars.half_stars());
        self.ratings += 1;
        add(&mut self.digest, key, &base_row(stars, timestamp));
        Ok(())
    }

    /// Returns the number of ratings so far.
    pub(crate) fn ratings(&self) -> u64 {
        self.ratings
    }

    /// Writes what was counted, and commits.
    pub(crate) fn finish(self) -> Result<Description, ValueError> {
        self.write_totals().map_err(failed("writing the counts of a data set"))
    }

    fn write_totals(self) -> rusqlite::Result<Description> {
        let connection = self.connection;
        let mut update =
            connection.prepare("UPDATE base.movie SET count = ?2, sum_half_stars = ?3 WHERE movie_id = ?1")?;
        for (movie_id, totals) in &self.totals {
            update.execute((movie_id.get(), totals.count as i64, totals.sum_half_stars as i64))?;
        }
        // The ratings lie in the order of users: one pass, however many.
        let users = connection
            .execute("INSERT INTO base.user SELECT user_id, COUNT(*) FROM base.rating GROUP BY user_id", ())?;
        let movies = self.totals.len() as u64;
        let description = Description {
            counts: Counts { movies, users: users as u64, ratings: self.ratings },
            digest: self.digest,
            fingerprint: Fingerprint::of(movies, self.movie_sum, self.ratings, self.digest),
        };
        description.write(connection)?;
        connection.execute_batch("COMMIT")?;
        Ok(description)
    }
}

/// A row that a data set came with.
pub(crate) fn base_row(stars: Stars, timestamp: i64) -> Row {
    Row { stars: Some(stars), timestamp, stamp: Stamp::ZERO, update_id: None }
}

/// Makes the file at `path` with the content that `build` gives; `replace` says whether an existing file may go.
///
/// It is written under another name beside it, which is removed if anything fails, and renamed when it is on the disk.
pub(crate) fn create(
    path: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
    build: impl FnOnce(&mut Builder<'_>, &mut dyn FnMut(Progress)) -> Result<(), DataError>,
) -> Result<Description, DataError> {
    let unwritable = |reason| DataError::Unwritable { path: path.display().to_string(), reason };
    let exists = || DataError::Exists { path: path.display().to_string() };
    if !replace && path.exists() {
        return Err(exists());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = Partial::file(folder).map_err(unwritable)?;
    let connection = connect()?;
    attach_new(&connection, partial.path())?;
    let mut builder = Builder::new(&connection)?;
    build(&mut builder, progress)?;
    progress(Progress { doing: "counting users", ratings: builder.ratings(), fraction: 1.0 });
    let description = builder.finish()?;
    // Closed before it is synced, so that everything is in the file.
    drop(connection);
    partial.sync_all().map_err(unwritable)?;
    if replace {
        partial.persist(path).map_err(unwritable)?;
    } else {
        partial.persist_new(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => unwritable(error),
        })?;
    }
    Ok(description)
}
