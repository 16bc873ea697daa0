//! The process that writes to a directory, as the file `lock` in it says.
//!
//! Locks keep a second process away, where they work. On a share that passes no locks, or where the file was removed,
//! two processes can come to write to one directory. So a process that takes a directory over writes a random token
//! into the file, and each process looks before and after each commit whether its own token is still there. If another
//! stands there, the commit counts for nothing, and the process ends. All that it acknowledged before was on the disk
//! before the other process read the directory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time a process leaves to the one before it to notice. It is longer than a commit takes, unless the process is
/// frozen meanwhile.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Text in place of a token after a clean end.
const FREE: &str = "free";

/// Bytes of the file, always the same number: the last of two processes that write it at once wins as a whole.
const FILE_BYTES: usize = 160;

/// Our own entry.
#[derive(Debug)]
pub(crate) struct Owner {
    path: PathBuf,
    entry: String,
}

impl Owner {
    /// Writes our entry into the file. Gives it, and whether the process of the entry before may still be writing.
    pub(crate) fn claim(path: &Path, file: &mut File) -> io::Result<(Self, bool)> {
        let mut before = String::new();
        file.seek(SeekFrom::Start(0))?;
        // Any other text is not the entry of a process.
        let _ = file.take(FILE_BYTES as u64).read_to_string(&mut before);
        let own = Self {
            path: path.to_owned(),
            entry: format!("{}\n{} {:016x}", std::process::id(), machine(), fastrand::u64(..)),
        };
        write(file, &own.entry)?;
        Ok((own, may_still_write(&before)))
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
    let mut lines = entry.lines();
    let (process, rest) = (lines.next().unwrap_or_default().trim(), lines.next().unwrap_or_default().trim());
    // An earlier version wrote no token, and one that ended cleanly a word.
    if rest.is_empty() || rest == FREE || process == std::process::id().to_string() {
        return false;
    }
    !rest.starts_with(&machine()) || Path::new("/proc").join(process).exists()
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
}
