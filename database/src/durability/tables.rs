//! The tables of a durable replica's file: records, checksums and the rest of what is saved beside the ratings.
//!
//! Each body is MessagePack with a checksum ([`seal`]): SQLite doesn't notice when a byte of a value is another than was
//! written.

use std::sync::Arc;

use natter_common::counted::counted;
use natter_common::ids::ReplicaId;
use natter_common::record::{ExecutedOperation, Record};
use natter_common::replica_manager::Saved;
use natter_common::replica_manager::durable::State;
use natter_common::wire::{self, WireError};
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::journal::Journal;
use crate::error::DirectoryProblem;
use crate::schema;

/// Maximum records in one row: the row stays until all of them are forgotten.
pub(crate) const ROW_RECORDS_MAX: usize = 256;

/// A retired replica.
#[derive(Serialize, Deserialize)]
pub(crate) struct RetiredCount {
    pub(crate) id: ReplicaId,
    /// The number of its last update.
    pub(crate) count: u64,
}

/// Part of each transaction, so that no damage and no mixture of two times is taken for what was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksums {
    /// The digest of the ratings as they stand, records applied.
    pub(crate) digest: u64,
    /// The sum of the overlay's rows as they stand, records applied.
    pub(crate) overlay: u64,
    /// The sum of the rows that are in the table of ratings.
    pub(crate) written: u64,
    /// The mark of the database ([`super::marks::Mark`]), which else stands in its first page only.
    pub(crate) mark: i32,
}

/// Records that were saved together, and the number of their row.
#[derive(Serialize, Deserialize)]
struct RecordRow<R> {
    number: i64,
    records: R,
}

/// Returns the problem of the directory that an error of SQLite shows.
pub(crate) fn problem(error: rusqlite::Error) -> DirectoryProblem {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DirectoryProblem::HeldOpen { holder: None },
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory,
        ) => DirectoryProblem::Failing(error.to_string()),
        _ => DirectoryProblem::Damaged(error.to_string()),
    }
}

pub(crate) fn read_meta(connection: &Connection, key: &str) -> Result<String, DirectoryProblem> {
    connection
        .query_row("SELECT value FROM main.meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .map_err(problem)?
        .ok_or_else(|| DirectoryProblem::Damaged(format!("meta has no {key}")))
}

pub(crate) fn write_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(schema::UPSERT_META)?.execute((key, value)).map(drop)
}

pub(crate) fn read_state<T: DeserializeOwned>(
    connection: &Connection,
    name: &str,
) -> Result<Option<T>, DirectoryProblem> {
    let body: Option<Vec<u8>> = connection
        .query_row("SELECT body FROM main.state WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(problem)?;
    body.map(|body| unseal(&body).map_err(|error| DirectoryProblem::Damaged(format!("its {name}: {error}"))))
        .transpose()
}

/// Whether no update was ever saved.
pub(crate) fn is_unused(connection: &Connection) -> Result<bool, DirectoryProblem> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM main.rating) AND NOT EXISTS (SELECT 1 FROM main.batch)
         AND NOT EXISTS (SELECT 1 FROM main.state WHERE name <> 'checksums')";
    connection.query_row(sql, (), |row| row.get(0)).map_err(problem)
}

/// The checksums that were saved with the last turn.
pub(crate) fn read_checksums(connection: &Connection) -> Result<Checksums, DirectoryProblem> {
    read_state(connection, "checksums")?.ok_or_else(|| DirectoryProblem::Damaged("it has no checksums".to_owned()))
}

/// All that was saved, and where its records are.
pub(crate) fn read_saved(connection: &Connection) -> Result<(Saved, Journal), DirectoryProblem> {
    let mut journal = Journal::default();
    let mut saved = Saved { records: read_record_rows(connection, &mut journal)?, ..Saved::default() };
    read_named(connection, "executed", |operation: ExecutedOperation, name| {
        let is_named = name == (operation.i.as_str(), operation.seq);
        saved.executed.push(operation);
        is_named
    })?;
    let retired = read_retired(connection)?;
    saved.retired = retired.into_iter().map(|RetiredCount { id, count }| (id, count)).collect();
    saved.known = read_state(connection, "known")?.unwrap_or_default();
    match read_state::<State>(connection, "state")? {
        Some(state) => saved.state = state,
        None if saved == Saved::default() => {}
        None => return Err(DirectoryProblem::Damaged("it holds updates, but not where the replica stood".to_owned())),
    }
    let staged: i64 =
        connection.query_row("SELECT COUNT(*) FROM main.staged", (), |row| row.get(0)).map_err(problem)?;
    if let Some(merging) = saved.state.merging.as_ref().filter(|merging| staged as u64 > merging.rows) {
        let rows = merging.rows;
        return Err(DirectoryProblem::Damaged(format!(
            "a snapshot of {} has {staged} left to be merged",
            counted(rows, "row")
        )));
    }
    Ok((saved, journal))
}

