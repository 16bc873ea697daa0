//! A write-ahead log as SQLite would read it, frame by frame ("The WAL Format" in SQLite's file format), without changing
//! anything.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::generation::Mark;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// State of a log, up to the last transaction that SQLite would read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// SQLite's own number: 0 for a new file, one more each time the log begins again.
    pub(crate) number: u32,
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
        let mut found = Self { number: big_endian(&header[12..16]), ..Self::default() };
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
