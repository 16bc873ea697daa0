//! Marks: whether a main file and a write-ahead log belong together, and whether a log is missing.
//!
//! Checksums find damage, but not a missing log: without its log, a main file is a sound database of an earlier time. Other
//! programs remove logs in good order, too: `sqlite3 replica.sqlite 'select 1'` after a crash moves the log into the main
//! file and deletes it. A copy of a directory may also hold the main file of one time and the log of another.
//!
//! So the database has a **mark** in its `user_version`, which stands in the main file's header and can be read without
//! the log. Each log has a random **number**. For log `n`, the mark is
//!
//! - [`Kind::Before`] in the main file: written last into the log before `n`, and moved by us into the main file before
//!   `n` begins. A main file with this mark needs log `n`.
//! - [`Kind::Inside`] in the first transaction of log `n`. It reaches the main file only when another program moves log
//!   `n`: such a main file is whole without a log.
//!
//! - [`Kind::Closed`] is the mark of a database that was closed cleanly. It is whole.
//! - [`Kind::Start`] begins the first log on a whole main file. It has the number of that file's mark, and ends with the
//!   [`Kind::Before`] of the first log that takes updates.
//!
//! The checksums repeat the mark ([`super::tables::Checksums`]), so that a main file into which a log was moved in part
//! only is found.
//!
//! [`LogFile`] reads a log as SQLite would, frame by frame ("The WAL Format" in SQLite's file format), without changing
//! anything.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The kind of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The database was closed cleanly, or never used.
    Closed,
    /// The log of this number follows.
    Before,
    /// Written by the first transaction of the log of this number.
    Inside,
    /// Written by the first transaction of a log that begins on a whole main file, which has a mark of this number.
    Start,
}

/// The mark of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kind: Kind,
    number: u32,
}

/// The greatest number, less a bit that marks with [`Kind::Closed`] have and others lack: as `user_version`, a database
/// that was closed cleanly shows a negative number.
const NUMBER_MAX: u32 = u32::MAX >> 3;

impl Mark {
    /// A mark with a random number.
    pub(crate) fn new(kind: Kind) -> Self {
        let number = fastrand::u32(1..=NUMBER_MAX);
        Self { kind, number: if kind == Kind::Closed { number | (NUMBER_MAX + 1) } else { number } }
    }

    /// Returns a mark of another kind with this one's number.
    pub(crate) fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The mark that stands as `user_version`. A new database has zero there, and is a closed one.
    pub(crate) fn of_version(version: i32) -> Self {
        let bits = version as u32;
        let kind = [Kind::Closed, Kind::Before, Kind::Inside, Kind::Start][(bits & 3) as usize];
        Self { kind, number: bits >> 2 }
    }

    /// Number that is stored as `user_version`.
    pub(crate) fn version(self) -> i32 {
        ((self.number << 2) | self.kind as u32) as i32
    }

    /// Whether a main file with this mark is whole without a log.
    pub(crate) fn is_whole(self) -> bool {
        self.kind != Kind::Before
    }
}

/// Checks that a log goes with a main file. `main` is the mark in the main file, `last` the mark that stands when both are
/// read. Gives what is wrong with the log.
pub(crate) fn check(main: Mark, log: Option<&LogFile>, last: Mark) -> Result<(), &'static str> {
    const OTHER: &str = "does not go with replica.sqlite";
    let Some(log) = log else {
        return if main.is_whole() { Ok(()) } else { Err("is missing, or is no write-ahead log") };
    };
    if log.has_newer_pages {
        return Err(OTHER);
    }
    let Some(first) = log.first else {
        return match (main.is_whole(), log.has_commits, log.is_damaged_inside) {
            // A log of another program, on a main file that needs none.
            (true, true, _) if last == main => Ok(()),
            (true, false, false) => Ok(()),
            // The process ended when the log began again, before its first transaction.
            (false, false, false) => Ok(()),
            (_, _, true) => Err("is damaged"),
            _ => Err(OTHER),
        };
    };
    // The last one: we moved the log into the main file, and did not begin the next one.
    let fits = match first.kind {
        Kind::Inside => main == first.with(Kind::Before) || main == first || main == last,
        Kind::Start => main == last || (main.is_whole() && main.number == first.number),
        Kind::Closed | Kind::Before => main.is_whole() && main == last,
    };
    if fits { Ok(()) } else { Err(OTHER) }
}

