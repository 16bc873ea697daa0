//! Batches by hand: each operation has its outcome, those on one rating their order, and the whole one label.

use std::collections::BTreeSet;

use natter_tests::harness::{Answer, Cluster, Encoding, Wire, World, update_id_v7};
use serde_json::{Value, json};

use crate::ROLES;

async fn send(wire: &Wire, encoding: Encoding, rest: &str, map: Value) -> Answer {
    wire.ask_in(encoding, rest, &map).await.unwrap_or_else(|silence| panic!("{map}: {silence:?}"))
}

/// Each outcome in short: the rating, the average, the error's name, or nothing.
fn told(reply: &Value) -> Vec<Value> {
    let outcomes = reply["outcomes"].as_array().unwrap_or_else(|| panic!("no outcomes: {reply}"));
    let short = |outcome: &Value| match (&outcome["error"]["name"], &outcome["value"]) {
        (Value::Null, value) if value["average"].is_null() => value["rating"].clone(),
        (Value::Null, value) => json!([value["average"], value["count"]]),
        (name, _) => name.clone(),
    };
    outcomes.iter().map(short).collect()
}

#[tokio::test]
async fn a_batch_by_hand_answers_each_operation_in_its_order() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    for (encoding, user) in [(Encoding::Json, 3001), (Encoding::MessagePack, 3002)] {
        operations_have_their_outcomes(&cluster, encoding, user).await;
    }
    brief_answers_are_small(&cluster.wire).await;
    the_user_of_the_subject_counts(&cluster.wire).await;
    the_same_batch_again_is_answered_as_the_first_time(&cluster.wire).await;
    what_is_wrong_with_the_whole_is_refused(&cluster.wire).await;
    cluster.finish().await;
}

async fn operations_have_their_outcomes(cluster: &Cluster<'_>, encoding: Encoding, user: u64) {
    let wire = &cluster.wire;
    let of = |op: &str, movie: u64, rating: Value| json!({"op": op, "user_id": user, "movie_id": movie, "rating": rating, "later": {"unknown": [1]}});
    let before = send(wire, encoding, "frontend.average", json!({"movie_id": 8})).await.ok();
    assert_eq!(before["value"]["count"].as_u64().map(|count| count < 2), Some(true));
    let reply = send(
        wire,
        encoding,
        "frontend.batch",
        json!({"operations": [
            of("create", 8, json!(2.0)),
            {"op": "average", "movie_id": 8},
            of("create", 8, json!(5.0)),
            of("update", 8, json!(4.0)),
            of("read", 8, Value::Null),
            of("delete", 9, Value::Null),
            of("create", 9, json!(4.3)),
            of("create", 4, json!(4.0)),
            {"op": "search", "title": "x"},
            of("delete", 8, Value::Null),
            of("read", 8, Value::Null),
            {"op": "average", "movie_id": 8},
            of("create", 9, json!(0.5)),
        ]}),
    );
    let reply = reply.await.ok();
    let expected = [
        json!(2.0),
        json!([2.0, 1]),
        json!("RATING_EXISTS"),
        json!(4.0),
        json!(4.0),
        json!("RATING_NOT_FOUND"),
        json!("BAD_REQUEST"),
        json!("MOVIE_NOT_FOUND"),
        json!("BAD_REQUEST"),
        json!(4.0),
        Value::Null,
        Value::Null,
        json!(0.5),
    ];
    assert_eq!(told(&reply), expected, "{reply}");
    let keys: BTreeSet<&str> = reply.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["outcomes", "label", "replicas", "copies", "cluster"]));
    assert_eq!(reply["copies"], 2);
    let outcomes = &reply["outcomes"];
    let refused = &outcomes[2]["error"];
    assert_eq!(refused["code"], 409);
    assert_eq!(refused["text"], format!("user {user} has already rated movie 8: update or delete that rating"));
    assert!(outcomes[8]["error"]["text"].as_str().unwrap().starts_with("op: search is not served in a batch"));
    assert_eq!(outcomes[0]["replicas"].as_array().unwrap().len(), 2);
    let served: BTreeSet<&str> = reply["replicas"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(outcomes[0]["replicas"].as_array().unwrap().iter().all(|id| served.contains(id.as_str().unwrap())));
    // The label is that of the whole batch: a session with it sees all of it.
    let read = json!({"user_id": user, "movie_id": 9, "prev": reply["label"]});
    for _ in 0..6 {
        let read = send(wire, encoding, "frontend.read", read.clone()).await.ok();
        assert_eq!(read["value"]["rating"], 0.5);
        assert_eq!(read["value"]["update_id"], outcomes[12]["value"]["update_id"]);
    }
    // A batch with this label sees it too.
    let batch = json!({"operations": [of("read", 9, Value::Null)], "prev": reply["label"]});
    assert_eq!(told(&send(wire, encoding, "frontend.batch", batch).await.ok()), [json!(0.5)]);
}

