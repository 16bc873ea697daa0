//! Rescue of a store whose files were deleted or replaced while it was in use.
//!
//! On Unix, a deleted file lives on as long as a process has it open, so all that was committed is still there. If only the
//! log is gone, it is moved into the main file. If the main file is gone, a copy is made beside it. Nothing that was put
//! into the place of a file is touched.

use std::fs::{self, File};
use std::path::PathBuf;

use natter_common::value::ValueError;

use crate::directory::sync_directory;
use crate::durable::Durable;
use crate::generation::{Kind, Mark};
use crate::saved::{Checksums, read_state};
use crate::store::Store;
use crate::wal::{move_log, synced, write_mark};

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
