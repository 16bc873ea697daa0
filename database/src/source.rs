//! Source of the ratings that a replica starts with.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::base;
use crate::builder::Builder;
use crate::error::DataError;
use crate::movielens::{self, Folder};
use crate::progress::{Progress, silent};

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
            Self::SqliteFile(path) => return base::attach_file(connection, path),
            Self::Folder(path) => Folder::at(path)?,
            Self::Sample => Folder::sample(),
        };
        base::attach_memory(connection)?;
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
