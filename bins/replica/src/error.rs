//! Why a replica manager does not run.

use natter_broker::access::AccessError;
use natter_broker::connection::ConnectError;
use natter_broker::metrics::MetricsError;
use natter_common::replica_manager::RecoverError;
use natter_common::value::ValueError;
use natter_database::error::how_to_read_out;
use natter_database::{DataError, DirectoryError, OpenError};

/// Why a replica manager does not run.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The name does not make an id.
    #[error("--name: {0}")]
    Id(#[source] natter_common::ids::IdError),
    /// The data set cannot be read.
    #[error("--database: {0}")]
    Data(#[source] DataError),
    /// The subject prefix is not one.
    #[error("--prefix: {0:?} is not tokens of A-Z a-z 0-9 _ - joined by dots")]
    Prefix(String),
    /// Metrics and health cannot be shown.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The broker is not to be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker did not take the subscriptions.
    #[error("the broker did not take the subscriptions: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The broker does not hear it, or does not permit what it needs.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The frontend half does not run.
    #[error(transparent)]
    Frontend(#[from] natter_frontend::FrontendError),
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
