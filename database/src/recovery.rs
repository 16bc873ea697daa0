//! Opens the store of a durable replica: everything that was saved is checked before anything is written.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use natter_common::rating::{RatingKey, Stars};
use natter_common::record::{ExecutedOperation, Record};
use natter_common::replica_manager::Saved;
use natter_common::replica_manager::durable::State;
use natter_common::value::{Digest, Row, Value};
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use serde::de::DeserializeOwned;

use crate::base;
use crate::builder::base_row;
use crate::directory::{DataDirectory, sync_directory};
use crate::durable::{
    Durable, Identity, Recovered, RetiredCount, Sync, apply_sync, begin_next_log, keep_log_on_close, write_checksums,
    write_meta,
};
use crate::error::{DataError, DirectoryProblem, FileProblem, OpenError};
use crate::files::Watched;
use crate::generation::{self, Header};
use crate::schema;
use crate::sealed::unseal;
use crate::source::DataSource;
use crate::store::{Store, keyed_row, stars};

/// How many rows of the overlay are read at once.
const ROWS_AT_ONCE: i64 = 4096;

impl Store {
    /// Opens a data set, with the updates that were saved in `directory`; a new one has none. Until it is closed with
    /// [`Store::close_cleanly`], the directory counts as not closed cleanly.
    ///
    /// Fails where the data set can't be opened, or is not the one that the replica began with, and where what is in the
    /// directory is damaged, or of a newer Natter: nothing in it is changed then.
    pub fn open_in(source: &DataSource, directory: DataDirectory, sync: Sync) -> Result<(Self, Recovered), OpenError> {
        let found = Database::open(&directory).map_err(|problem| directory.refuse(problem))?;
        let Database { connection, mark, log_number } = found;
        source.attach(&connection)?;
        let (description, catalogue) =
            base::load(&connection).map_err(|problem| DataError::File { path: source.to_string(), problem })?;
        let unreadable = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
        let mut store = Self::assemble(connection, description, catalogue)
            .map_err(|error| DataError::File { path: source.to_string(), problem: unreadable(error) })?;
        let recovered = store
            .recover(mark)
            .and_then(|recovered| store.take_into_use(&directory, &recovered, log_number, sync).map(|()| recovered))
            .map_err(|problem| directory.refuse(problem))?;
        let watched = Watched::new(directory.database()).and_then(|main| Ok((main, Watched::new(directory.log())?)));
        let (main, log) = watched.map_err(|error| directory.refuse(DirectoryProblem::Failing(error.reason)))?;
        store.durable = Some(Durable {
            directory,
            main,
            log,
            log_number: log_number + 1,
            sync,
            checksums: (store.digest(), store.overlay_sum),
            changes: store.connection.total_changes(),
        });
        store.overlay.note_writes();
        Ok((store, recovered))
    }

    /// Reads what was saved, and brings averages, counts and checksums up to the overlay.
    fn recover(&mut self, mark: i32) -> Result<Recovered, DirectoryProblem> {
        let connection = &self.connection;
        let Some(identity) = read_state::<Identity>(connection, "identity")? else {
            return match is_unused(connection)? {
                true => Ok(Recovered { identity: None, saved: Saved::default(), clean: true, sync_before: None }),
                false => Err(DirectoryProblem::Damaged("it holds updates, but not the replica's id".to_owned())),
            };
        };
        let (found, given) = (read_meta(connection, "fingerprint")?, self.fingerprint().to_string());
        if found != given {
            return Err(DirectoryProblem::OtherDataSet { found, given });
        }
        let saved = read_saved(connection)?;
        let sync_before = Sync::named(&read_meta(connection, "sync")?);
        self.scan_overlay()?;
        let saved_checksum = |key| {
            u64::from_str_radix(&read_meta(&self.connection, key)?, 16)
                .map_err(|_| DirectoryProblem::Damaged(format!("meta has a {key} that is not a number")))
        };
        if (Digest(saved_checksum("digest")?), saved_checksum("overlay")?) != (self.digest(), self.overlay_sum) {
            return Err(DirectoryProblem::WrongRatings);
        }
        Ok(Recovered { identity: Some(identity), saved, clean: generation::is_clean(mark), sync_before })
    }

    fn scan_overlay(&mut self) -> Result<(), DirectoryProblem> {
        let mut place = (0, 0);
        loop {
            let rows = self.overlay_after(place).map_err(problem)?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            place = (last.user_id.get(), last.movie_id.get());
            for (key, row, hidden) in rows {
                self.account_for_overlay(key, hidden.as_ref(), &row);
            }
        }
    }

