//! A CSV file in MovieLens' layout, line by line.

use std::io::{self, BufRead};

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use serde::{Deserialize, Serialize};

pub(super) const COLUMNS: [&str; 4] = ["userId", "movieId", "rating", "timestamp"];
/// A longer line is none of MovieLens'.
const LINE_BYTES_MAX: usize = 4096;

/// One rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: RatingKey,
    pub(super) stars: Stars,
}

/// A line of the file, by its number from 1, as a rating or with what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    /// The line without its end, as far as it is kept.
    pub(super) text: Box<[u8]>,
    pub(super) row: Result<Row, String>,
}

/// A place between two lines: how many bytes and lines are before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

/// The header is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its first line is {found:?}, and not `userId,movieId,rating,timestamp` (or that without the timestamp): is it a \
     file of ratings in MovieLens' layout?"
)]
pub struct HeaderError {
    /// The first line, shortened.
    pub found: String,
}

/// Reads lines.
pub(super) struct Rows<R> {
    reader: R,
    place: Place,
    columns: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header, and nothing else.
    pub(super) fn open(reader: R) -> io::Result<Result<Self, HeaderError>> {
        let mut rows = Self { reader, place: Place::default(), columns: 0, buffer: Vec::new() };
        rows.read_line()?;
        let line = rows.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&rows.buffer);
        let found: Vec<&[u8]> = fields(line).collect();
        let is_header = |columns: &[&str]| found.iter().copied().eq(columns.iter().map(|column| column.as_bytes()));
        if !is_header(&COLUMNS) && !is_header(&COLUMNS[..3]) {
            let found = String::from_utf8_lossy(line).trim_end().chars().take(80).collect();
            return Ok(Err(HeaderError { found }));
        }
        rows.columns = found.len();
        Ok(Ok(rows))
    }

    /// Goes on at a place after the header, to which the reader was moved.
    pub(super) fn go_on_at(&mut self, place: Place) {
        self.place = place;
    }

    pub(super) fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        &COLUMNS[..self.columns]
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        while self.read_line()? {
            if !self.buffer.trim_ascii().is_empty() {
                let text = self.buffer.trim_ascii_end().into();
                return Ok(Some(Line { number: self.place.lines, text, row: parse(&self.buffer, self.columns) }));
            }
        }
        Ok(None)
    }

    /// The next line without its end; all of it counts, its beginning is kept. `false` at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let mut read_any = false;
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                break;
            }
            read_any = true;
            let end = memchr::memchr(b'\n', available);
            let taken = end.map_or(available.len(), |end| end + 1);
            let room = LINE_BYTES_MAX.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&available[..taken.min(room)]);
            self.reader.consume(taken);
            self.place.bytes += taken as u64;
            if end.is_some() {
                break;
            }
        }
        self.place.lines += u64::from(read_any);
        Ok(read_any)
    }
}

/// The fields of a line. MovieLens' ratings are numbers: quotes may stand around them, and nothing within.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.trim_ascii_end().split(|byte| *byte == b',').map(|field| {
        let field = field.trim_ascii();
        field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field)
    })
}

