//! Two histories of one directory: a plain copy of a directory, which went on without the original or beside it.

use std::process::Command;
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Compare, Ledger, Session, World};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, start_durable};

/// A rating that both histories change.
const SHARED: (u64, u64) = (9001, 1);
/// Reads by each session once the histories have met: enough for every replica to answer several of them.
const READS: usize = 20;

/// The session of a user in one of the histories.
struct Author {
    session: Session,
    user: u64,
    rating: f64,
}

impl Author {
    async fn reads_own_write(&mut self) -> Value {
        let read = self.session.ask("read", json!({"user_id": self.user, "movie_id": 2})).await.ok();
        assert_eq!(read["value"]["rating"], self.rating, "user {}: {read}", self.user);
        read
    }
}

/// Runs one history for a few updates, alone: its replica, and a frontend of its own. The session is one of its only.
async fn run_alone(cluster: &mut Cluster<'_>, world: &World, name: &str, frontend: &str, user: u64) -> Author {
    let since = Instant::now();
    start_durable(cluster, world, name, &[]);
    cluster.start_frontend(frontend, &[]);
    cluster.until_serve_since(&[name], since).await;
    cluster.until_shows(frontend, "ACTIVE").await;
    let mut author = Author { session: Session::new(&cluster.wire), user, rating: 1.0 + (user % 7) as f64 / 2.0 };
    let create = json!({"user_id": user, "movie_id": 2, "rating": author.rating});
    assert_eq!(author.session.ask("create", create).await.ok()["replicas"].as_array().unwrap().len(), 1);
    let update = json!({"user_id": SHARED.0, "movie_id": SHARED.1, "rating": author.rating});
    author.session.ask("update", update).await.ok();
    cluster.member(frontend).terminate();
    assert!(cluster.member(frontend).ended().await.success());
    author
}

#[tokio::test]
async fn two_copies_of_a_directory_that_each_went_on_alone_meet_and_lose_nothing() {
    let world = World::new(ROLES).await;
    let (mut cluster, _) = durable_cluster(&world, 1, &["d1"], &[]).await;
    cluster.until_shows("f1", "ACTIVE").await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 8, 200, 100).await;
    let (user, movie) = SHARED;
    cluster.wire.ask("create", json!({"user_id": user, "movie_id": movie, "rating": 0.5})).await.ok();
    for name in ["f1", "d1"] {
        cluster.member(name).terminate();
        assert!(cluster.member(name).ended().await.success());
    }
    let copied = Command::new("cp").arg("-a").args([data_dir(&world, "d1"), data_dir(&world, "d2")]).status().unwrap();
    assert!(copied.success());

    // The first one is stopped, the second one killed.
    let mut authors = vec![run_alone(&mut cluster, &world, "d1", "f2", 9101).await];
    cluster.member("d1").terminate();
    assert!(cluster.member("d1").ended().await.success());
    authors.push(run_alone(&mut cluster, &world, "d2", "f3", 9102).await);
    cluster.member("d2").kill().await;

    let since = Instant::now();
    for name in ["d1", "d2", "d3"] {
        start_durable(&mut cluster, &world, name, &[]);
    }
    cluster.start_frontend("f4", &[]);
    let ids = cluster.until_serve_since(&["d1", "d2", "d3"], since).await;
    cluster.until_shows("f4", "ACTIVE").await;
    println!("both histories and a third replica serve after {:?}", since.elapsed());
    // The later one of the concurrent updates stands, for every session.
    let mut standing = Vec::new();
    for _ in 0..READS {
        for author in &mut authors {
            author.reads_own_write().await;
            let read = author.session.ask("read", json!({"user_id": user, "movie_id": movie})).await.ok();
            standing.push(read["value"]["rating"].as_f64().unwrap());
        }
    }
    assert!(standing.iter().all(|rating| *rating == authors[1].rating), "{standing:?}");
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    // A session without a label sees both histories, at any replica.
    for (author, id) in authors.iter().zip(ids.iter().cycle()) {
        let read = cluster.wire.ask("read", json!({"user_id": author.user, "movie_id": 2})).await.ok();
        assert_eq!(read["value"]["rating"], author.rating, "{id}: {read}");
    }
    // The histories go on together: an update of one history's session reaches the other's.
    let update = json!({"user_id": user, "movie_id": movie, "rating": 5.0});
    let updated = authors[0].session.ask("update", update).await.ok();
    authors[1].session.merge(&updated["label"]);
    let read = authors[1].session.ask("read", json!({"user_id": user, "movie_id": movie})).await.ok();
    assert_eq!(read["value"]["rating"], 5.0, "{read}");
    cluster.until_ids_agree(&ids, Instant::now()).await;
    let log_is_short = |seen: &natter_tests::harness::Seen| {
        let short = |id: &String| seen.members[id].presence["log_length"].as_u64().is_some_and(|length| length < 50);
        ids.iter().all(short).then_some(())
    };
    let short = cluster.observer.until_within(Duration::from_secs(10), log_is_short).await;
    assert!(short.is_some(), "logs are held back: {:?}", cluster.observer.seen().members);
    // It also looks for DIVERGED in the logs.
    cluster.finish().await;
}

#[tokio::test]
async fn a_replica_runs_on_beside_a_copy_of_its_directory_and_both_count_as_holders() {
    let world = World::new(ROLES).await;
    let (mut cluster, _) = durable_cluster(&world, 1, &["d1"], &[]).await;
    cluster.until_shows("f1", "ACTIVE").await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 4, 40, 20).await;
    // Nothing is written meanwhile, so that this is a copy as it was at one moment.
    let copied = Command::new("cp").arg("-a").args([data_dir(&world, "d1"), data_dir(&world, "d2")]).status().unwrap();
    assert!(copied.success());

    let since = Instant::now();
    start_durable(&mut cluster, &world, "d2", &[]);
    cluster.until_serve_since(&["d2"], since).await;
    let id = |name| cluster.observer.seen().named(name).unwrap().0.clone();
    let ids = [id("d1"), id("d2")];
    let mut session = Session::new(&cluster.wire);
    let create = json!({"user_id": 9201, "movie_id": 1, "rating": 4.0});
    let holders = session.ask("create", create).await.ok()["replicas"].clone();
    assert!(holders.as_array().unwrap().len() == 2, "{ids:?} hold it: {holders}");
    ledger.write(&cluster.wire, 4, 40, 20).await;
    cluster.until_ids_agree(&ids, Instant::now()).await;

    // The copy leaves, and the original goes on.
    cluster.member("d2").terminate();
    assert!(cluster.member("d2").ended().await.success());
    let update = json!({"user_id": 9201, "movie_id": 1, "rating": 2.0});
    session.ask("update", update).await.ok();
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
