//! A real `nats-server`: started, asked, stopped.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use natter_processes::nats_server::{NatsServer, ServerError, ServerSettings};
use support::{binary, get, is_running, server};

#[tokio::test]
async fn listens_on_loopback_and_shows_its_reports() {
    let server = server().await;
    assert!(server.url().starts_with("nats://127.0.0.1:"), "{}", server.url());
    assert!(server.port().is_some_and(|port| port != 4222));
    let monitoring = server.monitoring_url().unwrap();
    assert!(monitoring.starts_with("http://127.0.0.1:"), "{monitoring}");
    let report = get(&format!("{monitoring}/varz")).await;
    assert!(report.contains("\"host\": \"127.0.0.1\""), "{report}");
    assert!(server.log_path().exists());
}

#[tokio::test]
async fn dropping_stops_it_and_leaves_nothing_behind() {
    let mut server = server().await;
    let pid = server.process().id().unwrap();
    let directory = server.log_path().parent().unwrap().to_owned();
    assert!(is_running(pid) && directory.exists());
    drop(server);
    assert!(!is_running(pid), "the process is still there");
    assert!(!directory.exists(), "the directory is still there");
}

#[tokio::test]
async fn a_paused_server_can_still_be_stopped() {
    let mut server = server().await;
    let pid = server.process().id().unwrap();
    server.process().pause();
    server.stop().await.unwrap();
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = server().await;
    let settings = ServerSettings { port: first.port(), ..ServerSettings::new(binary().await) };
    let error = NatsServer::start(settings).await.unwrap_err();
    assert!(matches!(error, ServerError::EndedEarly { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("port {}", first.port().unwrap())) && text.contains("choose another"), "{text}");
}

#[tokio::test]
async fn a_broken_configuration_is_told_in_the_servers_words() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("bad.conf");
    std::fs::write(&config, "no_such_field: 7\n").unwrap();
    let settings = ServerSettings { config: Some(config), ..ServerSettings::new(binary().await) };
    let text = NatsServer::start(settings).await.unwrap_err().to_string();
    assert!(text.contains("ended while starting") && text.contains("no_such_field"), "{text}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let text = NatsServer::start(ServerSettings::new("/nowhere/nats-server")).await.unwrap_err().to_string();
    assert!(text.starts_with("can't run /nowhere/nats-server"), "{text}");
}

#[tokio::test]
async fn the_projects_configuration_is_accepted_with_other_ports_and_jetstream() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nats.conf");
    let log = tempfile::NamedTempFile::new().unwrap();
    let settings = ServerSettings {
        config: Some(config),
        jetstream: true,
        log: Some(log.path().to_owned()),
        ..ServerSettings::new(binary().await)
    };
    let server = NatsServer::start(settings).await.unwrap();
    let report = get(&format!("{}/jsz", server.monitoring_url().unwrap())).await;
    assert!(report.contains("store_dir"), "{report}");
    assert!(std::fs::read_to_string(server.log_path()).unwrap().contains("Server is ready"));
}
