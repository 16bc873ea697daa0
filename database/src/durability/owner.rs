//! The process that writes to a directory, as the file `lock` in it says.
//!
//! Locks keep a second process away, where they work. On a share that passes no locks, or where the file was removed,
//! two processes can come to write to one directory. So a process that takes a directory over writes a random token
//! into the file, and each process looks before and after each commit whether its own token is still there. If another
//! stands there, the commit counts for nothing, and the process ends. All that it acknowledged before was on the disk
//! before the other process read the directory. The text before is read and replaced by one process at a time, see [`ClaimLock`].

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time a process leaves to the one before it to notice. It is longer than a commit takes, unless the process is
/// frozen meanwhile.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Text in place of a token after a clean end.
const FREE: &str = "free";

/// Bytes of the file, always the same number: the last of two processes that write it at once wins as a whole.
const FILE_BYTES: usize = 160;

/// Pause between two attempts to take the lock.
const CLAIM_PAUSE: Duration = Duration::from_millis(10);

/// Our own entry.
#[derive(Debug)]
pub(crate) struct Owner {
    path: PathBuf,
    entry: String,
    /// Content of the file before.
    before: Vec<u8>,
}

impl Owner {
    /// Writes our entry into the file. Gives it, and whether the process of the entry before may still be writing.
    ///
    /// Of two processes that come at once, one waits for the other: so the second one finds the entry of the first, also
    /// where locks do not work.
    pub(crate) fn claim(path: &Path, file: &mut File) -> io::Result<(Self, bool)> {
        let entry = format!("{}\n{} {:016x}", std::process::id(), machine(), fastrand::u64(..));
        let lock = ClaimLock::take(path, &entry)?;
        let mut before = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut before)?;
        write(file, &entry)?;
        drop(lock);
        // Any other text is not the entry of a process.
        let waits = may_still_write(&String::from_utf8_lossy(&before));
        Ok((Self { path: path.to_owned(), entry, before }, waits))
    }

    /// Writes back what was in the file before, unless another process has taken over.
    pub(crate) fn give_back(&self, file: &mut File) -> io::Result<()> {
        if self.replaced_by()?.is_some() {
            return Ok(());
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.before)?;
        file.set_len(self.before.len() as u64)?;
        file.sync_all()
    }

    /// The process that took over from this one, if one did.
    pub(crate) fn replaced_by(&self) -> io::Result<Option<String>> {
        let found = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        // A new file has nothing in it yet.
        let found = found.trim_end();
        if found == self.entry || found.is_empty() {
            return Ok(None);
        }
        let (process, rest) = found.split_once('\n').unwrap_or((found, ""));
        let elsewhere = if rest.starts_with(&machine()) { "" } else { " of another machine" };
        Ok(Some(format!("process {process}{elsewhere}")))
    }

    /// Notes that the process writes no more.
    pub(crate) fn release(&self, file: &mut File) -> io::Result<()> {
        write(file, &format!("{}\n{FREE}", std::process::id()))
    }
}

/// The lock under which the file is read and written: a file beside it, which only one process at a time can make. File systems make
/// that sure also where they pass no locks.
struct ClaimLock {
    path: PathBuf,
}

impl ClaimLock {
    /// Waits until the file can be made. One that stands for longer than [`GRACE`], or whose process is gone, was left by a
    /// process that was killed.
    fn take(path: &Path, entry: &str) -> io::Result<Self> {
        let path = path.with_extension("claim");
        let mut seen: Option<(String, Instant)> = None;
        loop {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let lock = Self { path };
                    file.write_all(entry.as_bytes())?;
                    return Ok(lock);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let other = fs::read_to_string(&path).unwrap_or_default();
            let since = match &seen {
                Some((before, since)) if *before == other => *since,
                _ => Instant::now(),
            };
            // An empty file is about to be written.
            let is_left = !other.is_empty() && !may_still_run(process_and_machine(&other));
            if is_left || since.elapsed() > GRACE {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            } else {
                std::thread::sleep(CLAIM_PAUSE);
            }
            seen = Some((other, since));
        }
    }
}

impl Drop for ClaimLock {
    fn drop(&mut self) {
        // Where that fails, the next process waits a moment.
        let _ = fs::remove_file(&self.path);
    }
}

/// The process id in the file, as far as one stands there.
pub(crate) fn process_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(FILE_BYTES as u64).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

