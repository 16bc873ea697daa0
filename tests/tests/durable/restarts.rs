//! A replica that restarts again and again under load: nothing waits for the ids of its earlier lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, Seen, Session, Wire, World, update_id_v4};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::{durable_cluster, number, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];
/// Records that an idle log may hold, in place of the thousands that the load writes.
const SHORT: u64 = 200;
/// Longer than any frontend waits before it says TIMEOUT.
const PATIENCE: Duration = Duration::from_secs(4);

/// Results of creates of a rating that exists.
#[derive(Default)]
struct Refusals {
    refused: AtomicU64,
    timed_out: AtomicU64,
    slowest_ms: AtomicU64,
}

/// Creates a rating that exists, again and again: each time it must be refused. The id may be a retry's, so frontends look it
/// up at all replicas first, and a refusal is certain only if no replica that is away can have the update.
async fn ask_for_refusals(wire: Wire, refusals: Arc<Refusals>, all_serve: Arc<AtomicBool>, stop: Arc<AtomicBool>) {
    let rating = json!({"user_id": 9001, "movie_id": 1, "rating": 4.0});
    let mut session = Session::new(&wire);
    session.ask("create", rating.clone()).await.ok();
    while !stop.load(Ordering::SeqCst) {
        let mut again = rating.clone();
        again["id"] = json!(update_id_v4());
        let (asked, calm) = (Instant::now(), all_serve.load(Ordering::SeqCst));
        let answer = session.try_ask("create", again, PATIENCE).await.unwrap();
        let calm = calm && all_serve.load(Ordering::SeqCst);
        match answer.error().0.as_str() {
            "409 RATING_EXISTS" => {
                refusals.refused.fetch_add(1, Ordering::SeqCst);
                if calm {
                    refusals.slowest_ms.fetch_max(asked.elapsed().as_millis() as u64, Ordering::SeqCst);
                }
            }
            // A durable replica is away and may have it: whether it is refused is not known.
            "504 TIMEOUT" => {
                assert!(!calm, "with all replicas there, {answer:?} after {:?}", asked.elapsed());
                refusals.timed_out.fetch_add(1, Ordering::SeqCst);
            }
            other => panic!("{other}: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replica_that_restarts_ten_times_under_load_leaves_nobody_waiting_for_its_earlier_lives() {
    let world = World::new(ROLES).await;
    let (mut cluster, mut ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 6, 20, Duration::from_millis(2));
    let (refusals, all_serve, stop) =
        (Arc::new(Refusals::default()), Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let asker = tokio::spawn(ask_for_refusals(
        cluster.wire.clone(),
        Arc::clone(&refusals),
        Arc::clone(&all_serve),
        Arc::clone(&stop),
    ));
    let (rounds, mut lives) = (number("DURABLE_RESTARTS", 10), vec![ids[0].clone()]);
    for round in 0..rounds {
        ledger.until_acknowledged(10).await;
        all_serve.store(false, Ordering::SeqCst);
        if round % 3 == 1 {
            cluster.member("r1").terminate();
            assert!(cluster.member("r1").ended().await.success());
        } else {
            cluster.member("r1").kill().await;
        }
        let since = Instant::now();
        start_durable(&mut cluster, &world, "r1", &[]);
        let before = ids[0].clone();
        let is_new = |seen: &Seen| seen.named("r1").map(|(id, _)| id.clone()).filter(|id| *id != before);
        ids[0] = cluster.observer.until("r1 shows a new id", is_new).await;
        lives.push(ids[0].clone());
        // A life mostly ends while it still joins.
        if round % 4 != 3 && round + 1 != rounds {
            continue;
        }
        assert_eq!(cluster.until_serve_since(&["r1"], since).await, ids[..1]);
        ledger.until_served_by(&ids[0]).await;
        all_serve.store(true, Ordering::SeqCst);
        let before = refusals.refused.load(Ordering::SeqCst);
        while refusals.refused.load(Ordering::SeqCst) < before + 10 {
            assert!(!asker.is_finished(), "creates of a rating that exists are refused");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    asker.await.unwrap();
    clients.stop().await;
    println!(
        "{} lives; {}; refused {}, in doubt while it was away {}, the slowest refusal while all served after {} ms",
        lives.len(),
        ledger.summary(),
        refusals.refused.load(Ordering::SeqCst),
        refusals.timed_out.load(Ordering::SeqCst),
        refusals.slowest_ms.load(Ordering::SeqCst),
    );
    let retries = ledger.entries().retries.clone();
    assert!(!retries.keys().any(|why| why.contains("TIMEOUT") || why.contains("STALE")), "{retries:?}");
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    // The logs are not held back for the ids of the lives before, which are shown, and count nowhere as replicas.
    let are_short = |seen: &Seen| {
        let length = |id: &String| seen.members[id].presence["log_length"].as_u64();
        ids.iter().all(|id| length(id).is_some_and(|length| length < SHORT)).then_some(())
    };
    let short = cluster.observer.until_within(Duration::from_secs(10), are_short).await;
    let lengths: Vec<Value> =
        ids.iter().map(|id| cluster.observer.seen().members[id].presence["log_length"].clone()).collect();
    assert!(short.is_some(), "the logs have {lengths:?} records ten seconds after the last update");
    let shown = cluster.observer.seen().members[&ids[0]].presence.clone();
    println!("former: {}; logs: {lengths:?}; value: {}", shown["former"], shown["value_timestamp"]);
    for life in &lives[..lives.len() - 1] {
        assert!(shown["former"].as_array().unwrap().contains(&json!(life)), "{life}: {shown}");
    }
    cluster.finish().await;
}
