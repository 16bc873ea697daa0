//! Waits until the disk has a commit.
//!
//! SQLite's commit only writes the write-ahead log. The wait for the disk is a call of its own, so that another thread can do
//! it while the store goes on being read. The log is consistent however much of it a power loss leaves, as its frames have
//! checksums. Nothing more is committed before the wait has ended: then only the last transaction can be half written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use natter_common::value::ValueError;

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
