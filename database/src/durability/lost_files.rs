//! Files that are deleted or replaced while they are in use: how that is noticed, and how the content is rescued.
//!
//! On Unix, a deleted file lives on as long as a process has it open: SQLite would go on writing, and all that would be
//! lost at the end. All that was committed is still there, though. If only the log is gone, it is moved into the main file.
//! If the main file is gone, a copy is made beside it. Nothing that was put into the place of a file is touched.

use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};

use natter_common::value::ValueError;

use super::Durable;
use super::checkpoint::{move_log, synced, write_mark};
use super::directory::sync_directory;
use super::marks::{Kind, Mark};
use super::tables::{Checksums, read_state};
use crate::store::Store;

/// A file that is in use, as it was when it was first looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    identity: (u64, u64),
}

impl Watched {
    /// Notes which file is at `path`.
    pub(crate) fn new(path: PathBuf) -> Result<Self, ValueError> {
        match path.metadata() {
            Ok(metadata) => Ok(Self { identity: identity(&metadata), path }),
            Err(_) => Err(gone(&path)),
        }
    }

    /// Returns the length of the file, in bytes. Fails where another is in its place, or none.
    pub(crate) fn bytes(&self) -> Result<u64, ValueError> {
        match self.path.metadata() {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(metadata.len()),
            _ => Err(gone(&self.path)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn gone(path: &Path) -> ValueError {
    let path = path.display();
    ValueError {
        doing: "looking after its files",
        reason: format!("{path} was deleted or replaced while it was in use"),
    }
}

/// Device and inode.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere a file that is open cannot be deleted or replaced.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Copies that are kept beside a main file that was deleted. There is one for each time that happens.
const COPIES_MAX: u32 = 100;

impl Store {
    /// Adds to the error of a file that is gone how its content goes on.
    pub(crate) fn rescue(&self, durable: &Durable, gone: ValueError) -> ValueError {
        let outcome = durable.rescued.get_or_init(|| self.save_what_is_left(durable));
        ValueError { reason: format!("{}: {outcome}", gone.reason), ..gone }
    }

    fn save_what_is_left(&self, durable: &Durable) -> String {
        if !self.connection.is_autocommit() {
            // No process was told of changes that are not committed.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        let (result, done) = match durable.main.bytes() {
            Ok(_) => (self.move_lost_log(), "all that was committed is now in replica.sqlite".to_owned()),
            Err(_) => match self.copy_lost_file(durable) {
                Ok(directory) => {
                    let done =
                        format!("all that was committed was copied, start the replica with --data-dir {directory}");
                    (Ok(()), done)
                }
                Err(reason) => (Err(reason), String::new()),
            },
        };
        match result {
            Ok(()) => done,
            Err(reason) => format!(
                "what was acknowledged since cannot be saved there ({reason}): stop the replica and start it with an \
                 empty directory: it takes everything that the others hold"
            ),
        }
    }

    /// Moves the log, which has no name any more, into the main file, and marks that as closed: a file that has the
    /// log's name now does not go with it.
    fn move_lost_log(&self) -> Result<(), String> {
        let checksums: Checksums = read_state(&self.connection, "checksums")
            .map_err(|problem| problem.to_string())?
            .ok_or_else(|| "it has no checksums".to_owned())?;
        synced(&self.connection, |connection| {
            write_mark(connection, Mark::new(Kind::Closed), checksums, |_| Ok(()))?;
            move_log(connection)
        })
        .map_err(|error| error.to_string())
    }

    /// Copies the main file with its log, which have no names any more, into a directory of their own. Gives that.
    fn copy_lost_file(&self, durable: &Durable) -> Result<String, String> {
        let directory = new_directory(durable).map_err(|error| error.to_string())?;
        let path = directory.join("replica.sqlite");
        self.connection.execute("VACUUM main INTO ?1", [path.to_string_lossy()]).map_err(|error| error.to_string())?;
        File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_directory(&directory))
            .and_then(|()| sync_directory(durable.directory.path()))
            .map_err(|error| error.to_string())?;
        Ok(directory.display().to_string())
    }
}

fn new_directory(durable: &Durable) -> std::io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let directory = durable.directory.path().join(format!("rescued-{number}"));
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < COPIES_MAX => number += 1,
            result => return result.map(|()| directory),
        }
    }
}
