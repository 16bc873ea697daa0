//! The way of a member's log lines: through a pipe into its file, by a thread of its own.
//!
//! The thread tells in the terminal what an operator should know at once: lines of level ERROR, lines that the member
//! dropped, and lines that the file does not take, as on a full disk.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter_broker::log_queue::LineWriter;
use natter_broker::logs::{dropped_notice, tells_of_dropped_lines, were_dropped};
use natter_broker::options::LogFormat;
use natter_common::counted::nouns;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::log_file::LogFile;
use crate::notices::tell;

/// Maximum bytes read at once. A longer line is written in parts.
const READ_BYTES: usize = 64 * 1024;
/// Time between two reports of one member in the terminal; those between are counted.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Maximum time to wait for the last lines of a member that has ended.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A member's log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    path: PathBuf,
    complete: watch::Receiver<bool>,
}

impl Log {
    /// Starts to write what comes through the pipe, which is the result too, to `file`. `what` is the member's name in the
    /// terminal.
    pub(crate) fn start(what: &str, path: &Path, file: LogFile, format: LogFormat) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let (completed, complete) = watch::channel(false);
        let reports = Reports { what: what.to_owned(), path: path.to_owned(), format, last: None, untold: 0 };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            pump(reader, LineWriter::new(file, dropped_notice(format)), reports);
            // Where the launcher is ending, no receiver is left.
            let _ = completed.send(true);
        })?;
        Ok((Self { path: path.to_owned(), complete }, writer))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the last line of a member that has ended is written, or for a second.
    pub(crate) async fn complete(&mut self) {
        let _ = timeout(LAST_LINES, self.complete.wait_for(|complete| *complete)).await;
    }
}

/// Until all that had the writing end have ended.
fn pump(mut reader: PipeReader, mut writer: LineWriter<LogFile>, mut reports: Reports) {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let (mut failing, mut told_lost) = (false, 0);
    loop {
        let kept = buffer.len();
        buffer.resize(READ_BYTES, 0);
        let read = reader.read(&mut buffer[kept..]);
        buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Nothing more will come.
            Ok(0) | Err(_) => break,
        }
        // Half a line waits for its other half.
        let whole = match memchr::memrchr(b'\n', &buffer) {
            Some(end) => end + 1,
            None if buffer.len() == READ_BYTES => buffer.len(),
            None => continue,
        };
        writer.write_lines(&buffer[..whole]);
        match writer.writer().failure() {
            Some(failure) if !failing => reports.cannot_write(failure),
            None if writer.lost() > told_lost => {
                reports.written_again(writer.lost() - told_lost);
                told_lost = writer.lost();
            }
            _ => {}
        }
        failing = writer.writer().failure().is_some();
        buffer[..whole].split(|&byte| byte == b'\n').for_each(|line| reports.see(line));
        buffer.drain(..whole);
    }
    if !buffer.is_empty() {
        buffer.push(b'\n');
        writer.write_lines(&buffer);
    }
}

/// Reports in the terminal, in moderation.
#[derive(Debug)]
struct Reports {
    what: String,
    path: PathBuf,
    format: LogFormat,
    last: Option<Instant>,
    untold: u64,
}

impl Reports {
    /// Looks at a line, and tells of it where an operator should know.
    fn see(&mut self, line: &[u8]) {
        let Some(words) = worth_telling(line, self.format) else { return };
        if self.last.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            self.untold += 1;
            return;
        }
        let untold = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            untold => format!(", and {untold} more {} like this before", nouns(&untold, "line")),
        };
        self.last = Some(Instant::now());
        tell(&format!("{}: {words} (its log: {}{untold})", self.what, self.path.display()));
    }

    fn cannot_write(&self, failure: &str) {
        tell(&format!(
            "{}: its log {} cannot be written ({failure}); its lines are dropped until it can",
            self.what,
            self.path.display()
        ));
    }

    fn written_again(&self, lost: u64) {
        tell(&format!("{}: its log {} is written again; {}", self.what, self.path.display(), were_dropped(lost)));
    }
}

/// The words of a line of level ERROR, or of one that tells of dropped lines.
fn worth_telling(line: &[u8], format: LogFormat) -> Option<String> {
    match format {
        // After the time, which has always the same length.
        LogFormat::Text => {
            let (_, rest) = line.split_at_checked("2026-11-30T12:03:04.123456Z ".len())?;
            let dropped = || tells_of_dropped_lines(rest);
            let words = match rest.get(..6)? {
                b"ERROR " => &rest[6..],
                b"WARN  " if dropped() => &rest[6..],
                _ => return None,
            };
            Some(String::from_utf8_lossy(words).into_owned())
        }
        LogFormat::Json => {
            let text = std::str::from_utf8(line).ok()?;
            let serious = text.contains(r#""level":"ERROR""#) || tells_of_dropped_lines(line);
            serious.then(|| text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_dropped_lines_are_worth_telling() {
        let words = |line: &str| worth_telling(line.as_bytes(), LogFormat::Text);
        let time = "2026-11-30T12:03:04.123456Z ";
        assert_eq!(words(&format!("{time}ERROR is OFFLINE replica=r1")).as_deref(), Some("is OFFLINE replica=r1"));
        let dropped = dropped_notice(LogFormat::Text)(7);
        assert!(words(&dropped).unwrap().starts_with("7 log lines were dropped"), "{dropped}");
        for quiet in ["", "replica: x", &format!("{time}WARN  ERROR"), &format!("{time}INFO  joins replica=r1"), time] {
            assert_eq!(words(quiet), None, "{quiet:?}");
        }
        let json = |line: &str| worth_telling(line.as_bytes(), LogFormat::Json);
        assert!(json(r#"{"timestamp":"x","level":"ERROR","message":"m"}"#).is_some());
        assert!(json(&dropped_notice(LogFormat::Json)(7)).is_some());
        assert_eq!(json(r#"{"timestamp":"x","level":"INFO","message":"m"}"#), None);
    }

    #[tokio::test]
    async fn lines_come_into_the_file_whole_and_the_last_one_too() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r1.log");
        let file = LogFile::create(&path, None).unwrap();
        let (mut log, mut writer) = Log::start("replica r1", &path, file, LogFormat::Text).unwrap();
        let long = "x".repeat(3 * READ_BYTES);
        let text = format!("one\n{long}\ntwo\nno end");
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        log.complete().await;
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("one\nx") && written.ends_with("two\nno end\n"), "{}", written.len());
        assert_eq!(written.len(), text.len() + 1);
    }
}