/// Header of a main file ("The Database Header" in SQLite's file format), without the changes in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) application_id: u32,
    pub(crate) version: i32,
}

impl Header {
    /// Reads it; `None` where this is no SQLite file.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(100).read_to_end(&mut bytes)?;
        if bytes.len() < 100 || !bytes.starts_with(b"SQLite format 3\0") {
            return Ok(None);
        }
        let number = |at: usize| bytes[at..at + 4].iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
        Ok(Some(Self { application_id: number(68), version: number(60) as i32 }))
    }
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// State of a log, up to the last transaction that SQLite would read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// The mark in the first version of the first page; `None` where no transaction has that page.
    pub(crate) first: Option<Mark>,
    /// Whether there is a transaction.
    pub(crate) has_commits: bool,
    /// Whether transactions follow behind one that cannot be read. A process that waits for the disk before it answers never
    /// leaves that: only its last transaction can be half written.
    pub(crate) is_damaged_inside: bool,
    /// Whether it has pages of the log that followed it: it began again while it was copied, and the copy has only its
    /// beginning. A log that was not copied has older pages behind its end, or none.
    pub(crate) has_newer_pages: bool,
}

/// SQLite's checksum over words in the byte order of the program that wrote the log.
#[derive(Clone, Copy)]
struct Sum {
    words_are_big_endian: bool,
    pair: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8]| match self.words_are_big_endian {
            true => big_endian(bytes),
            false => big_endian(bytes).swap_bytes(),
        };
        let (mut first, mut second) = self.pair;
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(&pair[0..4])).wrapping_add(second);
            second = second.wrapping_add(word(&pair[4..8])).wrapping_add(first);
        }
        self.pair = (first, second);
    }

    fn is(&self, bytes: &[u8]) -> bool {
        self.pair == (big_endian(&bytes[0..4]), big_endian(&bytes[4..8]))
    }
}

impl LogFile {
    /// Reads the log at `path`; `None` where there is none that SQLite would read.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Self::read_from(BufReader::with_capacity(1 << 17, file))
    }

    fn read_from(mut file: impl Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_BYTES];
        if !fill(&mut file, &mut header)? {
            return Ok(None);
        }
        let magic = big_endian(&header[0..4]);
        let mut sum = Sum { words_are_big_endian: magic & 1 == 1, pair: (0, 0) };
        sum.add(&header[0..24]);
        let page_bytes = big_endian(&header[8..12]);
        if magic & !1 != 0x377f_0682 || !sum.is(&header[24..32]) || !(512..=65536).contains(&page_bytes) {
            return Ok(None);
        }
        let salts = &header[16..24];
        // The first salt counts up with each log; each frame repeats it.
        let next_salt = big_endian(&header[16..20]).wrapping_add(1);
        let mut found = Self::default();
        let mut first = None;
        let (mut is_readable, mut unread_commits) = (true, 0);
        let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes as usize];
        while fill(&mut file, &mut frame)? {
            let (page, commit) = (big_endian(&frame[0..4]), big_endian(&frame[4..8]));
            found.has_newer_pages |= big_endian(&frame[8..12]) == next_salt;
            let is_of_this_log = frame[8..16] == *salts;
            if is_readable {
                sum.add(&frame[0..8]);
                sum.add(&frame[FRAME_HEADER_BYTES..]);
                is_readable = is_of_this_log && page != 0 && sum.is(&frame[16..24]);
            }
            if !is_readable {
                // Frames of a transaction that was half written may be there, up to its last one.
                found.is_damaged_inside |= is_of_this_log && unread_commits > 0;
                unread_commits += u32::from(is_of_this_log && commit != 0);
                continue;
            }
            if page == 1 && first.is_none() {
                let version = &frame[FRAME_HEADER_BYTES + 60..FRAME_HEADER_BYTES + 64];
                first = Some(Mark::of_version(big_endian(version) as i32));
            }
            if commit != 0 {
                found.has_commits = true;
                found.first = first;
            }
        }
        Ok(Some(found))
    }
}

