//! SQLite as the whole crate uses it: connections, values from columns, and errors.

use std::path::Path;

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::{Row, ValueError};
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

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

/// A path as SQLite's URI: each byte that could mean something in a URI is escaped.
pub(crate) fn uri(path: &Path, parameters: &str) -> String {
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

/// User and movie id, and what follows them.
pub(crate) fn keyed_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(RatingKey, Row)> {
    let key = RatingKey { user_id: number_id(row, 0)?, movie_id: number_id(row, 1)? };
    Ok((key, value_row(row, 2)?))
}

/// Rating, timestamp, stamp and update id in four columns, of which `first` is the first.
fn value_row(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Row> {
    let stamp: i64 = row.get(first + 2)?;
    Ok(Row {
        stars: stars(row, first)?,
        timestamp: row.get(first + 1)?,
        stamp: Stamp(stamp as u64),
        update_id: update_id(row, first + 3)?,
    })
}

/// The user or movie id in a column.
pub(crate) fn number_id<T: TryFrom<u64>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let number: u32 = row.get(column)?;
    T::try_from(u64::from(number)).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
}

/// The rating in a column, `None` for a deletion marker.
pub(crate) fn stars(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Stars>> {
    let half_stars: Option<u8> = row.get(column)?;
    half_stars
        .map(|number| {
            Stars::from_half_stars(number)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
        })
        .transpose()
}

/// The update id in a column.
pub(crate) fn update_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<UpdateId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| UpdateId::from_uuid(Uuid::from_bytes(bytes))))
}

/// Makes an error of SQLite one of the store.
pub(crate) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> ValueError {
    move |error| ValueError { doing, reason: error.to_string() }
}
