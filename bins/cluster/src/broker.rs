//! The broker: one that runs already, or a `nats-server` that is started here and ends with the cluster; with two sites, two
//! of them.

use std::net::TcpListener;

use natter_broker::environment::Environment;
use natter_broker::options::BrokerOptions;
use natter_broker::target::Target;
use natter_processes::nats_server::{NatsServer, ServerError, ServerSettings, find_or_fetch};

use crate::arguments::ClusterArgs;
use crate::error::ClusterError;
use crate::log_file;
use crate::log_folder::{self, LogFolder};
use crate::members::how_it_ended;
use crate::notices::tell;
use crate::sites::{Link, Site, route_arguments};

/// Where the `nats` CLI and all of Natter's programs look for a broker.
const USUAL_PORT: u16 = 4222;

/// The broker that the cluster uses.
#[derive(Debug)]
pub(crate) struct Broker {
    options: BrokerOptions,
    server: Option<NatsServer>,
    second: Option<Second>,
}

/// The broker of the second site.
#[derive(Debug)]
struct Second {
    options: BrokerOptions,
    server: NatsServer,
    link: Link,
}

impl Broker {
    /// Takes the broker that the arguments name, or starts one.
    pub(crate) async fn open(arguments: &ClusterArgs, logs: &LogFolder) -> Result<Self, ClusterError> {
        if arguments.names_a_broker() {
            return Ok(Self { options: arguments.broker.clone(), server: None, second: None });
        }
        let found = find_or_fetch(&Environment::of_process(), &tell).await?;
        let log = logs.log_of(log_folder::BROKER);
        let settings = ServerSettings { log: Some(log), ..ServerSettings::new(found.path) };
        if arguments.sites.is_none() {
            let server = start(settings, arguments.port).await?;
            let options = arguments.broker.for_own_server(server.url());
            return Ok(Self { options, server: Some(server), second: None });
        }
        let second = ServerSettings {
            log: Some(logs.log_of(log_folder::SECOND_BROKER)),
            arguments: route_arguments(None),
            ..settings.clone()
        };
        let second = NatsServer::start_guarded(second).await?;
        let link = Link::to(&second).await?;
        let settings = ServerSettings { arguments: route_arguments(Some(link.port())), ..settings };
        let server = start(settings, arguments.port).await?;
        if !link.heal().await {
            return Err(ClusterError::NoRoute { last_words: log_file::last_words(server.log_path()) });
        }
        let options = arguments.broker.for_own_server(server.url());
        let second = Second { options: arguments.broker.for_own_server(second.url()), server: second, link };
        Ok(Self { options, server: Some(server), second: Some(second) })
    }

    /// Options to connect to it with: to that of site 1, where there are two sites.
    pub(crate) fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// Options to connect to the broker of a site with.
    pub(crate) fn options_at(&self, site: Site) -> &BrokerOptions {
        match (site, &self.second) {
            (Site::Two, Some(second)) => &second.options,
            _ => &self.options,
        }
    }

    /// The sites.
    pub(crate) fn sites(&self) -> &'static [Site] {
        if self.second.is_some() { &[Site::One, Site::Two] } else { &[Site::One] }
    }

    /// The site of the member of this number.
    pub(crate) fn site_of(&self, number: u8) -> Site {
        if self.second.is_some() { Site::of(number) } else { Site::One }
    }

    /// The link between the sites, where there are two.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.second.as_ref().map(|second| &second.link)
    }

    /// The URL for clients of site 2, where there are two.
    pub(crate) fn second_url(&self) -> Option<&str> {
        self.second.as_ref().map(|second| second.server.url())
    }

    fn servers(&mut self) -> impl Iterator<Item = &mut NatsServer> {
        self.server.iter_mut().chain(self.second.iter_mut().map(|second| &mut second.server))
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
        self.servers().find_map(|server| {
            let how = how_it_ended(server.process().try_wait())?;
            Some(ClusterError::BrokerEnded { how, last_words: log_file::last_words(server.log_path()) })
        })
    }

    /// Keeps its log bounded, where it was started here.
    pub(crate) fn bound_log(&mut self) {
        for server in self.servers() {
            // Where that fails, it is tried again soon, and the lines are few.
            let _ = log_file::bound_appended(server.log_path());
        }
    }

    /// Stops it, where it was started here.
    pub(crate) async fn stop(self) {
        let servers = self.server.into_iter().chain(self.second.map(|second| second.server));
        // Errors in finding out how they ended do not matter here.
        futures_util::future::join_all(servers.map(NatsServer::stop)).await;
    }

    /// Ends it without asking, where it was started here.
    pub(crate) fn kill(&mut self) {
        self.servers().for_each(|server| server.process().kill());
    }
}

async fn start(settings: ServerSettings, port: Option<u16>) -> Result<NatsServer, ClusterError> {
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
