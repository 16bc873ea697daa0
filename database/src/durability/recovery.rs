//! Opens the store of a durable replica: everything that was saved is checked before anything is written.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use natter_common::rating::{RatingKey, Stars};
use natter_common::replica_manager::Saved;
use natter_common::value::{Row, Value};
use rusqlite::Connection;

use super::checkpoint::{begin_next_log, keep_log_on_close, leave_waiting_to_the_store, move_log, write_mark};
use super::directory::{DataDirectory, sync_directory};
use super::journal::Journal;
use super::lost_files::Watched;
use super::marks::{self, Header, Kind, LogFile, Mark};
use super::owner::GRACE;
use super::tables::{Checksums, is_unused, problem, read_checksums, read_meta, read_saved, read_state, write_meta};
use super::{Durable, Identity, LogSync, Recovered, Sync};
use crate::dataset::build::base_row;
use crate::dataset::{DataSource, file};
use crate::error::{DataError, DirectoryProblem, FileProblem, OpenError};
use crate::schema;
use crate::sqlite::{connect_file, keyed_row, stars};
use crate::store::Store;

/// Number of rows of the overlay that are read at once.
const ROWS_AT_ONCE: i64 = 4096;

impl Store {
    /// Opens a data set, with the updates that were saved in `directory`; a new one has none. Until it is closed with
    /// [`Store::close_cleanly`], the directory counts as not closed cleanly.
    ///
    /// Fails where the data set can't be opened, or the replica began with another one, and where the content of the
    /// directory is damaged, or of a newer Natter: nothing in it is changed then.
    pub fn open_in(
        source: &DataSource,
        mut directory: DataDirectory,
        sync: Sync,
    ) -> Result<(Self, Recovered), OpenError> {
        let had_database = !(is_absent(&directory.database()) && is_absent(&directory.log()));
        match Self::open_and_recover(source, &mut directory, sync) {
            Ok((store, recovered, parts)) => {
                let executed = recovered.saved.executed.len() as u64;
                Ok((parts.join(store, directory, sync, executed)?, recovered))
            }
            Err(error) => {
                directory.give_back(had_database);
                Err(error)
            }
        }
    }

    /// Opens the database of the directory, reads what was saved, and takes it into use.
    fn open_and_recover(
        source: &DataSource,
        directory: &mut DataDirectory,
        sync: Sync,
    ) -> Result<(Self, Recovered, Parts), OpenError> {
        let found = Database::open_alone(directory).map_err(|problem| directory.refuse(problem))?;
        let Database { connection, mark, clean } = found;
        source.attach(&connection)?;
        let (description, catalogue) =
            file::load(&connection).map_err(|problem| DataError::File { path: source.to_string(), problem })?;
        let unreadable = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
        let mut store = Self::assemble(connection, description, catalogue)
            .map_err(|error| DataError::File { path: source.to_string(), problem: unreadable(error) })?;
        let (recovered, journal, checksums) = store
            .recover(mark, clean)
            .and_then(|(recovered, journal, mut checksums)| {
                let begin = Beginning { recovered: &recovered, checksums, mark, sync };
                let mark = store.take_into_use(directory, begin)?;
                checksums.mark = mark.version();
                Ok((recovered, journal, checksums))
            })
            .map_err(|problem| directory.refuse(problem))?;
        Ok((store, recovered, Parts { journal, checksums }))
    }