fn parse(line: &[u8], columns: usize) -> Result<Row, String> {
    let mut found = fields(line);
    let text =
        |field: Option<&[u8]>| String::from_utf8_lossy(field.unwrap_or_default()).chars().take(40).collect::<String>();
    let (user, movie, rating) = (found.next(), found.next(), found.next());
    let count = fields(line).count();
    if count != columns {
        return Err(format!("{count} fields where the header has {columns}"));
    }
    let number = |field: Option<&[u8]>| std::str::from_utf8(field?).ok()?.parse::<u64>().ok();
    let user_id = number(user).and_then(|number| UserId::try_from(number).ok());
    let user_id = user_id.ok_or_else(|| format!("userId: {:?} is not an integer from 1 to 4294967295", text(user)))?;
    let movie_id = number(movie).and_then(|number| MovieId::try_from(number).ok());
    let movie_id =
        movie_id.ok_or_else(|| format!("movieId: {:?} is not an integer from 1 to 4294967295", text(movie)))?;
    let stars = rating.and_then(|rating| std::str::from_utf8(rating).ok()?.parse::<f64>().ok());
    let stars = stars.and_then(|stars| Stars::try_from(stars).ok());
    let stars = stars.ok_or_else(|| format!("rating: {:?} is none of 0.5, 1.0, 1.5, ... 5.0", text(rating)))?;
    Ok(Row { key: RatingKey { user_id, movie_id }, stars })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Line> {
        let mut rows = Rows::open(text.as_bytes()).unwrap().unwrap();
        std::iter::from_fn(|| rows.next().unwrap()).collect()
    }

    fn row(user: u32, movie: u32, stars: f64) -> Row {
        let key = RatingKey { user_id: UserId::new(user).unwrap(), movie_id: MovieId::new(movie).unwrap() };
        Row { key, stars: Stars::try_from(stars).unwrap() }
    }

    #[test]
    fn lines_have_their_numbers_whatever_ends_them() {
        for end in ["\n", "\r\n"] {
            let text =
                ["userId,movieId,rating,timestamp", "1,2,4.5,964982703", "", "7,\"8\",3,0", "9,9,0.5,0"].join(end);
            let found: Vec<_> = all(&text).into_iter().map(|line| (line.number, line.row.unwrap())).collect();
            assert_eq!(found, [(2, row(1, 2, 4.5)), (4, row(7, 8, 3.0)), (5, row(9, 9, 0.5))]);
        }
        assert_eq!(all("\u{feff}userId,movieId,rating\n1,2,4\n").len(), 1);
        assert!(all("userId,movieId,rating").is_empty());
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (line, text) in [
            ("0,2,4,1", "userId: \"0\" is not an integer"),
            ("x,2,4,1", "userId: \"x\""),
            ("1,4294967296,4,1", "movieId: \"4294967296\""),
            ("1,-2,4,1", "movieId: \"-2\""),
            ("1,2,4.3,1", "rating: \"4.3\" is none of"),
            ("1,2,NaN,1", "rating: \"NaN\""),
            ("1,2,,1", "rating: \"\""),
            ("1,2,4", "3 fields where the header has 4"),
            ("1,2,4,1,", "5 fields"),
            ("1", "1 fields"),
        ] {
            let lines = all(&format!("userId,movieId,rating,timestamp\n{line}\n1,2,3,4\n"));
            assert!(lines[0].row.as_ref().unwrap_err().contains(text), "{line}: {lines:?}");
            assert!(lines[1].row.is_ok());
        }
        let long = format!("userId,movieId,rating\n1,2,{}\n1,2,3\n", "0".repeat(10_000));
        assert!(
            all(&long)[0].row.is_err()
                && all(&long)[1] == Line { number: 3, text: (*b"1,2,3").into(), row: Ok(row(1, 2, 3.0)) }
        );
    }

    #[test]
    fn another_file_is_told_by_its_header() {
        for text in
            ["", "movieId,title,genres\n", "userId,movieId\n", "userId,movieId,rating,timestamp,x\n", "1,2,4.0\n"]
        {
            let error = Rows::open(text.as_bytes()).unwrap().err().unwrap().to_string();
            assert!(error.contains("userId,movieId,rating,timestamp"), "{text}: {error}");
        }
    }

    #[test]
    fn reading_goes_on_at_a_place() {
        let text = "userId,movieId,rating\n1,1,1\n2,2,2\n3,3,3\n";
        let mut rows = Rows::open(text.as_bytes()).unwrap().unwrap();
        rows.next().unwrap();
        let place = rows.place();
        let mut later = Rows::open(text.as_bytes()).unwrap().unwrap();
        *later.reader() = &text.as_bytes()[place.bytes as usize..];
        later.go_on_at(place);
        assert_eq!(later.next().unwrap(), rows.next().unwrap());
        assert_eq!(later.next().unwrap().unwrap().number, 4);
    }
}
