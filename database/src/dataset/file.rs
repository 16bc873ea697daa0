//! A data set as an attached database: how it is attached and checked at once, and read from end to end on demand.
//!
//! Opening costs no time, however large the file is: [`attach_file`] looks at the header, [`load`] at the description and the
//! movies. [`verify`] (`dataset fingerprint --verify`) counts and hashes every rating anew.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::{Digest, ValueError};
use rusqlite::Connection;

use super::build::base_row;
use super::{Progress, RATINGS_PER_REPORT};
use crate::error::{DataError, FileProblem};
use crate::fingerprint::{Fingerprint, add};
use crate::schema;
use crate::sqlite::{connect, failed, uri};
use crate::store::catalogue::Catalogue;

/// Sizes of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Movies, rated or not.
    pub movies: u64,
    /// Users that rated at least one movie.
    pub users: u64,
    /// Ratings.
    pub ratings: u64,
}

/// Description of a data set, read from its ratings or from the header of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Number of users, movies and ratings.
    pub counts: Counts,
    /// Digest of its ratings.
    pub digest: Digest,
    /// Identity of the data set.
    pub fingerprint: Fingerprint,
}

impl Description {
    /// Writes it into the attached base.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare("INSERT INTO base.meta VALUES (?1, ?2)")?;
        for (key, value) in [
            ("format", schema::FORMAT_VERSION.to_string()),
            ("fingerprint", self.fingerprint.to_string()),
            ("digest", format!("{:016x}", self.digest.0)),
            ("movies", self.counts.movies.to_string()),
            ("users", self.counts.users.to_string()),
            ("ratings", self.counts.ratings.to_string()),
        ] {
            insert.execute((key, value))?;
        }
        Ok(())
    }

    /// Reads it from the attached base.
    pub(crate) fn read(connection: &Connection) -> Result<Self, FileProblem> {
        let text = |key: &str| -> Result<String, FileProblem> {
            connection
                .query_row("SELECT value FROM base.meta WHERE key = ?1", [key], |row| row.get(0))
                .map_err(|error| FileProblem::Damaged(format!("meta has no {key}: {error}")))
        };
        let broken = |key: &str| FileProblem::Damaged(format!("meta has a {key} that is not a number"));
        let format = text("format")?;
        match format.parse::<u32>() {
            Ok(version) if version == schema::FORMAT_VERSION => {}
            _ => return Err(FileProblem::Newer { found: format, known: schema::FORMAT_VERSION }),
        }
        let number = |key: &str| text(key)?.parse::<u64>().map_err(|_| broken(key));
        let hash = |key: &str| u64::from_str_radix(&text(key)?, 16).map_err(|_| broken(key));
        Ok(Self {
            counts: Counts { movies: number("movies")?, users: number("users")?, ratings: number("ratings")? },
            digest: Digest(hash("digest")?),
            fingerprint: Fingerprint(hash("fingerprint")?),
        })
    }
}

/// Attaches an empty base in memory.
pub(crate) fn attach_memory(connection: &Connection) -> Result<(), ValueError> {
    attach(connection, ":memory:")
}

/// Attaches the base in the file that is at `path`, to be written.
pub(crate) fn attach_new(connection: &Connection, path: &Path) -> Result<(), ValueError> {
    attach(connection, &uri(path, "mode=rw"))
}

/// Attaches the data set in the file at `path`, never to be written.
pub(crate) fn attach_file(connection: &Connection, path: &Path) -> Result<(), DataError> {
    let refused = |problem| DataError::File { path: path.display().to_string(), problem };
    check_header(path)?;
    // Immutable: no locks, no look at the file before each read. A program that makes such a file puts a new one in the
    // place of the old, and never writes into it.
    attach(connection, &uri(path, "mode=ro&immutable=1"))
        .map_err(|error| refused(FileProblem::Damaged(error.reason)))?;
    // Mapped, so that pages that are read often stay in the system's own cache, shared by all replicas on the machine.
    connection
        .execute_batch("PRAGMA base.mmap_size = 2147418112;")
        .map_err(|error| refused(FileProblem::Damaged(error.to_string())))
}

fn attach(connection: &Connection, name: &str) -> Result<(), ValueError> {
    connection
        .execute(&format!("ATTACH ?1 AS {}", schema::BASE), [name])
        .map(drop)
        .map_err(failed("attaching the data set"))
}

/// Looks at the first bytes and the length (SQLite's file format, "The Database Header"), which tell most broken files
/// apart without reading them.
fn check_header(path: &Path) -> Result<(), DataError> {
    let unreadable = |reason| DataError::Unreadable { path: path.display().to_string(), reason };
    let refused = |problem| Err(DataError::File { path: path.display().to_string(), problem });
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    let mut header = Vec::with_capacity(100);
    file.take(100).read_to_end(&mut header).map_err(unreadable)?;
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return refused(FileProblem::NotSqlite);
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    if number(68) != schema::APPLICATION_ID as u32 {
        return refused(FileProblem::NotOurs);
    }
    let page_bytes = match number(16) >> 16 {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let expected = page_bytes * u64::from(number(28));
    if found != expected {
        return refused(FileProblem::Truncated { found, expected });
    }
    Ok(())
}

/// Reads what the attached base says of itself, and its movies, and checks one against the other. The ratings themselves
/// are not looked at, so that a large file costs no time.
pub(crate) fn load(connection: &Connection) -> Result<(Description, Catalogue), FileProblem> {
    let description = Description::read(connection)?;
    let (catalogue, movie_sum) = Catalogue::load(connection)?;
    let Counts { movies, ratings, .. } = description.counts;
    if catalogue.len() as u64 != movies || catalogue.ratings() != ratings {
        return Err(FileProblem::Damaged("its counts do not fit its movies".to_owned()));
    }
    if Fingerprint::of(movies, movie_sum, ratings, description.digest) != description.fingerprint {
        return Err(FileProblem::Damaged("its fingerprint does not fit its movies".to_owned()));
    }
    Ok((description, catalogue))
}

/// Checks that every rating in the file is sound and that its counts, sums and fingerprint fit them.
pub fn verify(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Description, DataError> {
    let connection = connect()?;
    attach_file(&connection, path)?;
    check(&connection, progress).map_err(|problem| DataError::File { path: path.display().to_string(), problem })
}

fn check(connection: &Connection, progress: &mut dyn FnMut(Progress)) -> Result<Description, FileProblem> {
    let sqlite = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
    let (description, catalogue) = load(connection)?;
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
