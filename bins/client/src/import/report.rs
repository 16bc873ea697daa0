//! How to import, and what came of it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::journal::JournalError;
use super::progress::grouped;
use super::rows::HeaderError;
use super::{Counts, Source};
use crate::error::{ClientError, seconds};

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What.
    pub source: Source,
    /// Where it is kept how far the import is; `None` to keep nothing.
    pub journal: Option<PathBuf>,
    /// Whether a file that was imported before, or in part, is imported from its beginning.
    pub again: bool,
    /// How many operations may be on their way at most.
    pub in_flight: usize,
    /// How long a batch may take.
    pub timeout: Duration,
    /// For how long nothing may get on.
    pub patience: Duration,
    /// Told of each line that is refused.
    pub notify: fn(&str),
}

/// What was done, in this run and before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imported {
    /// What became of all lines.
    pub counts: Counts,
    /// How many of these were done by earlier runs.
    pub before: u64,
    /// How long this run took.
    pub took: Duration,
}

impl Imported {
    /// As one JSON object.
    pub fn to_json(&self) -> String {
        Value::Object(self.to_object()).to_string()
    }

    /// The members of that object.
    pub fn to_object(&self) -> Map<String, Value> {
        let Counts { created, updated, unchanged, refused } = self.counts;
        let members = [
            ("created", created.into()),
            ("updated", updated.into()),
            ("unchanged", unchanged.into()),
            ("refused", refused.into()),
            ("by_earlier_runs", self.before.into()),
            ("seconds", self.took.as_secs_f64().into()),
        ];
        members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { created, updated, unchanged, refused } = self.counts;
        let here = self.counts.total() - self.before;
        write!(f, "{} ratings", grouped(self.counts.total()))?;
        if self.before > 0 {
            write!(f, ", {} of them by earlier runs", grouped(self.before))?;
        }
        if here > 0 {
            let rate = here as f64 / self.took.as_secs_f64().max(0.001);
            write!(f, ", in {} ({} a second)", seconds(self.took), grouped(rate as u64))?;
        }
        let [created, updated, unchanged, refused] = [created, updated, unchanged, refused].map(grouped);
        write!(f, ": {created} created, {updated} updated, {unchanged} unchanged, {refused} refused")
    }
}

/// Why an import stops before its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source can't be read.
    #[error("{source_name} can't be read: {error}")]
    Unreadable {
        /// The source.
        source_name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is another file.
    #[error("{source_name} can't be imported: {error}")]
    Header {
        /// The source.
        source_name: String,
        /// What is wrong.
        #[source]
        error: HeaderError,
    },
    /// What is kept between runs.
    #[error("{source_name} can't be imported: {error}")]
    Journal {
        /// The source.
        source_name: String,
        /// What is wrong.
        #[source]
        error: JournalError,
    },
    /// Frontends don't answer, or not what was expected.
    #[error("stopped after {} ratings: {error}", grouped(*.done))]
    Stopped {
        /// How many lines were done.
        done: u64,
        /// Why.
        #[source]
        error: Box<ClientError>,
    },
}
