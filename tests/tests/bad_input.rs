//! Messages that another program on the same broker may send: the sender gets a clear error, and no other process is
//! disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "bad_input/payloads.rs"]
mod payloads;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all, stream};
use natter_tests::harness::{Cluster, DEADLINE, Encoding, Load, MADE_UP, ResidentSet, Session, Silence, Wire, World};
use serde_json::{Value, json};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");

/// No process may grow by more than this, in kilobytes.
const GROWTH_MAX: u64 = 64 * 1024;
/// Subjects of frontends, without their prefix.
const FRONTEND: [&str; 12] = [
    "frontend.create",
    "frontend.update",
    "frontend.delete",
    "frontend.read",
    "frontend.all",
    "frontend.average",
    "frontend.search",
    "frontend.create.42",
    "frontend.update.42",
    "frontend.delete.42",
    "frontend.read.42",
    "frontend.all.42",
];
/// Endpoints of replicas.
const ENDPOINTS: [&str; 5] = ["update", "query", "confirm", "log", "status"];

#[tokio::test]
async fn malformed_messages_cost_their_sender_an_error_and_nobody_else_anything() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(2, 3).await;
    let load = Load::start(&cluster.wire, 2, Duration::from_millis(10));
    load.until_answered(200).await;
    let before = sizes(&mut cluster);
    let started = Instant::now();

    timed("requests that nobody can read", &load, every_sender_is_told(&cluster)).await;
    timed("messages that nobody waits for", &load, messages_that_nobody_waits_for(&cluster)).await;
    timed("requests that no frontend makes", &load, absurd_requests(&cluster)).await;
    timed("gossip that no replica makes", &load, absurd_gossip(&cluster)).await;
    timed("answers that nobody asked for", &load, answers_that_nobody_asked_for(&cluster)).await;
    timed("members made up", &load, members_made_up(&cluster)).await;

    all_is_as_before(&mut cluster, started.elapsed(), &before).await;
    // A newcomer is not lost among them.
    cluster.start_replica("r4", &[]);
    cluster.until_shows("r4", "ACTIVE").await;
    let newcomer = cluster.id_of("r4").await;
    load.until("the newcomer is asked", |report| report.served_by.contains_key(&newcomer)).await;
    let report = load.stop().await;
    println!("{} requests were answered meanwhile, the slowest after {:?}", report.answered, report.slowest);
    println!("others: {:?}", report.failures_by_kind());
    report.assert_right();
    // Reading all that takes time, on a slow machine more than a request has.
    let others = report.failures_by_kind();
    assert!(others.keys().all(|kind| kind == "504 TIMEOUT"), "{:#?}", report.failures);
    assert!(report.failures.len() as u64 <= 5 + report.answered / 50, "{:#?}", report.failures);
    let agreed = cluster.until_agreed(&["r1", "r2", "r3", "r4"]).await;
    println!("idle replicas agreed after {agreed:?}");
    strangers_cannot_call_it_diverged(&cluster).await;
    cluster.finish().await;
}

async fn timed(what: &str, load: &Load, work: impl Future<Output = ()>) {
    let (started, before) = (Instant::now(), load.so_far().answered);
    work.await;
    let answered = load.so_far().answered - before;
    println!("{what}: {:?}, {answered} others answered meanwhile", started.elapsed());
}

fn sizes(cluster: &mut Cluster<'_>) -> Vec<(String, Option<ResidentSet>)> {
    cluster.members().iter().map(|member| (member.name().to_owned(), member.resident_set())).collect()
}

