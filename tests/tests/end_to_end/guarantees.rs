//! The guarantees, as they show outside of the processes.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use natter_tests::harness::{Cluster, Encoding, Load, Session, Silence, Wire, World, data, update_id_v7};
use serde_json::{Value, json};

use crate::ROLES;

/// The design's default.
const GOSSIP_INTERVAL: Duration = Duration::from_millis(500);

#[tokio::test]
async fn sessions_read_their_writes_on_whichever_frontend_and_idle_replicas_agree() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    replicas_agree_within_a_gossip_interval(&cluster).await;
    sessions_hop(&cluster).await;
    every_mode_can_be_set_and_shows_at_once(&cluster).await;
    overloaded_replicas_serve_when_there_are_no_others(&cluster).await;
    one_that_was_offline_catches_up_first(&cluster).await;
    cluster.finish().await;
}

/// Timed five times, for the sake of busy machines.
async fn replicas_agree_within_a_gossip_interval(cluster: &Cluster<'_>) {
    let mut times = Vec::new();
    for round in 0..5_u64 {
        let mut session = Session::new(&cluster.wire);
        for movie_id in [1, 2, 3] {
            session.ask("create", json!({"user_id": 100 + round, "movie_id": movie_id, "rating": 4.0})).await.ok();
        }
        let written = Instant::now();
        let label = session.label();
        let covers = |shown: &Value| {
            let counts = label["replicas"].as_object().unwrap();
            counts.iter().all(|(id, count)| shown[id].as_u64() >= count.as_u64())
        };
        let names = ["r1", "r2", "r3"].map(str::to_owned);
        let all_show_it = |seen: &natter_tests::harness::Seen| seen.agreed(&names).filter(|(shown, _)| covers(shown));
        cluster.observer.until("all replicas gossip the same value", all_show_it).await;
        times.push(written.elapsed());
        for name in ["r1", "r2", "r3"] {
            let id = cluster.id_of(name).await;
            let read = ask_replica(&cluster.wire, &id, 100 + round, 3, &json!({})).await.unwrap();
            assert_eq!(read["answered"]["value"]["rating"]["rating"], 4.0, "{name}: {read}");
        }
    }
    println!("three idle replicas gossip the same value timestamp and digest after {times:?}");
    let best = times.iter().min().unwrap();
    assert!(*best <= GOSSIP_INTERVAL + Duration::from_millis(50), "{times:?}");
}

/// A query to one replica, as a frontend sends it (docs/REPLICA_PROTOCOL.md): its reply to this one request.
async fn ask_replica(wire: &Wire, id: &str, user_id: u64, movie_id: u64, prev: &Value) -> Result<Value, Silence> {
    let request = json!({"n": 7, "prev": prev, "wait_ms": 3000,
        "request": {"method": "READ", "params": {"user_id": user_id, "movie_id": movie_id}}});
    let payload = Encoding::MessagePack.encode(&json!({"requests": [request]}));
    let within = Duration::from_secs(4);
    let answer = wire.send_within(&format!("replica.{id}.query"), payload, Encoding::MessagePack, within).await?.ok();
    assert_eq!((&answer["id"], &answer["replies"][0]["n"]), (&json!(id), &json!(7)), "{answer}");
    Ok(answer["replies"][0]["reply"].clone())
}

