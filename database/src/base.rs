//! The base of a store: a data set as a database attached to a connection, in memory or from a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use natter_common::value::{Digest, ValueError};
use rusqlite::{Connection, OpenFlags};

use crate::catalogue::Catalogue;
use crate::columns::failed;
use crate::error::{DataError, FileProblem};
use crate::fingerprint::Fingerprint;
use crate::schema;

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

/// A connection whose main database is empty and in memory.
pub(crate) fn connect() -> Result<Connection, ValueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_in_memory_with_flags(flags)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Memory needs no journal: a failed write stops the replica, and nothing is ever rolled back.
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;")?;
        Ok(connection)
    };
    open().map_err(failed("opening a database in memory"))
}

/// A connection whose main database is the file at `path`, which must be there.
pub(crate) fn connect_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, "mode=rw"), flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
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

/// A path as SQLite's URI: each byte that could mean something in a URI is escaped.
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    uri
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
