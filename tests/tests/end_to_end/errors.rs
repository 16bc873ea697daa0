//! Each row of the error table, with its code, its name and a text that tells the problem.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use natter_tests::harness::{
    Answer, Cluster, Encoding, Session, Silence, Wire, World, data, update_id_v4, update_id_v7,
};
use serde_json::{Value, json};

use crate::ROLES;

/// Maximum time by which a busy machine may exceed a timeout.
const SLACK: Duration = Duration::from_secs(4);

fn assert_error(answer: &Answer, error: &str, text_has: &[&str]) {
    let (found, text) = answer.error();
    assert_eq!(found, error, "{text}");
    for part in text_has {
        assert!(text.contains(part), "{error}: {part:?} is missing in {text:?}");
    }
    assert!(answer.cluster.is_some(), "{error}: Natter-Cluster is missing");
    let tells_of_ratings = error.starts_with("404") || error.starts_with("409");
    if tells_of_ratings {
        assert_eq!(answer.body.as_object().map(|body| body.len()), Some(2), "{{label, cluster}}: {}", answer.body);
        assert_eq!(answer.body["cluster"].as_str(), answer.cluster.as_deref(), "in header and body");
        assert!(answer.body["label"]["clock"].is_u64() && answer.body["label"]["replicas"].is_object());
    } else {
        assert_eq!(answer.length, 0, "{error} comes with an empty body");
    }
}

async fn ask(wire: &Wire, encoding: Encoding, operation: &str, map: &Value) -> Answer {
    wire.ask_in(encoding, &format!("frontend.{operation}"), map).await.unwrap()
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_code_name_and_value() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    for encoding in Encoding::BOTH {
        bad_requests(&cluster.wire, encoding).await;
        what_the_ratings_do_not_allow(&cluster.wire, encoding).await;
    }
    clocks_ahead(&cluster.wire).await;
    unavailable(&cluster).await;
    nobody_at_all(&world).await;
    for encoding in Encoding::BOTH {
        stale(&cluster.wire, encoding).await;
        another_cluster(&cluster.wire, encoding).await;
    }
    cluster.finish().await;
}

