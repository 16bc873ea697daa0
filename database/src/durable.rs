//! A store on disk: whose it is, when the write-ahead log moves into the main file, and how it is closed.

use std::path::Path;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::Saved;
use natter_common::value::ValueError;
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use crate::directory::DataDirectory;
use crate::files::Watched;
use crate::generation;
use crate::kept::Kept;
use crate::save::unencodable;
use crate::saved::Checksums;
use crate::schema;
use crate::sealed::seal;
use crate::store::Store;

/// The log is moved into the main file after the commit with which it becomes longer than this, in bytes: so it neither
/// fills the disk nor takes long to be read at the next start, and the pages that are written most are moved once for
/// many commits.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A log that is shorter is left alone by an idle replica, in bytes: reading it costs a start nothing.
const IDLE_LOG_BYTES_MAX: u64 = 1 << 20;

/// A page in the log, and its header.
const LOG_PAGE_BYTES: u64 = 4096 + 24;

/// When a batch counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When the disk has it: it outlives a power failure.
    Full,
    /// When the system has it: it outlives the process, but the last batches before a power failure may be lost.
    Normal,
}

impl Sync {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Full, Self::Normal].into_iter().find(|sync| sync.name() == name)
    }
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The replica's id.
    pub id: ReplicaId,
    /// Those it had before, and must not use again.
    pub former: Vec<ReplicaId>,
}

/// What was found in a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Whose state it is; `None` in a new directory: then the rest is empty.
    pub identity: Option<Identity>,
    /// What was saved.
    pub saved: Saved,
    /// Whether the last life ended with [`Store::close_cleanly`]; so a new directory says.
    pub clean: bool,
    /// How the last life wrote: after one in [`Sync::Normal`] that did not end cleanly, its last batches may be missing.
    pub sync_before: Option<Sync>,
}

/// What it takes to keep a store on disk.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Locked until the store is gone.
    pub(crate) directory: DataDirectory,
    pub(crate) main: Watched,
    pub(crate) log: Watched,
    pub(crate) log_number: u32,
    pub(crate) sync: Sync,
    /// Which records are on disk, and which rows nothing else has there.
    pub(crate) kept: Kept,
    /// The sum of the rows in the table of ratings.
    pub(crate) written_sum: u64,
    /// How many updates are known there without their records.
    pub(crate) executed: u64,
    /// Those on disk.
    pub(crate) checksums: Checksums,
    /// SQLite's count of changes when the last commit had ended.
    pub(crate) changes: u64,
}

impl Durable {
    /// Fails where a file is not the one that was opened; else gives how long the log's file is, in bytes.
    fn check_files(&self) -> Result<u64, ValueError> {
        self.main.bytes()?;
        self.log.bytes()
    }

    /// Makes an error of SQLite one that names the file.
    pub(crate) fn failed(&self, doing: &'static str, error: &rusqlite::Error) -> ValueError {
        let path = self.main.path().display();
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                format!(
                    "database or disk is full ({path}): make room on its disk: the replica tries again every few seconds"
                )
            }
            Some(ErrorCode::SystemIoFailure) => {
                format!("{error} ({path}): the system could not read or write it; look at its disk")
            }
            _ => format!("{error} ({path})"),
        };
        ValueError { doing, reason }
    }
}

const CHECKPOINT: &str = "moving the write-ahead log into the database";

