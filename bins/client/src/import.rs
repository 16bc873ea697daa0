//! `client import`: the ratings of a CSV file, in batches, several on their way at the same time.
//!
//! - `rows`: the file, line by line, and `reader`, the thread that reads it; `journal`: what is kept between runs, and the
//!   ids that follow from it; `home`: the cluster to which that belongs
//! - `item`: one rating on its way; `plan`: what is to be sent next and what an outcome means, as a state machine without
//!   I/O; `pace`: how much at a time; `wire`: batches as bytes
//! - `rejects`: the file of refused lines
//! - `run`: the loop around these; `report`: how to import, and what came of it
//!
//! Each rating is created; where there is one already, that is read, and updated if it is another. Update ids follow from
//! the journal and the place in the file. Their stamps say when the rating was sent first: so an import that goes on, or
//! that sends again what got no answer, changes nothing twice, and whoever rates meanwhile has the last word.

mod home;
mod item;
mod journal;
mod pace;
mod plan;
mod reader;
mod rejects;
mod report;
mod rows;
mod run;
mod wire;

pub use home::{Home, find_home};
pub use journal::JournalError;
pub use rejects::RejectsError;
pub use report::{ImportError, ImportOptions, Imported};
pub use rows::HeaderError;
pub use run::import;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The source of the ratings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, in whose import a later run can go on.
    File(PathBuf),
    /// A pipe or device that can be read once, such as a FIFO or the `/dev/fd/63` of a process substitution.
    Stream(PathBuf),
    /// Standard input.
    StandardInput,
}

impl Source {
    /// As the command line names it.
    pub fn of(text: &str) -> Self {
        if text == "-" {
            return Self::StandardInput;
        }
        // A file that is not there is told of when it is read.
        match std::fs::metadata(text) {
            Ok(data) if !data.is_file() && !data.is_dir() => Self::Stream(text.into()),
            _ => Self::File(text.into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Stream(path) => fmt::Display::fmt(&path.display(), f),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

/// Numbers of lines of a file, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Ratings that were not there before.
    pub created: u64,
    /// Ratings that were others before.
    pub updated: u64,
    /// Ratings that were the same before.
    pub unchanged: u64,
    /// Lines that are no ratings, or that frontends refused.
    pub refused: u64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused
    }

    /// The difference to `before`.
    fn since(&self, before: Self) -> Self {
        Self {
            created: self.created.saturating_sub(before.created),
            updated: self.updated.saturating_sub(before.updated),
            unchanged: self.unchanged.saturating_sub(before.unchanged),
            refused: self.refused.saturating_sub(before.refused),
        }
    }

    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
    }
}