async fn bad_requests(wire: &Wire, encoding: Encoding) {
    let whole = json!({"user_id": 7, "movie_id": 1, "rating": 3.0});
    let cases: [(&str, &str, Value); 27] = [
        ("create", "user_id", json!(null)),
        ("create", "user_id", json!(0)),
        ("create", "user_id", json!(4_294_967_296_u64)),
        ("create", "user_id", json!(-1)),
        ("create", "user_id", json!(1.5)),
        ("create", "user_id", json!("7")),
        ("create", "user_id", json!([7])),
        ("create", "user_id", json!(u64::MAX)),
        ("create", "user_id", json!(i64::MIN)),
        ("read", "movie_id", json!(0)),
        ("read", "movie_id", json!("one")),
        ("average", "movie_id", json!(null)),
        ("create", "rating", json!(0)),
        ("create", "rating", json!(0.25)),
        ("create", "rating", json!(4.3)),
        ("create", "rating", json!(5.5)),
        ("update", "rating", json!(null)),
        ("update", "rating", json!(true)),
        ("update", "rating", json!(1e300)),
        ("create", "id", json!("not-a-uuid")),
        ("delete", "id", json!(5)),
        ("read", "prev", json!(5)),
        ("read", "prev", json!({"replicas": {"a.b": 1}})),
        ("read", "prev", json!({"replicas": {"a": -1}})),
        ("read", "prev", json!({"replicas": [1]})),
        ("all", "limit", json!(0)),
        ("all", "after", json!(-3)),
    ];
    for (operation, field, value) in cases {
        let mut map = whole.clone();
        map[field] = value.clone();
        let answer = ask(wire, encoding, operation, &map).await;
        let shown = match &value {
            Value::Null => "missing".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        // 1e300 may be written in another way.
        let shown = if value == json!(1e300) { "" } else { shown.as_str() };
        assert_error(&answer, "400 BAD_REQUEST", &[field, shown]);
    }
    for (rest, map, says) in [
        ("search", json!({}), "title"),
        ("search", json!({"title": 7}), "title"),
        ("search", json!({"title": "x".repeat(100_000)}), "title"),
        ("read.7", json!({"movie_id": 1, "user_id": 8}), "user_id: 8"),
        ("read.0", json!({"movie_id": 1}), "\"0\""),
        ("read.x", json!({"movie_id": 1}), "\"x\""),
        ("delete.4294967296", json!({"movie_id": 1}), "4294967296"),
    ] {
        assert_error(&ask(wire, encoding, rest, &map).await, "400 BAD_REQUEST", &[says]);
    }
}

async fn what_the_ratings_do_not_allow(wire: &Wire, encoding: Encoding) {
    let user = if encoding == Encoding::Json { 11 } else { 12 };
    let map = |movie_id: u64| json!({"user_id": user, "movie_id": movie_id, "rating": 3.0});
    let who = format!("user {user}");
    for operation in ["create", "update", "delete", "read", "average"] {
        let answer = ask(wire, encoding, operation, &map(4)).await;
        assert_error(&answer, "404 MOVIE_NOT_FOUND", &["movie 4"]);
    }
    for operation in ["update", "delete"] {
        let answer = ask(wire, encoding, operation, &map(1)).await;
        assert_error(&answer, "404 RATING_NOT_FOUND", &[&who, "movie 1"]);
    }
    let label = ask(wire, encoding, "create", &map(1)).await.ok()["label"].take();
    let exists = ask(wire, encoding, "create", &map(1)).await;
    assert_error(&exists, "409 RATING_EXISTS", &[&who, "movie 1"]);
    // An id that stands for another update is no retry.
    let id = update_id_v7(Duration::ZERO);
    let with_id =
        |movie_id: u64, rating: f64| json!({"user_id": user, "movie_id": movie_id, "rating": rating, "id": id});
    ask(wire, encoding, "create", &with_id(2, 1.0)).await.ok();
    for (operation, map) in [("create", with_id(3, 1.0)), ("create", with_id(2, 1.5)), ("update", with_id(2, 1.0))] {
        let answer = ask(wire, encoding, operation, &map).await;
        assert_error(&answer, "400 BAD_REQUEST", &["id", &id, "another update"]);
    }
    // The refusal's label shows what it rests on.
    for (id, count) in label["replicas"].as_object().unwrap() {
        let seen = &exists.body["label"]["replicas"][id];
        assert!(seen.as_u64() >= count.as_u64(), "{label} is covered by {}", exists.body);
    }
}

async fn clocks_ahead(wire: &Wire) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    for clock in [(now_ms + 75_000) << 16, (now_ms + 3_600_000) << 16, u64::MAX] {
        for operation in ["read", "create"] {
            let map = json!({"user_id": 13, "movie_id": 1, "rating": 1.0, "prev": {"replicas": {}, "clock": clock}});
            let answer = ask(wire, Encoding::MessagePack, operation, &map).await;
            assert_error(&answer, "400 BAD_REQUEST", &["prev.clock", &clock.to_string(), "minute ahead"]);
        }
    }
    // A clock that is less far ahead is served, and lowered to what the replicas hold: it drives no stamp ahead.
    let clock = (now_ms + 20_000) << 16;
    let map = json!({"user_id": 13, "movie_id": 1, "rating": 1.0, "prev": {"replicas": {}, "clock": clock}});
    let created = ask(wire, Encoding::MessagePack, "create", &map).await.ok();
    assert!(created["label"]["clock"].as_u64().unwrap() < clock, "{created}");
    // Other sessions are served all the same, and see the rating.
    let updated = wire.ask("update", json!({"user_id": 13, "movie_id": 1, "rating": 2.0})).await.ok();
    assert!(updated["label"]["clock"].as_u64().unwrap() < clock, "{updated}");
    assert_eq!(wire.ask("read", json!({"user_id": 13, "movie_id": 1})).await.ok()["value"]["rating"], 2.0);
}