/// Fills `bytes`; `false` where the file ends before.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(first: Option<Mark>) -> LogFile {
        LogFile { first, has_commits: true, ..LogFile::default() }
    }

    #[test]
    fn marks_survive_as_user_version() {
        for kind in [Kind::Closed, Kind::Before, Kind::Inside, Kind::Start] {
            let mark = Mark::new(kind);
            assert_eq!(Mark::of_version(mark.version()), mark);
        }
        assert_eq!(Mark::of_version(0).kind, Kind::Closed);
    }

    #[test]
    fn every_state_that_a_kill_leaves_fits() {
        let (before, next, closed) = (Mark::new(Kind::Before), Mark::new(Kind::Before), Mark::new(Kind::Closed));
        let inside = before.with(Kind::Inside);
        let ours = log(Some(inside));
        for (main, last, when) in [
            (before, inside, "in use"),
            (before, next, "about to be moved"),
            (next, next, "moved, and the next one not begun"),
            (before, closed, "about to be closed"),
            (closed, closed, "closed but for the log"),
            (inside, inside, "moved by another program, which left the log"),
        ] {
            assert_eq!(check(main, Some(&ours), last), Ok(()), "{when}");
        }
        let start = log(Some(closed.with(Kind::Start)));
        assert_eq!(check(closed, Some(&start), closed.with(Kind::Start)), Ok(()), "opened again");
        assert_eq!(check(closed, Some(&start), before), Ok(()), "about to be taken into use");
        assert_eq!(check(before, Some(&start), before), Ok(()), "taken into use");
        let begun = LogFile::default();
        assert_eq!(check(before, Some(&begun), before), Ok(()), "the log's header is written, and nothing else");
    }

    #[test]
    fn a_main_file_is_whole_without_its_log_where_that_was_moved() {
        for kind in [Kind::Closed, Kind::Inside, Kind::Start] {
            let mark = Mark::new(kind);
            assert_eq!(check(mark, None, mark), Ok(()), "{kind:?}");
            assert_eq!(check(mark, Some(&log(None)), mark), Ok(()), "{kind:?}: another program wrote a log of its own");
            assert_eq!(check(mark, Some(&log(Some(mark))), mark), Ok(()), "{kind:?}: with the header in it");
        }
    }

    #[test]
    fn no_other_log_fits() {
        let [before, other] = [Mark::new(Kind::Before), Mark::new(Kind::Before)];
        let (inside, closed) = (before.with(Kind::Inside), Mark::new(Kind::Closed));
        let begun_again = other.with(Kind::Inside);
        let start = closed.with(Kind::Start);
        for (main, first, last, why) in [
            (before, Some(begun_again), begun_again, "the log of another time"),
            (before, None, before, "the log was lost, and another program wrote one"),
            (before, Some(before), before, "the same, with the header in it"),
            (closed, Some(inside), inside, "the main file is of before the replica started"),
            (other, Some(inside), inside, "the main file is of after a checkpoint, the log of before its end"),
            (before, Some(before.with(Kind::Start)), other, "the log is of a later start"),
            (closed, None, start, "another program's log of another time"),
        ] {
            assert!(check(main, Some(&log(first)), last).is_err(), "{why}");
        }
        assert!(check(before, None, before).is_err(), "the log is missing");
    }
}
