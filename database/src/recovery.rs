//! Opens the store of a durable replica: everything that was saved is checked before anything is written.

use std::fs::{self, File};
use std::io;

use natter_common::rating::{RatingKey, Stars};
use natter_common::replica_manager::Saved;
use natter_common::value::{Row, Value};
use rusqlite::Connection;

use crate::base;
use crate::builder::base_row;
use crate::columns::{keyed_row, stars};
use crate::directory::{DataDirectory, sync_directory};
use crate::durable::{Durable, Identity, Recovered, Sync};
use crate::error::{DataError, DirectoryProblem, FileProblem, OpenError};
use crate::files::Watched;
use crate::generation::{self, Header};
use crate::kept::Kept;
use crate::saved::{
    Checksums, convert, is_unused, problem, read_checksums, read_meta, read_saved, read_state, write_checksums,
    write_meta,
};
use crate::schema;
use crate::source::DataSource;
use crate::store::Store;
use crate::wal::{apply_sync, begin_next_log, keep_log_on_close};

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
        let Database { connection, format, mark, log_number } = found;
        source.attach(&connection)?;
        let (description, catalogue) =
            base::load(&connection).map_err(|problem| DataError::File { path: source.to_string(), problem })?;
        let unreadable = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
        let mut store = Self::assemble(connection, description, catalogue)
            .map_err(|error| DataError::File { path: source.to_string(), problem: unreadable(error) })?;
        let (recovered, kept, checksums) = store
            .recover(format, mark)
            .and_then(|(recovered, kept, written)| {
                let checksums = Checksums { digest: store.digest().0, overlay: store.overlay_sum, written };
                let begin = Beginning { recovered: &recovered, checksums, format, log_number, sync };
                store.take_into_use(&directory, begin)?;
                Ok((recovered, kept, checksums))
            })
            .map_err(|problem| directory.refuse(problem))?;
        let watched = Watched::new(directory.database()).and_then(|main| Ok((main, Watched::new(directory.log())?)));
        let (main, log) = watched.map_err(|error| directory.refuse(DirectoryProblem::Failing(error.reason)))?;
        store.durable = Some(Durable {
            directory,
            main,
            log,
            log_number: log_number + 1,
            sync,
            kept,
            written_sum: checksums.written,
            executed: recovered.saved.executed.len() as u64,
            checksums,
            changes: store.connection.total_changes(),
        });
        Ok((store, recovered))
    }

    /// Reads what was saved, and brings averages, counts and checksums up to it. Gives the sum of the rows in the table of
    /// ratings too.
    fn recover(&mut self, format: u32, mark: i32) -> Result<(Recovered, Kept, u64), DirectoryProblem> {
        let connection = &self.connection;
        let Some(identity) = read_state::<Identity>(connection, "identity")? else {
            if !is_unused(connection, format)? {
                return Err(DirectoryProblem::Damaged("it holds updates, but not the replica's id".to_owned()));
            }
            self.overlay.note_writes();
            let nothing = Recovered { identity: None, saved: Saved::default(), clean: true, sync_before: None };
            return Ok((nothing, Kept::default(), 0));
        };
        let (found, given) = (read_meta(connection, "fingerprint")?, self.fingerprint().to_string());
        if found != given {
            return Err(DirectoryProblem::OtherDataSet { found, given });
        }
        let (saved, mut kept) = read_saved(connection, format)?;
        let sync_before = Sync::named(&read_meta(connection, "sync")?);
        let checksums = read_checksums(connection, format)?;
        self.scan_overlay()?;
        let written = self.overlay_sum;
        self.apply_again(&saved, &mut kept)?;
        if checksums != (Checksums { digest: self.digest().0, overlay: self.overlay_sum, written }) {
            return Err(DirectoryProblem::WrongRatings);
        }
        let clean = generation::is_clean(mark);
        Ok((Recovered { identity: Some(identity), saved, clean, sync_before }, kept, written))
    }

    /// Applies the records that the value timestamp covers: rows that they wrote may be nowhere else.
    fn apply_again(&mut self, saved: &Saved, kept: &mut Kept) -> Result<(), DirectoryProblem> {
        self.overlay.note_writes();
        let value_timestamp = &saved.state.value_timestamp.replicas;
        for record in saved.records.iter().filter(|record| record.seq <= value_timestamp.get(&record.i)) {
            if let Some((key, row)) = record.row() {
                self.apply(key, row).map_err(|error| DirectoryProblem::Damaged(error.to_string()))?;
            }
        }
        kept.cover(value_timestamp);
        let others = kept.note_unwritten(self.overlay.take_unsaved(), &self.overlay);
        debug_assert!(others.is_empty(), "what was applied again, records on disk have");
        Ok(())
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
    fn take_into_use(&self, directory: &DataDirectory, begin: Beginning<'_>) -> Result<(), DirectoryProblem> {
        let Beginning { recovered, checksums, format, log_number, sync } = begin;
        let begin = |connection: &Connection| {
            if format == schema::DURABLE_FORMAT_OLD {
                convert(connection, &recovered.saved)?;
            }
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

/// With what a directory is taken into use.
struct Beginning<'a> {
    recovered: &'a Recovered,
    checksums: Checksums,
    format: u32,
    log_number: u32,
    sync: Sync,
}

/// The database of a directory, with nothing attached, and nothing written to it yet.
struct Database {
    connection: Connection,
    format: u32,
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
        let found = read_meta(&connection, "format")?;
        let format = match found.parse() {
            Ok(format @ (schema::DURABLE_FORMAT_OLD | schema::DURABLE_FORMAT_VERSION)) => format,
            _ => return Err(DirectoryProblem::Newer { found, known: schema::DURABLE_FORMAT_VERSION }),
        };
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
        Ok(Self { connection, format, mark, log_number: log_number.unwrap_or(0) })
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
        connection.execute_batch(schema::CREATE_BATCH)?;
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