async fn brief_answers_are_small(wire: &Wire) {
    let all = |op: &str, rating: Value| {
        let one = |user: u64| json!({"op": op, "user_id": 10_000 + user, "movie_id": 10, "rating": rating});
        json!({"operations": (0..500).map(one).collect::<Vec<_>>(), "answers": "brief"})
    };
    let answer = send(wire, Encoding::MessagePack, "frontend.batch", all("create", json!(4.0))).await;
    assert!(answer.length < 500 + 400, "{}", answer.length);
    assert!(answer.ok()["outcomes"].as_array().unwrap().iter().all(|outcome| *outcome == json!({})));
    let reads = send(wire, Encoding::MessagePack, "frontend.batch", all("read", Value::Null)).await.ok();
    assert!(told(&reads).iter().all(|rating| *rating == json!(4.0)), "what was asked for is told");
    assert_eq!(reads["copies"], Value::Null);
}

async fn the_user_of_the_subject_counts(wire: &Wire) {
    let map = json!({"operations": [
        {"op": "create", "movie_id": 10, "rating": 1.0},
        {"op": "read", "movie_id": 10, "user_id": 3003},
        {"op": "read", "movie_id": 10, "user_id": 3004},
        {"op": "average", "movie_id": 4_294_967_295_u64},
    ]});
    for encoding in Encoding::BOTH {
        let reply = send(wire, encoding, "frontend.batch.3003", map.clone()).await.ok();
        assert_eq!(told(&reply)[1..], [json!(1.0), json!("BAD_REQUEST"), json!([1.0, 1])], "{reply}");
    }
    let refused = send(wire, Encoding::Json, "frontend.batch.0x1", map).await;
    assert_eq!(refused.error().0, "400 BAD_REQUEST");
}

async fn the_same_batch_again_is_answered_as_the_first_time(wire: &Wire) {
    let operations: Vec<Value> = (0..300)
        .map(|n| {
            let op = ["create", "update", "delete"][n as usize % 3];
            let rating = (op != "delete").then_some(f64::from(n % 10 + 1) / 2.0);
            let id = update_id_v7(std::time::Duration::ZERO);
            json!({"op": op, "user_id": 4000 + n / 3, "movie_id": 1, "rating": rating, "id": id})
        })
        .collect();
    let map = json!({"operations": operations});
    let first = send(wire, Encoding::MessagePack, "frontend.batch", map.clone()).await.ok();
    assert!(told(&first).iter().all(Value::is_number), "{first}");
    for _ in 0..3 {
        let again = send(wire, Encoding::MessagePack, "frontend.batch", map.clone()).await.ok();
        assert_eq!(told(&again), told(&first));
        for (again, first) in again["outcomes"].as_array().unwrap().iter().zip(first["outcomes"].as_array().unwrap()) {
            assert_eq!(again["value"], first["value"]);
        }
    }
}

