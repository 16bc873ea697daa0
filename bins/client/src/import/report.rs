//! Options of an import, and its result.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::HumanCount;
use natter_common::cluster::ClusterId;
use natter_common::counted::nouns;
use serde_json::{Map, Value};

use super::journal::JournalError;
use super::rejects::RejectsError;
use super::rows::HeaderError;
use super::{Counts, Source};
use crate::error::{ClientError, seconds};

/// Options of an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The source of the ratings.
    pub source: Source,
    /// The cluster that they are for, if it has a name: no other one takes them.
    pub cluster: Option<ClusterId>,
    /// The file that keeps the progress of the import; `None` to keep nothing.
    pub journal: Option<PathBuf>,
    /// The file to which refused lines are added, if any.
    pub rejects: Option<PathBuf>,
    /// Whether nothing is changed: ratings are only compared with those that stand.
    pub dry_run: bool,
    /// Whether a file that was imported before, or in part, is imported from its beginning.
    pub again: bool,
    /// Maximum number of operations in flight.
    pub in_flight: usize,
    /// Maximum time for the answer to a batch.
    pub timeout: Duration,
    /// Maximum time without progress; after it the import stops.
    pub patience: Duration,
    /// Whether a progress line is shown, where standard error is a terminal.
    pub shows_progress: bool,
    /// Told of each line that is refused.
    pub notify: fn(&str),
}

/// The result of this run and of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imported {
    /// Lines of this run, by outcome.
    pub counts: Counts,
    /// Lines of earlier runs into the same cluster, by outcome.
    pub before: Counts,
    /// Duration of this run.
    pub took: Duration,
    /// Whether it changed nothing.
    pub dry_run: bool,
}

impl Imported {
    /// As a JSON object: numbers of this run, and of earlier ones.
    pub fn to_value(&self) -> Value {
        let mut members = members_of(self.counts);
        members.insert("by_earlier_runs".to_owned(), self.before.total().into());
        members.insert("earlier_runs".to_owned(), Value::Object(members_of(self.before)));
        members.insert("seconds".to_owned(), self.took.as_secs_f64().into());
        members.insert("dry_run".to_owned(), self.dry_run.into());
        Value::Object(members)
    }
}

fn members_of(counts: Counts) -> Map<String, Value> {
    let Counts { created, updated, unchanged, refused } = counts;
    let members = [("created", created), ("updated", updated), ("unchanged", unchanged), ("refused", refused)];
    members.map(|(name, count)| (name.to_owned(), count.into())).into_iter().collect()
}

/// `3 created, 0 updated, 1 unchanged, 0 refused`.
struct InWords(Counts);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { created, updated, unchanged, refused } = self.0;
        let [created, updated, unchanged, refused] = [created, updated, unchanged, refused].map(HumanCount);
        write!(f, "{created} created, {updated} updated, {unchanged} unchanged, {refused} refused")
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (here, before) = (self.counts.total(), self.before.total());
        if before > 0 && here == 0 {
            let (before, words) = (HumanCount(before), InWords(self.before));
            return write!(
                f,
                "no rating imported now, as earlier runs did all {before}: {words} (--again imports the file once more)"
            );
        }
        if self.dry_run {
            let Counts { created, updated, unchanged, refused } = self.counts;
            let ratings = format!("{} {}", HumanCount(here), nouns(&here, "rating"));
            let [created, updated, unchanged, refused] = [created, updated, unchanged, refused].map(HumanCount);
            return write!(
                f,
                "{ratings} compared in {}, nothing changed: {created} would be created, {updated} updated, {unchanged} \
                 left as they are, {refused} refused",
                seconds(self.took)
            );
        }
        let rate = here as f64 / self.took.as_secs_f64().max(0.001);
        let took = seconds(self.took);
        write!(f, "{} {} in {took} ({} a second)", HumanCount(here), nouns(&here, "rating"), HumanCount(rate as u64))?;
        write!(f, ": {}", InWords(self.counts))?;
        if before > 0 {
            write!(f, "; {} by earlier runs: {}", HumanCount(before), InWords(self.before))?;
        }
        Ok(())
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
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// It is another file.
    #[error("{source_name} can't be imported: {error}")]
    Header {
        /// The source.
        source_name: String,
        /// The error.
        #[source]
        error: HeaderError,
    },
    /// The journal cannot be read or written.
    #[error("{source_name} can't be imported: {error}")]
    Journal {
        /// The source.
        source_name: String,
        /// The error.
        #[source]
        error: JournalError,
    },
    /// Refused lines cannot be kept.
    #[error("{source_name} can't be imported: {error}")]
    Rejects {
        /// The source.
        source_name: String,
        /// The error.
        #[source]
        error: RejectsError,
    },
    /// Frontends don't answer, or not what was expected.
    #[error("stopped after {} {}: {error}", HumanCount(*.done), nouns(.done, "rating"))]
    Stopped {
        /// Number of lines that were done.
        done: u64,
        /// Why.
        #[source]
        error: Box<ClientError>,
    },
}

impl ImportError {
    /// No frontend answered before anything was sent.
    pub(super) fn not_begun(error: ClientError) -> Self {
        Self::Stopped { done: 0, error: Box::new(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_run_did_is_told_apart_from_what_earlier_ones_did() {
        let counts = |created| Counts { created, ..Counts::default() };
        let told = |now, before| {
            let took = Duration::from_secs(2);
            Imported { counts: counts(now), before: counts(before), took, dry_run: false }.to_string()
        };
        let rest = "0 updated, 0 unchanged, 0 refused";
        assert_eq!(told(4000, 0), format!("4,000 ratings in 2 s (2,000 a second): 4,000 created, {rest}"));
        assert_eq!(
            told(4000, 1000),
            format!(
                "4,000 ratings in 2 s (2,000 a second): 4,000 created, {rest}; 1,000 by earlier runs: 1,000 created, {rest}"
            )
        );
        assert!(told(1, 0).starts_with("1 rating in 2 s (0 a second): 1 created"));
        assert!(told(0, 1000).starts_with("no rating imported now, as earlier runs did all 1,000: 1,000 created"));
    }
}
