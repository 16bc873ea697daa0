//! SIGKILL under `--sync normal`, where the last commits may not be on the disk.

use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, World};

use crate::ROLES;
use crate::support::{durable_cluster, kill_at_once, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];
const NORMAL: [&str; 2] = ["--sync", "normal"];

#[tokio::test]
async fn under_sync_normal_a_killed_replica_goes_on_under_a_new_id_and_nothing_acknowledged_is_lost() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &NORMAL).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2));
    for killed in [&REPLICAS[..1], &REPLICAS] {
        ledger.until_acknowledged(300).await;
        kill_at_once(&mut cluster, killed).await;
        let (mark, since) = (ledger.mark(), Instant::now());
        for name in killed {
            start_durable(&mut cluster, &world, name, &NORMAL);
        }
        let now = cluster.until_serve_since(killed, since).await;
        for (slot, id) in now.into_iter().enumerate() {
            assert_ne!(id, ids[slot], "a new id");
            cluster.member(killed[slot]).until_logged("was not stopped cleanly under --sync normal").await;
            ids[slot] = id;
        }
        println!("{} killed, all serve again after {:?}", killed.len(), since.elapsed());
        ledger.check(&cluster.wire, &mark, Compare::Updates).await;
        ledger.until_acknowledged(100).await;
    }
    cluster.member("r2").terminate();
    assert!(cluster.member("r2").ended().await.success());
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r2", &NORMAL);
    ids[1] = cluster.until_serve_since(&["r2"], since).await.remove(0);
    clients.stop().await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.until_ids_agree(&ids, Instant::now()).await;
    println!("{}", ledger.summary());
    cluster.finish().await;
}