async fn what_is_wrong_with_the_whole_is_refused(wire: &Wire) {
    let ahead = json!({"clock": u64::MAX});
    for (map, text) in [
        (json!({}), "operations is missing"),
        (json!({"operations": "create"}), "under `operations`"),
        (json!({"operations": [1]}), "expected an operation"),
        (json!({"operations": vec![json!({}); 8193]}), "more than 8192"),
        (json!({"operations": [{"op": "average", "movie_id": 1}], "answers": 1}), "answers: 1 is not a kind"),
        (json!({"operations": [{"op": "average", "movie_id": 1}], "prev": ahead}), "prev.clock"),
    ] {
        for encoding in Encoding::BOTH {
            let answer = send(wire, encoding, "frontend.batch", map.clone()).await;
            let (error, found) = answer.error();
            assert_eq!(error, "400 BAD_REQUEST");
            assert!(found.contains(text), "{text}: {found}");
            assert_eq!(answer.body, Value::Null);
        }
    }
    let empty = send(wire, Encoding::Json, "frontend.batch", json!({"operations": []})).await.ok();
    assert_eq!(empty["outcomes"], json!([]));
}

#[tokio::test]
async fn a_queue_that_is_too_short_for_a_batch_takes_as_many_operations_as_it_has_room_for() {
    let world = World::new(ROLES).await;
    let database = natter_tests::harness::data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database).frontend_arguments(&["--queue-length", "5"]);
    let cluster = plan.start(1, 2).await;
    let create = |user: u64| json!({"op": "create", "user_id": user, "movie_id": 1, "rating": 3.0});
    let map = json!({"operations": (5001..5009).map(create).collect::<Vec<_>>(), "answers": "brief"});
    let reply = send(&cluster.wire, Encoding::Json, "frontend.batch", map).await.ok();
    let expected = [vec![Value::Null; 5], vec![json!("OVERLOADED"); 3]].concat();
    assert_eq!(told(&reply), expected, "{reply}");
    assert_eq!(reply["outcomes"][5]["error"]["code"], 503);
    cluster.finish().await;
}

#[tokio::test]
async fn a_reply_that_does_not_fit_in_a_message_is_cut_short_and_says_where() {
    let world = World::with_broker_configuration(ROLES, "max_payload: 65536\n").await;
    let cluster = world.small_cluster(1, 2).await;
    let read = |user: u64| json!({"op": "read", "user_id": 6000 + user, "movie_id": 5});
    let map = json!({"operations": (0..600).map(read).collect::<Vec<_>>()});
    let answer = send(&cluster.wire, Encoding::MessagePack, "frontend.batch", map).await;
    assert!(answer.length <= 65_536, "{}", answer.length);
    let reply = answer.ok();
    let outcomes = reply["outcomes"].as_array().unwrap();
    let answered = outcomes.iter().take_while(|outcome| outcome["value"].is_object()).count();
    assert!((100..600).contains(&answered), "{answered}");
    for outcome in &outcomes[answered..] {
        assert_eq!(outcome["error"], json!({"code": 413, "name": "REPLY_TOO_LARGE"}));
    }
    cluster.finish().await;
}

#[tokio::test]
async fn a_batch_goes_through_a_broker_that_takes_short_messages_only() {
    let world = World::with_broker_configuration(ROLES, "max_payload: 65536\n").await;
    let cluster = world.small_cluster(1, 2).await;
    // Messages to the acceptor, and from there to the other replica, are several times longer than the request.
    let create = |user: u64| json!({"op": "create", "user_id": 7000 + user, "movie_id": 5, "rating": 3.0});
    let map = json!({"operations": (0..800).map(create).collect::<Vec<_>>(), "answers": "brief"});
    let reply = send(&cluster.wire, Encoding::MessagePack, "frontend.batch", map).await.ok();
    assert_eq!(told(&reply), vec![Value::Null; 800]);
    cluster.finish().await;
}
