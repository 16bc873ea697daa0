//! Checkpoints: when the write-ahead log moves into the main file, and how a store on disk is closed.

use std::path::Path;

use natter_common::value::ValueError;
use rusqlite::Connection;

use super::journal::unencodable;
use super::marks::{Kind, Mark};
use super::tables::{Checksums, seal, write_checksums};
use super::{Durable, Identity, LogSync, Sync};
use crate::error::{DirectoryError, DirectoryProblem};
use crate::schema;
use crate::store::Store;

/// The log is moved into the main file after the commit with which it becomes longer than this, in bytes: so it neither
/// fills the disk nor takes long to be read at the next start, and the pages that are written most are moved once for
/// many commits.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A log that is shorter is left alone by an idle replica, in bytes: reading it costs a start nothing.
const IDLE_LOG_BYTES_MAX: u64 = 1 << 20;

/// A page in the log, and its header.
const LOG_PAGE_BYTES: u64 = 4096 + 24;

const CHECKPOINT: &str = "moving the write-ahead log into the database";

impl Store {
    /// Whether it outlives the process.
    pub fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    /// Returns its directory; `None` for a store in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.durable.as_ref().map(|durable| durable.directory.path())
    }

    /// Saves under which id the replica goes on: on the disk when this returns, also in [`Sync::Normal`], because an id
    /// that others heard of must never be forgotten. Between turns only.
    pub fn set_identity(&mut self, identity: &Identity) -> Result<(), ValueError> {
        let body = seal(identity).map_err(unencodable)?;
        let write = |connection: &Connection| {
            synced(connection, |connection| {
                connection.execute_batch("BEGIN")?;
                connection.execute(schema::UPSERT_STATE, ("identity", &body))?;
                connection.execute_batch("COMMIT")
            })?;
            leave_waiting_to_the_store(connection)
        };
        if self.is_durable() {
            self.check_owner()?;
            write(&self.connection).map_err(self.failed("saving the replica's id"))?;
        }
        self.after_commit()
    }

    /// Fails where a file of the database was deleted or replaced. Costs two looks at a directory; to be called each
    /// second, so that also a replica that has nothing to write notices.
    pub fn check_files(&self) -> Result<(), ValueError> {
        self.durable.as_ref().map_or(Ok(()), |durable| self.log_file_bytes(durable).map(drop))
    }

    /// Returns the length of the log's file, in bytes, if both files are those of the directory and no other process
    /// has taken it over. Saves what is left of a file that is gone.
    fn log_file_bytes(&self, durable: &Durable) -> Result<u64, ValueError> {
        self.check_owner()?;
        durable.log_file_bytes().map_err(|gone| self.rescue(durable, gone))
    }

    /// Fails where another process has taken the directory over: before and after each commit.
    pub(crate) fn check_owner(&self) -> Result<(), ValueError> {
        let Some(Durable { directory, .. }) = &self.durable else { return Ok(()) };
        directory.check_owner().map_err(|problem| {
            let reason = directory.refuse(problem).to_string();
            ValueError { doing: "looking after its directory", reason }
        })
    }

    /// The error with which the process must end, where another process has taken the directory over.
    pub fn taken_over(&self) -> Option<DirectoryError> {
        let directory = &self.durable.as_ref()?.directory;
        match directory.check_owner() {
            Err(problem @ DirectoryProblem::TakenOver(_)) => Some(directory.refuse(problem)),
            _ => None,
        }
    }

    /// Returns the length of the write-ahead log, in bytes; 0 for a store in memory. Its file may be longer: it is
    /// written from the beginning again after a checkpoint.
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

    /// Moves all into the main file, notes that nothing is missing in it, and closes it. Between turns only.
    pub fn close_cleanly(mut self) -> Result<(), ValueError> {
        self.check_files()?;
        if self.is_writing {
            // Changes that are not committed were told to nobody.
            self.execute("ROLLBACK", "dropping a transaction")?;
            self.is_writing = false;
        }
        self.write_all_rows()?;
        let Some(durable) = &self.durable else { return Ok(()) };
        synced(&self.connection, |connection| {
            write_mark(connection, Mark::new(Kind::Closed), durable.checksums, |_| Ok(()))?;
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
        if let Some(mut durable) = durable {
            durable.directory.release();
        }
        Ok(())
    }

    /// Limits how large the main file may become, in pages of 4096 bytes.
    #[doc(hidden)]
    pub fn limit_pages(&self, pages: u32) -> Result<(), ValueError> {
        self.connection.pragma_update(Some("main"), "max_page_count", pages).map_err(self.failed("limiting the size"))
    }

    /// The wait until a commit is on the disk: for another thread, if there is something else to do.
    /// `None` where commits wait for no disk.
    pub fn log_sync(&self) -> Option<LogSync> {
        let durable = self.durable.as_ref().filter(|durable| durable.sync == Sync::Full);
        durable.map(|durable| durable.log_sync.clone())
    }

    /// Checks that the files are still those of the directory, before any process is told of the commit. Moves a long
    /// log into the main file.
    pub fn after_commit(&mut self) -> Result<(), ValueError> {
        let changes = self.connection.total_changes();
        let Some(durable) = self.durable.as_mut().filter(|durable| durable.changes != changes) else {
            return Ok(());
        };
        durable.changes = changes;
        // The file is never shorter than what is in it.
        // A checkpoint is a transaction of its own, so it waits where the next one is open already.
        if self.is_writing {
            return self.check_files();
        }
        let may_be_long = self.durable.as_ref().map_or(Ok(0), |durable| self.log_file_bytes(durable))? > LOG_BYTES_MAX;
        if may_be_long && self.log_bytes()? > LOG_BYTES_MAX { self.checkpoint() } else { Ok(()) }
    }

    fn checkpoint(&mut self) -> Result<(), ValueError> {
        let Some(durable) = &self.durable else { return Ok(()) };
        let begin = || {
            let mark = begin_next_log(&self.connection, durable.checksums)?;
            leave_waiting_to_the_store(&self.connection)?;
            Ok(mark)
        };
        self.check_owner()?;
        let mark = begin().map_err(self.failed(CHECKPOINT))?;
        let changes = self.connection.total_changes();
        if let Some(durable) = &mut self.durable {
            durable.mark = mark;
            durable.checksums.mark = mark.version();
            durable.changes = changes;
        }
        self.check_files()
    }
}

/// Ends a log, moves it into the main file, and begins the next one: its beginning is on the disk when this returns. Gives
/// the mark that stands then.
pub(crate) fn begin_next_log(connection: &Connection, checksums: Checksums) -> rusqlite::Result<Mark> {
    let before = Mark::new(Kind::Before);
    write_mark(connection, before, checksums, |_| Ok(()))?;
    move_log(connection)?;
    let inside = before.with(Kind::Inside);
    synced(connection, |connection| write_mark(connection, inside, checksums, |_| Ok(())))?;
    Ok(inside)
}

/// A transaction that writes the mark, repeats it in the checksums, and does `work`.
pub(crate) fn write_mark(
    connection: &Connection,
    mark: Mark,
    checksums: Checksums,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    // First: no version of the page with the mark is written before it.
    connection.pragma_update(Some("main"), "user_version", mark.version())?;
    work(connection)?;
    write_checksums(connection, Checksums { mark: mark.version(), ..checksums })?;
    connection.execute_batch("COMMIT")
}

/// Copies the content of the log into the main file. The log is not cut, but written from its beginning by the next
/// commits: an empty log could not be told from a lost one, and a copy of a log that is cut meanwhile would have a part
/// of it that looks whole.
pub(crate) fn move_log(connection: &Connection) -> rusqlite::Result<()> {
    let (busy, pages, moved): (i64, i64, i64) =
        connection.query_row("PRAGMA main.wal_checkpoint(PASSIVE)", (), |row| row.try_into())?;
    if busy != 0 || pages != moved {
        let reason = format!("{moved} of {pages} pages were moved: another program reads the database");
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some(reason),
        ));
    }
    Ok(())
}

/// Each commit of `work` waits for the disk.
pub(crate) fn synced<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.pragma_update(Some("main"), "synchronous", "full")?;
    work(connection)
}

/// Commits do not wait for the disk from here on: the store does, where they must ([`crate::durability`]).
pub(crate) fn leave_waiting_to_the_store(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(Some("main"), "synchronous", "normal")
}

/// Whether the log stays when the connection closes. It must, wherever the store ends in an error: SQLite would move it,
/// and remove what has its name by then.
pub(crate) fn keep_log_on_close(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}
