//! Lines of CSV files in one dialect, for data sets (`natter-database`) and for the client's import.
//!
//! The dialect is RFC 4180 as files in the field have it:
//!
//! - A line ends with CR, LF or CRLF; the last one may lack its end. Line numbers are those that an editor shows.
//! - A byte order mark at the start of the file, and lines that are empty or blank, are skipped.
//! - A field in quotes may hold commas, line ends and doubled quotes, so one [`Line`] may go over several lines of the file.
//! - A text is taken as it stands, blanks included. For a number, [`number_text`] removes the blanks around it.
//! - A line has at most [`LINE_BYTES_MAX`] bytes before its end. So a quote that is left open costs one line, and not the rest of the file.
//!
//! The reader checks neither the number of fields nor their content. A caller that refuses a line and goes on calls
//! [`Lines::refuse`]: where the line goes over several lines of the file, the next one begins with the second of them.
//!
//! ```
//! use natter_csv::{Lines, number_text};
//!
//! let mut lines = Lines::new("movieId,title\r\n7,\"Two, Too\"\n\n 8 ,Emma".as_bytes());
//! let mut found = Vec::new();
//! while let Some(line) = lines.next_line()? {
//!     let fields = line.fields().ok_or("a line is too long")?;
//!     let text = |field| String::from_utf8_lossy(field).into_owned();
//!     found.push((line.number(), fields.iter().map(number_text).map(text).collect::<Vec<_>>()));
//! }
//! assert_eq!(found[1], (2, vec!["7".to_owned(), "Two, Too".to_owned()]));
//! assert_eq!(found[2], (4, vec!["8".to_owned(), "Emma".to_owned()]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read};

use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};

/// Maximum length of a line, in bytes: more than a movie with the longest title and genres has. A longer one is given
/// without its fields.
pub const LINE_BYTES_MAX: usize = 4096;

/// Size of the buffer, in bytes: many lines, so that the source is seldom read.
const BUFFER_BYTES: usize = 1 << 17;

/// Fields that a line has room for at first.
const FIELDS: usize = 8;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A place between two lines: the numbers of bytes and lines before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Bytes before it.
    pub bytes: u64,
    /// Lines of the file before it.
    pub lines: u64,
}

/// The lines of a source.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    buffer: Box<[u8]>,
    /// Place in the buffer of the first byte that was not given yet.
    start: usize,
    /// End of what was read into the buffer.
    end: usize,
    /// The place of `start` in the source.
    place: Place,
    /// Length of the line that was given last, in the buffer before `start`, its end included.
    given: usize,
    /// The place before that line.
    given_at: Place,
    parser: csv_core::Reader,
    /// The fields of the line, one after the other.
    text: Box<[u8]>,
    /// The end of each field in `text`.
    ends: Vec<usize>,
}

/// A line, as far as it is one: see [`Line::fields`].
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    number: u64,
    bytes: &'a [u8],
    fields: Option<Fields<'a>>,
}

/// The fields of a line, without the quotes around them.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Line<'a> {
    /// The number of its first line in the file, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its fields. `None` where it is longer than [`LINE_BYTES_MAX`]: a quote is left open, or the file is none of CSV.
    pub fn fields(&self) -> Option<Fields<'a>> {
        self.fields
    }

    /// Its bytes as they stand in the file, without the line end: of a line that is too long, the beginning.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of its first line in the file.
    pub fn first(&self) -> &'a [u8] {
        self.bytes.get(..first_line(self.bytes)).unwrap_or(self.bytes).trim_ascii_end()
    }
}

impl<'a> Fields<'a> {
    /// Number of fields, at least one.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The field at a position; empty where there is none.
    pub fn get(&self, position: usize) -> &'a [u8] {
        let start = position.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(position).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let fields = *self;
        (0..self.count()).map(move |position| fields.get(position))
    }
}

