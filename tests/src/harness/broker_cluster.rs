//! Brokers that form one cluster, with every route between two of them over a way that can be cut.
//!
//! Each server knows the others by such ways only: the address that it advertises leads nowhere. Messages are passed on
//! over one route at most, so two servers without a route between them are apart, even where a third one hears both.

use std::path::Path;

use super::broker::free_port;
use super::{Broker, Forwarder, Way};

/// Port on which no process listens.
const NOWHERE: u16 = 9;

/// Settings of the servers.
#[derive(Clone, Debug)]
pub struct BrokerPlan {
    /// The servers' number.
    pub servers: usize,
    /// Maximum bytes that may wait for one connection before it is closed as a slow consumer.
    pub max_pending: u64,
    /// `mappings` of the configuration: (subject, destination, per cent). Messages mapped to `lost.>` are lost.
    pub losses: Vec<(&'static str, &'static str, u32)>,
}

impl Default for BrokerPlan {
    fn default() -> Self {
        Self { servers: 3, max_pending: 64 * 1024 * 1024, losses: Vec::new() }
    }
}

/// The servers `s1`, `s2`... and the routes between them.
pub struct BrokerCluster {
    plan: BrokerPlan,
    servers: Vec<Broker>,
    /// Port at which the other servers reach each one.
    route_ports: Vec<u16>,
    /// Ways from the first server to the second, by index: (first, second, way).
    routes: Vec<(usize, usize, Forwarder)>,
}

impl BrokerCluster {
    /// Starts all, with files in `directory`, and waits until each answers. Routes follow within moments.
    pub async fn start(plan: BrokerPlan, directory: &Path) -> Self {
        let route_ports: Vec<u16> = (0..plan.servers).map(|_| free_port()).collect();
        let mut routes = Vec::new();
        for (second, port) in route_ports.iter().enumerate() {
            for first in 0..second {
                routes.push((first, second, Forwarder::start(*port).await));
            }
        }
        let mut servers = Vec::new();
        for n in 1..=plan.servers {
            let config = directory.join(format!("s{n}.conf"));
            let log = directory.join(format!("s{n}.log"));
            servers.push(Broker::reserve(Some(config)).await.logging_to(&log));
        }
        let cluster = Self { plan, servers, route_ports, routes };
        for (n, server) in cluster.servers.iter().enumerate() {
            server.configure(&cluster.configuration(n)).await;
            server.start().await;
        }
        cluster
    }

    fn configuration(&self, n: usize) -> String {
        let routes = self.routes.iter().filter(|(first, ..)| *first == n);
        let routes: Vec<String> = routes.map(|(_, _, way)| format!("\"nats://127.0.0.1:{}\"", way.port())).collect();
        let losses = self.plan.losses.iter().map(|(subject, destination, per_cent)| {
            format!("\"{subject}\": [ {{ destination: \"{destination}\", weight: {per_cent}% }} ]")
        });
        let losses: Vec<String> = losses.collect();
        format!(
            "server_name: s{name}\n\
             max_pending: {max_pending}\n\
             write_deadline: \"2s\"\n\
             ping_interval: \"2s\"\n\
             ping_max: 2\n\
             cluster {{ name: tests, listen: \"127.0.0.1:{port}\", advertise: \"127.0.0.1:{NOWHERE}\", \
             no_advertise: true, routes: [{routes}] }}\n\
             mappings = {{ {losses} }}\n",
            name = n + 1,
            max_pending = self.plan.max_pending,
            port = self.route_ports[n],
            routes = routes.join(", "),
            losses = losses.join(", "),
        )
    }

    /// The servers.
    pub fn servers(&self) -> &[Broker] {
        &self.servers
    }

    /// Returns the URLs to which each server's clients connect.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Broker::url).collect()
    }

    /// Sets the rate of every planned loss, in per cent, at the servers that run.
    pub async fn lose(&mut self, per_cent: u32) {
        self.plan.losses.iter_mut().for_each(|loss| loss.2 = per_cent);
        for (n, server) in self.servers.iter().enumerate() {
            server.configure(&self.configuration(n)).await;
        }
    }

    /// Sets the way of the bytes between two servers.
    pub fn set_route(&self, one: usize, other: usize, way: Way) {
        self.route(one, other).set(way);
    }

    /// Sets the way of the bytes between this server and all others.
    pub fn set_routes_of(&self, n: usize, way: Way) {
        self.routes
            .iter()
            .filter(|(first, second, _)| *first == n || *second == n)
            .for_each(|(_, _, route)| route.set(way));
    }

    /// Opens all routes.
    pub fn open_all_routes(&self) {
        self.routes.iter().for_each(|(_, _, route)| route.set(Way::Open));
    }

    /// The way between two servers.
    pub fn route(&self, one: usize, other: usize) -> &Forwarder {
        let (first, second) = (one.min(other), one.max(other));
        &self.routes.iter().find(|(a, b, _)| (*a, *b) == (first, second)).expect("two servers").2
    }

    /// Returns the number of connections between servers that were broken so far.
    pub fn broken_routes(&self) -> u64 {
        self.routes.iter().map(|(_, _, route)| route.broken()).sum()
    }

    /// Returns the number of clients' connections that were closed because they were too slow.
    pub fn slow_consumers(&self) -> usize {
        self.servers.iter().map(|server| server.log().matches("Slow Consumer").count()).sum()
    }
}