/// Sends requests with a label of another cluster. Each is refused at once, for any operation.
async fn another_cluster(wire: &Wire, encoding: Encoding) {
    let reply = ask(wire, encoding, "average", &json!({"movie_id": 1})).await.ok();
    let ours = reply["cluster"].as_str().unwrap();
    let fields = json!({"user_id": 14, "movie_id": 1, "rating": 1.0, "title": "toy", "operations": []});
    for operation in ["create", "read", "all", "average", "search", "batch"] {
        let of = |cluster: &Value| {
            let mut map = fields.clone();
            map["prev"] = json!({"replicas": {"of-another-cluster": 7}, "clock": 5});
            map["cluster"] = cluster.clone();
            map
        };
        let started = Instant::now();
        let answer = ask(wire, encoding, operation, &of(&json!("another-one"))).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{operation}: at once");
        assert_error(&answer, "504 STALE", &["another-one", ours]);
        assert_eq!(answer.cluster.as_deref(), Some(ours));
        for wrong in [json!(5), json!("a.b"), json!("")] {
            let answer = ask(wire, encoding, operation, &of(&wrong)).await;
            assert_error(&answer, "400 BAD_REQUEST", &["cluster: ", "send the `cluster` of the last reply"]);
        }
    }
    for known in [json!(ours), Value::Null] {
        let answer = ask(wire, encoding, "average", &json!({"movie_id": 1, "cluster": known})).await;
        assert_eq!(answer.ok()["cluster"], json!(ours));
    }
}

async fn stale(wire: &Wire, encoding: Encoding) {
    let reply = ask(wire, encoding, "average", &json!({"movie_id": 1})).await.ok();
    let replica = reply["replicas"][0].as_str().unwrap();
    let few = [json!({replica: 1_000_000}), json!({"nobody": 1}), json!({replica: u64::MAX})];
    let answers = those_who_wait(wire, encoding, &few).await;
    for answer in answers {
        assert_error(&answer, "504 STALE", &["prev"]);
    }
    let thousands: serde_json::Map<String, Value> = (0..5000).map(|n| (format!("made-up-{n}"), json!(n + 1))).collect();
    // A label as large as a message may be, with the longest possible ids.
    let heavy: serde_json::Map<String, Value> = (0..13_000).map(|n| (format!("{n:0>64}"), json!(1))).collect();
    for answer in those_who_wait(wire, encoding, &[json!(thousands), json!(heavy)]).await {
        // Replicas that take long to read it can't say in time that they lack it.
        let (error, text) = answer.error();
        assert!(error == "504 STALE" || error == "504 TIMEOUT", "{error} {text}");
    }
    let read = ask(wire, encoding, "read", &json!({"user_id": 14, "movie_id": 1})).await.ok();
    assert_eq!(read["value"]["rating"], Value::Null, "nothing was created");
    for (id, count) in read["label"]["replicas"].as_object().unwrap() {
        let is_real = count.as_u64().unwrap() < 1000 && !id.starts_with("made-up") && !id.starts_with('0');
        assert!(is_real, "nothing made up gets into labels: {read}");
    }
}

/// Returns the answers to requests with labels that no replica covers.
async fn those_who_wait(wire: &Wire, encoding: Encoding, prevs: &[Value]) -> Vec<Answer> {
    let asking = prevs.iter().flat_map(|replicas| {
        ["read", "create", "search"].map(|operation| {
            let map = json!({"user_id": 14, "movie_id": 1, "rating": 1.0, "title": "toy",
                "prev": {"replicas": replicas, "clock": 5}});
            async move {
                let started = Instant::now();
                let answer = ask(wire, encoding, operation, &map).await;
                let took = started.elapsed();
                assert!(took < Duration::from_secs(2) + SLACK, "{operation} took {took:?}");
                answer
            }
        })
    });
    let all_answered = futures_util::future::join_all(asking);
    tokio::pin!(all_answered);
    let mut served = 0;
    let answers = loop {
        let read = json!({"user_id": 1, "movie_id": 1});
        let read = ask(wire, encoding, "read", &read);
        tokio::select! {
            answers = &mut all_answered => break answers,
            answer = read => {
                assert_eq!(answer.ok()["value"]["rating"], 4.0);
                served += 1;
            }
        }
    };
    assert!(served > 20, "others are served meanwhile, not only {served} times");
    answers
}