    fn overlay_after(&self, place: (u32, u32)) -> rusqlite::Result<Vec<(RatingKey, Row, Option<Row>)>> {
        let mut select = self.connection.prepare_cached(schema::SELECT_OVERLAY)?;
        let rows = select.query_map((place.0, place.1, ROWS_AT_ONCE), |row| {
            let (key, written) = keyed_row(row)?;
            let hidden: Option<Stars> = stars(row, 6)?;
            let timestamp: Option<i64> = row.get(7)?;
            Ok((key, written, hidden.zip(timestamp).map(|(stars, timestamp)| base_row(stars, timestamp))))
        })?;
        rows.collect()
    }

    /// The first write: marks the directory as in use, on the disk and in the main file itself, so that a copy without
    /// the log can be told from one that needs none.
    fn take_into_use(
        &self,
        directory: &DataDirectory,
        recovered: &Recovered,
        log_number: u32,
        sync: Sync,
    ) -> Result<(), DirectoryProblem> {
        let checksums = (self.digest(), self.overlay_sum);
        let begin = |connection: &Connection| {
            write_meta(connection, "fingerprint", &self.fingerprint().to_string())?;
            write_meta(connection, "sync", sync.name())?;
            write_checksums(connection, checksums)?;
            // Rows of a snapshot that did not come to its end; it begins anew.
            if recovered.saved.state.merging.is_none() {
                connection.execute(schema::CLEAR_STAGE, ())?;
            }
            Ok(())
        };
        begin_next_log(&self.connection, generation::next_mark(log_number), begin).map_err(problem)?;
        apply_sync(&self.connection, sync).map_err(problem)?;
        sync_directory(directory.path()).map_err(|reason| DirectoryProblem::Failing(reason.to_string()))
    }
}

/// The database of a directory, with nothing attached, and nothing written to it yet.
struct Database {
    connection: Connection,
    mark: i32,
    log_number: u32,
}

