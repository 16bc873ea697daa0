//! Why a replica does not run.

use natter_broker::role::RoleError;
use natter_common::replica_manager::RecoverError;
use natter_common::value::ValueError;
use natter_database::error::how_to_read_out;
use natter_database::{DataError, DirectoryError, OpenError};

/// Why a replica does not run.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The replica, or its frontend half, has a name or prefix that cannot be used, or no access to the broker.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The data set cannot be read.
    #[error("--database: {0}")]
    Data(#[source] DataError),
    /// The store failed: nothing more is acknowledged.
    #[error(transparent)]
    Store(#[from] ValueError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The contents of the data directory do not fit together.
    #[error("--data-dir {path}: {problem}: the directory is damaged; {}", how_to_read_out(.path))]
    Recover {
        /// The directory.
        path: String,
        /// The problem that recovery found.
        problem: RecoverError,
    },
    /// After the store failed, its files are gone.
    #[error(
        "the data directory has no database any more: start the replica again with an empty directory, and it takes \
         everything that the others hold"
    )]
    NothingLeft,
    /// It must not run here.
    #[error("{0}")]
    Stopped(String),
}

impl From<OpenError> for ReplicaError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Data(error) => Self::Data(error),
            OpenError::Directory(error) => Self::Directory(error),
        }
    }
}
