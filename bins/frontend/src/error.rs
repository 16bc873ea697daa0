//! Why a frontend does not run.

use natter_broker::access::AccessError;
use natter_broker::connection::ConnectError;
use natter_broker::metrics::MetricsError;

/// Why a frontend does not run.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The name does not make an id.
    #[error("--name: {0}")]
    Id(#[source] natter_common::ids::IdError),
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
}
