//! Metrics and health over HTTP: what they tell of a real cluster, and that they disturb nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "metrics/conventions.rs"]
mod conventions;
#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/scrape.rs"]
mod scrape;

use std::net::TcpListener;

use natter_tests::harness::{Answer, Encoding, Silence, World};
use serde_json::json;

use dashboard::Dashboard;
use scrape::{Scrape, address_of, get, until_status};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
/// The port is the system's choice, and the log tells it.
const ANY_PORT: [&str; 2] = ["--metrics", "127.0.0.1:0"];

#[tokio::test]
async fn metrics_count_what_clients_and_replicas_do_and_follow_the_conventions() {
    let world = World::new(ROLES).await;
    let mut cluster = world.cluster("ratings").empty().await;
    let directory = world.path("r1-data");
    cluster.start_replica("r1", &["--data-dir", directory.to_str().unwrap(), "--metrics", "127.0.0.1:0"]);
    cluster.start_replica("r2", &["--frontend", "--metrics", "127.0.0.1:0"]);
    cluster.until_ready().await;
    let alone = Scrape::of(&address_of(cluster.member("r2")).await).await;
    assert_eq!(alone.value("natter_frontend_requests_total", &[("operation", "create"), ("outcome", "ok")]), Some(0.0));

    let ask = async |operation: &str, map| -> Result<Answer, Silence> {
        cluster.wire.ask_in(Encoding::Json, &format!("frontend.{operation}"), &map).await
    };
    for movie in 1..=5 {
        ask("create", json!({"user_id": 9001, "movie_id": movie, "rating": 4.5})).await.unwrap().ok();
        ask("read", json!({"user_id": 9001, "movie_id": movie})).await.unwrap().ok();
    }
    assert_eq!(
        ask("create", json!({"user_id": 9001, "movie_id": 1, "rating": 1})).await.unwrap().error().0,
        "409 RATING_EXISTS"
    );
    assert_eq!(ask("read", json!({"user_id": 0})).await.unwrap().error().0, "400 BAD_REQUEST");
    let operations =
        json!([{"op": "read", "user_id": 9001, "movie_id": 1}, {"op": "delete", "user_id": 9002, "movie_id": 1}]);
    ask("batch", json!({"operations": operations})).await.unwrap().ok();
    cluster.until_agreed(&["r1", "r2"]).await;

    let (r1, r2) = (address_of(cluster.member("r1")).await, address_of(cluster.member("r2")).await);
    // Gauges follow at the next tick, the lag a few ticks later.
    let is_settled = |scrape: &Scrape| {
        let value = |name| scrape.value(name, &[]).unwrap();
        value("natter_replica_applied_records") == 5.0 && value("natter_replica_lag_records") == 0.0
    };
    let (both, other) = (Scrape::until(&r2, is_settled).await, Scrape::until(&r1, is_settled).await);
    let requests = |operation, outcome| {
        both.value("natter_frontend_requests_total", &[("operation", operation), ("outcome", outcome)]).unwrap()
    };
    assert_eq!(
        (requests("create", "ok"), requests("create", "rating_exists"), requests("create", "stale")),
        (5.0, 1.0, 0.0)
    );
    assert_eq!((requests("read", "ok"), requests("read", "bad_request"), requests("batch", "ok")), (5.0, 1.0, 1.0));
    let in_batches = |outcome| both.value("natter_frontend_batch_operations_total", &[("outcome", outcome)]).unwrap();
    assert_eq!((in_batches("ok"), in_batches("rating_not_found")), (1.0, 1.0));
    let seen = |name: &str, label| both.value(name, label).unwrap();
    assert_eq!(seen("natter_frontend_request_duration_seconds_count", &[("operation", "create")]), 6.0);
    assert!(seen("natter_frontend_request_duration_seconds_sum", &[("operation", "create")]) < 60.0);
    assert_eq!(seen("natter_frontend_replicas", &[("status", "active")]), 2.0);

    // Every update was accepted by one of the two, held by both and applied by both.
    let sum = |name: &str| both.value(name, &[]).unwrap() + other.value(name, &[]).unwrap();
    assert_eq!(sum("natter_replica_accepted_records_total"), 5.0);
    assert_eq!((sum("natter_replica_held_records"), sum("natter_replica_applied_records")), (10.0, 10.0));
    assert_eq!((sum("natter_replica_lag_records"), sum("natter_replica_catch_ups_total")), (0.0, 2.0));
    assert_eq!(sum("natter_replica_gossip_records_sent_total"), 5.0);
    assert_eq!(sum("natter_replica_gossip_records_received_total"), 5.0);
    assert!(sum("natter_replica_gossip_sent_total") >= 5.0);
    assert_eq!((sum("natter_replica_peers"), sum("natter_replica_divergences_total")), (2.0, 0.0));
    assert!(other.value("natter_store_sync_duration_seconds_count", &[]).unwrap() >= 1.0, "r1 waits for its disk");
    assert!(other.value("natter_store_step_duration_seconds_count", &[("step", "apply")]).unwrap() >= 5.0);
    assert_eq!(other.value("natter_replica_connection_up", &[("connection", "replica")]), Some(1.0));
    assert!(!other.has("natter_frontend_requests_total"), "r1 answers no clients");

    for scrape in [&both, &other] {
        conventions::check(scrape);
        conventions::check_with_promtool(scrape).await;
    }
    let dashboard = Dashboard::read();
    dashboard.check_form();
    dashboard.check_against(&both);
    dashboard.check_with_promtool(world.directory()).await;
    conventions::check_document(&both);
    cluster.finish().await;
}

