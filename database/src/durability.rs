//! The store of a durable replica, in a directory of its own: one SQLite file with its write-ahead log.
//!
//! Nothing that tells of a turn leaves the process before the turn is committed, so a replica that starts again has all that
//! it ever told. Every row is checked against checksums at the next start, and damage, copies, lost logs and other programs
//! are noticed. Parts, in the order to read them:
//!
//! - `directory`: the directory, for one process at a time; `owner`: the entry of that process, where locks do not work
//! - `recovery`: how a directory is opened: [`Store::open_in`](crate::Store::open_in)
//! - `journal`: changes that a turn writes, and rows that only a record has on disk
//! - `tables`: how records, state and checksums stand in the file
//! - `checkpoint`: when the write-ahead log moves into the main file, and how a store is closed
//! - `marks`: whether a main file and a write-ahead log belong together
//! - `lost_files`: files that are deleted or replaced while they are in use

pub(crate) mod checkpoint;
pub(crate) mod directory;
pub(crate) mod journal;
pub(crate) mod lost_files;
pub(crate) mod marks;
pub(crate) mod owner;
mod recovery;
pub(crate) mod tables;

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::Saved;
use natter_common::value::ValueError;
use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};

pub use directory::{DataDirectory, Holder};
use journal::Journal;
use lost_files::Watched;
use marks::Mark;
use tables::Checksums;

/// Condition on which a turn counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The disk has it: it outlives a power failure.
    Full,
    /// The system has it: it outlives the process, but the last turns before a power failure may be lost.
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

/// Identity of the replica to which a state belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The replica's id.
    pub id: ReplicaId,
    /// Ids it had before, and must not use again.
    pub former: Vec<ReplicaId>,
}

/// State found in a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Identity of the replica that wrote the state; `None` in a new directory: then the rest is empty.
    pub identity: Option<Identity>,
    /// The saved state.
    pub saved: Saved,
    /// Whether the last life ended with [`Store::close_cleanly`](crate::Store::close_cleanly); so a new directory says.
    pub clean: bool,
    /// Mode in which the last life wrote: after one in [`Sync::Normal`] that did not end cleanly, its last turns may
    /// be missing.
    pub sync_before: Option<Sync>,
}

/// State that keeps a store on disk.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Locked until the store is gone.
    pub(crate) directory: DataDirectory,
    pub(crate) main: Watched,
    pub(crate) log: Watched,
    /// The mark that stands.
    pub(crate) mark: Mark,
    pub(crate) sync: Sync,
    pub(crate) log_sync: LogSync,
    /// Records on disk, and the rows that only a record has there.
    pub(crate) journal: Journal,
    /// The sum of the rows in the table of ratings.
    pub(crate) written_sum: u64,
    /// Number of updates that are known there without their records.
    pub(crate) executed: u64,
    /// Checksums on disk.
    pub(crate) checksums: Checksums,
    /// SQLite's count of changes when the last commit had ended.
    pub(crate) changes: u64,
    /// Outcome of saving the committed content, once a file is gone.
    pub(crate) rescued: OnceCell<String>,
}

impl Durable {
    /// Returns the length of the log's file, in bytes. Fails where a file is not the one that was opened.
    pub(crate) fn log_file_bytes(&self) -> Result<u64, ValueError> {
        self.main.bytes()?;
        self.log.bytes()
    }

    /// Turns an error of SQLite into one that names the file.
    pub(crate) fn failed(&self, doing: &'static str, error: &rusqlite::Error) -> ValueError {
        let path = self.main.path().display();
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => disk_full(&path),
            Some(ErrorCode::SystemIoFailure) => {
                format!("{error} ({path}): the system could not read or write it; look at its disk")
            }
            _ => format!("{error} ({path})"),
        };
        ValueError { doing, reason }
    }
}

/// The write-ahead log's file, open as long as the store: an error of an earlier write is told to each open file once.
#[derive(Clone, Debug)]
pub struct LogSync {
    file: Arc<File>,
    main: PathBuf,
}

impl LogSync {
    /// The log at `log` of the database at `main`, which errors name.
    pub(crate) fn open(log: &Path, main: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(log)?;
        Ok(Self { file: Arc::new(file), main: main.to_owned() })
    }

    /// Blocks until the disk has all that was committed by now.
    pub fn wait(&self) -> Result<(), ValueError> {
        self.file.sync_data().map_err(|error| {
            let path = self.main.display();
            let reason = match error.kind() {
                io::ErrorKind::StorageFull => disk_full(&path),
                _ => format!("{error} ({path}): the system could not write it; look at its disk"),
            };
            ValueError { doing: "waiting for the disk", reason }
        })
    }
}

/// Advice for a full disk.
pub(crate) fn disk_full(path: &impl std::fmt::Display) -> String {
    format!("database or disk is full ({path}): make room on its disk: the replica tries again every few seconds")
}