/// Requests of each session go to both frontends, by turns of the broker's.
async fn sessions_hop(cluster: &Cluster<'_>) {
    const SESSIONS: u64 = 8;
    const ROUNDS: u64 = 60;
    let before = requests_by_frontend(&cluster.wire).await;
    let sessions = (0..SESSIONS).map(|number| async move {
        let mut session = Session::new(&cluster.wire);
        let user_id = 20_000 + number;
        for round in 0..ROUNDS {
            let stars = 0.5 + (round % 10) as f64 / 2.0;
            let operation = if round == 0 { "create" } else { "update" };
            let id = update_id_v7(Duration::ZERO);
            let map = json!({"user_id": user_id, "movie_id": 1, "rating": stars, "id": id});
            session.ask(operation, map).await.ok();
            // Several reads, so that other frontends and replicas are met.
            for _ in 0..3 {
                let read = session.ask("read", json!({"user_id": user_id, "movie_id": 1})).await.ok();
                assert_eq!(
                    (&read["value"]["rating"], &read["value"]["update_id"]),
                    (&json!(stars), &json!(id)),
                    "{read}"
                );
            }
            let all = session.ask("all", json!({"user_id": user_id})).await.ok();
            assert_eq!(
                (&all["value"]["total"], &all["value"]["ratings"][0]["update_id"]),
                (&json!(1), &json!(id)),
                "{all}"
            );
        }
    });
    join_all(sessions).await;
    let after = requests_by_frontend(&cluster.wire).await;
    let served: Vec<u64> =
        after.iter().map(|(id, count)| count - before.iter().find(|(b, _)| b == id).unwrap().1).collect();
    println!("{} requests of {SESSIONS} sessions, by frontend: {served:?}", SESSIONS * ROUNDS * 5);
    assert_eq!(served.len(), 2);
    assert!(served.iter().sum::<u64>() >= SESSIONS * ROUNDS * 5);
    assert!(served.iter().all(|&count| count > SESSIONS * ROUNDS), "sessions met both frontends: {served:?}");
}

/// Returns the number of requests by frontend, from the statistics of the services.
async fn requests_by_frontend(wire: &Wire) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = crate::services::ask_all(wire, "STATS.frontend", 2)
        .await
        .iter()
        .map(|stats| {
            let endpoints = stats["endpoints"].as_array().unwrap();
            let requests = endpoints.iter().map(|endpoint| endpoint["num_requests"].as_u64().unwrap()).sum();
            (stats["id"].as_str().unwrap().to_owned(), requests)
        })
        .collect();
    found.sort();
    found
}

async fn every_mode_can_be_set_and_shows_at_once(cluster: &Cluster<'_>) {
    let id = cluster.id_of("r3").await;
    let mut times = Vec::new();
    for encoding in Encoding::BOTH {
        for (mode, status) in [
            ("overloaded", Some("OVERLOADED")),
            ("active", Some("ACTIVE")),
            ("offline", Some("OFFLINE")),
            ("arbitrary", None),
            ("offline", Some("OFFLINE")),
            ("measured", Some("ACTIVE")),
        ] {
            let set = Instant::now();
            let reply = cluster.set_mode(&id, Some(mode), encoding).await;
            assert_eq!((&reply["id"], &reply["mode"]), (&json!(id), &json!(mode)), "{reply}");
            let shows = |seen: &natter_tests::harness::Seen| {
                let presence = &seen.members[&id].presence;
                let is_it = presence["mode"] == mode && status.is_none_or(|status| presence["status"] == status);
                is_it.then_some(())
            };
            cluster.observer.until(&format!("{mode} shows"), shows).await;
            times.push(set.elapsed());
            let asked = cluster.set_mode(&id, None, encoding).await;
            assert_eq!(asked["mode"], mode, "asking changes nothing");
        }
    }
    times.sort();
    println!("a mode that is set shows on presence after {:?} (median), {:?} at most", times[6], times[11]);
    assert!(times[6] < Duration::from_millis(250), "at once, and not at the next interval: {times:?}");
    cluster.until_shows("r3", "ACTIVE").await;
}

async fn overloaded_replicas_serve_when_there_are_no_others(cluster: &Cluster<'_>) {
    let spared = cluster.id_of("r1").await;
    cluster.set_mode(&spared, Some("overloaded"), Encoding::Json).await;
    cluster.until_shows("r1", "OVERLOADED").await;
    let mut asked = 0;
    for n in 0..40_u64 {
        let written = cluster.wire.ask("create", json!({"user_id": 300 + n, "movie_id": 2, "rating": 5})).await.ok();
        asked += usize::from(written["replicas"].as_array().unwrap().contains(&json!(spared)));
        let read = cluster.wire.ask("read", json!({"user_id": 300 + n, "movie_id": 2})).await.ok();
        asked += usize::from(read["replicas"] == json!([spared]));
    }
    // A frontend may not have heard of the mode before the first requests.
    assert!(asked <= 2, "others are asked first, but {spared} served {asked} times");
    cluster.set_all_modes("overloaded").await;
    let written = cluster.wire.ask("update", json!({"user_id": 300, "movie_id": 2, "rating": 1})).await.ok();
    assert_eq!(written["replicas"].as_array().unwrap().len(), 2, "{written}");
    cluster.set_all_modes("measured").await;
    for name in ["r1", "r2", "r3"] {
        cluster.until_shows(name, "ACTIVE").await;
    }
}

