//! Whether a process is heard and permitted what it needs, on a real `nats-server` with neighbours and permissions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../processes/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use natter_broker::access::{AccessError, Events, Needs, check};
use natter_broker::ask::{AskError, WrongAnswer, ask};
use natter_broker::connection::{ConnectionEvent, ConnectionSettings, Denial, Patience, connect};
use natter_broker::options::BrokerOptions;
use natter_processes::nats_server::{NatsServer, ServerSettings};
use support::{DEADLINE, binary, server};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

async fn connection(server: &NatsServer, user: Option<&str>) -> (Client, UnboundedReceiver<ConnectionEvent>) {
    let mut options = BrokerOptions::default().for_own_server(server.url());
    if let Some(user) = user {
        (options.user, options.password) = (Some(user.to_owned()), Some("secret".to_owned()));
    }
    let (sender, events) = unbounded_channel();
    let settings = ConnectionSettings { name: "test".to_owned(), no_echo: true, patience: Patience::Forever };
    (connect(&options, &settings, Some(sender)).await.unwrap(), events)
}

fn needs() -> Needs {
    Needs {
        role: "replica",
        own: "it.proof.a".to_owned(),
        publishes: vec![("it.news".to_owned(), "news".into())],
        traces: vec!["it.feed".to_owned()],
        subscribes: vec!["it.later".to_owned()],
        queue: Some("group"),
        replies: 8,
    }
}

/// Subscribes to something, and tries all that is needed.
async fn tried(server: &NatsServer, user: Option<&str>) -> Result<(), AccessError> {
    let (client, events) = connection(server, user).await;
    let mut events = Events::from(events);
    let (second, _) = connection(server, user).await;
    let _subscribed = client.subscribe("it.orders").await.unwrap();
    let _luxury = client.subscribe("$SRV.luxury").await.unwrap();
    timeout(DEADLINE, check(&client, &mut events, &second, &needs())).await.unwrap()
}

#[tokio::test]
async fn a_subscription_is_proven_among_silent_subscribers() {
    let server = server().await;
    let (neighbour, _events) = connection(&server, None).await;
    let _silent = neighbour.subscribe(">").await.unwrap();
    let mut heard = neighbour.subscribe("it.>").await.unwrap();
    neighbour.flush().await.unwrap();
    tried(&server, None).await.unwrap();
    // A message that is only traced reaches no subscriber.
    let (other, _events) = connection(&server, None).await;
    other.publish("it.end", "".into()).await.unwrap();
    let mut subjects = Vec::new();
    while subjects.last().is_none_or(|subject| subject != "it.end") {
        subjects.push(timeout(DEADLINE, heard.next()).await.unwrap().unwrap().subject.to_string());
    }
    assert!(subjects.iter().any(|subject| subject == "it.news"), "{subjects:?}");
    assert!(!subjects.iter().any(|subject| subject == "it.feed"), "{subjects:?}");
}

#[tokio::test]
async fn everything_refused_is_listed_and_luxury_is_not() {
    let permissions = [
        ("all", r#"publish: "it.>", subscribe: ["it.>", "_INBOX.>"], allow_responses: {max: -1, expires: "1m"}"#),
        ("plain", r#"publish: ["it.>", "_INBOX.>"], subscribe: {allow: ["it.>", "_INBOX.>"], deny: "$SRV.luxury"}"#),
        (
            "group",
            r#"publish: "it.>", subscribe: ["it.orders", "it.proof.*", "it.later group", "_INBOX.>"],
            allow_responses: {max: -1}"#,
        ),
        ("few", r#"publish: "it.proof.*", subscribe: ["it.proof.*", "_INBOX.>"], allow_responses: {max: -1}"#),
        ("none", r#"publish: "x", subscribe: "x""#),
        ("one", r#"publish: "it.>", subscribe: ["it.>", "_INBOX.>"], allow_responses: true"#),
    ];
    let users = permissions
        .map(|(user, permissions)| format!("{{user: {user}, password: secret, permissions: {{{permissions}}}}}"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, format!("authorization {{ users: [{}] }}", users.join(", "))).unwrap();
    let settings = ServerSettings { config: Some(config), ..ServerSettings::new(binary().await) };
    let server = NatsServer::start(settings).await.unwrap();

    tried(&server, Some("all")).await.unwrap();
    tried(&server, Some("plain")).await.unwrap();
    tried(&server, Some("group")).await.unwrap();
    let refused = async |user| match tried(&server, Some(user)).await.unwrap_err() {
        error @ AccessError::Denied { .. } => error.to_string(),
        error => panic!("{error}"),
    };
    let text = refused("few").await;
    assert!(
        text.starts_with(
            "the broker does not permit this replica to publish it.feed, publish it.news, subscribe it.later, subscribe it.orders: "
        ),
        "{text}"
    );
    let text = refused("none").await;
    for listed in ["publish it.news", "publish it.proof.a", "subscribe it.orders", "subscribe it.proof.a"] {
        assert!(text.contains(listed), "{text}");
    }
    let text = refused("one").await;
    assert!(text.contains("publish _INBOX.") && text.contains("allow_responses: {max: -1"), "{text}");
    assert!(!text.contains("$SRV.luxury"), "{text}");
}

fn is_right(message: &async_nats::Message) -> Result<(), WrongAnswer> {
    if message.payload == "right" { Ok(()) } else { Err(WrongAnswer::of(message, &"not it")) }
}

#[tokio::test]
async fn the_right_answer_is_taken_after_wrong_ones_and_else_they_are_told() {
    let server = server().await;
    let (client, _events) = connection(&server, None).await;
    let (neighbour, _events) = connection(&server, None).await;
    let mut requests = neighbour.subscribe("it.>").await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.unwrap();
            neighbour.publish(reply.clone(), r#"{"stream":"AUDIT","seq":7}"#.into()).await.unwrap();
            if request.subject.as_str() == "it.served" {
                neighbour.publish(reply, "right".into()).await.unwrap();
            }
        }
    });
    let limit = Duration::from_millis(500);
    let asked = async |subject: &str, limit| ask(&client, subject.to_owned(), "".into(), limit, None, is_right).await;
    // The neighbour's subscription may not be in place yet.
    while asked("it.served", DEADLINE).await == Err(AskError::NoResponders) {}
    assert_eq!(asked("it.served", DEADLINE).await, Ok(()));
    let text = asked("it.captured", limit).await.unwrap_err().to_string();
    assert_eq!(text, "no answer came; the JetStream stream AUDIT captures this subject and answered");
    assert_eq!(asked("elsewhere", DEADLINE).await, Err(AskError::NoResponders));
    answering.abort();
}

#[tokio::test]
async fn a_refused_request_is_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    let user = r#"{user: u, password: secret, permissions: {publish: "mine", subscribe: "_INBOX.>"}}"#;
    std::fs::write(&config, format!("authorization {{ users: [{user}] }}")).unwrap();
    let settings = ServerSettings { config: Some(config), ..ServerSettings::new(binary().await) };
    let server = NatsServer::start(settings).await.unwrap();
    let (client, mut events) = connection(&server, Some("u")).await;
    let (sender, denials) = tokio::sync::broadcast::channel(16);
    let telling = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let ConnectionEvent::Denied(denial) = event {
                let _ = sender.send(denial);
            }
        }
    });
    let answer = ask(&client, "theirs".to_owned(), "".into(), 10 * DEADLINE, Some(denials), is_right).await;
    let expected = Denial::parse("Permissions Violation for Publish to \"theirs\"").unwrap();
    assert_eq!(answer, Err(AskError::Denied(expected)));
    telling.abort();
}