impl Database {
    fn open(directory: &DataDirectory) -> Result<Self, DirectoryProblem> {
        let path = directory.database();
        let failing = |error: io::Error| DirectoryProblem::Failing(error.to_string());
        if !path.try_exists().map_err(failing)? {
            if directory.log().try_exists().map_err(failing)? {
                return Err(DirectoryProblem::WrongLog("is there, but replica.sqlite is not"));
            }
            make(directory)?;
        }
        let header = match Header::read(&path).map_err(failing)? {
            Some(header) if header.application_id == schema::DURABLE_APPLICATION_ID as u32 => header,
            Some(_) => return Err(DirectoryProblem::NotOurs),
            None if path.metadata().is_ok_and(|metadata| metadata.len() == 0) => {
                return Err(DirectoryProblem::Damaged("it is empty".to_owned()));
            }
            None => return Err(DirectoryProblem::NotSqlite),
        };
        let log_number = generation::log_number(&directory.log()).map_err(failing)?;
        if generation::has_newer_pages(&directory.log()).map_err(failing)? {
            return Err(DirectoryProblem::WrongLog("does not go with replica.sqlite"));
        }
        let connection = base::connect_file(&path).map_err(problem)?;
        configure(&connection).map_err(problem)?;
        let format = read_meta(&connection, "format")?;
        if format.parse::<u32>().ok() != Some(schema::DURABLE_FORMAT_VERSION) {
            return Err(DirectoryProblem::Newer { found: format, known: schema::DURABLE_FORMAT_VERSION });
        }
        if log_number.is_none() && !generation::is_clean(header.mark) {
            return Err(DirectoryProblem::WrongLog("is missing, or is no write-ahead log"));
        }
        let mark = begin_using(&connection).map_err(problem)?;
        if !generation::fits(header.mark, log_number, mark) {
            return Err(DirectoryProblem::WrongLog("does not go with replica.sqlite"));
        }
        let sound: String =
            connection.query_row("PRAGMA main.quick_check(1)", (), |row| row.get(0)).map_err(problem)?;
        if sound != "ok" {
            // SQLite tells of it in several lines.
            return Err(DirectoryProblem::Damaged(sound.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Ok(Self { connection, mark, log_number: log_number.unwrap_or(0) })
    }
}

/// Makes the database under another name, so that one that has its name is whole.
fn make(directory: &DataDirectory) -> Result<(), DirectoryProblem> {
    let path = directory.unfinished();
    let unwritable = |reason| DirectoryProblem::Unwritable { file: "replica.sqlite", reason };
    let mut journal = path.clone().into_os_string();
    journal.push("-journal");
    match fs::remove_file(journal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
        _ => {}
    }
    let file = File::create(&path).map_err(unwritable)?;
    let fill = || {
        let connection = base::connect_file(&path)?;
        connection.pragma_update(Some("main"), "application_id", schema::DURABLE_APPLICATION_ID)?;
        connection.execute_batch("BEGIN")?;
        connection.execute_batch(schema::CREATE_OVERLAY)?;
        connection.execute_batch(schema::CREATE_STAGE)?;
        connection.execute_batch(schema::CREATE_DURABLE)?;
        write_meta(&connection, "format", &schema::DURABLE_FORMAT_VERSION.to_string())?;
        connection.execute_batch("COMMIT")
    };
    fill().map_err(problem)?;
    file.sync_all().map_err(unwritable)?;
    fs::rename(&path, directory.database()).map_err(unwritable)?;
    sync_directory(directory.path()).map_err(unwritable)
}

/// Before the first look at the database.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    keep_log_on_close(connection, true)?;
    // Nobody else may look at it, so the log's index need not be shared: there is no third file.
    connection.execute_batch("PRAGMA main.locking_mode = EXCLUSIVE; PRAGMA main.cache_size = -32768;")
}

/// Turns the write-ahead log on, which is moved when we say so. Gives the mark.
fn begin_using(connection: &Connection) -> rusqlite::Result<i32> {
    connection.execute_batch(
        "PRAGMA main.journal_mode = WAL; PRAGMA main.synchronous = FULL; PRAGMA wal_autocheckpoint = 0;",
    )?;
    connection.query_row("PRAGMA main.user_version", (), |row| row.get(0))
}

/// What an error of SQLite says of the directory.
fn problem(error: rusqlite::Error) -> DirectoryProblem {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DirectoryProblem::InUse { process: None },
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

fn read_meta(connection: &Connection, key: &str) -> Result<String, DirectoryProblem> {
    connection
        .query_row("SELECT value FROM main.meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .map_err(problem)?
        .ok_or_else(|| DirectoryProblem::Damaged(format!("meta has no {key}")))
}

fn read_state<T: DeserializeOwned>(connection: &Connection, name: &str) -> Result<Option<T>, DirectoryProblem> {
    let body: Option<Vec<u8>> = connection
        .query_row("SELECT body FROM main.state WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(problem)?;
    body.map(|body| unseal(&body).map_err(|error| DirectoryProblem::Damaged(format!("its {name}: {error}"))))
        .transpose()
}

/// Whether no update was ever saved.
fn is_unused(connection: &Connection) -> Result<bool, DirectoryProblem> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM main.rating) AND NOT EXISTS (SELECT 1 FROM main.record)
        AND NOT EXISTS (SELECT 1 FROM main.state)";
    connection.query_row(sql, (), |row| row.get(0)).map_err(problem)
}

fn read_saved(connection: &Connection) -> Result<Saved, DirectoryProblem> {
    let mut saved = Saved::default();
    read_each(connection, "record", |record: Record, name| {
        let is_named = name == (record.i.as_str(), record.seq);
        saved.records.push(Arc::new(record));
        is_named
    })?;
    read_each(connection, "executed", |operation: ExecutedOperation, name| {
        let is_named = name == (operation.i.as_str(), operation.seq);
        saved.executed.push(operation);
        is_named
    })?;
    let retired = read_retired(connection)?;
    saved.retired = retired.into_iter().map(|RetiredCount { id, count }| (id, count)).collect();
    match read_state::<State>(connection, "state")? {
        Some(state) => saved.state = state,
        None if saved == Saved::default() => {}
        None => return Err(DirectoryProblem::Damaged("it holds updates, but not where the replica stood".to_owned())),
    }
    let staged: i64 =
        connection.query_row("SELECT COUNT(*) FROM main.staged", (), |row| row.get(0)).map_err(problem)?;
    if let Some(merging) = saved.state.merging.as_ref().filter(|merging| staged as u64 > merging.rows) {
        let rows = merging.rows;
        return Err(DirectoryProblem::Damaged(format!("a snapshot of {rows} rows has {staged} left to be merged")));
    }
    Ok(saved)
}

/// Reads a table of records or of executed updates; `take` says whether what it is given has this name.
fn read_each<T: DeserializeOwned>(
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