/// The text of a number, without the blanks around it. Quotes with blanks before them are no quotes to CSV, and are removed
/// here.
pub fn number_text(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    match field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")) {
        Some(inner) => inner.trim_ascii(),
        None => field,
    }
}

impl<R: Read> Lines<R> {
    /// Begins at the start of a source.
    pub fn new(source: R) -> Self {
        let mut lines = Self {
            source,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            place: Place::default(),
            given: 0,
            given_at: Place::default(),
            parser: csv_core::Reader::new(),
            text: vec![0; LINE_BYTES_MAX + 1].into_boxed_slice(),
            ends: vec![0; FIELDS],
        };
        lines.begin_line();
        lines
    }

    /// The source, which is read ahead. After a change, [`Lines::go_on_at`] must be called.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Goes on at a place, to which the source was moved.
    pub fn go_on_at(&mut self, place: Place) {
        (self.place, self.start, self.end) = (place, 0, 0);
        (self.given, self.given_at) = (0, place);
        self.begin_line();
    }

    /// The place after the line that was given last.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    ///
    /// The source cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.given = 0;
        if self.place.bytes == 0 {
            self.skip_byte_order_mark()?;
        }
        if !self.skip_blank_lines()? {
            return Ok(None);
        }
        let fields = self.parse()?;
        let Some((taken, fields)) = fields else { return self.too_long().map(Some) };
        let taken = self.with_line_feed(taken)?;
        self.give(taken);
        let bytes = self.buffer.get(self.start - taken..self.start).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let ends = self.ends.get(..fields).unwrap_or_default();
        Ok(Some(Line { number: self.given_at.lines + 1, bytes, fields: Some(Fields { text: &self.text, ends }) }))
    }

    /// Gives up the line that was given last: if it goes over several lines of the file, the next line begins with the
    /// second of them.
    pub fn refuse(&mut self) {
        let line = self.buffer.get(self.start - self.given..self.start).unwrap_or_default();
        let first = first_line(line);
        if first < self.given {
            self.start -= self.given - first;
            self.given = first;
            self.place = Place { bytes: self.given_at.bytes + first as u64, lines: self.given_at.lines + 1 };
            self.begin_line();
        }
    }

    /// Makes the parser take the next byte as the first of a line. An empty line keeps it from looking for a byte order mark.
    fn begin_line(&mut self) {
        self.parser.reset();
        self.parser.read_record(b"\n", &mut self.text, &mut self.ends);
    }

    /// Reads more into the buffer; `false` at the end of the source. Moves what was not given yet to the buffer's start.
    fn fill(&mut self) -> io::Result<bool> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match self.source.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.end += read;
                    return Ok(read > 0);
                }
            }
        }
    }

    /// Bytes that were read and not given yet.
    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Passes over bytes, and counts the line ends in them.
    fn skip(&mut self, bytes: usize) {
        let lines = line_ends(self.ahead().get(..bytes).unwrap_or_default());
        self.start += bytes;
        self.place.bytes += bytes as u64;
        self.place.lines += lines;
    }

    /// Passes over a line, which is given.
    fn give(&mut self, bytes: usize) {
        (self.given, self.given_at) = (bytes, self.place);
        self.skip(bytes);
        // The last line of the file may lack its end.
        let has_end =
            self.buffer.get(..self.start).is_some_and(|given| given.ends_with(b"\n") || given.ends_with(b"\r"));
        self.place.lines += u64::from(!has_end);
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.ahead().len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(self.ahead()) && self.fill()? {}
        if self.ahead().starts_with(BYTE_ORDER_MARK) {
            self.skip(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// Passes over blank lines; `false` at the end of the source.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let ahead = self.ahead();
            let text = ahead.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            let blank = ahead.get(..text.unwrap_or(ahead.len())).unwrap_or_default();
            let whole = memchr::memrchr2(b'\r', b'\n', blank).map_or(0, |last| last + 1);
            if text.is_some() {
                self.skip(whole);
                return Ok(true);
            }
            // The second half of a CRLF may follow.
            let certain = if blank.ends_with(b"\r") { whole - 1 } else { whole };
            self.skip(certain);
            if self.ahead().len() > LINE_BYTES_MAX {
                return Ok(true);
            }
            if !self.fill()? {
                let rest = self.ahead().len();
                if rest > 0 {
                    self.give(rest);
                }
                return Ok(false);
            }
        }
    }

    /// Parses the line that is ahead. Gives its length and number of fields; `None` where it is too long.
    fn parse(&mut self) -> io::Result<Option<(usize, usize)>> {
        let (mut taken, mut written, mut fields) = (0, 0, 0);
        loop {
            if taken > LINE_BYTES_MAX {
                self.begin_line();
                return Ok(None);
            }
            // At the end of the source, the parser takes an empty input as the end of the line.
            if self.start + taken == self.end {
                self.fill()?;
            }
            let unread = self.start + taken;
            let room = LINE_BYTES_MAX + 1 - taken;
            let input = self.buffer.get(unread..self.end.min(unread + room)).unwrap_or_default();
            let output = self.text.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(fields..).unwrap_or_default();
            let (result, read, wrote, ended) = self.parser.read_record(input, output, ends);
            (taken, written, fields) = (taken + read, written + wrote, fields + ended);
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(Some((taken, fields))),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                // No text is longer than its line, for which there is room.
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {}
            }
        }
    }

    /// Takes the second half of a CRLF to the line before it.
    fn with_line_feed(&mut self, taken: usize) -> io::Result<usize> {
        let line = self.ahead().get(..taken).unwrap_or_default();
        if !line.ends_with(b"\r") {
            return Ok(taken);
        }
        if self.ahead().len() == taken {
            self.fill()?;
        }
        Ok(taken + usize::from(self.ahead().get(taken) == Some(&b'\n')))
    }

    /// The line that is ahead and too long: its first line in the file, as far as it is kept.
    fn too_long(&mut self) -> io::Result<Line<'_>> {
        let kept = self.ahead().get(..LINE_BYTES_MAX).unwrap_or_default();
        let (number, first) = (self.place.lines + 1, first_line(kept));
        if memchr::memchr2(b'\r', b'\n', kept).is_some() {
            // Its end is known: a quote is left open in it.
            let taken = self.with_line_feed(first)?;
            self.give(taken);
            let bytes = self.buffer.get(self.start - taken..self.start).unwrap_or_default().trim_ascii_end();
            return Ok(Line { number, bytes, fields: None });
        }
        let bytes: Box<[u8]> = kept.into();
        loop {
            let ahead = self.ahead();
            match memchr::memchr2(b'\r', b'\n', ahead) {
                Some(end) => {
                    let taken = self.with_line_feed(end + 1)?;
                    self.give(taken);
                    break;
                }
                None => {
                    let passed = ahead.len();
                    self.skip(passed);
                    if !self.fill()? {
                        self.place.lines += 1;
                        break;
                    }
                }
            }
        }
        // The line is given as a whole: there is no second one to go on with.
        self.given = 0;
        let text = self.text.get_mut(..bytes.len()).unwrap_or_default();
        text.copy_from_slice(&bytes);
        Ok(Line { number, bytes: text, fields: None })
    }
}

/// Length of the first line of a text, its end included.
fn first_line(text: &[u8]) -> usize {
    match memchr::memchr2(b'\r', b'\n', text) {
        Some(end) if text.get(end..end + 2) == Some(b"\r\n") => end + 2,
        Some(end) => end + 1,
        None => text.len(),
    }
}

/// Number of line ends.
fn line_ends(text: &[u8]) -> u64 {
    memchr::memchr2_iter(b'\r', b'\n', text)
        .filter(|end| text.get(*end) == Some(&b'\n') || text.get(end + 1) != Some(&b'\n'))
        .count() as u64
}
