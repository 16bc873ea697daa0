//! Replicas that answer clients: one process with two roles, alone, together, and beside processes of one role.

use std::time::Duration;

use futures_util::StreamExt;
use natter_tests::harness::{Load, World, data};
use serde_json::json;

use crate::ROLES;
use crate::services::ask_all;

#[tokio::test]
async fn replicas_that_answer_clients_mix_with_processes_of_one_role() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    let data_dir = world.path("r1");
    cluster.start_replica("r1", &["--frontend", "--data-dir", data_dir.to_str().unwrap()]);
    cluster.start_replica("r2", &["--frontend"]);
    cluster.start_replica("r3", &[]);
    cluster.until_ready().await;
    for name in ["f-r1", "f-r2"] {
        cluster.until_shows(name, "ACTIVE").await;
    }
    for (role, count) in [("frontend", 2), ("replica", 3)] {
        let infos = ask_all(&cluster.wire, &format!("INFO.{role}"), count).await;
        assert!(infos.iter().all(|info| info["name"] == role), "{infos:?}");
    }
    let (replica, frontend) = (cluster.id_of("r1").await, cluster.id_of("f-r1").await);
    assert_eq!(frontend, format!("f-{replica}"), "the two halves of a process are known by their ids");

    let load = Load::start(&cluster.wire, 4, Duration::from_millis(2));
    load.until_answered(200).await;
    // A frontend of its own joins; processes with both roles leave and join.
    cluster.start_frontend("f1", &[]);
    cluster.until_shows("f1", "ACTIVE").await;
    cluster.start_replica("r4", &["--frontend"]);
    cluster.until_shows("f-r4", "ACTIVE").await;
    for name in ["r1", "r2"] {
        cluster.member(name).terminate();
        assert!(cluster.member(name).ended().await.success());
        load.until_answered(200).await;
    }
    let report = load.stop().await;
    report.assert_flawless();
    cluster.finish().await;
}

#[tokio::test]
async fn a_read_and_an_update_need_no_second_hop() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    for name in ["r1", "r2"] {
        cluster.start_replica(name, &["--frontend"]);
    }
    cluster.until_ready().await;
    for name in ["f-r1", "f-r2"] {
        cluster.until_shows(name, "ACTIVE").await;
    }
    let mut spy = cluster.wire.client().subscribe("ratings.replica.*.*").await.unwrap();
    cluster.wire.client().flush().await.unwrap();
    let updated = cluster.wire.ask("update.42", json!({"movie_id": 1, "rating": 4.0})).await.ok();
    assert_eq!(updated["replicas"].as_array().unwrap().len(), 2, "{updated}");
    let label = updated["label"].clone();
    for _ in 0..10 {
        let read = cluster.wire.ask("read.42", json!({"movie_id": 1, "prev": label})).await.ok();
        assert_eq!(read["value"]["rating"], 4.0, "{read}");
    }
    // All messages between the processes came before this.
    cluster.wire.client().publish("ratings.replica.the.end", "".into()).await.unwrap();
    let mut travelled = Vec::new();
    while let Some(message) = spy.next().await
        && message.subject.as_str() != "ratings.replica.the.end"
    {
        travelled.push(message.subject.to_string());
    }
    let is_request = |subject: &&String| !subject.ends_with(".acknowledge");
    assert_eq!(travelled.iter().find(is_request), None, "only acknowledgements of gossip travel: {travelled:?}");
    cluster.finish().await;
}
