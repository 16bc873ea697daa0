//! A CSV file of a data set: its header is checked, and errors name the file and the line.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use natter_csv::{Fields, LINE_BYTES_MAX, Line, Lines, number_text};

use crate::error::{DataError, LineProblem};

/// A CSV file on disk or within the program.
#[derive(Clone, Debug)]
pub(crate) enum CsvFile {
    /// A file on disk.
    Path(PathBuf),
    /// Within the program.
    Embedded {
        /// Name of the file in errors.
        name: &'static str,
        /// Content of the file.
        text: &'static [u8],
    },
}

impl CsvFile {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Embedded { text, .. } => Box::new(*text),
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(match self {
            Self::Path(path) => path.metadata()?.len(),
            Self::Embedded { text, .. } => text.len() as u64,
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    fn unreadable(&self, reason: io::Error) -> DataError {
        DataError::Unreadable { path: self.name(), reason }
    }
}

/// The lines of a file after its header, each with as many fields as that has.
pub(crate) struct CsvLines<'file> {
    file: &'file CsvFile,
    columns: &'static [&'static str],
    bytes: u64,
    lines: Lines<Box<dyn Read>>,
}

/// A line, and the names of its columns.
#[derive(Clone, Copy)]
pub(crate) struct CsvLine<'a> {
    number: u64,
    file: &'a CsvFile,
    columns: &'static [&'static str],
    fields: Fields<'a>,
}

impl<'file> CsvLines<'file> {
    /// Opens the file and checks that its header is `columns`.
    pub(crate) fn open(file: &'file CsvFile, columns: &'static [&'static str]) -> Result<Self, DataError> {
        let unreadable = |reason| file.unreadable(reason);
        let mut lines = Lines::new(file.open().map_err(unreadable)?);
        let bytes = file.bytes().map_err(unreadable)?;
        let header = lines.next_line().map_err(unreadable)?;
        let fields = header.and_then(|line| line.fields());
        let found = || fields.iter().flat_map(|fields| fields.iter()).map(number_text);
        if found().ne(columns.iter().map(|column| column.as_bytes())) {
            return Err(DataError::Header {
                file: file.name(),
                line: header.map_or(1, |line| line.number()),
                found: found().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",").chars().take(80).collect(),
                expected: columns.join(","),
            });
        }
        Ok(Self { file, columns, bytes, lines })
    }

    /// Gives each line to `take`, with the fraction of the file that is read, from 0 to 1.
    pub(crate) fn for_each(
        mut self,
        mut take: impl FnMut(CsvLine<'_>, f64) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (file, columns) = (self.file, self.columns);
        loop {
            let fraction = self.lines.place().bytes as f64 / self.bytes.max(1) as f64;
            let Some(line) = self.lines.next_line().map_err(|reason| file.unreadable(reason))? else { return Ok(()) };
            take(CsvLine::of(line, file, columns)?, fraction)?;
        }
    }
}

impl<'a> CsvLine<'a> {
    fn of(line: Line<'a>, file: &'a CsvFile, columns: &'static [&'static str]) -> Result<Self, DataError> {
        let number = line.number();
        let refuse = |problem| DataError::Line { file: file.name(), line: number, problem };
        let fields = line.fields().ok_or_else(|| refuse(LineProblem::LongLine { bytes_max: LINE_BYTES_MAX }))?;
        let (found, expected) = (fields.count(), columns.len());
        if found != expected {
            return Err(refuse(LineProblem::Columns { found, expected }));
        }
        Ok(Self { number, file, columns, fields })
    }

    /// The name of a column.
    pub(crate) fn column(&self, column: usize) -> &'static str {
        self.columns.get(column).copied().unwrap_or_default()
    }

    /// The text of a column, as it stands.
    pub(crate) fn text(&self, column: usize) -> Result<&'a str, LineProblem> {
        self.utf8(column, self.fields.get(column))
    }

    /// The text of a number in a column, without the blanks around it.
    pub(crate) fn number(&self, column: usize) -> Result<&'a str, LineProblem> {
        self.utf8(column, number_text(self.fields.get(column)))
    }

    fn utf8(&self, column: usize, field: &'a [u8]) -> Result<&'a str, LineProblem> {
        std::str::from_utf8(field).map_err(|_| LineProblem::NotUtf8 { column: self.column(column) })
    }

    /// An error that names the file and the line.
    pub(crate) fn refuse(&self, problem: LineProblem) -> DataError {
        DataError::Line { file: self.file.name(), line: self.number, problem }
    }
}