#[tokio::test]
async fn health_tells_of_a_lost_broker_and_of_a_replica_that_is_offline() {
    let world = World::without_broker(ROLES).await;
    world.broker.start().await;
    let mut cluster = world.cluster("ratings").empty().await;
    cluster.start_replica("r1", &ANY_PORT);
    cluster.start_replica("r2", &["--frontend", "--metrics", "127.0.0.1:0"]);
    cluster.start_frontend("f1", &ANY_PORT);
    let mut addresses = Vec::new();
    for name in ["r1", "r2", "f1"] {
        addresses.push(address_of(cluster.member(name)).await);
    }
    cluster.until_ready().await;
    let [r1, r2, f1] = addresses.try_into().unwrap();
    for address in [&r1, &r2, &f1] {
        for probe in ["/livez", "/healthz", "/readyz"] {
            until_status(address, probe, 200).await;
        }
    }
    assert_eq!(get(&r1, "/nowhere").await.0, 404);

    // A replica that is OFFLINE is not ready, and in good health.
    let id = cluster.id_of("r1").await;
    cluster.set_mode(&id, Some("offline"), Encoding::Json).await;
    let reason = until_status(&r1, "/readyz", 503).await;
    assert!(reason.starts_with("replica: is OFFLINE") && reason.trim_end().lines().count() == 1, "{reason:?}");
    assert_eq!((get(&r1, "/healthz").await.0, get(&r2, "/readyz").await.0), (200, 200));
    cluster.set_mode(&id, Some("measured"), Encoding::Json).await;
    until_status(&r1, "/readyz", 200).await;

    // Scrapers that send nothing, half a request, or read nothing keep nobody from an answer.
    let mut idle = Vec::new();
    for text in ["", "GET /metrics HT", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
        idle.push(scrape::send(&f1, text).await);
    }
    assert_eq!(get(&f1, "/readyz").await.0, 200);
    let map = json!({"user_id": 9001, "movie_id": 1});
    cluster.wire.ask_in(Encoding::Json, "frontend.read", &map).await.unwrap().ok();

    world.broker.kill().await;
    for address in [&r1, &r2, &f1] {
        let reason = until_status(address, "/healthz", 503).await;
        assert!(reason.contains("the connection to the broker is lost"), "{reason:?}");
        assert_eq!(get(address, "/readyz").await.0, 503);
        assert_eq!(get(address, "/livez").await.0, 200, "a restart would help nobody");
    }
    world.broker.start().await;
    for address in [&r1, &r2, &f1] {
        until_status(address, "/readyz", 200).await;
        assert_eq!(get(address, "/healthz").await.0, 200);
    }
    let losses = Scrape::of(&r1).await.value("natter_replica_connection_losses_total", &[("connection", "replica")]);
    assert!(losses.unwrap() >= 1.0);
    drop(idle);
    cluster.finish().await;
}

#[tokio::test]
async fn health_of_a_process_without_broker_and_a_port_in_use_are_told() {
    let world = World::without_broker(ROLES).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for role in ["replica", "frontend"] {
        let output = world.run(role, &["--metrics", &address]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = told.lines().last().unwrap_or_default();
        assert!(!output.status.success());
        assert_eq!(
            last,
            format!(
                "{role}: --metrics {address}: the address is in use: choose another port, or end the program that listens there"
            )
        );
        let output = world.run(role, &["--metrics", "example.org:80"]).await;
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let plan = world.cluster("ratings");
    let mut member = plan.start_member("frontend", "f1", &ANY_PORT);
    let address = address_of(&mut member).await;
    for probe in ["/healthz", "/readyz"] {
        let reason = until_status(&address, probe, 503).await;
        assert_eq!(reason, "frontend: starts, and is not connected to the broker yet\n");
    }
    assert_eq!(get(&address, "/livez").await, (200, "alive\n".to_owned()));
    member.kill().await;
    // Without the option, nothing listens.
    let mut silent = plan.start_member("frontend", "f2", &[]);
    silent.until_logged("no broker").await;
    assert!(!silent.log().contains("serves metrics"));
    silent.kill().await;
}
