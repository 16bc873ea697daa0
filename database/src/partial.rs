//! Files and folders that are not finished: under a name of their own, and removed unless they are kept.
//!
//! A process that ends by a signal removes its own ([`remove_all`]). A killed process leaves them behind: the next
//! process that makes one in the same folder removes those that no process has locked.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::Builder;

const PREFIX: &str = ".dataset-";
const SUFFIX: &str = ".partial";

/// All that this process has not finished.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Something that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    /// Locked as long as it lives.
    file: File,
}

impl Partial {
    /// A new file in `folder`. Like any new file, all users may read it, less what the umask takes: a data set is for
    /// all replicas.
    pub(crate) fn file(folder: &Path) -> io::Result<Self> {
        remove_those_left_in(folder);
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let unfinished = lock_list();
        let (file, path) = builder.tempfile_in(folder)?.keep().map_err(|error| error.error)?;
        Ok(Self::known(unfinished, path, file))
    }

    /// A new folder in `folder`, likewise.
    pub(crate) fn folder(folder: &Path) -> io::Result<Self> {
        remove_those_left_in(folder);
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777));
        let unfinished = lock_list();
        let path = builder.tempdir_in(folder)?.keep();
        let file = File::open(&path)?;
        Ok(Self::known(unfinished, path, file))
    }

    fn known(mut unfinished: MutexGuard<'_, Vec<PathBuf>>, path: PathBuf, file: File) -> Self {
        // Without a lock, another process may remove it, and this one fails.
        let _ = file.try_lock();
        unfinished.push(path.clone());
        Self { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives it its name, in place of a file that has it.
    pub(crate) fn persist(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_kept();
        Ok(())
    }

    /// Gives a file its name, where no file has it.
    pub(crate) fn persist_new(self, path: &Path) -> io::Result<()> {
        match fs::hard_link(&self.path, path) {
            // Some file systems have no links.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => self.persist(path),
            linked => linked,
        }
    }

    fn is_kept(&self) {
        lock_list().retain(|path| *path != self.path);
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A file that already has its final name is no longer at this path.
        remove(&self.path);
        self.is_kept();
    }
}

/// Removes all that this process has not finished. The process must end now: it makes nothing unfinished any more.
pub fn remove_all() {
    let unfinished = lock_list();
    for path in unfinished.iter() {
        remove(path);
    }
    std::mem::forget(unfinished);
}

fn lock_list() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(path: &Path) {
    // A folder is written to meanwhile, where another thread does not know that the process ends.
    for _ in 0..10 {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
}

/// Removes what processes left that were killed: nothing has it locked.
fn remove_those_left_in(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(PREFIX) || !name.ends_with(SUFFIX) {
            continue;
        }
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            remove(&path);
        }
    }
}
