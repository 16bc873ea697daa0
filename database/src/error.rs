//! Why a data set can't be opened or made.

use std::io;
use std::path::Path;

use natter_common::ids::MovieId;
use natter_common::value::ValueError;

use crate::durability::directory::Holder;
use crate::schema;

/// A data set can't be opened, imported or generated. No file was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nothing is there.
    #[error("there is no {path}: give a folder with movies.csv and ratings.csv, or a file that `dataset import` made")]
    NotFound {
        /// The path that was asked for.
        path: String,
    },
    /// A folder without one of its files.
    #[error("{folder} has no {file}: a data set's folder holds movies.csv and ratings.csv in MovieLens' layout")]
    MissingFile {
        /// The folder.
        folder: String,
        /// The file that it lacks.
        file: &'static str,
    },
    /// The system refused to read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file that was read.
        path: String,
        /// The system's error.
        reason: io::Error,
    },
    /// A CSV file whose columns are others.
    #[error("{file}, line {line}: the header is {found:?} and should be {expected:?}: is this a file of MovieLens?")]
    Header {
        /// The file.
        file: String,
        /// The header's line, from 1.
        line: u64,
        /// The header found, shortened.
        found: String,
        /// The header expected.
        expected: String,
    },
    /// A line of a CSV file that can't be used.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// The line on which the broken record begins, from 1.
        line: u64,
        /// The problem with it.
        problem: LineProblem,
    },
    /// A SQLite file that can't be used.
    #[error("{path} {problem}")]
    File {
        /// The file.
        path: String,
        /// The problem with it.
        problem: FileProblem,
    },
    /// The file to be made is there already.
    #[error("{path} exists: choose another name, or say --force to replace it")]
    Exists {
        /// The file.
        path: String,
    },
    /// The file to be written exists already, and is not replaced.
    #[error("{path} exists: choose another name, or move it away")]
    Occupied {
        /// Path of the existing file.
        path: String,
    },
    /// A changed rating that can't stand among the others.
    #[error("user {user_id}'s rating of movie {movie_id} {why}")]
    Changed {
        /// Id of the user.
        user_id: u32,
        /// Id of the movie.
        movie_id: u32,
        /// Why it can't.
        why: &'static str,
    },
    /// The file can't be made.
    #[error("cannot write {path}: {reason}")]
    Unwritable {
        /// The file.
        path: String,
        /// The system's error.
        reason: io::Error,
    },
    /// A synthetic data set that can't be.
    #[error("cannot generate {what}: {why}")]
    Impossible {
        /// The size that was asked for.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// SQLite failed: a full disk, or no memory.
    #[error(transparent)]
    Store(#[from] ValueError),
}

/// Problem with a line of a CSV file. Texts of the file are shortened to 40 characters.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LineProblem {
    /// A column too few, or too many.
    #[error("it has {found} columns and should have {expected} (is a quote missing, or a comma outside quotes?)")]
    Columns {
        /// Number of columns in the line.
        found: usize,
        /// Number of columns in the header.
        expected: usize,
    },
    /// Not an integer that fits.
    #[error("{column} is {found:?} and should be an integer from {range}")]
    Number {
        /// Name of the column.
        column: &'static str,
        /// Text found in it.
        found: String,
        /// The range that is allowed.
        range: &'static str,
    },
    /// Not a rating.
    #[error("rating is {found:?} and should be 0.5, 1.0, 1.5, ... 5.0")]
    OffScale {
        /// Text found in the column.
        found: String,
    },
    /// Not UTF-8.
    #[error("{column} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// Name of the column.
        column: &'static str,
    },
    /// Nothing where something must be.
    #[error("{column} is empty")]
    Empty {
        /// Name of the column.
        column: &'static str,
    },
    /// More than fits into a reply.
    #[error("{column} is {found} bytes long and should be at most {bytes_max} (is a quote left open?)")]
    TooLong {
        /// Name of the column.
        column: &'static str,
        /// Its length, in bytes.
        found: usize,
        /// The maximum length, in bytes.
        bytes_max: usize,
    },
    /// A line that no movie or rating needs.
    #[error("it is longer than {bytes_max} bytes (is a quote left open?)")]
    LongLine {
        /// The maximum length of a line, in bytes.
        bytes_max: usize,
    },
    /// Two movies of one id.
    #[error("movie {0} is there already: each movieId may stand once")]
    DuplicateMovie(MovieId),
    /// A rating of nothing.
    #[error("movie {0} is not in movies.csv")]
    UnknownMovie(MovieId),
    /// Two ratings of one movie by one user.
    #[error("user {user_id} has rated movie {movie_id} already: each pair may stand once")]
    DuplicateRating {
        /// Id of the user.
        user_id: u32,
        /// Id of the movie.
        movie_id: u32,
    },
}

