//! The write-ahead log of a durable store's file: its marks, and how it moves into the main file.

use rusqlite::Connection;

use crate::durable::Sync;

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
pub(crate) fn write_mark(
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
pub(crate) fn move_log(connection: &Connection) -> rusqlite::Result<()> {
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
