//! Other programs on the broker that subscribe to everything, or answer everything.

use std::time::{Duration, Instant};

use natter_tests::harness::{Load, World, data};
use serde_json::json;

use crate::ROLES;

/// Far more than a start takes, and less than a process waits for a proof that does not come.
const START_MAX: Duration = Duration::from_secs(14);

#[tokio::test]
async fn silent_subscribers_delay_neither_a_start_nor_failover() {
    let world = World::new(ROLES).await;
    let neighbour = async_nats::connect(world.broker.url()).await.unwrap();
    let silent = [neighbour.subscribe("ratings.>").await.unwrap(), neighbour.subscribe(">").await.unwrap()];
    neighbour.flush().await.unwrap();
    let begun = Instant::now();
    let mut cluster = world.small_cluster(1, 2).await;
    println!("all serve after {:?}", begun.elapsed());
    assert!(begun.elapsed() < START_MAX, "all serve after {:?}", begun.elapsed());
    let load = Load::start(&cluster.wire, 2, Duration::from_millis(5));
    load.until_answered(100).await;
    let killed = Instant::now();
    cluster.member("r2").kill().await;
    // The word of the broker comes before silence tells: the other replica alone can acknowledge from then on.
    cluster.member("f1").until_logged("the broker does not list its connection any more").await;
    println!("the loss of a replica was noticed after {:?}", killed.elapsed());
    load.until_answered(100).await;
    cluster.start_replica("r3", &[]);
    cluster.start_frontend("f2", &[]);
    cluster.until_ready().await;
    let report = load.stop().await;
    println!("the longest time an answer took is {:?}", report.slowest);
    report.assert_flawless();
    cluster.finish().await;
    drop(silent);
}

#[tokio::test]
async fn a_stream_that_captures_and_answers_everything_misleads_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = format!("jetstream {{ store_dir: \"{}\" }}\n", directory.path().display());
    let world = World::with_broker_configuration(ROLES, &configuration).await;
    let neighbour = async_nats::connect(world.broker.url()).await.unwrap();
    let stream = json!({"name": "AUDIT", "subjects": ["ratings.>"], "storage": "memory", "retention": "limits"});
    let made = neighbour.request("$JS.API.STREAM.CREATE.AUDIT", stream.to_string().into()).await.unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.payload).unwrap();
    assert_eq!(made["config"]["name"], "AUDIT", "{made}");

    let captured = world.run("client", &["42", "create", "1", "4.5", "--patience", "0s", "--timeout", "1s"]).await;
    let text = String::from_utf8_lossy(&captured.stderr).into_owned();
    assert!(!captured.status.success() && text.contains("the JetStream stream AUDIT captures this subject"), "{text}");

    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    for name in ["r1", "r2"] {
        let data_dir = world.path(name);
        cluster.start_replica(name, &["--data-dir", data_dir.to_str().unwrap()]);
    }
    cluster.start_frontend("f1", &[]);
    cluster.until_ready().await;
    for arguments in [&["42", "update", "1", "4.5"][..], &["42", "read", "1"], &["42", "all"]] {
        let output = world.run("client", arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    cluster.member("f1").until_logged("its answers are ignored").await;
    for name in ["r1", "r2"] {
        assert_eq!(cluster.member(name).log().matches(" joins ").count(), 1, "it began once");
    }
    cluster.finish().await;
}
