//! Why a data set can't be opened or made.

use std::io;

use natter_common::ids::MovieId;
use natter_common::value::ValueError;

/// A data set can't be opened, imported or generated. No file was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nothing is there.
    #[error("there is no {path}: give a folder with movies.csv and ratings.csv, or a file that `dataset import` made")]
    NotFound {
        /// What was asked for.
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
        /// What was read.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// A CSV file whose columns are others.
    #[error("{file}, line {line}: the header is {found:?} and should be {expected:?}: is this a file of MovieLens?")]
    Header {
        /// The file.
        file: String,
        /// The header's line, from 1.
        line: u64,
        /// What it says, shortened.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A line of a CSV file that can't be used.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// The line on which the broken record begins, from 1.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A SQLite file that can't be used.
    #[error("{path} {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// The file to be made is there already.
    #[error("{path} exists: choose another name, or say --force to replace it")]
    Exists {
        /// The file.
        path: String,
    },
    /// The file can't be made.
    #[error("cannot write {path}: {reason}")]
    Unwritable {
        /// The file.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// A synthetic data set that can't be.
    #[error("cannot generate {what}: {why}")]
    Impossible {
        /// What was asked for.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// SQLite failed: a full disk, or no memory.
    #[error(transparent)]
    Store(#[from] ValueError),
}

/// What is wrong with a line of a CSV file. Texts of the file are shortened to 40 characters.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LineProblem {
    /// A column too few, or too many.
    #[error("it has {found} columns and should have {expected} (is a quote missing, or a comma outside quotes?)")]
    Columns {
        /// How many it has.
        found: usize,
        /// How many the header has.
        expected: usize,
    },
    /// Not an integer that fits.
    #[error("{column} is {found:?} and should be an integer from {range}")]
    Number {
        /// Which column.
        column: &'static str,
        /// What it says.
        found: String,
        /// What would do.
        range: &'static str,
    },
    /// Not a rating.
    #[error("rating is {found:?} and should be 0.5, 1.0, 1.5, ... 5.0")]
    OffScale {
        /// What it says.
        found: String,
    },
    /// Not UTF-8.
    #[error("{column} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// Which column.
        column: &'static str,
    },
    /// Nothing where something must be.
    #[error("{column} is empty")]
    Empty {
        /// Which column.
        column: &'static str,
    },
    /// More than fits into a reply.
    #[error("{column} is {found} bytes long and should be at most {bytes_max} (is a quote left open?)")]
    TooLong {
        /// Which column.
        column: &'static str,
        /// How long it is, in bytes.
        found: usize,
        /// How long it may be, in bytes.
        bytes_max: usize,
    },
    /// Two films of one id.
    #[error("movie {0} is there already: each movieId may stand once")]
    DuplicateMovie(MovieId),
    /// A rating of nothing.
    #[error("movie {0} is not in movies.csv")]
    UnknownMovie(MovieId),
    /// Two ratings of one film by one user.
    #[error("user {user_id} has rated movie {movie_id} already: each pair may stand once")]
    DuplicateRating {
        /// Who rates.
        user_id: u32,
        /// What is rated.
        movie_id: u32,
    },
}

/// What is wrong with a SQLite file.
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
        /// How long it is.
        found: u64,
        /// How long its own header says it is.
        expected: u64,
    },
    /// Something in it does not fit.
    #[error("is damaged ({0}): copy or import it again")]
    Damaged(String),
}