impl Store {
    /// Whether it outlives the process.
    pub fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    /// Where it is kept; `None` in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.durable.as_ref().map(|durable| durable.directory.path())
    }

    /// Saves under which id the replica goes on: on the disk when this returns, also in [`Sync::Normal`], because an id
    /// that others heard of must never be forgotten. Between batches only.
    pub fn set_identity(&mut self, identity: &Identity) -> Result<(), ValueError> {
        let body = seal(identity).map_err(unencodable)?;
        let write = |connection: &Connection| {
            synced(connection, |connection| {
                connection.execute_batch("BEGIN")?;
                connection.execute(schema::UPSERT_STATE, ("identity", &body))?;
                connection.execute_batch("COMMIT")
            })?;
            apply_sync(connection, self.durable.as_ref().map_or(Sync::Full, |durable| durable.sync))
        };
        if self.is_durable() {
            write(&self.connection).map_err(self.failed("saving the replica's id"))?;
        }
        self.after_commit()
    }

    /// Fails where a file of the database was deleted or replaced. Costs two looks at a directory; to be called each
    /// second, so that also a replica that has nothing to write notices.
    pub fn check_files(&self) -> Result<(), ValueError> {
        self.durable.as_ref().map_or(Ok(()), |durable| durable.check_files().map(drop))
    }

    /// How much is in the write-ahead log, in bytes; 0 for a store in memory. Its file may be longer: it is written from
    /// the beginning again after a checkpoint.
    pub fn log_bytes(&self) -> Result<u64, ValueError> {
        if !self.is_durable() {
            return Ok(0);
        }
        let look = || {
            let mut select = self.connection.prepare_cached("PRAGMA main.wal_checkpoint(NOOP)")?;
            select.query_row((), |row| row.get::<_, i64>(1))
        };
        let pages = look().map_err(self.failed("looking at the write-ahead log"))?;
        Ok(pages.max(0) as u64 * LOG_PAGE_BYTES)
    }

    /// Writes what only records have on disk, and moves the log into the main file if it is worth the while, for a replica
    /// that had nothing to write for some seconds: its next start is quick then, and nobody waits meanwhile.
    pub fn checkpoint_if_idle(&mut self) -> Result<(), ValueError> {
        self.write_all_rows()?;
        if self.log_bytes()? > IDLE_LOG_BYTES_MAX { self.checkpoint() } else { Ok(()) }
    }

    /// Moves all into the main file, notes that nothing is missing in it, and closes it. Between batches only.
    pub fn close_cleanly(mut self) -> Result<(), ValueError> {
        self.check_files()?;
        self.write_all_rows()?;
        let Some(durable) = &self.durable else { return Ok(()) };
        let mark = generation::clean_mark(durable.log_number);
        synced(&self.connection, |connection| {
            write_mark(connection, mark, |_| Ok(()))?;
            move_log(connection)?;
            // From here on SQLite removes the log when it closes.
            keep_log_on_close(connection, false)
        })
        .map_err(self.failed("closing the database"))?;
        let Self { connection, durable, .. } = self;
        connection
            .close()
            .map_err(|(_, error)| ValueError { doing: "closing the database", reason: error.to_string() })?;
        // Only now may another process have the directory.
        drop(durable);
        Ok(())
    }

    /// Limits how large the main file may become, in pages of 4096 bytes.
    #[doc(hidden)]
    pub fn limit_pages(&self, pages: u32) -> Result<(), ValueError> {
        self.connection.pragma_update(Some("main"), "max_page_count", pages).map_err(self.failed("limiting the size"))
    }

    /// Before anybody is told of what was committed: are the files still those of the directory?
    pub(crate) fn after_commit(&mut self) -> Result<(), ValueError> {
        let changes = self.connection.total_changes();
        let Some(durable) = self.durable.as_mut().filter(|durable| durable.changes != changes) else {
            return Ok(());
        };
        durable.changes = changes;
        // The file is never shorter than what is in it.
        let may_be_long = durable.check_files()? > LOG_BYTES_MAX;
        if may_be_long && self.log_bytes()? > LOG_BYTES_MAX { self.checkpoint() } else { Ok(()) }
    }

    fn checkpoint(&mut self) -> Result<(), ValueError> {
        let Some(durable) = &self.durable else { return Ok(()) };
        let mark = generation::next_mark(durable.log_number);
        begin_next_log(&self.connection, mark, |_| Ok(())).map_err(self.failed(CHECKPOINT))?;
        if let Some(durable) = &mut self.durable {
            durable.log_number += 1;
            durable.check_files()?;
        }
        Ok(())
    }
}

/// Ends a log with a last transaction, moves it into the main file, and begins the next one.
pub(crate) fn begin_next_log(
    connection: &Connection,
    mark: i32,
    last: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    write_mark(connection, mark, last)?;
    move_log(connection)?;
    write_mark(connection, mark, |_| Ok(()))
}

/// A transaction that writes the mark, and what else is to be written with it.
fn write_mark(
    connection: &Connection,
    mark: i32,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    work(connection)?;
    connection.pragma_update(Some("main"), "user_version", mark)?;
    connection.execute_batch("COMMIT")
}

/// Copies what is in the log into the main file. The log is not cut, but written from its beginning by the next commits:
/// one that is cut to nothing could not be told from one that was lost, and who copies a log while it is cut would have a
/// part of it that looks whole.
fn move_log(connection: &Connection) -> rusqlite::Result<()> {
    let (busy, pages, moved): (i64, i64, i64) =
        connection.query_row("PRAGMA main.wal_checkpoint(PASSIVE)", (), |row| row.try_into())?;
    if busy != 0 || pages != moved {
        let reason = format!("{moved} of {pages} pages were moved: somebody reads the database");
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some(reason),
        ));
    }
    Ok(())
}

/// Writes to the disk, whatever the batches do.
pub(crate) fn synced<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    apply_sync(connection, Sync::Full)?;
    work(connection)
}

pub(crate) fn apply_sync(connection: &Connection, sync: Sync) -> rusqlite::Result<()> {
    connection.pragma_update(Some("main"), "synchronous", sync.name())
}

/// Whether the log stays when the connection closes. It must, wherever the store ends in an error: SQLite would move it,
/// and remove what has its name by then.
pub(crate) fn keep_log_on_close(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

pub(crate) fn write_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(schema::UPSERT_META)?.execute((key, value)).map(drop)
}
