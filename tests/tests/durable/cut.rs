//! A write-ahead log that was cut, or is gone, after a SIGKILL.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, World};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, kill_at_once, read_out, service_ids, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];

#[tokio::test]
async fn with_a_torn_log_a_replica_starts_takes_a_new_id_and_catches_up() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(2));
    // In the middle, and in the middle of a frame near the end.
    for part in [0.5, 0.93] {
        ledger.until_acknowledged(300).await;
        cluster.member("r1").kill().await;
        let path = data_dir(&world, "r1").join("replica.sqlite-wal");
        let log = File::options().write(true).open(&path).unwrap();
        let length = log.metadata().unwrap().len();
        log.set_len((length as f64 * part) as u64 | 1).unwrap();
        let since = Instant::now();
        start_durable(&mut cluster, &world, "r1", &[]);
        let id = cluster.until_serve_since(&["r1"], since).await.remove(0);
        println!("{length} bytes cut to {part}: {} goes on as {id} after {:?}", ids[0], since.elapsed());
        assert_ne!(id, ids[0]);
        cluster.member("r1").until_logged("under a new id").await;
        ids[0] = id;
        ledger.until_served_by(&ids[0]).await;
    }
    clients.stop().await;
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    println!("{}", ledger.summary());
    assert_eq!(service_ids(&cluster).await, ids, "the old id is no service any more");
    kill_at_once(&mut cluster, &REPLICAS).await;
    let since = Instant::now();
    for name in REPLICAS {
        start_durable(&mut cluster, &world, name, &[]);
    }
    let now = cluster.until_serve_since(&REPLICAS, since).await;
    cluster.until_ids_agree(&now, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}

#[tokio::test]
async fn without_its_log_a_directory_in_use_is_refused_and_an_empty_one_takes_everything_from_the_others() {
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 1, &REPLICAS[..2], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 8, 200, 100).await;
    cluster.member("r1").kill().await;
    let directory = data_dir(&world, "r1");
    fs::remove_file(directory.join("replica.sqlite-wal")).unwrap();
    start_durable(&mut cluster, &world, "r1", &[]);
    let status = cluster.member("r1").ended().await;
    let expected = format!(
        "replica: --data-dir {}: replica.sqlite-wal is missing, or is no write-ahead log: the directory is damaged or was \
         copied while it was in use; {}",
        directory.display(),
        read_out(&directory)
    );
    assert_eq!((status.code(), cluster.member("r1").log_tail(1)), (Some(1), expected));
    fs::rename(&directory, world.path("moved")).unwrap();
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    let id = cluster.until_serve_since(&["r1"], since).await.remove(0);
    assert_ne!(id, ids[0]);
    cluster.until_ids_agree(&[id, ids[1].clone()], Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
