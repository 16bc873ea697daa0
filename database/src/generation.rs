//! Whether a main file and a write-ahead log belong together.
//!
//! A copy of a directory that is in use may have the main file of before a checkpoint and the log of after it. Each is
//! sound by itself, and SQLite opens the pair: what the checkpoint moved is then in neither. Power failures and `kill`
//! never leave such a pair.
//!
//! So each log has a **number**, SQLite's own "checkpoint sequence number": 0 for a new file, one more each time the log
//! begins again after a checkpoint. And the database has a **mark**, in its `user_version`, which stands in the main
//! file's header and can be read without the log. While log `n` is written the mark is `n + 1`; the last transaction
//! before a checkpoint raises it to `n + 2`, so that a main file with mark `m` goes with log `m - 1`, or with `m - 2` if
//! the process ended before the log began again. The first transaction of each log writes the mark too, so that a log of
//! which only the beginning was copied shows an older mark than the main file that it began to be copied into. A log is
//! never empty while it is in use. Who closes cleanly sets the mark to `-(n + 2)`, and removes the log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What the header of a main file says ("The Database Header" in SQLite's file format), whatever the log adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) application_id: u32,
    pub(crate) mark: i32,
}

impl Header {
    /// Reads it; `None` where this is no SQLite file.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = beginning(path, 100)?;
        if bytes.len() < 100 || !bytes.starts_with(b"SQLite format 3\0") {
            return Ok(None);
        }
        let number = |at: usize| big_endian(&bytes[at..at + 4]);
        Ok(Some(Self { application_id: number(68), mark: number(60) as i32 }))
    }
}

/// The number of the log at `path` ("The WAL-Index File Format"); `None` where there is none that SQLite would read.
pub(crate) fn log_number(path: &Path) -> io::Result<Option<u32>> {
    let bytes = match beginning(path, 32) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let magic = bytes.get(0..4).map_or(0, big_endian);
    if bytes.len() < 32 || magic & !1 != 0x377f_0682 {
        return Ok(None);
    }
    // The checksum is over words in the byte order of who wrote it, which the magic's last bit tells.
    let word = |bytes: &[u8]| if magic & 1 == 1 { big_endian(bytes) } else { big_endian(bytes).swap_bytes() };
    let (mut first, mut second) = (0u32, 0u32);
    for pair in bytes[0..24].chunks_exact(8) {
        first = first.wrapping_add(word(&pair[0..4])).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..8])).wrapping_add(first);
    }
    let is_sound = (first, second) == (big_endian(&bytes[24..28]), big_endian(&bytes[28..32]));
    Ok(is_sound.then(|| big_endian(&bytes[12..16])))
}

/// Whether a log that SQLite would read has pages of the one that followed it: it began again while it was copied, and
/// what the copy has of it is only its beginning. A log that was not copied has older pages behind its end, or none.
pub(crate) fn has_newer_pages(path: &Path) -> io::Result<bool> {
    if log_number(path)?.is_none() {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut header = [0; 32];
    file.read_exact(&mut header)?;
    // The first salt counts up with each log; each page repeats it.
    let next = big_endian(&header[16..20]).wrapping_add(1);
    let page_bytes = u64::from(big_endian(&header[8..12]));
    let bytes = file.metadata()?.len();
    let mut at = 32;
    while at + 24 <= bytes {
        let mut page = [0; 24];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut page)?;
        if big_endian(&page[8..12]) == next {
            return Ok(true);
        }
        at += 24 + page_bytes;
    }
    Ok(false)
}

fn beginning(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// Whether a replica that left this mark was closed cleanly. So is a database that was never used.
pub(crate) fn is_clean(mark: i32) -> bool {
    mark <= 0
}

/// The mark with which log `number` is closed for a checkpoint, and the next one begins.
pub(crate) fn next_mark(number: u32) -> i32 {
    number as i32 + 2
}

/// The mark with which a replica that wrote log `number` ends.
pub(crate) fn clean_mark(number: u32) -> i32 {
    -next_mark(number)
}

/// Whether a log fits a main file: `main` is the mark in the file, `log` the log's number, `mark` the mark that stands
/// when both are read.
pub(crate) fn fits(main: i32, log: Option<u32>, mark: i32) -> bool {
    let Some(number) = log.map(i64::from) else {
        return is_clean(main) && mark == main;
    };
    let (main, mark) = (i64::from(main), i64::from(mark));
    if main <= 0 {
        // Opened and not yet used, or closed up to the log's removal.
        (number == 0 && (mark == main || mark == 2)) || (number == -main - 2 && mark == main)
    } else if number == main - 1 {
        mark == main || mark == main + 1 || mark == -(main + 1)
    } else {
        number == main - 2 && mark == main
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_fits_the_main_file_that_it_was_begun_on_and_the_one_it_was_checkpointed_into() {
        for number in 1..5 {
            let mark = number as i32 + 1;
            assert!(fits(mark, Some(number), mark), "in use");
            assert!(fits(mark, Some(number), next_mark(number)), "about to be checkpointed");
            assert!(fits(next_mark(number), Some(number), next_mark(number)), "checkpointed");
            assert!(fits(mark, Some(number), clean_mark(number)), "about to be closed");
            assert!(fits(clean_mark(number), Some(number), clean_mark(number)), "closed but for the log");
            assert!(fits(clean_mark(number), None, clean_mark(number)), "closed");
            assert!(fits(clean_mark(number), Some(0), next_mark(0)), "opened again");
        }
    }

    #[test]
    fn no_other_log_fits() {
        for number in 1..5 {
            let mark = number as i32 + 1;
            assert!(!fits(mark, None, mark), "the log is missing");
            assert!(!fits(mark, Some(number + 1), mark), "the log began again while the main file was copied");
            assert!(!fits(mark, Some(number + 1), mark + 1));
            assert!(!fits(next_mark(number), Some(number), mark), "the end of the log is missing");
            assert!(!fits(next_mark(number) + 1, Some(number), next_mark(number)), "a log of long ago");
            assert!(!fits(clean_mark(7), Some(number), mark), "the main file is of before the replica started");
        }
    }
}
