//! The directory of a durable replica, used by one process at a time, and the program that has its database locked.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::owner::{Owner, process_in};
use crate::error::{DirectoryError, DirectoryProblem};

/// The lock's file.
pub(crate) const LOCK: &str = "lock";

/// The database's file, beside which SQLite keeps its write-ahead log.
const DATABASE: &str = "replica.sqlite";

/// The directories that this process has open. Locks of files do not keep a process away from itself, and closing a file
/// twice opened drops those of SQLite.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Directory given as `--data-dir`. It belongs to this process alone, for as long as this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked; the system unlocks it when it is closed, however the process ends.
    lock: File,
    /// Our entry in that file, once the database is ours.
    owner: Option<Owner>,
    /// Its entry in [`OPEN`].
    entry: PathBuf,
    made: Made,
}

/// Parts of a directory that did not exist before.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    directory: bool,
    lock: bool,
}

impl DataDirectory {
    /// Makes the directory if it is missing, and locks it. Fails where another process has it, or where it can't be
    /// written.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let refused = |problem| DirectoryError::new(path, problem);
        if path.is_file() {
            return Err(refused(DirectoryProblem::NotADirectory));
        }
        let mut made = Made { directory: !path.is_dir(), lock: false };
        if made.directory {
            fs::create_dir_all(path).map_err(|reason| refused(DirectoryProblem::Uncreatable(reason)))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent).map_err(|reason| refused(DirectoryProblem::Uncreatable(reason)))?;
            }
        }
        let unwritable = |reason| refused(DirectoryProblem::Unwritable { file: LOCK, reason });
        let mut options = File::options();
        options.read(true).write(true);
        let new = options.clone().create_new(true).open(path.join(LOCK));
        made.lock = new.is_ok();
        let mut lock = match new {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path.join(LOCK)),
            new => new,
        }
        .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            // Only `dataset export` lets others lock it too.
            Err(TryLockError::WouldBlock) if lock.try_lock_shared().is_ok() => {
                return Err(refused(DirectoryProblem::BeingRead));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(refused(DirectoryProblem::InUse { process: process_in(&mut lock) }));
            }
            Err(TryLockError::Error(reason)) => return Err(unwritable(reason)),
        }
        let entry = path.canonicalize().map_err(unwritable)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&entry) {
            if made.lock {
                // The other one goes on without a lock's file, as before.
                let _ = fs::remove_file(path.join(LOCK));
            }
            return Err(refused(DirectoryProblem::InUse { process: None }));
        }
        open.push(entry.clone());
        Ok(Self { path: path.to_owned(), lock, owner: None, entry, made })
    }

    /// Writes our entry into the lock's file: from now on a process that had the directory before must not write any more.
    /// Gives whether it may be about to.
    pub(crate) fn claim(&mut self) -> Result<bool, DirectoryProblem> {
        let claimed = Owner::claim(&self.path.join(LOCK), &mut self.lock);
        let (owner, may_write) = claimed.map_err(|reason| DirectoryProblem::Unwritable { file: LOCK, reason })?;
        self.owner = Some(owner);
        Ok(may_write)
    }

    /// Fails where another process has taken the directory over.
    pub(crate) fn check_owner(&self) -> Result<(), DirectoryProblem> {
        match self.owner.as_ref().map_or(Ok(None), Owner::replaced_by) {
            Ok(None) => Ok(()),
            Ok(Some(other)) => Err(DirectoryProblem::TakenOver(other)),
            Err(reason) => Err(DirectoryProblem::Failing(reason.to_string())),
        }
    }

    /// Notes that this process writes no more.
    pub(crate) fn release(&mut self) {
        if let Some(owner) = self.owner.take() {
            // Without it, the next process waits a moment.
            let _ = owner.release(&mut self.lock);
        }
    }

    /// Leaves the directory as it was before a start that is refused.
    pub(crate) fn give_back(mut self, had_database: bool) {
        let is_ours = self.check_owner().is_ok();
        if let Some(owner) = self.owner.take() {
            // Without it, the next process waits a moment.
            let _ = owner.give_back(&mut self.lock);
        }
        if !is_ours {
            return;
        }
        // A file that cannot be removed does no harm: it is an empty database.
        let unfinished = [self.unfinished(), self.path.join("replica.sqlite.new-journal")];
        let of_a_new_database = [self.database(), self.log()];
        for file in of_a_new_database.iter().filter(|_| !had_database).chain(&unfinished) {
            let _ = fs::remove_file(file);
        }
        if self.made.lock {
            let _ = fs::remove_file(self.path.join(LOCK));
        }
        if self.made.directory {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Whether a database is in the directory at `path`.
    pub fn has_database(path: &Path) -> bool {
        path.join(DATABASE).exists()
    }

    /// Returns its path.
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

    /// Returns the path at which a new database is made before it gets its name.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.path.join("replica.sqlite.new")
    }

    /// The error of a problem. Names the program that has the database open.
    pub(crate) fn refuse(&self, problem: DirectoryProblem) -> DirectoryError {
        let problem = match problem {
            DirectoryProblem::HeldOpen { .. } => match Holder::of(&self.database()) {
                Some(holder) if holder.is_like_us() => {
                    let process = (holder.process != std::process::id()).then_some(holder.process);
                    DirectoryProblem::InUse { process }
                }
                holder => DirectoryProblem::HeldOpen { holder },
            },
            problem => problem,
        };
        DirectoryError::new(&self.path, problem)
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|entry| *entry != self.entry);
    }
}

