//! The directory of a durable replica, used by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{DirectoryError, DirectoryProblem};

/// The lock's file.
const LOCK: &str = "lock";

/// The database's file, beside which SQLite keeps its write-ahead log.
const DATABASE: &str = "replica.sqlite";

/// What is given as `--data-dir`: this process's alone, for as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked; the system unlocks it when it is closed, however the process ends.
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if it is missing, and locks it. Fails where another process has it, or where it can't be
    /// written.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let refused = |problem| DirectoryError::new(path, problem);
        if path.is_file() {
            return Err(refused(DirectoryProblem::NotADirectory));
        }
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(|reason| refused(DirectoryProblem::Uncreatable(reason)))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent).map_err(|reason| refused(DirectoryProblem::Uncreatable(reason)))?;
            }
        }
        let unwritable = |reason| refused(DirectoryProblem::Unwritable { file: LOCK, reason });
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused(DirectoryProblem::InUse { process: process_in(&mut lock) }));
            }
            Err(TryLockError::Error(reason)) => return Err(unwritable(reason)),
        }
        // Who finds it locked reads here whom to stop.
        lock.set_len(0).map_err(unwritable)?;
        writeln!(lock, "{}", std::process::id()).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether a database is in the directory at `path`.
    pub fn has_database(path: &Path) -> bool {
        path.join(DATABASE).exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The main file of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Its write-ahead log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("replica.sqlite-wal")
    }

    /// Where a new database is made before it gets its name.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.path.join("replica.sqlite.new")
    }

    pub(crate) fn refuse(&self, problem: DirectoryProblem) -> DirectoryError {
        DirectoryError::new(&self.path, problem)
    }
}

/// The process that holds the lock, as far as it has written that.
fn process_in(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Puts the names in a directory on the disk: a new file may else be gone after a power failure, however well it was
/// synced itself.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