/// Writes records into one row.
pub(crate) fn write_record_row(connection: &Connection, number: i64, records: &[Arc<Record>]) -> rusqlite::Result<()> {
    let body = seal(&RecordRow { number, records }).map_err(unencodable)?;
    connection.prepare_cached(schema::INSERT_BATCH)?.execute((number, &body)).map(drop)
}

/// Writes the checksums.
pub(crate) fn write_checksums(connection: &Connection, checksums: Checksums) -> rusqlite::Result<()> {
    let body = seal(&checksums).map_err(unencodable)?;
    connection.prepare_cached(schema::UPSERT_STATE)?.execute(("checksums", &body)).map(drop)
}

fn unencodable(error: WireError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

fn read_record_rows(connection: &Connection, journal: &mut Journal) -> Result<Vec<Arc<Record>>, DirectoryProblem> {
    let mut found = Vec::new();
    let mut select = connection.prepare("SELECT number, body FROM main.batch ORDER BY number").map_err(problem)?;
    let mut rows = select.query(()).map_err(problem)?;
    while let Some(row) = rows.next().map_err(problem)? {
        let number: i64 = row.get(0).map_err(problem)?;
        let damaged = |what: String| DirectoryProblem::Damaged(format!("batch {number}: {what}"));
        let body = row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(problem)?;
        let row_of_records: RecordRow<Vec<Arc<Record>>> = unseal(body).map_err(&damaged)?;
        if row_of_records.number != number {
            return Err(damaged("it has another number inside".to_owned()));
        }
        for record in row_of_records.records {
            // A record that was forgotten and learnt again is there twice.
            if !journal.has(&record) {
                found.push(Arc::clone(&record));
            }
            journal.hold(&record, number);
        }
    }
    Ok(found)
}

/// The records in a row of the table `batch`.
pub(crate) fn records_in(body: &[u8]) -> Result<Vec<Arc<Record>>, String> {
    unseal::<RecordRow<_>>(body).map(|row| row.records)
}

/// Reads the table of executed updates; `take` says whether what it is given has this name.
fn read_named<T: DeserializeOwned>(
    connection: &Connection,
    table: &str,
    mut take: impl FnMut(T, (&str, u64)) -> bool,
) -> Result<(), DirectoryProblem> {
    let mut select = connection.prepare(&format!("SELECT origin, seq, body FROM main.{table}")).map_err(problem)?;
    let mut rows = select.query(()).map_err(problem)?;
    while let Some(row) = rows.next().map_err(problem)? {
        let (origin, seq): (String, i64) = (row.get(0).map_err(problem)?, row.get(1).map_err(problem)?);
        let damaged = |what: &str| DirectoryProblem::Damaged(format!("{table} {origin}:{seq}: {what}"));
        let body = row.get_ref(2).and_then(|value| Ok(value.as_blob()?)).map_err(problem)?;
        let message = unseal(body).map_err(|error| damaged(&error))?;
        if !take(message, (&origin, seq as u64)) {
            return Err(damaged("it has another name inside"));
        }
    }
    Ok(())
}

fn read_retired(connection: &Connection) -> Result<Vec<RetiredCount>, DirectoryProblem> {
    let mut select = connection.prepare("SELECT id, body FROM main.retired").map_err(problem)?;
    let rows = select
        .query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(problem)?;
    let read = |(id, body): (String, Vec<u8>)| match unseal::<RetiredCount>(&body) {
        Ok(retired) if retired.id.as_str() == id => Ok(retired),
        Ok(_) => Err(DirectoryProblem::Damaged(format!("retired {id}: it has another name inside"))),
        Err(error) => Err(DirectoryProblem::Damaged(format!("retired {id}: {error}"))),
    };
    rows.into_iter().map(read).collect()
}

const CHECKSUM_BYTES: usize = 8;

/// The message, and the XXH3 of its bytes after it, little-endian.
pub(crate) fn seal<T: Serialize>(message: &T) -> Result<Vec<u8>, wire::WireError> {
    let mut bytes = wire::encode(message)?;
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    Ok(bytes)
}

/// The message back. Fails, with the reason, where the bytes are others than were sealed.
pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (message, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(|| format!("it has {} bytes, which is too few", bytes.len()))?;
    if xxh3_64(message).to_le_bytes() != *checksum {
        return Err("it does not match its checksum".to_owned());
    }
    wire::decode(message).map_err(|error| error.to_string())
}
