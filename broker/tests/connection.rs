//! Connections to a real `nats-server`, which comes late, goes, and comes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../processes/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use futures_util::StreamExt;
use natter_broker::connection::{ConnectError, ConnectionEvent, ConnectionSettings, Patience, connect};
use natter_broker::options::BrokerOptions;
use natter_processes::nats_server::{NatsServer, ServerSettings};
use support::{DEADLINE, binary, get, server};
use tokio::sync::mpsc;
use tokio::time::timeout;

fn at(url: &str) -> BrokerOptions {
    BrokerOptions::default().for_own_server(url)
}

fn named(name: &str, patience: Patience) -> ConnectionSettings {
    ConnectionSettings { name: name.to_owned(), no_echo: false, patience }
}

fn brief() -> Patience {
    Patience::GiveUpAfter(Duration::from_millis(500))
}

/// A server on the port of one that has gone.
async fn server_at(port: Option<u16>, arguments: &[&str]) -> NatsServer {
    let arguments = arguments.iter().map(Into::into).collect();
    NatsServer::start(ServerSettings { port, arguments, ..ServerSettings::new(binary().await) }).await.unwrap()
}

#[tokio::test]
async fn waits_for_a_broker_that_comes_later() {
    let gone = server().await;
    let (url, port) = (gone.url().to_owned(), gone.port());
    gone.stop().await.unwrap();
    let options = at(&url);
    let settings = named("early", Patience::Forever);
    let mut connecting = Box::pin(connect(&options, &settings, None));
    let early = timeout(Duration::from_millis(300), &mut connecting).await;
    assert!(early.is_err(), "connected to nobody");
    let (client, _server) = timeout(DEADLINE, async { tokio::join!(connecting, server_at(port, &[])) }).await.unwrap();
    let client = client.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn gives_up_in_words_for_people() {
    let gone = server().await;
    let url = gone.url().to_owned();
    gone.stop().await.unwrap();
    let error = connect(&at(&url), &named("brief", brief()), None).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoBroker { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("no broker at {url} (connection refused")), "{text}");
    assert!(text.contains("is nats-server running?") && text.contains("--server"), "{text}");
}

#[tokio::test]
async fn something_else_than_a_broker_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let text = connect(&at(&url), &named("misled", brief()), None).await.unwrap_err().to_string();
    closing.abort();
    assert!(text.contains("something else than a NATS server") || text.contains("connection reset"), "{text}");
}

#[tokio::test]
async fn tells_of_a_restart_and_goes_on() {
    let first = server().await;
    let port = first.port();
    let (sender, mut events) = mpsc::unbounded_channel();
    let client = connect(&at(first.url()), &named("steady", brief()), Some(sender)).await.unwrap();
    let mut next = async || timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, ConnectionEvent::Connected);
    let mut subscription = client.subscribe("news").await.unwrap();
    first.stop().await.unwrap();
    assert_eq!(next().await, ConnectionEvent::Disconnected);
    let _second = server_at(port, &[]).await;
    assert_eq!(next().await, ConnectionEvent::Connected);
    // On one connection the broker takes in the subscription before the message.
    client.publish("news", "still here".into()).await.unwrap();
    let message = timeout(DEADLINE, subscription.next()).await.unwrap().unwrap();
    assert_eq!(message.payload, "still here");
}

#[tokio::test]
async fn refused_credentials_are_an_error_at_once() {
    let server = server_at(None, &["--user", "ann", "--pass", "secret"]).await;
    let mut options = at(server.url());
    let settings = named("stranger", Patience::Forever);
    let text = timeout(DEADLINE, connect(&options, &settings, None)).await.unwrap().unwrap_err().to_string();
    assert!(text.contains("without credentials") && text.contains("who you are"), "{text}");
    (options.user, options.password) = (Some("ann".into()), Some("wrong".into()));
    let error = timeout(DEADLINE, connect(&options, &settings, None)).await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("refused user ann") && !text.contains("wrong"), "{text}");
    options.password = Some("secret".into());
    connect(&options, &settings, None).await.unwrap();
    let url = server.url().replace("nats://", "nats://ann:secret@");
    connect(&at(&url), &settings, None).await.unwrap();
}

#[tokio::test]
async fn a_user_without_password_is_a_token() {
    let server = server_at(None, &["--auth", "t0ken"]).await;
    let options = BrokerOptions { user: Some("t0ken".into()), ..at(server.url()) };
    connect(&options, &named("bearer", brief()), None).await.unwrap();
}

#[tokio::test]
async fn the_connection_has_its_name_and_no_echo() {
    let server = server().await;
    let settings = ConnectionSettings { no_echo: true, ..named("replica-test", brief()) };
    let client = connect(&at(server.url()), &settings, None).await.unwrap();
    let report = get(&format!("{}/connz", server.monitoring_url().unwrap())).await;
    assert!(report.contains("\"name\": \"replica-test\""), "{report}");
    let other = connect(&at(server.url()), &named("other", brief()), None).await.unwrap();
    let mut subscription = client.subscribe("gossip").await.unwrap();
    client.flush().await.unwrap();
    client.publish("gossip", "own".into()).await.unwrap();
    client.flush().await.unwrap();
    // Asked again until the subscription is in place; the first message that comes must be the other's.
    let message = timeout(DEADLINE, async {
        loop {
            other.publish("gossip", "other".into()).await.unwrap();
            if let Ok(message) = timeout(Duration::from_millis(50), subscription.next()).await {
                break message.unwrap();
            }
        }
    });
    assert_eq!(message.await.unwrap().payload, "other");
}