    /// Reads what was saved, and brings averages, counts and checksums up to it.
    fn recover(&mut self, mark: i32, clean: bool) -> Result<(Recovered, Journal, Checksums), DirectoryProblem> {
        let connection = &self.connection;
        let Some(identity) = read_state::<Identity>(connection, "identity")? else {
            if !is_unused(connection)? {
                return Err(DirectoryProblem::Damaged("it holds updates, but not the replica's id".to_owned()));
            }
            self.overlay.note_writes();
            let nothing = Recovered { identity: None, saved: Saved::default(), clean: true, sync_before: None };
            let checksums = Checksums { digest: self.digest().0, overlay: self.overlay_sum, ..Checksums::default() };
            return Ok((nothing, Journal::default(), checksums));
        };
        let (found, given) = (read_meta(connection, "fingerprint")?, self.fingerprint().to_string());
        if found != given {
            return Err(DirectoryProblem::OtherDataSet { found, given });
        }
        let (saved, mut journal) = read_saved(connection)?;
        let sync_before = Sync::named(&read_meta(connection, "sync")?);
        let checksums = read_checksums(connection)?;
        if checksums.mark != mark {
            return Err(DirectoryProblem::WrongLog("was moved into replica.sqlite in part only, and is missing"));
        }
        self.scan_overlay()?;
        let written = self.overlay_sum;
        self.apply_again(&saved, &mut journal)?;
        let found = Checksums { digest: self.digest().0, overlay: self.overlay_sum, written, mark: checksums.mark };
        if checksums != found {
            return Err(DirectoryProblem::WrongRatings);
        }
        Ok((Recovered { identity: Some(identity), saved, clean, sync_before }, journal, checksums))
    }

    /// Applies the records that the value timestamp covers: rows that they wrote may be nowhere else.
    fn apply_again(&mut self, saved: &Saved, journal: &mut Journal) -> Result<(), DirectoryProblem> {
        self.overlay.note_writes();
        let value_timestamp = &saved.state.value_timestamp.replicas;
        for record in saved.records.iter().filter(|record| record.seq <= value_timestamp.get(&record.i)) {
            if let Some((key, row)) = record.row() {
                self.apply(key, row).map_err(|error| DirectoryProblem::Damaged(error.to_string()))?;
            }
        }
        journal.cover(value_timestamp);
        let others = journal.note_unwritten(self.overlay.take_unsaved(), &self.overlay);
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
    /// the log can be told from one that needs none. Gives the mark that stands then.
    fn take_into_use(&self, directory: &DataDirectory, begin: Beginning<'_>) -> Result<Mark, DirectoryProblem> {
        let Beginning { recovered, checksums, mark, sync } = begin;
        let connection = &self.connection;
        directory.check_owner()?;
        keep_log_on_close(connection, true).map_err(problem)?;
        use_log(connection).map_err(problem)?;
        let work = |connection: &Connection| {
            write_meta(connection, "fingerprint", &self.fingerprint().to_string())?;
            write_meta(connection, "sync", sync.name())?;
            // Rows of a snapshot that did not come to its end; it begins anew.
            if recovered.saved.state.merging.is_none() {
                connection.execute(schema::CLEAR_STAGE, ())?;
            }
            Ok(())
        };
        let begin = || {
            // The mark in the main file is the valid one from here on, and the log begins again.
            move_log(connection)?;
            let found = Mark::of_version(mark);
            let first = found.with(if found.is_whole() { Kind::Start } else { Kind::Inside });
            write_mark(connection, first, checksums, work)?;
            let mark = if found.is_whole() { begin_next_log(connection, checksums)? } else { first };
            leave_waiting_to_the_store(connection)?;
            Ok(mark)
        };
        let mark = begin().map_err(problem)?;
        sync_directory(directory.path()).map_err(|reason| DirectoryProblem::Failing(reason.to_string()))?;
        Ok(mark)
    }
}

/// Parts of a store on disk that were read from its directory.
struct Parts {
    journal: Journal,
    checksums: Checksums,
}

impl Parts {
    /// Makes the store one of the directory.
    fn join(self, mut store: Store, directory: DataDirectory, sync: Sync, executed: u64) -> Result<Store, OpenError> {
        let Self { journal, checksums } = self;
        let log_sync = LogSync::open(&directory.log(), &directory.database())
            .map_err(|reason| directory.refuse(DirectoryProblem::Failing(reason.to_string())))?;
        let watched = Watched::new(directory.database()).and_then(|main| Ok((main, Watched::new(directory.log())?)));
        let (main, log) = watched.map_err(|error| directory.refuse(DirectoryProblem::Failing(error.reason)))?;
        store.durable = Some(Durable {
            directory,
            main,
            log,
            mark: Mark::of_version(checksums.mark),
            sync,
            log_sync,
            journal,
            written_sum: checksums.written,
            executed,
            checksums,
            changes: store.connection.total_changes(),
            rescued: OnceCell::new(),
        });
        Ok(store)
    }
}

/// State and settings with which a directory is taken into use.
struct Beginning<'a> {
    recovered: &'a Recovered,
    checksums: Checksums,
    /// The mark that was found.
    mark: i32,
    sync: Sync,
}

