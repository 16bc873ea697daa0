//! The logs: a file for each process, in a folder that is kept or in a temporary one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::ClusterError;

/// How much of the end of a log is looked through for its last words.
const TAIL_BYTES: u64 = 16 * 1024;
/// How many lines of a log are shown to people.
const LINES_MAX: usize = 8;
/// How much of a line is shown to people, in characters.
const LINE_CHARS_MAX: usize = 400;
/// What the roles' last words begin with, when they end because something is wrong.
const COMPLAINTS: [&str; 3] = ["error: ", "replica: ", "frontend: "];

/// The folder of the logs.
#[derive(Debug)]
pub(crate) enum LogFiles {
    /// Named by the user, and kept.
    Kept(PathBuf),
    /// Private, and removed when this is dropped.
    Temporary(TempDir),
}

impl LogFiles {
    /// Makes the folder where it is not there yet.
    pub(crate) fn at(folder: Option<&Path>) -> Result<Self, ClusterError> {
        let Some(folder) = folder else {
            let made = tempfile::Builder::new().prefix("natter-cluster-").tempdir();
            return made.map(Self::Temporary).map_err(failed(&std::env::temp_dir()));
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        Ok(Self::Kept(std::path::absolute(folder).map_err(failed(folder))?))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// The folder, where it is to be removed at the end.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        match self {
            Self::Kept(_) => None,
            Self::Temporary(folder) => Some(folder.path()),
        }
    }

    /// An empty log for the process `name`.
    pub(crate) fn create(&self, name: &str) -> Result<(PathBuf, File), ClusterError> {
        let path = self.folder().join(format!("{name}.log"));
        let file = File::create(&path).map_err(failed(&path))?;
        Ok((path, file))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::Logs { path, source }
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
    fn a_temporary_folder_goes_and_a_named_one_stays() {
        let temporary = LogFiles::at(None).unwrap();
        let folder = temporary.folder().to_owned();
        temporary.create("r1").unwrap();
        drop(temporary);
        assert!(!folder.exists());

        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("a/b");
        let kept = LogFiles::at(Some(&named)).unwrap();
        assert!(kept.scratch().is_none());
        let (path, _) = kept.create("r1").unwrap();
        drop(kept);
        assert_eq!(path, named.join("r1.log"));
        assert!(path.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = LogFiles::at(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