async fn unavailable(cluster: &Cluster<'_>) {
    let (wire, ids) = (&cluster.wire, cluster.replica_ids());
    assert_eq!(ids.len(), 3);
    for (id, encoding) in ids.iter().zip([Encoding::MessagePack, Encoding::Json, Encoding::MessagePack]) {
        let reply = cluster.set_mode(id, Some("offline"), encoding).await;
        assert_eq!(
            (&reply["id"], &reply["status"], &reply["mode"]),
            (&json!(id), &json!("OFFLINE"), &json!("offline"))
        );
    }
    for (operation, encoding) in
        [("read", Encoding::MessagePack), ("create", Encoding::Json), ("search", Encoding::Json)]
    {
        let map = json!({"user_id": 15, "movie_id": 1, "rating": 1.0, "title": "toy"});
        let answer = ask(wire, encoding, operation, &map).await;
        assert_error(&answer, "503 UNAVAILABLE", &["all replicas are OFFLINE or gone"]);
    }
    // Requests that cannot be read have no answer either, but for `.status`.
    let malformed = |endpoint: &'static str| {
        let subject = format!("replica.{}.{endpoint}", ids[0]);
        async move { wire.send_within(&subject, vec![0xc1], Encoding::MessagePack, Duration::from_millis(300)).await }
    };
    let endpoints = ["update", "query", "confirm", "log", "snapshot"];
    for answer in futures_util::future::join_all(endpoints.map(malformed)).await {
        assert_eq!(answer, Err(Silence::TimedOut));
    }
    let answer = malformed("status").await.unwrap();
    let (error, text) = answer.error();
    assert!(error == "400 BAD_REQUEST" && text.contains("not a MessagePack map"), "{error}: {text}");
    cluster.set_all_modes("measured").await;
    for name in ["r1", "r2", "r3"] {
        cluster.until_shows(name, "ACTIVE").await;
    }
    let map = json!({"user_id": 15, "movie_id": 1, "rating": 1.0});
    assert_eq!(wire.ask("create", map.clone()).await.ok()["value"]["rating"], 1.0, "the refused one took no effect");
    let answer = malformed("query").await.unwrap();
    let (error, text) = answer.error();
    assert!(error == "400 BAD_REQUEST" && text.contains("not a MessagePack map"), "{error}: {text}");
}

async fn nobody_at_all(world: &World) {
    let wire = Wire::connect(&world.broker.url(), "elsewhere").await;
    let started = Instant::now();
    let answer = wire.ask_in(Encoding::Json, "frontend.read.42", &json!({"movie_id": 1})).await;
    assert_eq!(answer, Err(Silence::NoResponders));
    assert!(started.elapsed() < Duration::from_secs(1), "at once, not after {:?}", started.elapsed());
}

#[tokio::test]
async fn frontends_tell_when_they_are_full_too_few_hold_an_update_or_nobody_answers() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = |prefix| world.cluster(prefix).database(&database);
    let (full, strict, quick, three) = tokio::join!(
        plan("full").frontend_arguments(&["--queue-length", "4"]).start(1, 1),
        plan("team.strict").frontend_arguments(&["--strict"]).start(1, 1),
        plan("quick").frontend_arguments(&["--timeout", "700ms"]).start(1, 2),
        plan("three").frontend_arguments(&["--fault-tolerance", "3"]).start(1, 3),
    );
    tokio::join!(
        overloaded(&full.wire),
        not_enough_replicas(&strict.wire),
        timeouts(&quick),
        three_copies(&three.wire)
    );
    for cluster in [full, strict, quick, three] {
        cluster.finish().await;
    }
}