/// Puts the names in a directory on the disk: a new file may else be gone after a power failure, however well it was
/// synced itself.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// A process that has a lock on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// The name of its program.
    pub program: Option<String>,
}

impl Holder {
    /// The first process that has a lock of SQLite's kind on the file at `path`. `None` where none has, or where the system
    /// does not list locks.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let inode = inode(path)?;
        let process = locks.lines().find_map(|line| holder_in(line, &inode))?;
        let program = fs::read_to_string(format!("/proc/{process}/comm")).ok();
        Some(Self { process, program: program.map(|name| name.trim_end().to_owned()) })
    }

    /// Whether it runs the same program as this process does.
    pub(crate) fn is_like_us(&self) -> bool {
        let program = |process: &str| fs::read_link(format!("/proc/{process}/exe")).ok();
        self.process == std::process::id()
            || program("self").is_some_and(|own| program(&self.process.to_string()) == Some(own))
    }
}

/// In brackets, after the words "another program".
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Some(program) => write!(f, " ({program}, process {})", self.process),
            None => write!(f, " (process {})", self.process),
        }
    }
}

/// End of the third word from the end, in a line of `/proc/locks` about this file.
fn inode(path: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        path.metadata().ok().map(|metadata| format!(":{}", metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The process of a line such as `1: POSIX  ADVISORY  READ 3340 fe:00:5399465 1073741826 1073742335`. The numbers of the
/// device are not compared: some file systems show others there than for the file.
fn holder_in(line: &str, inode: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1).skip_while(|word| *word == "->");
    let kind = words.next()?;
    let (process, file) = (words.nth(2)?, words.next()?);
    (kind == "POSIX" && file.ends_with(inode)).then(|| process.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::holder_in;

    #[test]
    fn a_line_names_its_process() {
        let line = "1: POSIX  ADVISORY  READ 3340 fe:00:5399465 1073741826 1073742335";
        assert_eq!(holder_in(line, ":5399465"), Some(3340));
        assert_eq!(holder_in(line, ":399465"), None);
        assert_eq!(holder_in("1: FLOCK  ADVISORY  WRITE 3340 fe:00:5399465 0 EOF", ":5399465"), None);
        assert_eq!(holder_in("1: -> POSIX  ADVISORY  WRITE 7 fe:00:5 0 EOF", ":5"), Some(7));
        assert_eq!(holder_in("", ":5"), None);
    }
}