async fn one_that_was_offline_catches_up_first(cluster: &Cluster<'_>) {
    let id = cluster.id_of("r3").await;
    cluster.set_mode(&id, Some("offline"), Encoding::Json).await;
    let mut session = Session::new(&cluster.wire);
    for movie_id in [1, 2, 3, 5, 7] {
        let written = session.ask("create", json!({"user_id": 400, "movie_id": movie_id, "rating": 1.5})).await.ok();
        let replicas = written["replicas"].as_array().unwrap();
        assert!(replicas.len() == 2 && !replicas.contains(&json!(id)), "{written}");
    }
    // An OFFLINE replica behaves as if it were not there: no answer, neither gossip in nor out; but it shows that it is
    // OFFLINE.
    let gossips = |cluster: &Cluster<'_>| cluster.observer.seen().members[&id].gossips;
    let before = gossips(cluster);
    let payload = json!({"requests": [{"n": 1, "prev": {}, "wait_ms": 100,
        "request": {"method": "READ", "params": {"user_id": 1, "movie_id": 1}}}]});
    let (rest, payload) = (format!("replica.{id}.query"), Encoding::MessagePack.encode(&payload));
    let within = Duration::from_millis(700);
    let asked = cluster.wire.send_within(&rest, payload, Encoding::MessagePack, within).await;
    assert_eq!(asked, Err(Silence::TimedOut));
    assert_eq!(gossips(cluster), before, "who is OFFLINE does not gossip");
    let shown = cluster.observer.seen().members[&id].presence.clone();
    assert_eq!(shown["status"], "OFFLINE");
    let label = session.label();
    let lacks = |shown: &Value| {
        let counts = label["replicas"].as_object().unwrap();
        counts.iter().any(|(id, count)| shown["replicas"][id].as_u64() < count.as_u64())
    };
    assert!(lacks(&shown["value_timestamp"]) && lacks(&shown["replica_timestamp"]), "{shown}");
    cluster.set_mode(&id, Some("measured"), Encoding::MessagePack).await;
    // It is asked from the first moment on: what it answers is not older than what this session has seen.
    let answer = loop {
        let reply = ask_replica(&cluster.wire, &id, 400, 7, &label["replicas"]).await.unwrap();
        if reply != "not_serving" {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(answer["answered"]["value"]["rating"]["rating"], 1.5, "{answer}");
    cluster.until_shows("r3", "ACTIVE").await;
}

/// All gossip is lost: a replica learns of updates by what others show of themselves, twice a second; and at once where
/// a request needs them.
#[tokio::test]
async fn a_read_that_needs_what_a_replica_lacks_makes_it_catch_up() {
    let lost = r#"mappings = { "ratings.gossip.*": [ { destination: "lost.$1", weight: 100% } ] }"#;
    let world = World::with_broker_configuration(ROLES, lost).await;
    let database = data::write_small(world.directory());
    let cluster = world.cluster("ratings").database(&database).start(1, 3).await;
    let mut gossip = cluster.wire.client().subscribe("lost.*").await.unwrap();
    let mut session = Session::new(&cluster.wire);
    let ids = cluster.replica_ids();
    let (mut behind, mut times) = (0, Vec::new());
    for round in 0..20_u64 {
        let map = json!({"user_id": 500 + round, "movie_id": 1, "rating": 2.5});
        let written = session.ask("create", map).await.ok();
        let holders = written["replicas"].as_array().unwrap();
        assert_eq!(holders.len(), 2, "{written}");
        let other = ids.iter().find(|id| !holders.contains(&json!(id))).unwrap();
        let (origin, count) = written["label"]["replicas"].as_object().unwrap().iter().next().unwrap();
        // Records that it holds, before it is asked.
        let log = json!({"id": "nobody", "have": {"replicas": session.label()["replicas"]}});
        let page =
            cluster.wire.ask_in(Encoding::MessagePack, &format!("replica.{other}.log"), &log).await.unwrap().ok();
        if page["value_timestamp"]["replicas"][origin].as_u64() < count.as_u64() {
            behind += 1;
        }
        let asked = Instant::now();
        let reply = ask_replica(&cluster.wire, other, 500 + round, 1, &session.label()["replicas"]).await.unwrap();
        times.push(asked.elapsed());
        assert_eq!(reply["answered"]["value"]["rating"]["rating"], 2.5, "{other} answers {reply}");
    }
    times.sort();
    println!(
        "{behind} of 20 times a replica was behind; it had caught up after {:?} (median), {:?} at most",
        times[10], times[19]
    );
    assert!(behind >= 5, "only {behind} times a replica was behind");
    let lost = tokio::time::timeout(Duration::from_secs(5), gossip.next()).await;
    assert!(lost.is_ok_and(|message| message.is_some()), "gossip went elsewhere");
    assert_eq!(cluster.observer.seen().members[&ids[0]].gossips, 0, "gossip was lost");
    cluster.finish().await;
}

/// The simulation that the original's specification asks for.
#[tokio::test]
async fn replicas_of_arbitrary_status_give_right_answers_or_none() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    let load = Load::start(&cluster.wire, 6, Duration::from_millis(4));
    load.until_answered(100).await;
    cluster.set_all_modes("arbitrary").await;
    the_client_sees_right_answers_or_that_all_are_offline(&world, Duration::from_secs(10)).await;
    let drawn: usize = cluster.observer.seen().members.values().map(|member| member.statuses.len()).sum();
    cluster.set_all_modes("measured").await;
    for name in ["r1", "r2", "r3"] {
        cluster.until_shows(name, "ACTIVE").await;
    }
    load.until_answered(200).await;
    let report = load.stop().await;
    println!(
        "{drawn} statuses drawn, {} requests answered (slowest {:?}), others: {:?}",
        report.answered,
        report.slowest,
        report.failures_by_kind()
    );
    report.assert_right();
    // A single attempt may also meet a moment at which all replicas that hold what its session has seen are OFFLINE,
    // and another is not.
    let clear = ["503 UNAVAILABLE", "504 STALE", "504 TIMEOUT"];
    let (unavailable, others): (Vec<_>, Vec<_>) =
        report.failures.iter().partition(|failure| failure.why == "503 UNAVAILABLE");
    assert!(report.failures.iter().all(|failure| clear.contains(&failure.why.as_str())), "{others:#?}");
    assert!(others.len() as u64 <= 10 + report.answered / 50, "{} UNAVAILABLE, {others:#?}", unavailable.len());
    assert!(drawn > 20, "statuses were drawn again and again");
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    cluster.finish().await;
}

/// The program, which tries again: one call after the other.
async fn the_client_sees_right_answers_or_that_all_are_offline(world: &World, time: Duration) {
    let end = Instant::now() + time;
    let (mut written, mut done, mut offline) = (4.5, 0, 0);
    for n in 0_u32.. {
        if Instant::now() >= end {
            break;
        }
        let rating = f64::from(1 + n % 10) / 2.0;
        let text = format!("{rating}");
        let update = ["42", "update", "1", &text, "--json"];
        let read = ["42", "read", "1", "--json"];
        let is_update = n % 2 == 0;
        let output = world.run("client", if is_update { &update } else { &read }).await;
        if output.status.success() {
            let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
            written = if is_update { rating } else { written };
            assert_eq!(reply["value"]["rating"], json!(written), "{reply}");
            done += 1;
        } else {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("OFFLINE"), "{told}");
            // Whether an update took effect is not known then: it is given up in this test by going on from what is read.
            assert!(!is_update || !told.contains("may still take effect"), "{told}");
            offline += 1;
        }
    }
    println!("the client: {done} requests done, {offline} times all were OFFLINE");
    assert!(done > 10, "{done}");
}
