//! Metrics and health of a process over HTTP: `/metrics` for Prometheus, `/livez`, `/healthz` and `/readyz` for probes.
//!
//! - [`MetricsOptions`]: the option `--metrics`; without it nothing here exists
//! - [`Exposition`]: the registry of metrics, and the HTTP server on a thread of its own. A scrape reads atomics there, so no
//!   core waits for it
//! - [`Definitions`]: metrics as they are defined, in one place for each role
//! - [`Health`]: the state of one role, as its loop shows it
//! - [`connections`]: metrics that both roles have; [`peers`]: the replicas that a process hears

pub mod connections;
mod definitions;
mod health;
mod options;
pub mod peers;
mod server;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Registry, TextEncoder};

pub use definitions::{Definitions, Followed, Information, LATENCY_BUCKETS, STORE_BUCKETS};
pub use health::{Health, Stage};
pub use options::MetricsOptions;
pub use server::ServeError;

use server::Server;

/// A size as the value of a gauge.
pub fn gauge_value(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Metrics or health cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The HTTP server does not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Two metrics have one name, or a name has characters that Prometheus does not take: a bug in Natter.
    #[error("--metrics: a metric is not well defined ({0}): please report this")]
    Definition(#[from] prometheus::Error),
}

/// The metrics and the health of this process, as HTTP shows them. Dropping it ends the server.
#[derive(Debug)]
pub struct Exposition {
    shown: Arc<Shown>,
    _server: Server,
}

/// All that requests read.
#[derive(Debug, Default)]
struct Shown {
    registry: Registry,
    health: Mutex<Vec<Arc<Health>>>,
}

impl Exposition {
    /// Starts to answer at the address of `options`; `None` where they name none.
    ///
    /// # Errors
    ///
    /// The address is in use, or is not one of this machine.
    pub fn start(options: &MetricsOptions) -> Result<Option<Self>, MetricsError> {
        let Some(address) = options.metrics else { return Ok(None) };
        let shown = Arc::new(Shown::default());
        let server = Server::start(address, Arc::clone(&shown))?;
        Ok(Some(Self { shown, _server: server }))
    }

    /// Metrics are defined here.
    pub fn definitions(&self) -> Definitions<'_> {
        Definitions::new(&self.shown.registry)
    }

    /// The health of a role, which is asked for from now on. Roles are looked at in the order in which they were added.
    pub fn health(&self, role: &'static str) -> Arc<Health> {
        let health = Arc::new(Health::new(role));
        self.shown.health.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&health));
        health
    }
}

impl Shown {
    /// All metrics, in the text format of Prometheus.
    fn metrics(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// `check` of each role: the first problem, after the name of its role.
    fn check(&self, check: impl Fn(&Health) -> Result<(), String>) -> Result<(), String> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.iter().try_for_each(|health| check(health).map_err(|problem| format!("{}: {problem}", health.role())))
    }
}
