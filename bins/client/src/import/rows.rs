//! A CSV file in MovieLens' layout, line by line.

use std::io::{self, Read};

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
pub(super) use natter_csv::Place;
use natter_csv::{LINE_BYTES_MAX, Lines, number_text};

pub(super) const COLUMNS: [&str; 4] = ["userId", "movieId", "rating", "timestamp"];

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
    lines: Lines<R>,
    columns: usize,
}

impl<R: Read> Rows<R> {
    /// Reads the header, and nothing else.
    pub(super) fn open(reader: R) -> io::Result<Result<Self, HeaderError>> {
        let mut lines = Lines::new(reader);
        let header = lines.next_line()?;
        let found: Vec<&[u8]> = header.and_then(|line| line.fields()).iter().flat_map(|fields| fields.iter()).collect();
        let is_header = |columns: &[&str]| {
            found.iter().map(|field| number_text(field)).eq(columns.iter().map(|column| column.as_bytes()))
        };
        if !is_header(&COLUMNS) && !is_header(&COLUMNS[..3]) {
            let found = header.map_or(&b""[..], |line| line.bytes());
            let found = String::from_utf8_lossy(found).trim_end().chars().take(80).collect();
            return Ok(Err(HeaderError { found }));
        }
        let columns = found.len();
        Ok(Ok(Self { lines, columns }))
    }

    /// Goes on at a place after the header, to which the reader was moved.
    pub(super) fn go_on_at(&mut self, place: Place) {
        self.lines.go_on_at(place);
    }

    pub(super) fn reader(&mut self) -> &mut R {
        self.lines.source()
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        &COLUMNS[..self.columns]
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.lines.place()
    }

    /// The next line that is not empty; `None` at the end. Of a refused one over several lines of the file, the first.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let row = parse(&line, self.columns);
        let text = if row.is_ok() { line.bytes() } else { line.first() };
        let line = Line { number: line.number(), text: text.trim_ascii_end().into(), row };
        if line.row.is_err() {
            self.lines.refuse();
        }
        Ok(Some(line))
    }
}

fn parse(line: &natter_csv::Line<'_>, columns: usize) -> Result<Row, String> {
    let Some(fields) = line.fields() else {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes (is a quote left open?)"));
    };
    let count = fields.count();
    if count != columns {
        return Err(format!("{count} fields where the header has {columns}"));
    }
    let [user, movie, rating] = [0, 1, 2].map(|position| number_text(fields.get(position)));
    let text = |field: &[u8]| String::from_utf8_lossy(field).chars().take(40).collect::<String>();
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    let user_id = number(user).and_then(|number| UserId::try_from(number).ok());
    let user_id = user_id.ok_or_else(|| format!("userId: {:?} is not an integer from 1 to 4294967295", text(user)))?;
    let movie_id = number(movie).and_then(|number| MovieId::try_from(number).ok());
    let movie_id =
        movie_id.ok_or_else(|| format!("movieId: {:?} is not an integer from 1 to 4294967295", text(movie)))?;
    let stars = std::str::from_utf8(rating).ok().and_then(|rating| rating.parse::<f64>().ok());
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
