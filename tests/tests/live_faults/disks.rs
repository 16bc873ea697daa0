//! Disks that are full, of the log too.

use natter_tests::harness::{World, data};
use serde_json::json;

use crate::ROLES;

/// Every write to this device fails as on a full disk. A durable replica with its log on a full disk ended once,
/// instead of showing OFFLINE.
#[tokio::test]
async fn a_replica_whose_log_cannot_be_written_serves_all_the_same() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    for name in ["r1", "r2"] {
        cluster.start_replica_after("exec 2>/dev/full", name, &[]);
    }
    cluster.start_frontend("f1", &[]);
    cluster.until_ready().await;
    let written = cluster.wire.ask("create", json!({"user_id": 7, "movie_id": 1, "rating": 4.5})).await.ok();
    assert_eq!(written["replicas"].as_array().unwrap().len(), 2, "{written}");
    assert_eq!(cluster.member("r1").log(), "", "nothing could be written");
    cluster.finish().await;
}
