//! The write-ahead log of a durable store's file: its marks, and how it moves into the main file.

use rusqlite::Connection;

use crate::generation::{Kind, Mark};
use crate::saved::{Checksums, write_checksums};

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

/// Commits do not wait for the disk from here on: the store does, where they must ([`crate::log_sync`]).
pub(crate) fn leave_waiting_to_the_store(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(Some("main"), "synchronous", "normal")
}

/// Whether the log stays when the connection closes. It must, wherever the store ends in an error: SQLite would move it,
/// and remove what has its name by then.
pub(crate) fn keep_log_on_close(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}