/// Sends bad requests with a reply subject: each sender gets an error with a code and a reason.
async fn every_sender_is_told(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let replicas: Vec<String> = cluster
        .replica_ids()
        .iter()
        .flat_map(|id| ENDPOINTS.map(|endpoint| format!("replica.{id}.{endpoint}")))
        .collect();
    let subjects = FRONTEND.iter().map(|&rest| rest.to_owned()).chain(replicas);
    let mut untold: Vec<String> = Vec::new();
    for (name, payload) in payloads::unreadable() {
        let asking = subjects.clone().map(|rest| {
            let (payload, name) = (payload.clone(), name.clone());
            async move {
                let answer = wire.send(&rest, payload, Encoding::Json).await;
                let is_told = answer.as_ref().is_ok_and(|answer| {
                    let refusal = answer.refusal.as_ref();
                    refusal.is_some_and(|refusal| (refusal.code, refusal.name.as_str()) == (400, "BAD_REQUEST"))
                        && (5..2000).contains(&refusal.map_or(0, |refusal| refusal.text.len()))
                });
                (!is_told).then(|| format!("{rest}: {name}: {answer:?}"))
            }
        });
        // A few at a time: these are large.
        untold.extend(stream::iter(asking).buffer_unordered(6).collect::<Vec<_>>().await.into_iter().flatten());
    }
    assert!(untold.is_empty(), "not told what is wrong:\n{}", untold.join("\n"));
    for payload in payloads::perhaps_ignored() {
        for rest in subjects.clone() {
            wire.send(&rest, payload.clone(), Encoding::MessagePack).await.unwrap();
        }
    }
    for (name, payload) in payloads::ratings_that_are_no_numbers() {
        for rest in ["frontend.create", "frontend.update.7"] {
            let answer = wire.send(rest, payload.clone(), Encoding::MessagePack).await.unwrap();
            let (error, text) = answer.error();
            assert!(error == "400 BAD_REQUEST" && text.contains("rating"), "{name}: {error} {text}");
        }
    }
    // Titles, limits and counts that are well-formed and absurd.
    let long = "x".repeat(500_000);
    for (operation, map) in [
        ("search", json!({"title": long})),
        ("read.42", json!({"movie_id": 1, "user_id": long})),
        ("read.42", json!({"movie_id": 1, "prev": {"replicas": {long.as_str(): 1}}})),
        ("create.42", json!({"movie_id": 1, "rating": 1.0, "id": long})),
    ] {
        for encoding in Encoding::BOTH {
            let answer = wire.ask_in(encoding, &format!("frontend.{operation}"), &map).await.unwrap();
            let (error, text) = answer.error();
            assert!(error == "400 BAD_REQUEST" && text.len() < 1000, "{error} {text}");
        }
    }
}

/// Without a reply subject, and to those subjects that never answer.
async fn messages_that_nobody_waits_for(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let ids = cluster.replica_ids();
    let mut subjects: Vec<String> = FRONTEND.iter().map(|&rest| rest.to_owned()).collect();
    for id in &ids {
        subjects.extend(ENDPOINTS.iter().chain(&["acknowledge"]).map(|endpoint| format!("replica.{id}.{endpoint}")));
        subjects.extend([format!("gossip.{id}"), format!("presence.replica.{id}")]);
    }
    for kind in ["gossip", "presence.replica", "presence.frontend"] {
        subjects.extend([
            format!("{kind}.{MADE_UP}"),
            format!("{kind}.{}", "x".repeat(200)),
            format!("{kind}.a b").replace(' ', "%"),
        ]);
    }
    let rating_payloads = payloads::ratings_that_are_no_numbers();
    for (_, payload) in payloads::unreadable().into_iter().chain(rating_payloads) {
        for rest in &subjects {
            wire.publish(rest, payload.clone()).await;
        }
        // Each payload is read before the next, so that no queue of the broker's is to blame.
        everybody_listens(cluster).await;
    }
}

async fn absurd_requests(cluster: &Cluster<'_>) {
    let (wire, ids) = (&cluster.wire, cluster.replica_ids());
    for kind in ["update", "query", "confirm", "log", "status", "acknowledge"] {
        for payload in payloads::absurd_requests(kind, &ids) {
            for id in &ids {
                wire.publish(&format!("replica.{id}.{kind}"), payload.clone()).await;
                let asked = wire
                    .send_within(
                        &format!("replica.{id}.{kind}"),
                        payload.clone(),
                        Encoding::MessagePack,
                        Duration::from_millis(1),
                    )
                    .await;
                assert_ne!(asked, Err(Silence::NoResponders), "{kind}");
            }
        }
        everybody_listens(cluster).await;
    }
}

