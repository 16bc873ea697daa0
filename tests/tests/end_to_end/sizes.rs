//! Brokers that take short messages only: every page, batch, gossip and snapshot chunk follows the present connection.

use std::time::Instant;

use natter_tests::harness::{Cluster, Encoding, Session, World};
use serde_json::{Value, json};

use crate::ROLES;

/// No message of this broker may be longer: a page of ratings, a few found movies, or a chunk of rows is.
const MAX_PAYLOAD: usize = 4096;

fn configuration(max_payload: usize) -> String {
    format!("max_payload: {max_payload}\n")
}

/// Writes ratings of many users, in batches that fit.
async fn write(session: &mut Session, users: std::ops::Range<u64>, batch: usize) {
    for users in users.collect::<Vec<_>>().chunks(batch) {
        let create = |user: &u64| json!({"op": "create", "user_id": user, "movie_id": 1, "rating": 3.5});
        let operations: Vec<Value> = users.iter().map(create).collect();
        let reply = session.ask("batch", json!({"operations": operations, "answers": "brief"})).await.ok();
        assert_eq!(reply["outcomes"], json!(vec![json!({}); users.len()]), "{reply}");
    }
}

/// A replica that comes now, holds everything soon.
async fn newcomer_catches_up(cluster: &mut Cluster<'_>, name: &str, others: &[&str]) {
    let since = Instant::now();
    cluster.start_replica(name, &[]);
    cluster.until_serve_since(&[name], since).await;
    cluster.until_agreed(&[others, &[name]].concat()).await;
}

fn assert_nothing_was_too_long(cluster: &mut Cluster<'_>) {
    for member in cluster.members() {
        let log = member.log();
        assert!(!log.contains("a message cannot be sent"), "{}:\n{}", member.name(), member.log_tail(20));
    }
}

#[tokio::test]
async fn everything_goes_through_a_broker_that_takes_4_kib() {
    let world = World::with_broker_configuration(ROLES, &configuration(MAX_PAYLOAD)).await;
    let mut cluster = world.cluster("ratings").start(1, 2).await;
    let mut session = Session::new(&cluster.wire);
    write(&mut session, 20_000..20_150, 25).await;

    // A page has what fits, and tells where the next begins.
    for encoding in Encoding::BOTH {
        let (mut movies, mut after, mut pages) = (Vec::new(), json!(0), 0);
        while !after.is_null() {
            let map = json!({"user_id": 42, "after": after, "prev": session.label()});
            let answer = cluster.wire.ask_in(encoding, "frontend.all", &map).await.unwrap();
            assert!(answer.length <= MAX_PAYLOAD, "{}", answer.length);
            let page = answer.ok()["value"].take();
            let ids = page["ratings"].as_array().unwrap().iter().map(|rating| rating["movie_id"].as_u64().unwrap());
            movies.extend(ids);
            assert_eq!(page["total"], 48);
            (after, pages) = (page["next"].clone(), pages + 1);
        }
        assert!(movies.len() == 48 && movies.is_sorted() && pages >= 2, "{encoding:?}: {pages} pages of {movies:?}");
        let found =
            cluster.wire.ask_in(encoding, "frontend.search", &json!({"title": "", "limit": 100})).await.unwrap();
        assert!(found.length <= MAX_PAYLOAD, "{}", found.length);
        let found = found.ok()["value"].take();
        assert!(found["shortened"] == true && found["movies"].as_array().unwrap().len() > 5, "{found}");
        let few =
            cluster.wire.ask_in(encoding, "frontend.search", &json!({"title": "", "limit": 2})).await.unwrap().ok();
        assert!(few["value"].get("shortened").is_none(), "{few}");
    }

    // An import begins with batches that are too large, and goes on with smaller ones.
    let rows: String = (30_000..30_200).map(|user| format!("{user},1,3.5,1795449242\n")).collect();
    std::fs::write(world.path("ratings.csv"), format!("userId,movieId,rating,timestamp\n{rows}")).unwrap();
    let imported = world.run("client", &["import", world.path("ratings.csv").to_str().unwrap()]).await;
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));

    newcomer_catches_up(&mut cluster, "r3", &["r1", "r2"]).await;
    assert_nothing_was_too_long(&mut cluster);
    cluster.finish().await;
}

#[tokio::test]
async fn newcomers_catch_up_through_a_broker_that_was_reloaded_to_a_smaller_limit() {
    let world = World::with_broker_configuration(ROLES, &configuration(1 << 20)).await;
    let mut cluster = world.cluster("ratings").start(1, 2).await;
    let mut session = Session::new(&cluster.wire);
    write(&mut session, 20_000..23_000, 1_000).await;
    cluster.until_agreed(&["r1", "r2"]).await;

    // While the newcomer begins to take what the others have, the broker takes less than one chunk of it.
    let since = Instant::now();
    cluster.start_replica("r3", &[]);
    cluster.id_of("r3").await;
    world.broker.configure(&configuration(MAX_PAYLOAD)).await;
    cluster.until_serve_since(&["r3"], since).await;
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    newcomer_catches_up(&mut cluster, "r4", &["r1", "r2", "r3"]).await;
    write(&mut session, 23_000..23_020, 20).await;
    cluster.until_agreed(&["r1", "r2", "r3", "r4"]).await;
    cluster.finish().await;
}
