//! The dialect: which lines a file has, whatever pieces it comes in.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{self, Read};

use natter_csv::{LINE_BYTES_MAX, Lines, Place, number_text};
use proptest::prelude::*;

/// A source that gives few bytes at a time.
struct InPieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for InPieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let (now, rest) = self.rest.split_at(self.size.min(to.len()).min(self.rest.len()));
        to[..now.len()].copy_from_slice(now);
        self.rest = rest;
        Ok(now.len())
    }
}

/// Each line: its number, its fields, and its bytes. No fields where it is too long.
type Found = Vec<(u64, Option<Vec<String>>, String)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn all_of(mut lines: Lines<impl Read>) -> Found {
    let mut found = Found::new();
    while let Some(line) = lines.next_line().unwrap() {
        found.push((line.number(), line.fields().map(|fields| fields.iter().map(text).collect()), text(line.bytes())));
    }
    found
}

/// The lines, which are the same in pieces of any size.
fn all(content: &str) -> Found {
    let found = all_of(Lines::new(content.as_bytes()));
    for size in 1..4 {
        assert_eq!(all_of(Lines::new(InPieces { rest: content.as_bytes(), size })), found, "{content:?} by {size}");
    }
    found
}

/// The same without the bytes.
fn fields(content: &str) -> Vec<(u64, Vec<String>)> {
    all(content).into_iter().map(|(number, fields, _)| (number, fields.unwrap())).collect()
}

fn line(number: u64, fields: &[&str]) -> (u64, Vec<String>) {
    (number, fields.iter().map(|field| (*field).to_owned()).collect())
}

#[test]
fn a_line_ends_with_either_end_or_both_and_blank_lines_count_as_lines() {
    for end in ["\n", "\r\n", "\r"] {
        let content = ["a,b", "", "  \t", "1,2", "", "3,4"].join(end);
        let expected = [line(1, &["a", "b"]), line(4, &["1", "2"]), line(6, &["3", "4"])];
        assert_eq!(fields(&content), expected, "{end:?}");
        assert_eq!(fields(&format!("\u{feff}{content}{end}")), expected, "{end:?} with a byte order mark");
        assert_eq!(fields(&format!("{content}{end}{end}  ")), expected, "{end:?} with blanks at the end");
    }
    for nothing in ["", "\u{feff}", "\n", "\r\n\r\n", "   ", " \r"] {
        assert_eq!(fields(nothing), [], "{nothing:?}");
    }
}

#[test]
fn quotes_hold_commas_quotes_and_line_ends() {
    let content = "7,\"Two, Too\"\n8,\"\"\"Crocodile\"\" Dundee\"\n9,\"Two\r\nlines\"\n10,x";
    let expected = [
        line(1, &["7", "Two, Too"]),
        line(2, &["8", "\"Crocodile\" Dundee"]),
        line(3, &["9", "Two\r\nlines"]),
        line(5, &["10", "x"]),
    ];
    assert_eq!(fields(content), expected);
    assert_eq!(all(content)[2].2, "9,\"Two\r\nlines\"", "the bytes as they stand");
}

#[test]
fn a_text_keeps_its_blanks_and_a_number_does_not() {
    assert_eq!(fields(" 1 , Emma \n"), [line(1, &[" 1 ", " Emma "])]);
    for number in ["1", " 1", "1 ", "\t1 ", " \"1\" ", "\" 1 \""] {
        assert_eq!(text(number_text(number.as_bytes())), "1", "{number:?}");
    }
    assert_eq!(text(number_text(b"\"1")), "\"1");
}

#[test]
fn a_quote_that_is_left_open_costs_one_line() {
    let others = "1,2,3\n".repeat(2000);
    let content = format!("1,\"2,3\n{others}");
    let found = all(&content);
    assert_eq!(found[0], (1, None, "1,\"2,3".to_owned()));
    assert_eq!(found.len(), 2001);
    assert_eq!((found[1].0, found[2000].0), (2, 2001));
}

#[test]
fn a_line_that_is_too_long_is_given_without_its_fields() {
    for end in ["\n", "\r\n", "\r"] {
        let long = "x".repeat(300_000);
        let found = all(&format!("a,b{end}{long}{end}1,2{end}{long}"));
        let beginning = &long[..LINE_BYTES_MAX];
        assert_eq!(found[1], (2, None, beginning.to_owned()));
        assert_eq!((found[2].0, found[2].2.as_str()), (3, "1,2"));
        assert_eq!(found[3], (4, None, beginning.to_owned()));
    }
    let longest = "x".repeat(LINE_BYTES_MAX);
    assert_eq!(fields(&format!("{longest}\n1\n")), [line(1, &[&longest]), line(2, &["1"])]);
}

#[test]
fn a_refused_line_over_several_lines_gives_up_the_first_of_them() {
    let mut lines = Lines::new("1,\"2\n3,4\n5,6\"\n7,8\n".as_bytes());
    let line = lines.next_line().unwrap().unwrap();
    assert_eq!((line.number(), line.fields().unwrap().count(), text(line.first())), (1, 2, "1,\"2".to_owned()));
    lines.refuse();
    assert_eq!(lines.place(), Place { bytes: 5, lines: 1 });
    let line = lines.next_line().unwrap().unwrap();
    assert_eq!((line.number(), text(line.bytes())), (2, "3,4".to_owned()));
    // A line of the file is given up as a whole: nothing comes back.
    lines.refuse();
    assert_eq!(lines.next_line().unwrap().unwrap().number(), 3);
}

#[test]
fn reading_goes_on_at_a_place() {
    for content in ["a,b\r\n1,2\r\n\r\n3,4\r\n5,6", "\u{feff}a,b\n1,\"2\n\"\n\n3,4\n", "a\rb\r\rc\r"] {
        let expected = all(content);
        for read in 0..=expected.len() {
            let mut lines = Lines::new(content.as_bytes());
            for _ in 0..read {
                lines.next_line().unwrap().unwrap();
            }
            let place = lines.place();
            let mut later = Lines::new(&content.as_bytes()[..0]);
            *later.source() = &content.as_bytes()[place.bytes as usize..];
            later.go_on_at(place);
            assert_eq!(all_of(later), expected[read..], "{content:?} from {place:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn fields_are_those_that_the_csv_crate_reads(content in "[a,\" \r\n]{0,60}", size in 1usize..9) {
        let mut expected = Vec::new();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content.as_bytes());
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).unwrap() {
            // Blank lines, which only this dialect skips.
            if record.len() != 1 || !record.iter().all(|field| field.bytes().all(|byte| byte == b' ')) {
                expected.push(record.iter().map(str::to_owned).collect::<Vec<_>>());
            }
        }
        let found = all_of(Lines::new(InPieces { rest: content.as_bytes(), size }));
        let found: Vec<_> = found.into_iter().filter_map(|(_, fields, _)| fields)
            .filter(|fields| fields.len() != 1 || !fields[0].bytes().all(|byte| byte == b' ')).collect();
        prop_assert_eq!(found, expected);
    }
}
