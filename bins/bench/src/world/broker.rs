//! The nats-server that Natter and raw requests use.

use std::path::PathBuf;

use anyhow::Result;
use natter_broker::environment::Environment;
use natter_processes::nats_server::{NatsServer, ServerSettings, find_or_fetch};

use super::child::Child;
use super::usage;
use crate::progress::tell;
use crate::roles;

/// Subject of the raw responder.
pub(crate) const ECHO_SUBJECT: &str = "bench.echo";

/// A nats-server as it comes, and the raw responder on it.
pub(crate) struct Broker {
    server: NatsServer,
    echo: Option<Child>,
}

/// Finds a nats-server, or fetches one; its version too.
pub(crate) async fn find() -> Result<(PathBuf, String)> {
    let found = find_or_fetch(&Environment::of_process(), &tell).await?;
    Ok((found.path, found.version.to_string()))
}

impl Broker {
    /// Starts one on a free port, without a responder.
    pub(crate) async fn start(binary: PathBuf) -> Result<Self> {
        Ok(Self { server: NatsServer::start_guarded(ServerSettings::new(binary)).await?, echo: None })
    }

    /// Starts the raw responder. The load generator's first requests wait until it listens.
    pub(crate) async fn start_echo(&mut self, logs: &std::path::Path) -> Result<()> {
        let mut echo = Child::start("echo", None, &[roles::ECHO, self.server.url(), ECHO_SUBJECT], logs)?;
        let client = async_nats::connect(self.server.url()).await?;
        // The broker says at once that no process serves the subject yet.
        while client.request(ECHO_SUBJECT, "ready?".into()).await.is_err() {
            echo.check()?;
            tokio::time::sleep(super::cluster::ASK_EVERY).await;
        }
        self.echo = Some(echo);
        Ok(())
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Its processes: what they are, and their ids.
    pub(crate) fn processes(&mut self) -> Vec<(&'static str, u32)> {
        let server = self.server.process().id().and_then(usage::child_below_guard);
        let echo = self.echo.as_ref().and_then(Child::id);
        [("broker", server), ("echo", echo)].into_iter().filter_map(|(what, id)| Some((what, id?))).collect()
    }

    /// Stops them.
    pub(crate) async fn stop(self) {
        if let Some(echo) = self.echo {
            echo.stop().await;
        }
        // An error at its end does not matter here.
        let _ = self.server.stop().await;
    }
}
