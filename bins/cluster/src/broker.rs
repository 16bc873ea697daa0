//! The broker: one that runs already, or a `nats-server` that is started here and ends with the cluster.

use std::net::TcpListener;
use std::path::PathBuf;

use natter_broker::environment::Environment;
use natter_broker::options::BrokerOptions;
use natter_broker::server::{NatsServer, ServerError, ServerSettings, find_or_fetch};
use natter_broker::target::Target;

use crate::arguments::ClusterArgs;
use crate::error::ClusterError;
use crate::log_file;
use crate::log_folder::{self, LogFolder};
use crate::members::how_it_ended;
use crate::notices::tell;

/// Where the `nats` CLI and all of Natter's programs look for a broker.
const USUAL_PORT: u16 = 4222;

/// The broker that the cluster uses.
#[derive(Debug)]
pub(crate) struct Broker {
    options: BrokerOptions,
    server: Option<NatsServer>,
}

impl Broker {
    /// Takes the broker that the arguments name, or starts one.
    pub(crate) async fn open(arguments: &ClusterArgs, logs: &LogFolder) -> Result<Self, ClusterError> {
        if arguments.names_a_broker() {
            return Ok(Self { options: arguments.broker.clone(), server: None });
        }
        let found = find_or_fetch(&Environment::of_process(), &tell).await?;
        let server = start(found.path, arguments.port, logs).await?;
        let options = arguments.broker.for_own_server(server.url());
        Ok(Self { options, server: Some(server) })
    }

    /// Options to connect to it with.
    pub(crate) fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// Its URLs, for people.
    pub(crate) fn url(&self) -> String {
        match &self.server {
            Some(server) => server.url().to_owned(),
            None => Target::resolve(&self.options, &Environment::of_process())
                .map(|target| target.servers().join(","))
                .unwrap_or_default(),
        }
    }

    /// Where its own reports are, where it was started here.
    pub(crate) fn monitoring_url(&self) -> Option<&str> {
        self.server.as_ref().and_then(NatsServer::monitoring_url)
    }

    /// Whether it was started here.
    pub(crate) fn is_own(&self) -> bool {
        self.server.is_some()
    }

    /// Why it is of no more use, where it was started here and has ended.
    pub(crate) fn ended(&mut self) -> Option<ClusterError> {
        let server = self.server.as_mut()?;
        let how = how_it_ended(server.process().try_wait())?;
        Some(ClusterError::BrokerEnded { how, last_words: log_file::last_words(server.log_path()) })
    }

    /// Keeps its log bounded, where it was started here.
    pub(crate) fn bound_log(&self) {
        if let Some(server) = &self.server {
            // Where that fails, it is tried again soon, and the lines are few.
            let _ = log_file::bound_appended(server.log_path());
        }
    }

    /// Stops it, where it was started here.
    pub(crate) async fn stop(self) {
        if let Some(server) = self.server {
            // Errors in finding out how it ended do not matter here.
            let _ = server.stop().await;
        }
    }

    /// Ends it without asking, where it was started here.
    pub(crate) fn kill(&mut self) {
        if let Some(server) = &mut self.server {
            server.process().kill();
        }
    }
}

async fn start(binary: PathBuf, port: Option<u16>, logs: &LogFolder) -> Result<NatsServer, ClusterError> {
    let log = logs.log_of(log_folder::BROKER);
    let settings = ServerSettings { log: Some(log), ..ServerSettings::new(binary) };
    let any = || ServerSettings { port: None, ..settings.clone() };
    match port {
        Some(0) => Ok(NatsServer::start_guarded(any()).await?),
        Some(port) => Ok(NatsServer::start_guarded(ServerSettings { port: Some(port), ..settings }).await?),
        None => {
            if TcpListener::bind(("127.0.0.1", USUAL_PORT)).is_ok() {
                let usual = ServerSettings { port: Some(USUAL_PORT), ..settings.clone() };
                match NatsServer::start_guarded(usual).await {
                    // Somebody was faster.
                    Err(ServerError::EndedEarly { last_words, .. }) if last_words.contains("in use") => {}
                    other => return Ok(other?),
                }
            }
            let server = NatsServer::start_guarded(any()).await?;
            tell(&format!(
                "port {USUAL_PORT} is taken, so the broker of this cluster is at {} (to use the one that runs already: --server \
                 nats://127.0.0.1:{USUAL_PORT})",
                server.url()
            ));
            Ok(server)
        }
    }
}