/// Problem with a SQLite file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum FileProblem {
    /// Another kind of file.
    #[error("is not a SQLite file: give a folder of CSV files, or a file that `dataset import` made")]
    NotSqlite,
    /// A database of something else.
    #[error("is a SQLite file, but not a data set of Natter: make one with `dataset import`")]
    NotOurs,
    /// Made by a later Natter.
    #[error("has format {found}, and this Natter knows up to {known}: use a newer Natter, or import it again")]
    Newer {
        /// The file's.
        found: String,
        /// The greatest this program knows.
        known: u32,
    },
    /// Shorter (or longer) than it says.
    #[error("has {found} bytes and should have {expected}: it was not copied to its end; copy or import it again")]
    Truncated {
        /// Its length, in bytes.
        found: u64,
        /// Length that its own header states, in bytes.
        expected: u64,
    },
    /// Something in it does not fit.
    #[error("is damaged ({0}): copy or import it again")]
    Damaged(String),
}

/// A directory can't be used as `--data-dir`. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[error("--data-dir {path}: {problem}{}", advice(.problem, .path))]
pub struct DirectoryError {
    /// The directory.
    pub path: String,
    /// The problem with it.
    pub problem: DirectoryProblem,
}

impl DirectoryError {
    pub(crate) fn new(path: &Path, problem: DirectoryProblem) -> Self {
        Self { path: path.display().to_string(), problem }
    }

    /// Whether another program has the directory and will end some time, so that waiting for it helps.
    pub fn passes(&self) -> bool {
        matches!(self.problem, DirectoryProblem::HeldOpen { .. } | DirectoryProblem::BeingRead)
    }
}

/// Advice for a damaged directory: how to go on and keep its content.
pub fn how_to_read_out(path: &str) -> String {
    format!(
        "read it out with `dataset export --data-dir {path} FILE --compare`, which also says whether a replica that runs \
         has all of it; then move it away and start with an empty directory: the replica takes everything that the \
         others hold"
    )
}

/// Advice for a directory of a format that only an earlier version reads.
fn how_to_export_with_an_older_version(path: &str) -> String {
    let commit = schema::DURABLE_FORMAT_OLD_COMMIT;
    format!(
        "keep it, and export it with commit {commit} of Natter, the last one that reads it: `git checkout {commit}`, then \
         `cargo run --release -p natter-dataset -- export --data-dir {path} FILE.sqlite` (with the --database that the \
         replica began with). Replicas of this version start from that file: `--database FILE.sqlite`, each with a new \
         --data-dir"
    )
}

fn advice(problem: &DirectoryProblem, path: &str) -> String {
    match problem {
        DirectoryProblem::WrongLog(_) | DirectoryProblem::WrongRatings => format!("; {}", how_to_read_out(path)),
        DirectoryProblem::Damaged(_) => format!(": {}", how_to_read_out(path)),
        DirectoryProblem::Older { .. } => format!(": {}", how_to_export_with_an_older_version(path)),
        _ => String::new(),
    }
}

