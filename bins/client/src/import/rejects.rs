//! The file of refused lines: as they stand in the source, under a header, so that they can be mended and imported.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::plan::Refused;
use super::rows::COLUMNS;

/// Refused lines on their way into a file. A line is written when all lines before it are done: an import that is interrupted
/// goes on after the part that is done, and so writes no line twice.
#[derive(Debug)]
pub(super) struct Rejects {
    file: File,
    path: PathBuf,
    /// Columns of the source, for the header of a new file.
    columns: &'static [&'static str],
    has_header: bool,
    /// Lines that are not written yet, by number. They end without a line feed.
    waiting: BTreeMap<u64, Box<[u8]>>,
}

/// Why refused lines are not kept.
#[derive(Debug, thiserror::Error)]
pub enum RejectsError {
    /// It is the file that is imported.
    #[error("--rejects {} is the file that is imported: name another file", .0.display())]
    Source(PathBuf),
    /// It can't be written.
    #[error("refused lines can't be written to {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
}

impl Rejects {
    /// Opens `path`, whose lines stay, or makes it.
    pub(super) fn open(path: &Path, source: Option<&Path>) -> Result<Self, RejectsError> {
        let failed = |error| RejectsError::File { path: path.to_owned(), error };
        let same =
            |source: &Path| path.canonicalize().is_ok_and(|path| source.canonicalize().is_ok_and(|it| it == path));
        if source.is_some_and(same) {
            return Err(RejectsError::Source(path.to_owned()));
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        let has_header = file.metadata().map_err(failed)?.len() > 0;
        Ok(Self { file, path: path.to_owned(), columns: &COLUMNS, has_header, waiting: BTreeMap::new() })
    }

    /// The source has only these columns.
    pub(super) fn set_columns(&mut self, columns: &'static [&'static str]) {
        self.columns = columns;
    }

    /// Takes in lines that are refused.
    pub(super) fn add(&mut self, refused: &[Refused]) {
        self.waiting.extend(refused.iter().map(|refused| (refused.line, refused.text.clone())));
    }

    /// Writes the lines up to number `line`, which are all done.
    pub(super) fn write_until(&mut self, line: u64) -> Result<(), RejectsError> {
        let later = self.waiting.split_off(&line.saturating_add(1));
        let mut text = Vec::new();
        for line in std::mem::replace(&mut self.waiting, later).into_values() {
            if !std::mem::replace(&mut self.has_header, true) {
                text.extend_from_slice(self.columns.join(",").as_bytes());
                text.push(b'\n');
            }
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        let written = if text.is_empty() { Ok(()) } else { self.file.write_all(&text) };
        written.map_err(|error| RejectsError::File { path: self.path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: u64, text: &str) -> Refused {
        Refused { line, text: text.as_bytes().into(), reason: String::new() }
    }

    #[test]
    fn refused_lines_are_written_in_their_order_once_all_before_them_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.csv");
        let mut rejects = Rejects::open(&path, None).unwrap();
        rejects.set_columns(&COLUMNS[..3]);
        rejects.add(&[refused(9, "9,x,1"), refused(2, "2,x,1")]);
        rejects.write_until(8).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "userId,movieId,rating\n2,x,1\n");
        rejects.write_until(9).unwrap();
        // A later run adds to it.
        let mut rejects = Rejects::open(&path, None).unwrap();
        rejects.add(&[refused(12, "12,x,1")]);
        rejects.write_until(u64::MAX).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "userId,movieId,rating\n2,x,1\n9,x,1\n12,x,1\n");
    }

    #[test]
    fn source_of_an_import_is_no_file_for_refused_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratings.csv");
        std::fs::write(&path, "userId,movieId,rating\n").unwrap();
        let error = Rejects::open(&folder.path().join("./ratings.csv"), Some(&path)).unwrap_err().to_string();
        assert!(error.ends_with("is the file that is imported: name another file"), "{error}");
    }
}
