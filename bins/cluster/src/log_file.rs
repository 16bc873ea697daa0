//! One log: a file, and where it is bounded a second one with what was moved out of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Maximum size of a bounded log's file, in bytes; of the two together, twice as much. Older lines are lost.
pub(crate) const BOUND: u64 = 4 << 20;

/// Bytes at the end of a log that are searched for its last words.
const TAIL_BYTES: u64 = 16 * 1024;
/// Maximum lines of a log that are shown to people.
const LINES_MAX: usize = 8;
/// Maximum characters of a line that are shown to people.
const LINE_CHARS_MAX: usize = 2000;
/// Beginnings of a role's last words when it ends because something is wrong.
const COMPLAINTS: [&str; 3] = ["error: ", "replica: ", "frontend: "];

/// A log file that is written to.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// Maximum size, in bytes.
    bound: Option<u64>,
    file: Option<File>,
    length: u64,
    /// Why the last write failed, if it did.
    failure: Option<String>,
}

impl LogFile {
    /// A new, empty one.
    pub(crate) fn create(path: &Path, bound: Option<u64>) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self { path: path.to_owned(), bound, file: Some(file), length: 0, failure: None })
    }

    /// One that goes on where an earlier process ended.
    pub(crate) fn append(path: &Path, bound: Option<u64>) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), bound, file: Some(file), length, failure: None })
    }

    /// Why the last write failed, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn write_lines(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.bound.is_some_and(|bound| self.length > 0 && self.length + lines.len() as u64 > bound) {
            // Should that fail, the file that is there is emptied: it must not grow without end.
            self.file = None;
            let _ = std::fs::rename(&self.path, moved_out_of(&self.path));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                self.length = 0;
                none.insert(File::create(&self.path)?)
            }
        };
        let written = file.write(lines)?;
        self.length += written as u64;
        Ok(written)
    }
}

/// Takes whole lines, so that a file begins with one.
impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = self.write_lines(lines);
        self.failure = written.as_ref().err().map(ToString::to_string);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `r1.1.log`, for `r1.log`.
fn moved_out_of(path: &Path) -> PathBuf {
    path.with_extension("1.log")
}

/// Moves the lines of a file that another program appends to out of it, where it is larger than it should be.
pub(crate) fn bound_appended(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.len() <= BOUND {
        return Ok(());
    }
    std::fs::copy(path, moved_out_of(path))?;
    File::options().write(true).open(path)?.set_len(0)
}

/// The end of a log, for people: from the process's last complaint on, where it made one; else its last lines.
pub(crate) fn last_words(log: &Path) -> String {
    let text = tail(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let complaint = |line: &str| COMPLAINTS.iter().find_map(|start| line.strip_prefix(start)).map(str::to_owned);
    let last = lines.iter().rposition(|line| complaint(line).is_some());
    let first = last.unwrap_or(lines.len().saturating_sub(LINES_MAX));
    let mut shown = Vec::new();
    for (n, line) in lines[first..].iter().take(LINES_MAX).enumerate() {
        let line = complaint(line).filter(|_| n == 0).unwrap_or_else(|| (*line).to_owned());
        shown.push(line.chars().take(LINE_CHARS_MAX).collect::<String>());
    }
    match (shown.len(), last) {
        (0, _) => "it said nothing".to_owned(),
        (_, Some(_)) => shown.join("\n  "),
        (_, None) => format!("the end of its log is\n  {}", shown.join("\n  ")),
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_complaint_where_there_is_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let words = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            last_words(file.path())
        };
        assert_eq!(words("12:00 INFO starts\nreplica: line 3: no rating\n"), "line 3: no rating");
        assert_eq!(words("error: unexpected argument\n\nUsage: x\n"), "unexpected argument\n  Usage: x");
        assert_eq!(words("one\ntwo\n"), "the end of its log is\n  one\n  two");
        assert_eq!(words(""), "it said nothing");
        assert_eq!(last_words(Path::new("/nowhere")), "it said nothing");
        let long = words(&"x\n".repeat(100_000));
        assert_eq!(long.lines().count(), LINES_MAX + 1);
    }

    #[test]
    fn a_bounded_log_keeps_the_last_lines_and_an_unbounded_one_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r1.log");
        let moved = folder.path().join("r1.1.log");
        let mut bounded = LogFile::create(&path, Some(100)).unwrap();
        for n in 10..60 {
            bounded.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let kept = read(&moved) + &read(&path);
        assert!(read(&path).len() <= 100 && read(&moved).len() <= 100);
        assert!(kept.ends_with("line 58\nline 59\n") && kept.starts_with("line ") && kept.len() > 100, "{kept}");

        let mut all = LogFile::create(&path, None).unwrap();
        (0..50).for_each(|_| all.write_all(b"line\n").unwrap());
        assert_eq!(read(&path).len(), 250);
        LogFile::append(&path, None).unwrap().write_all(b"line\n").unwrap();
        assert_eq!(read(&path).len(), 255);
    }

    #[test]
    fn a_file_that_another_program_appends_to_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats-server.log");
        let mut appended = File::options().create(true).append(true).open(&path).unwrap();
        appended.write_all(&vec![b'\n'; BOUND as usize + 1]).unwrap();
        bound_appended(&path).unwrap();
        appended.write_all(b"after\n").unwrap();
        bound_appended(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after\n");
        assert_eq!(std::fs::metadata(folder.path().join("nats-server.1.log")).unwrap().len(), BOUND + 1);
    }
}
