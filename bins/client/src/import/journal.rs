//! Progress of an import that is kept between runs: a file of JSON lines, only ever appended to.
//!
//! The first line names the file that is imported. Then, before any rating of it is sent, each chunk has its line, with
//! the first of its stamps. Now and then there is a line for the part that is done. The next run sends the ratings after
//! that part again, under the same ids. Nothing is synced: where a power loss takes lines away, ratings are sent again
//! under other ids, found to be there, and left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use serde::{Deserialize, Serialize};

use super::Counts;
use super::rows::Place;
use crate::state;

/// Number of update ids of each rating: one to create it, one to update it.
const IDS_OF_A_RATING: u64 = 2;

/// Tells the file that is imported from others, and from what it was at another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    /// Time of its last modification, in Unix milliseconds.
    pub(super) modified_ms: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = path.canonicalize()?;
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = modified.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { file, bytes: metadata.len(), modified_ms })
    }
}

/// A run of ratings in the file, sent together at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// Number of ratings before it.
    pub(super) position: u64,
    /// Number of ratings in it.
    pub(super) count: u64,
    /// The first stamp of its ids.
    pub(super) stamp: Stamp,
}

/// The part that is done: all lines before a place, and their outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Number of lines with ratings, good or bad, before the place.
    pub(super) position: u64,
    pub(super) place: Place,
    pub(super) counts: Counts,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Import { identity: Identity, random: u64 },
    Chunk(Chunk),
    Done(Done),
    Finished,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another run has it.
    #[error("another `client import` of this file is running")]
    Busy,
    /// The file was changed while its import was not finished.
    #[error("it was changed since its import began: to import it as it is now, from its beginning, add --again")]
    Changed,
    /// It can't be read or written.
    #[error(
        "what is kept of the import can't be written to {} ({error}): add --no-state to do without, or set {} to another \
         directory",
        path.display(), state::STATE_VARIABLE
    )]
    File {
        /// The journal.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// Its directory can't be made.
    #[error("what is kept of the import: {0}")]
    State(String),
}

/// The memory of one import.
#[derive(Debug)]
pub(super) struct Journal {
    /// `None` where nothing is kept.
    file: Option<(File, PathBuf)>,
    random: u64,
    /// The chunks of an earlier run that are not done, by ascending position.
    chunks: Vec<Chunk>,
    done: Done,
    is_finished: bool,
    last_stamp: Stamp,
}

impl Journal {
    /// Nothing is kept. `random` tells the ids of this import from those of others.
    pub(super) fn unkept(random: u64) -> Self {
        Self {
            file: None,
            random,
            chunks: Vec::new(),
            done: Done::default(),
            is_finished: false,
            last_stamp: Stamp::ZERO,
        }
    }

    /// Goes on with the journal at `path`, or begins it: also where `again` says so, or where it is that of a file that was
    /// changed after it was imported.
    pub(super) fn open(path: &Path, identity: &Identity, again: bool, random: u64) -> Result<Self, JournalError> {
        let failed = |error| JournalError::File { path: path.to_owned(), error };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        // A file system without locks is no reason not to import.
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(JournalError::Busy);
        }
        let known = if again { None } else { Self::read(&file).map_err(failed)? };
        if let Some((of, mut journal, bytes)) = known {
            if of == *identity {
                // A line that was only half written is written over.
                file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
                journal.file = Some((file, path.to_owned()));
                return Ok(journal);
            }
            let has_begun = journal.last_stamp > Stamp::ZERO;
            if has_begun && !journal.is_finished {
                return Err(JournalError::Changed);
            }
        }
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(failed)?;
        let mut journal = Self::unkept(random);
        journal.file = Some((file, path.to_owned()));
        journal.append(&[Entry::Import { identity: identity.clone(), random }])?;
        Ok(journal)
    }

    /// Contents of a journal, as far as they can be read, and their size in bytes. `None` if the file is no journal.
    fn read(file: &File) -> io::Result<Option<(Identity, Self, u64)>> {
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let mut next = |bytes: &mut u64| -> io::Result<Option<Entry>> {
            line.clear();
            let count = reader.read_until(b'\n', &mut line)?;
            let entry = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
            *bytes += if entry.is_some() { count as u64 } else { 0 };
            Ok(entry)
        };
        let mut bytes = 0;
        let Some(Entry::Import { identity, random }) = next(&mut bytes)? else { return Ok(None) };
        let mut journal = Self::unkept(random);
        while let Some(entry) = next(&mut bytes)? {
            match entry {
                Entry::Import { .. } => break,
                Entry::Chunk(chunk) => {
                    journal.last_stamp = journal.last_stamp.max(last_stamp(&chunk));
                    // An earlier run may have ended after it had written this and before it read the lines.
                    journal.chunks.retain(|other| other.position < chunk.position);
                    journal.chunks.push(chunk);
                }
                Entry::Done(done) => journal.done = done,
                Entry::Finished => journal.is_finished = true,
            }
        }
        let done = journal.done.position;
        journal.chunks.retain(|chunk| chunk.position + chunk.count > done);
        Ok(Some((identity, journal, bytes)))
    }

    /// Whether all of the file was imported.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The part that earlier runs have done.
    pub(super) fn done(&self) -> Done {
        self.done
    }

    /// Numbers of ratings in the chunks that an earlier run began and did not finish, in the order of the chunks.
    pub(super) fn unfinished(&self) -> Vec<u64> {
        self.chunks.iter().map(|chunk| chunk.count).collect()
    }

    /// The chunk of the next ratings, written down before they are sent: now, or by an earlier run.
    pub(super) fn chunk(&mut self, position: u64, count: u64, wall_ms: u64) -> Result<Chunk, JournalError> {
        if let Some(chunk) = self.chunks.iter().find(|chunk| (chunk.position, chunk.count) == (position, count)) {
            return Ok(*chunk);
        }
        let stamp = Stamp::new(wall_ms, 0).max(self.last_stamp.next());
        let chunk = Chunk { position, count, stamp };
        self.last_stamp = last_stamp(&chunk);
        self.append(&[Entry::Chunk(chunk)])?;
        Ok(chunk)
    }

    /// The id to create (0) or update (1) the rating at a position of a chunk.
    pub(super) fn id(&self, chunk: &Chunk, position: u64, which: u64) -> UpdateId {
        let stamp = Stamp(chunk.stamp.0 + (position - chunk.position) * IDS_OF_A_RATING + which);
        UpdateId::from_stamp(stamp, mixed(self.random ^ stamp.0))
    }

    /// Keeps what is done.
    pub(super) fn keep(&mut self, done: Done, is_finished: bool) -> Result<(), JournalError> {
        self.done = done;
        self.is_finished = is_finished;
        if is_finished { self.append(&[Entry::Done(done), Entry::Finished]) } else { self.append(&[Entry::Done(done)]) }
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        let mut text = Vec::new();
        let encoded = entries.iter().try_for_each(|entry| {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
            Ok::<_, serde_json::Error>(())
        });
        let written = encoded.map_err(io::Error::from).and_then(|()| file.write_all(&text));
        written.map_err(|error| JournalError::File { path: path.clone(), error })
    }
}

fn last_stamp(chunk: &Chunk) -> Stamp {
    Stamp(chunk.stamp.0 + chunk.count * IDS_OF_A_RATING)
}

/// Spreads the bits of a number (SplitMix64's finaliser).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;