async fn absurd_gossip(cluster: &Cluster<'_>) {
    let (wire, ids) = (&cluster.wire, cluster.replica_ids());
    for (sender, payload) in payloads::absurd_gossip(&ids) {
        wire.publish(&format!("gossip.{sender}"), payload).await;
    }
    everybody_listens(cluster).await;
}

/// Sends made-up answers to the inboxes of others, which any listener can learn: they change nothing.
async fn answers_that_nobody_asked_for(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let mut requests = wire.client().subscribe(wire.subject("replica.*.*")).await.unwrap();
    let listening_until = Instant::now() + Duration::from_millis(300);
    let mut inboxes = BTreeSet::new();
    while let Some(wait) = listening_until.checked_duration_since(Instant::now()) {
        let Ok(Some(message)) = tokio::time::timeout(wait, requests.next()).await else { break };
        inboxes.extend(message.reply.map(|reply| reply.to_string()));
    }
    requests.unsubscribe().await.unwrap();
    assert!(!inboxes.is_empty(), "frontends ask replicas all the time");
    let inboxes: Vec<String> = inboxes.into_iter().take(20).collect();
    for (_, payload) in payloads::unreadable().into_iter().chain(payloads::absurd_replies()) {
        for inbox in &inboxes {
            wire.client().publish(inbox.clone(), payload.clone().into()).await.unwrap();
        }
        everybody_listens(cluster).await;
    }
}

/// Thousands of processes that don't exist show themselves, of this data set and of another.
async fn members_made_up(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let dataset = cluster.observer.seen().named("r1").unwrap().1.presence["dataset"].clone();
    for (number, payload) in payloads::made_up_presence(&dataset).into_iter().enumerate() {
        let (kind, id, payload) = payload;
        wire.publish(&format!("presence.{kind}.{id}"), payload).await;
        if number % 500 == 0 {
            everybody_listens(cluster).await;
        }
    }
    everybody_listens(cluster).await;
}

/// Waits until every process has read all messages so far: it answers requests sent after them.
async fn everybody_listens(cluster: &Cluster<'_>) {
    cluster.wire.flush().await;
    let ids = cluster.replica_ids();
    let statuses = join_all(ids.iter().map(|id| cluster.set_mode(id, None, Encoding::MessagePack))).await;
    assert!(statuses.iter().all(|status| status["status"] == "ACTIVE"), "{statuses:?}");
    // A frontend behind a long queue may first answer that time is up.
    let started = Instant::now();
    for _ in 0..4 {
        loop {
            let answer = cluster.wire.ask("read", json!({"user_id": 1, "movie_id": 1})).await;
            match &answer.refusal {
                None => {
                    assert_eq!(answer.body["value"]["rating"], 4.0);
                    break;
                }
                Some(refusal) => assert!(refusal.name == "TIMEOUT" && started.elapsed() < DEADLINE, "{refusal:?}"),
            }
        }
    }
}

/// Made-up senders repeat a replica's message, under another name and with another digest.
async fn strangers_cannot_call_it_diverged(cluster: &Cluster<'_>) {
    let mut gossip = cluster.observer.seen().named("r1").unwrap().1.gossip.clone();
    gossip["records"] = json!([]);
    gossip["digest"] = json!("0123456789abcdef");
    for n in 0..2000 {
        let id = format!("{MADE_UP}-liar-{n}");
        gossip["id"] = json!(id);
        cluster.wire.publish(&format!("gossip.{id}"), Encoding::MessagePack.encode(&gossip)).await;
    }
    everybody_listens(cluster).await;
    for id in cluster.replica_ids() {
        let status = cluster.set_mode(&id, None, Encoding::Json).await;
        assert_eq!(status["diverged"], json!([]), "{status}");
    }
}

