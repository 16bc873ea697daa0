//! The records of a CSV file, one by one, and the line of a wrong one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use csv::ByteRecord;

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

    /// The line, from 1, of the first thing that isn't a line end at or after a place.
    ///
    /// Counted anew, because the reader takes a record's place before it skips empty lines and the second half of CRLF.
    fn line_at(&self, place: u64) -> io::Result<u64> {
        let mut line = 1;
        let mut after_return = false;
        for (at, byte) in (0..).zip(BufReader::new(self.open()?).bytes()) {
            let byte = byte?;
            if at >= place && byte != b'\r' && byte != b'\n' {
                break;
            }
            if byte == b'\r' || (byte == b'\n' && !after_return) {
                line += 1;
            }
            after_return = byte == b'\r';
        }
        Ok(line)
    }
}

/// Goes through the records after the header.
pub(crate) struct Records<'file> {
    file: &'file CsvFile,
    columns: &'static [&'static str],
    bytes: u64,
    reader: csv::Reader<Box<dyn Read>>,
    record: ByteRecord,
}

impl<'file> Records<'file> {
    /// Opens the file and checks that its header is `columns`.
    pub(crate) fn open(file: &'file CsvFile, columns: &'static [&'static str]) -> Result<Self, DataError> {
        let unreadable = |reason| DataError::Unreadable { path: file.name(), reason };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            // The number of columns is checked here, with an error of our own.
            .flexible(true)
            .buffer_capacity(1 << 17)
            .from_reader(file.open().map_err(unreadable)?);
        let bytes = file.bytes().map_err(unreadable)?;
        let mut records = Self { file, columns, bytes, reader, record: ByteRecord::new() };
        records.read()?;
        if records.record.iter().ne(columns.iter().map(|column| column.as_bytes())) {
            let found: Vec<_> = records.record.iter().map(String::from_utf8_lossy).collect();
            return Err(DataError::Header {
                file: file.name(),
                line: records.line(),
                found: found.join(",").chars().take(80).collect(),
                expected: columns.join(","),
            });
        }
        Ok(records)
    }

    /// Goes to the next record; `false` after the last.
    pub(crate) fn advance(&mut self) -> Result<bool, DataError> {
        if !self.read()? {
            return Ok(false);
        }
        let (found, expected) = (self.record.len(), self.columns.len());
        if found != expected {
            return Err(self.refuse(LineProblem::Columns { found, expected }));
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<bool, DataError> {
        self.reader
            .read_byte_record(&mut self.record)
            .map_err(|error| DataError::Unreadable { path: self.file.name(), reason: error.into() })
    }

    /// The name of a column.
    pub(crate) fn column(&self, column: usize) -> &'static str {
        self.columns[column]
    }

    /// A field of the record.
    pub(crate) fn text(&self, column: usize) -> Result<&str, LineProblem> {
        std::str::from_utf8(&self.record[column]).map_err(|_| LineProblem::NotUtf8 { column: self.columns[column] })
    }

    /// Returns the fraction of the file that is read, from 0 to 1.
    pub(crate) fn fraction(&self) -> f64 {
        self.reader.position().byte() as f64 / self.bytes.max(1) as f64
    }

    /// An error that names the file and the record's line.
    pub(crate) fn refuse(&self, problem: LineProblem) -> DataError {
        DataError::Line { file: self.file.name(), line: self.line(), problem }
    }

    fn line(&self) -> u64 {
        let place = self.record.position().map_or(0, csv::Position::byte);
        // The file was there a moment ago; if it is gone now, the reader's own count is the best there is.
        self.file.line_at(place).unwrap_or_else(|_| self.record.position().map_or(1, csv::Position::line))
    }
}
