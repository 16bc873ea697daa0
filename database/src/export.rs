//! Exports: the ratings of a replica as a data set, in either of the two forms that a replica can start from, whole or not
//! at all.
//!
//! [`write_csv`] and [`write_sqlite`] write a data set with changed rows on it. The rows come from a replica that runs, by its
//! snapshot, or from a directory, by [`read_out()`].

mod read_out;

use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::path::Path;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::Row;
use rusqlite::Connection;

use crate::dataset::build::{BuildError, create};
use crate::dataset::{Counts, DataSource, silent};
use crate::durability::directory::sync_directory;
use crate::error::{DataError, FileProblem};
use crate::partial::Partial;
use crate::schema::NO_GENRES;
use crate::sqlite::{connect, number_id, stars};

pub use read_out::{ReadOut, read_out};

/// Writes a folder in MovieLens' layout: the movies of `base`, and its ratings with `changed`, which are in ascending
/// order of (user, movie) and have deletion markers among them, in the place of those that they replace.
///
/// Fails with [`DataError::Occupied`] where something is at `path`.
pub fn write_csv(
    path: &Path,
    base: &DataSource,
    changed: impl IntoIterator<Item = (RatingKey, Row)>,
) -> Result<Counts, DataError> {
    refuse_occupied(path)?;
    let unwritable = |reason| DataError::Unwritable { path: path.display().to_string(), reason };
    let ratings = BaseRatings::open(base)?;
    let beside = beside(path);
    let folder = Partial::folder(beside).map_err(unwritable)?;
    let counts =
        CsvFiles { folder: folder.path() }.write(&ratings, changed).map_err(|error| error.unwritable(unwritable))?;
    refuse_occupied(path)?;
    folder.persist(path).map_err(unwritable)?;
    sync_directory(beside).map_err(unwritable)?;
    Ok(counts)
}

/// Writes a SQLite file like `dataset import` does; for the rest, as [`write_csv`].
pub fn write_sqlite(
    path: &Path,
    base: &DataSource,
    changed: impl IntoIterator<Item = (RatingKey, Row)>,
) -> Result<Counts, DataError> {
    refuse_occupied(path)?;
    let ratings = BaseRatings::open(base)?;
    let description = create(path, false, &mut silent, |builder, _| {
        ratings.movies(|movie_id, title, genres| {
            builder.movie(movie_id, title, genres).map_err(|error| ratings.refuse(error))
        })?;
        ratings.merged(changed, |key, stars, timestamp| {
            builder.rating(key, stars, timestamp).map_err(|error| match error {
                BuildError::Refused(_) => unknown_movie(key),
                BuildError::Failed(error) => error.into(),
            })
        })
    })?;
    sync_directory(beside(path))
        .map_err(|reason| DataError::Unwritable { path: path.display().to_string(), reason })?;
    Ok(description.counts)
}

/// The folder in which a path is.
pub fn beside(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refuse_occupied(path: &Path) -> Result<(), DataError> {
    // A link that leads nowhere counts too.
    if path.symlink_metadata().is_ok() {
        return Err(DataError::Occupied { path: path.display().to_string() });
    }
    Ok(())
}

fn refuse_change(key: RatingKey, why: &'static str) -> DataError {
    DataError::Changed { user_id: key.user_id.get(), movie_id: key.movie_id.get(), why }
}

fn unknown_movie(key: RatingKey) -> DataError {
    refuse_change(key, "is of a movie that the data set does not have: was it taken from a replica of another one?")
}

/// The data set that the changes are changes of.
struct BaseRatings<'source> {
    source: &'source DataSource,
    connection: Connection,
}

impl<'source> BaseRatings<'source> {
    fn open(source: &'source DataSource) -> Result<Self, DataError> {
        let connection = connect()?;
        source.attach(&connection)?;
        Ok(Self { source, connection })
    }

    fn damaged(&self, error: &rusqlite::Error) -> DataError {
        let problem = FileProblem::Damaged(error.to_string());
        DataError::File { path: self.source.to_string(), problem }
    }

    fn refuse(&self, error: BuildError) -> DataError {
        match error {
            BuildError::Refused(problem) => {
                let problem = FileProblem::Damaged(problem.to_string());
                DataError::File { path: self.source.to_string(), problem }
            }
            BuildError::Failed(error) => error.into(),
        }
    }