async fn overloaded(wire: &Wire) {
    // A single replica that is up gives one copy at most, and the reply says so.
    let alone = wire.ask("create", json!({"user_id": 3, "movie_id": 1, "rating": 1.0})).await.ok();
    assert_eq!(alone["replicas"].as_array().unwrap().len(), 1, "{alone}");
    let read = json!({"user_id": 1, "movie_id": 1});
    let parked = json!({"user_id": 1, "movie_id": 1, "prev": {"replicas": {"nobody": 1}}});
    let four = async || futures_util::future::join_all((0..4).map(|_| wire.ask("read", parked.clone()))).await;
    for _ in 0..2 {
        // One connection and one subject: they arrive in this order.
        let rest = async {
            for operation in ["read", "read", "search"] {
                let map = json!({"user_id": 1, "movie_id": 1, "title": "toy"});
                assert_error(&wire.ask(operation, map).await, "503 OVERLOADED", &["4 requests", "try again"]);
            }
        };
        let (stale, ()) = tokio::join!(four(), rest);
        for answer in stale {
            assert_error(&answer, "504 STALE", &[]);
        }
        assert_eq!(wire.ask("read", read.clone()).await.ok()["value"]["rating"], 4.0, "and then serves again");
    }
}

async fn not_enough_replicas(wire: &Wire) {
    let id = update_id_v7(Duration::ZERO);
    let map = json!({"user_id": 5, "movie_id": 1, "rating": 1.0, "id": id});
    assert_error(&wire.ask("create", map).await, "503 NOT_ENOUGH_REPLICAS", &[&id, "of 2"]);
    assert_eq!(wire.ask("read", json!({"user_id": 1, "movie_id": 1})).await.ok()["value"]["rating"], 4.0);
}

/// Checks that an update is on as many replicas as were asked for.
async fn three_copies(wire: &Wire) {
    let mut session = Session::new(wire);
    for n in 0..20 {
        let written = session.ask("create", json!({"user_id": 800 + n, "movie_id": 1, "rating": 1.0})).await.ok();
        assert_eq!(written["replicas"].as_array().unwrap().len(), 3, "{written}");
        let read = session.ask("read", json!({"user_id": 800 + n, "movie_id": 1})).await.ok();
        assert_eq!(read["value"], written["value"]);
    }
}

async fn timeouts(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let mut session = Session::new(wire);
    let map = |movie_id: u64| json!({"user_id": 6, "movie_id": movie_id, "rating": 2.0});
    session.ask("create", map(1)).await.ok();
    let (early, late) = (update_id_v7(Duration::ZERO), update_id_v4());
    cluster.pause_all_replicas();
    let started = Instant::now();
    let with_id = |movie_id, id: &str| {
        let mut map = map(movie_id);
        map["id"] = json!(id);
        map
    };
    let (read, create) = tokio::join!(wire.ask("read", map(1)), wire.ask("create", with_id(2, &early)));
    assert_error(&read, "504 TIMEOUT", &["700 ms"]);
    assert_error(&create, "504 TIMEOUT", &[&early, "may still take effect", "same id"]);
    assert!(started.elapsed() < Duration::from_millis(700) + SLACK, "{:?}", started.elapsed());
    // An id that may be that of a retry is looked up first, which no replica answers either.
    let unanswered = wire.ask("create", with_id(3, &late)).await;
    let (error, text) = unanswered.error();
    // The replicas may count as gone by now.
    assert!(["504 TIMEOUT", "503 UNAVAILABLE"].contains(&error.as_str()), "{error} {text}");
    cluster.resume_all_replicas();
    // Tried again until it is answered, under the same ids, both take effect once.
    for (movie_id, id) in [(2, &early), (3, &late)] {
        let deadline = Instant::now() + Duration::from_secs(20);
        let reply = loop {
            let answer = session.ask("create", with_id(movie_id, id)).await;
            match &answer.refusal {
                None => break answer.body,
                Some(refusal) => {
                    assert!(Instant::now() < deadline && refusal.code >= 500, "{refusal:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        assert_eq!((&reply["value"]["rating"], &reply["value"]["update_id"]), (&json!(2.0), &json!(id)));
        let exists = session.ask("create", map(movie_id)).await;
        assert_error(&exists, "409 RATING_EXISTS", &[]);
    }
}