/// The database of a directory, with nothing attached, and nothing written to it yet.
struct Database {
    connection: Connection,
    mark: i32,
    /// Whether it was closed cleanly.
    clean: bool,
}

impl Database {
    /// Opens it as the only process that writes to it from now on.
    fn open_alone(directory: &mut DataDirectory) -> Result<Self, DirectoryProblem> {
        let found = Self::open(directory)?;
        if !directory.claim()? {
            return Ok(found);
        }
        // The process before may be about to write. It will notice, and what it wrote last must be read.
        drop(found);
        std::thread::sleep(GRACE);
        Self::open(directory)
    }

    fn open(directory: &DataDirectory) -> Result<Self, DirectoryProblem> {
        let path = directory.database();
        let failing = |error: io::Error| DirectoryProblem::Failing(error.to_string());
        if !path.try_exists().map_err(failing)? {
            if directory.log().try_exists().map_err(failing)? {
                return Err(DirectoryProblem::NoDatabase);
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
        let log = LogFile::read(&directory.log()).map_err(failing)?;
        // A log that a refused start would leave behind is removed when the connection closes.
        let has_log = directory.log().try_exists().map_err(failing)?;
        let connection = connect_file(&path).map_err(problem)?;
        configure(&connection, has_log).map_err(problem)?;
        check_format(read_meta(&connection, "format")?)?;
        let mark = connection.query_row("PRAGMA main.user_version", (), |row| row.get(0)).map_err(problem)?;
        check_log(&connection, header.version, log, mark)?;
        let clean = Mark::of_version(mark).kind == Kind::Closed;
        let sound: String =
            connection.query_row("PRAGMA main.quick_check(1)", (), |row| row.get(0)).map_err(problem)?;
        if sound != "ok" {
            // SQLite tells of it in several lines.
            return Err(DirectoryProblem::Damaged(sound.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Ok(Self { connection, mark, clean })
    }
}

/// Refuses a file of another format than this program writes.
fn check_format(found: String) -> Result<(), DirectoryProblem> {
    let known = schema::DURABLE_FORMAT_VERSION;
    match found.parse::<u32>() {
        Ok(format) if format == known => Ok(()),
        Ok(format) if format < known => Err(DirectoryProblem::Older { found, known }),
        _ => Err(DirectoryProblem::Newer { found, known }),
    }
}

/// Whether the log goes with the main file; `in_header` is the mark in the main file, `mark` the valid one.
fn check_log(connection: &Connection, in_header: i32, log: Option<LogFile>, mark: i32) -> Result<(), DirectoryProblem> {
    let last = Mark::of_version(mark);
    // Without a log, a rollback journal may have changed the header since.
    let main = if log.is_some() { Mark::of_version(in_header) } else { last };
    marks::check(main, log.as_ref(), last).map_err(DirectoryProblem::WrongLog)?;
    let was_synced = Sync::named(&read_meta(connection, "sync").unwrap_or_default()) != Some(Sync::Normal);
    if log.is_some_and(|log| log.is_damaged_inside && was_synced) {
        return Err(DirectoryProblem::WrongLog("is damaged"));
    }
    Ok(())
}

/// Whether nothing has this name, not even a link.
fn is_absent(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Makes the database under another name, so that a database with the final name is whole.
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
        let connection = connect_file(&path)?;
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
fn configure(connection: &Connection, keep_log: bool) -> rusqlite::Result<()> {
    // A program that holds it is told of at once.
    connection.busy_timeout(Duration::ZERO)?;
    keep_log_on_close(connection, keep_log)?;
    // No other process may open it, so the log's index need not be shared: there is no third file.
    connection.execute_batch("PRAGMA main.locking_mode = EXCLUSIVE; PRAGMA main.cache_size = -32768;")
}

/// Turns the write-ahead log on, which is moved when we say so. Nothing of a transaction is in it before that is committed:
/// behind a commit that the disk has not confirmed nothing may stand.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA main.journal_mode = WAL; PRAGMA main.synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_spill = OFF;",
    )
}