async fn all_is_as_before(cluster: &mut Cluster<'_>, took: Duration, before: &[(String, Option<ResidentSet>)]) {
    let mut session = Session::new(&cluster.wire);
    for n in 0..50_u64 {
        let created = session.ask("create", json!({"user_id": 70 + n, "movie_id": 7, "rating": 3.0})).await.ok();
        assert_eq!(created["replicas"].as_array().unwrap().len(), 2, "{created}");
        let label = created["label"]["replicas"].as_object().unwrap();
        assert!(label.keys().all(|id| !id.starts_with(MADE_UP)), "{created}");
    }
    for id in cluster.replica_ids() {
        let status = cluster.set_mode(&id, None, Encoding::Json).await;
        assert_eq!(status["diverged"], json!([]), "nobody diverged, whatever was made up");
    }
    for (member, (name, size)) in cluster.members().iter().zip(before) {
        let log = member.log();
        let told = log.lines().filter(|line| line.contains("dropped a malformed message")).count() as u64;
        println!(
            "{name}: {size:?} kB -> {:?}, {} lines of log, {told} of malformed messages",
            member.resident_set(),
            log.lines().count()
        );
        assert!(told > 0, "{name} says that it dropped something:\n{}", member.log_tail(20));
        if member.role() == "frontend" {
            let requests = log.lines().any(|line| line.contains("malformed") && line.contains("ratings.frontend."));
            assert!(requests, "{name} says nothing of requests that it dropped:\n{}", member.log_tail(20));
        }
        let lines = log.lines().count() as u64;
        assert!(
            lines < 200 + 50 * took.as_secs(),
            "{name} has logged {lines} lines in {took:?}:\n{}",
            member.log_tail(50)
        );
        if let (Some(before), Some(after)) = (size, member.resident_set()) {
            assert!(after.0 < before.0 + GROWTH_MAX, "{name} has grown from {} kB to {} kB", before.0, after.0);
        }
    }
}

#[tokio::test]
async fn a_flood_of_requests_that_wait_leaves_the_others_their_answers() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(1, 2).await;
    let wire = cluster.wire.clone();
    let before = sizes(&mut cluster);
    // Labels with thousands of entries that no replica has reached, at the frontend and at both replicas.
    let entries: serde_json::Map<String, Value> = (0..3000).map(|n| (format!("{MADE_UP}-{n}"), json!(1))).collect();
    let flood = async {
        let map = json!({"user_id": 1, "movie_id": 1, "prev": {"replicas": entries, "clock": 0}});
        let asking = (0..60).map(|_| wire.ask("read", map.clone()));
        let answers: Vec<_> = stream::iter(asking).buffer_unordered(20).collect().await;
        let stale = answers.iter().filter(|answer| answer.error().0 == "504 STALE").count();
        println!("{stale} of {} were told STALE", answers.len());
        // A slow machine may not know it in time.
        assert!(answers.iter().all(|answer| ["504 STALE", "504 TIMEOUT"].contains(&answer.error().0.as_str())));
    };
    let wire: &Wire = &cluster.wire;
    tokio::pin!(flood);
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let mut session = Session::new(wire);
    loop {
        let started = Instant::now();
        let writing = session.ask("create", json!({"user_id": 5000 + served, "movie_id": 1, "rating": 1.0}));
        tokio::select! {
            () = &mut flood => break,
            answer = writing => {
                answer.ok();
                served += 1;
                slowest = slowest.max(started.elapsed());
            }
        }
    }
    println!("{served} updates were served meanwhile, the slowest in {slowest:?}");
    assert!(served > 20, "only {served} updates were served meanwhile");
    for (member, (name, size)) in cluster.members().iter().zip(&before) {
        if let (Some(before), Some(after)) = (size, member.resident_set()) {
            assert!(after.0 < before.0 + 2 * GROWTH_MAX, "{name} has grown from {} kB to {} kB", before.0, after.0);
        }
    }
    cluster.finish().await;
}
