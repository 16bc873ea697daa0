//! Parts of a store on disk, and the identity of its replica.

use std::cell::OnceCell;

use natter_common::ids::ReplicaId;
use natter_common::replica_manager::Saved;
use natter_common::value::ValueError;
use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::directory::DataDirectory;
use crate::files::Watched;
use crate::generation::Mark;
use crate::kept::Kept;
use crate::log_sync::{LogSync, disk_full};
use crate::saved::Checksums;

/// Condition on which a batch counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The disk has it: it outlives a power failure.
    Full,
    /// The system has it: it outlives the process, but the last batches before a power failure may be lost.
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
    /// Mode in which the last life wrote: after one in [`Sync::Normal`] that did not end cleanly, its last batches may
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
    pub(crate) kept: Kept,
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
