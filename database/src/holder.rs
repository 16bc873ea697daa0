//! The program that has a file locked, as far as the system tells.

use std::fmt;
use std::fs;
use std::path::Path;

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