/// Problem with the directory of a durable replica.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryProblem {
    /// Another replica uses the directory.
    #[error("another replica{} uses this directory: stop it, or give this one a directory of its own",
        .process.map(|process| format!(" (process {process})")).unwrap_or_default())]
    InUse {
        /// Its process, where that is known.
        process: Option<u32>,
    },
    /// Another program has the database open.
    #[error("another program{} has replica.sqlite open: close it there", .holder.as_ref().map(Holder::to_string).unwrap_or_default())]
    HeldOpen {
        /// The program, where that is known.
        holder: Option<Holder>,
    },
    /// A replica runs on a directory that is to be read out.
    #[error("a replica{} runs on this directory: leave --data-dir out to export from the replica, or stop it first",
        .process.map(|process| format!(" (process {process})")).unwrap_or_default())]
    Running {
        /// Its process, where that is known.
        process: Option<u32>,
    },
    /// Nothing can be read out.
    #[error("this directory cannot be read out: {0}")]
    Unreadable(String),
    /// `dataset export` reads it.
    #[error("`dataset export` reads this directory out: wait for its end")]
    BeingRead,
    /// Another process took the directory over, though this one used it: locks do not work there.
    #[error(
        "another replica ({0}) took this directory over while it was in use: two processes can write here because this \
         file system passes no locks. Give each replica a directory of its own, on a local disk. What this one \
         acknowledged is in the directory"
    )]
    TakenOver(String),
    /// A file.
    #[error("this is a file and should be a directory: give another path, or move the file away")]
    NotADirectory,
    /// The system refused to make it.
    #[error("cannot make this directory ({0}): give a path that can be made and written by this user")]
    Uncreatable(io::Error),
    /// The system refused to read or write a file in it.
    #[error("cannot write {file} ({reason}): give a directory that this user may write, on a disk with room")]
    Unwritable {
        /// Name of the file.
        file: &'static str,
        /// The system's error.
        reason: io::Error,
    },
    /// SQLite could not read or write.
    #[error("replica.sqlite cannot be read and written ({0}): check the rights on the files, and the disk")]
    Failing(String),
    /// Another kind of file.
    #[error("replica.sqlite is not a SQLite file: give another directory, or move this file away")]
    NotSqlite,
    /// A database of something else.
    #[error("replica.sqlite is a SQLite file, but not a replica's: give another directory, or move this file away")]
    NotOurs,
    /// Made by an earlier Natter, in a format that is no longer read.
    #[error("replica.sqlite was written by an older Natter (format {found}, this one knows {known})")]
    Older {
        /// The file's.
        found: String,
        /// The format that this program knows.
        known: u32,
    },
    /// Made by a later Natter.
    #[error(
        "replica.sqlite was written by a newer Natter (format {found}, this one knows {known}): use that version, or \
         another --data-dir"
    )]
    Newer {
        /// The file's.
        found: String,
        /// The greatest this program knows.
        known: u32,
    },
    /// Begun with other ratings.
    #[error(
        "this replica began with the data set {found}, and the data set given is {given}: give the one it began with \
         as --database, or another --data-dir"
    )]
    OtherDataSet {
        /// The fingerprint that the replica began with.
        found: String,
        /// The given data set's.
        given: String,
    },
    /// There is a write-ahead log, and nothing else.
    #[error(
        "replica.sqlite-wal is there, but replica.sqlite is not: put that file back. If it is lost, nothing of the \
         directory can be read out: move it away and start with an empty directory: the replica takes everything that \
         the others hold"
    )]
    NoDatabase,
    /// The write-ahead log does not belong to the database.
    #[error("replica.sqlite-wal {0}: the directory is damaged or was copied while it was in use")]
    WrongLog(&'static str),
    /// The ratings are not those that were saved.
    #[error(
        "the ratings do not match their checksum: the directory is damaged, was copied while it was in use, or another \
         program changed it"
    )]
    WrongRatings,
    /// Something in it does not fit.
    #[error("replica.sqlite is damaged ({0})")]
    Damaged(String),
}

/// A durable store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Because of its data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Because of its directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}
