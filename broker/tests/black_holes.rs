//! Reconnecting while some of the known addresses lead nowhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../processes/tests/support/mod.rs"]
mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_nats::ServerInfo;
use futures_util::future::join_all;
use natter_broker::connection::{ConnectionEvent, ConnectionSettings, Patience, connect};
use natter_broker::options::BrokerOptions;
use natter_processes::nats_server::{NatsServer, ServerSettings};
use support::{DEADLINE, binary, server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, timeout};

/// The longest time without a connection that an address which nobody answers at may cause.
const AWAY_MAX: Duration = Duration::from_secs(1);

/// An address that leads nowhere, for as long as this exists.
struct BlackHole {
    address: SocketAddr,
    _held: Box<dyn std::any::Any>,
}

impl BlackHole {
    /// Connections are not even established: its queue is full, and never read.
    fn full() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queue.push(connection);
        }
        Self { address, _held: Box::new((listener, queue)) }
    }

    /// Connections are established, and never answered.
    fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap(), _held: Box::new(listener) }
    }

    /// A server says INFO, and nothing more.
    async fn only_info() -> Self {
        const INFO: &str = r#"INFO {"server_id":"FROZEN","version":"2.15.1","max_payload":1048576,"headers":true}"#;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(format!("{INFO}\r\n").as_bytes()).await.unwrap();
                held.push(connection);
            }
        });
        Self { address, _held: Box::new(answering) }
    }

    fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

async fn all_kinds() -> Vec<BlackHole> {
    vec![BlackHole::full(), BlackHole::silent(), BlackHole::only_info().await]
}

fn settings() -> ConnectionSettings {
    ConnectionSettings { name: "wanderer".to_owned(), no_echo: false, patience: Patience::Forever }
}

async fn until(events: &mut UnboundedReceiver<ConnectionEvent>, expected: ConnectionEvent) {
    while timeout(DEADLINE, events.recv()).await.unwrap().unwrap() != expected {}
}

/// Two servers `a` and `b` of one cluster, each of which advertises `address` in place of its own.
async fn servers_advertising(address: SocketAddr) -> [NatsServer; 2] {
    let binary = binary().await;
    // Free again, and used by nobody else in this moment.
    let route = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let start = async |name: &str, cluster: String| {
        let config = directory.path().join(name);
        let text = format!("server_name: {name}\nclient_advertise: \"{address}\"\ncluster {{ name: c, {cluster} }}\n");
        std::fs::write(&config, text).unwrap();
        NatsServer::start(ServerSettings { config: Some(config), ..ServerSettings::new(&binary) }).await.unwrap()
    };
    let a = start("a", format!("listen: \"{route}\"")).await;
    let b = start("b", format!("listen: \"127.0.0.1:-1\", routes: [\"nats://{route}\"]")).await;
    for server in [&a, &b] {
        let begun = Instant::now();
        while !info_of(server).await.connect_urls.contains(&address.to_string()) {
            assert!(begun.elapsed() < DEADLINE, "{} advertises nothing", server.url());
        }
    }
    [a, b]
}

/// Returns the information that a server gives about itself.
async fn info_of(server: &NatsServer) -> ServerInfo {
    let options = BrokerOptions::default().for_own_server(server.url());
    connect(&options, &settings(), None).await.unwrap().server_info()
}

#[tokio::test]
async fn first_connection_passes_by_addresses_that_nobody_answers_at() {
    let (server, holes) = tokio::join!(server(), all_kinds());
    let connecting = (0..8).map(|_| async {
        let mut urls: Vec<String> = holes.iter().map(BlackHole::url).collect();
        urls.push(server.url().to_owned());
        let options = BrokerOptions::default().for_own_server(&urls.join(","));
        let begun = Instant::now();
        connect(&options, &settings(), None).await.unwrap();
        begun.elapsed()
    });
    let slowest = join_all(connecting).await.into_iter().max().unwrap();
    println!("slowest of 8 connections: {slowest:?}");
    assert!(slowest < AWAY_MAX, "{slowest:?}");
}

#[tokio::test]
async fn reconnect_passes_by_advertised_addresses_that_nobody_answers_at() {
    let holes = all_kinds().await;
    let reconnecting = holes.iter().map(|hole| async {
        let [a, b] = servers_advertising(hole.address).await;
        let options = BrokerOptions::default().for_own_server(&format!("{},{}", a.url(), b.url()));
        let (sender, mut events) = mpsc::unbounded_channel();
        let client = connect(&options, &settings(), Some(sender)).await.unwrap();
        until(&mut events, ConnectionEvent::Connected).await;
        let info = client.server_info();
        assert!(info.connect_urls.contains(&hole.address.to_string()), "{info:?}");
        let (first, second) = if info.server_name == "a" { (a, b) } else { (b, a) };
        first.stop().await.unwrap();
        until(&mut events, ConnectionEvent::Disconnected).await;
        let lost = Instant::now();
        until(&mut events, ConnectionEvent::Connected).await;
        let away = lost.elapsed();
        assert_ne!(client.server_info().server_name, info.server_name);
        second.stop().await.unwrap();
        away
    });
    let times = join_all(reconnecting).await;
    println!("away for {times:?}");
    assert!(times.iter().all(|away| *away < AWAY_MAX), "{times:?}");
}