fn write(file: &mut File, entry: &str) -> io::Result<()> {
    let text = format!("{entry:<width$}\n", width = FILE_BYTES - 1);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Whether the process of an entry may still run: it does on this machine, or it is one of another.
fn may_still_write(entry: &str) -> bool {
    let (process, rest) = process_and_machine(entry);
    // A new file has no token, and a process that ended cleanly wrote a word in its place.
    if rest.is_empty() || rest == FREE || process == std::process::id().to_string() {
        return false;
    }
    may_still_run((process, rest))
}

fn may_still_run((process, rest): (&str, &str)) -> bool {
    !rest.starts_with(&machine()) || Path::new("/proc").join(process).exists()
}

/// The process id of an entry, and the words for its machine with what follows them.
fn process_and_machine(entry: &str) -> (&str, &str) {
    let mut lines = entry.lines();
    (lines.next().unwrap_or_default().trim(), lines.next().unwrap_or_default().trim())
}

/// Words for this machine since it started, and for the processes that can be seen here. Nothing, where the system says
/// nothing: then any other process may still run.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}/{space}", boot.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_may_run_is_waited_for() {
        let own = std::process::id();
        let here = machine();
        assert!(!may_still_write(""), "a new file");
        assert!(!may_still_write("1\n"), "of an earlier version");
        assert!(!may_still_write("1\nfree"), "ended cleanly");
        assert!(!may_still_write(&format!("{own}\n{here} 0123456789abcdef")), "an earlier store of this process");
        assert!(!may_still_write(&format!("4294967295\n{here} 0123456789abcdef")), "no such process");
        assert!(may_still_write(&format!("1\n{here} 0123456789abcdef")), "a process that runs here");
        assert!(may_still_write("4294967295\nanother/pid:[1] 0123456789abcdef"), "a process of another machine");
    }

    #[test]
    fn an_entry_is_its_owners_until_another_stands_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("lock");
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let mut file = open();
        let (first, waits) = Owner::claim(&path, &mut file).unwrap();
        assert_eq!((first.replaced_by().unwrap(), waits), (None, false));
        assert_eq!(process_in(&mut open()), Some(std::process::id()));
        let (second, _) = Owner::claim(&path, &mut open()).unwrap();
        let own = format!("process {}", std::process::id());
        assert_eq!((first.replaced_by().unwrap(), second.replaced_by().unwrap()), (Some(own), None));
        second.release(&mut open()).unwrap();
        assert!(first.replaced_by().unwrap().is_some(), "also when the other has ended");
        fs::remove_file(&path).unwrap();
        assert_eq!(first.replaced_by().unwrap(), None, "nobody has taken over");
    }

    #[test]
    fn of_processes_that_come_at_once_each_finds_the_entry_before() {
        const PROCESSES: usize = 8;
        for round in 0..20 {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("lock");
            let claim = || {
                // Without a lock of the file, as where the file system passes none.
                let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
                Owner::claim(&path, &mut file).unwrap().0
            };
            let owners: Vec<Owner> = std::thread::scope(|scope| {
                let claims: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(claim)).collect();
                claims.into_iter().map(|claim| claim.join().unwrap()).collect()
            });
            let found: std::collections::BTreeSet<_> =
                owners.iter().map(|owner| String::from_utf8_lossy(&owner.before).trim_end().to_owned()).collect();
            assert_eq!(found.len(), PROCESSES, "round {round}: two found the same entry: {found:?}");
            let standing = owners.iter().filter(|owner| owner.replaced_by().unwrap().is_none()).count();
            assert_eq!((standing, folder.path().join("lock.claim").exists()), (1, false));
        }
    }

    #[test]
    fn a_turn_that_a_killed_process_left_holds_nobody_up() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("lock");
        fs::write(folder.path().join("lock.claim"), format!("4294967295\n{} 0123456789abcdef", machine())).unwrap();
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let begun = Instant::now();
        let (owner, _) = Owner::claim(&path, &mut file).unwrap();
        assert!(owner.replaced_by().unwrap().is_none() && begun.elapsed() < GRACE);
    }

    #[test]
    fn an_entry_that_is_given_back_leaves_the_file_as_it_was() {
        for before in ["", "7\nfree", "anything\n"] {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("lock");
            fs::write(&path, before).unwrap();
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            let (owner, _) = Owner::claim(&path, &mut file).unwrap();
            owner.give_back(&mut file).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), before);
        }
    }
}