    /// Gives each movie: id, title, genres parted by '|'.
    fn movies<E: From<DataError>>(&self, mut take: impl FnMut(MovieId, &str, &str) -> Result<(), E>) -> Result<(), E> {
        let damaged = |error: rusqlite::Error| self.damaged(&error);
        let sql = "SELECT movie_id, title, genres FROM base.movie ORDER BY movie_id";
        let mut select = self.connection.prepare(sql).map_err(damaged)?;
        let mut rows = select.query(()).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            let read = || -> rusqlite::Result<(MovieId, String, String)> {
                Ok((number_id(row, 0)?, row.get(1)?, row.get(2)?))
            };
            let (movie_id, title, genres) = read().map_err(damaged)?;
            take(movie_id, &title, &genres)?;
        }
        Ok(())
    }

    /// Gives each rating that stands, in the order of (user, movie).
    fn merged<E: From<DataError>>(
        &self,
        changed: impl IntoIterator<Item = (RatingKey, Row)>,
        mut take: impl FnMut(RatingKey, Stars, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = |error: rusqlite::Error| self.damaged(&error);
        let mut changes = Changes { rows: changed.into_iter().peekable(), last: None };
        let sql = "SELECT user_id, movie_id, half_stars, timestamp FROM base.rating ORDER BY user_id, movie_id";
        let mut select = self.connection.prepare(sql).map_err(damaged)?;
        let mut rows = select.query(()).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            let read = || -> rusqlite::Result<(RatingKey, Option<Stars>, i64)> {
                let key = RatingKey { user_id: number_id(row, 0)?, movie_id: number_id(row, 1)? };
                Ok((key, stars(row, 2)?, row.get(3)?))
            };
            let (key, half_stars, timestamp) = read().map_err(damaged)?;
            while let Some((key, row)) = changes.next_if(|place| place < key)? {
                if let Some(stars) = row.stars {
                    take(key, stars, row.timestamp)?;
                }
            }
            let (stars, timestamp) = match changes.next_if(|place| place == key)? {
                Some((_, row)) => (row.stars, row.timestamp),
                None => (half_stars, timestamp),
            };
            if let Some(stars) = stars {
                take(key, stars, timestamp)?;
            }
        }
        while let Some((key, row)) = changes.next_if(|_| true)? {
            if let Some(stars) = row.stars {
                take(key, stars, row.timestamp)?;
            }
        }
        Ok(())
    }
}

/// The changed rows, each after the one before.
struct Changes<I: Iterator<Item = (RatingKey, Row)>> {
    rows: Peekable<I>,
    last: Option<RatingKey>,
}

impl<I: Iterator<Item = (RatingKey, Row)>> Changes<I> {
    fn next_if(&mut self, is_due: impl Fn(RatingKey) -> bool) -> Result<Option<(RatingKey, Row)>, DataError> {
        let Some((key, row)) = self.rows.next_if(|(key, _)| is_due(*key)) else { return Ok(None) };
        if self.last.is_some_and(|last| last >= key) {
            return Err(refuse_change(key, "is not in the order of users, then movies"));
        }
        self.last = Some(key);
        Ok(Some((key, row)))
    }
}

/// Error while CSV files are written.
enum CsvError {
    Data(DataError),
    Unwritable(io::Error),
}

impl From<DataError> for CsvError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<io::Error> for CsvError {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error)
    }
}

impl From<csv::Error> for CsvError {
    fn from(error: csv::Error) -> Self {
        Self::Unwritable(error.into())
    }
}

impl CsvError {
    fn unwritable(self, unwritable: impl Fn(io::Error) -> DataError) -> DataError {
        match self {
            Self::Data(error) => error,
            Self::Unwritable(reason) => unwritable(reason),
        }
    }
}

struct CsvFiles<'folder> {
    folder: &'folder Path,
}

impl CsvFiles<'_> {
    fn write(
        &self,
        base: &BaseRatings<'_>,
        changed: impl IntoIterator<Item = (RatingKey, Row)>,
    ) -> Result<Counts, CsvError> {
        let mut counts = Counts { movies: 0, users: 0, ratings: 0 };
        let mut known = std::collections::HashSet::new();
        let mut movies = self.begin("movies.csv", &["movieId", "title", "genres"])?;
        base.movies(|movie_id, title, genres| {
            let genres = if genres.is_empty() { NO_GENRES } else { genres };
            movies.write_record([movie_id.to_string().as_str(), title, genres])?;
            known.insert(movie_id);
            counts.movies += 1;
            Ok::<_, CsvError>(())
        })?;
        finish(movies)?;
        let mut ratings = self.begin("ratings.csv", &["userId", "movieId", "rating", "timestamp"])?;
        let mut last_user: Option<UserId> = None;
        base.merged(changed, |key, stars, timestamp| {
            if !known.contains(&key.movie_id) {
                return Err(CsvError::from(unknown_movie(key)));
            }
            let (user, movie) = (key.user_id.to_string(), key.movie_id.to_string());
            ratings.write_record([user, movie, format!("{:.1}", stars.as_f64()), timestamp.to_string()])?;
            counts.users += u64::from(last_user.replace(key.user_id) != Some(key.user_id));
            counts.ratings += 1;
            Ok(())
        })?;
        finish(ratings)?;
        sync_directory(self.folder)?;
        Ok(counts)
    }

    fn begin(&self, name: &str, columns: &[&str]) -> Result<csv::Writer<File>, CsvError> {
        let file = File::create_new(self.folder.join(name))?;
        let mut writer = csv::WriterBuilder::new().buffer_capacity(1 << 17).from_writer(file);
        writer.write_record(columns)?;
        Ok(writer)
    }
}

/// Puts a file on the disk.
fn finish(writer: csv::Writer<File>) -> Result<(), CsvError> {
    let file = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}
