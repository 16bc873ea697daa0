//! Data sets: the movies and ratings that a replica starts from, and how their files are made.
//!
//! [`DataSource`] names one that is not opened yet: the sample in the program, a folder of CSV files, or a SQLite file. Once
//! opened, it is a database that is attached to a connection as `base` and never written again. Read on in this order:
//!
//! - `file`: the attached database, its [`Description`], and [`verify`]
//! - `build`: fills such a database, and makes a file of it, whole or not at all
//! - `movielens`: reads the two CSV files of MovieLens into it, for [`import`] and for a folder; `csv` reads their lines
//! - `synthetic`: [`generate`] makes ratings from a seed

pub(crate) mod build;
mod csv;
pub(crate) mod file;
mod movielens;
mod synthetic;

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::DataError;

use build::Builder;
pub use file::{Counts, Description, verify};
use movielens::Folder;
pub use movielens::import;
pub use synthetic::{Plan, generate, sample_plan};

/// A data set, not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// The sample that is part of the program: real movies, synthetic ratings.
    Sample,
    /// A folder in MovieLens' layout: `movies.csv` and `ratings.csv`.
    Folder(PathBuf),
    /// A file that `dataset import` or `dataset generate` made.
    SqliteFile(PathBuf),
}

impl DataSource {
    /// Returns the source that `--database PATH` names: a folder or a file; without it, the sample. Fails where nothing
    /// is at `path`.
    pub fn at(path: Option<&Path>) -> Result<Self, DataError> {
        let Some(path) = path else {
            return Ok(Self::Sample);
        };
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Folder(path.to_owned())),
            Ok(_) => Ok(Self::SqliteFile(path.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(DataError::NotFound { path: path.display().to_string() })
            }
            Err(reason) => Err(DataError::Unreadable { path: path.display().to_string(), reason }),
        }
    }

    /// Attaches the data set as the connection's base.
    pub(crate) fn attach(&self, connection: &Connection) -> Result<(), DataError> {
        let folder = match self {
            Self::SqliteFile(path) => return file::attach_file(connection, path),
            Self::Folder(path) => Folder::at(path)?,
            Self::Sample => Folder::sample(),
        };
        file::attach_memory(connection)?;
        let mut builder = Builder::new(connection)?;
        movielens::read(&folder, &mut builder, &mut |progress: Progress| silent(progress))?;
        builder.finish()?;
        Ok(())
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample => f.write_str("the sample data set"),
            Self::Folder(path) | Self::SqliteFile(path) => path.display().fmt(f),
        }
    }
}

/// Report about every few thousand ratings; the receiver decides how often it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Name of the work.
    pub doing: &'static str,
    /// Number of ratings that are done.
    pub ratings: u64,
    /// Fraction of the work that is done, from 0 to 1.
    pub fraction: f64,
}

/// Number of ratings between two reports.
pub(crate) const RATINGS_PER_REPORT: u64 = 1 << 14;

/// Shows nothing.
pub fn silent(_: Progress) {}
