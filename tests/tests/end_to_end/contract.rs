//! Wire contract of the design, seen by a client that has nothing of Natter but that text.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use natter_tests::harness::{Answer, Cluster, Encoding, Session, Wire, World, update_id_v4, update_id_v7};
use serde_json::{Value, json};

use crate::ROLES;

fn keys(map: &Value) -> BTreeSet<&str> {
    map.as_object().unwrap_or_else(|| panic!("a map, not {map}")).keys().map(String::as_str).collect()
}

/// The value of a reply that has just the keys of the contract.
fn value_of(answer: Answer) -> Value {
    let mut reply = answer.ok();
    assert_eq!(keys(&reply), BTreeSet::from(["value", "label", "replicas", "cluster"]), "{reply}");
    assert!(reply["cluster"].as_str().is_some_and(|cluster| !cluster.is_empty()), "{reply}");
    assert_eq!(keys(&reply["label"]), BTreeSet::from(["replicas", "clock"]), "{reply}");
    assert!(reply["label"]["clock"].is_u64(), "{reply}");
    assert!(reply["label"]["replicas"].as_object().unwrap().values().all(Value::is_u64), "{reply}");
    assert!(reply["replicas"].as_array().is_some_and(|ids| !ids.is_empty() && ids.iter().all(Value::is_string)));
    reply["value"].take()
}

fn rating(user_id: u64, movie_id: u64, title: &str, rating: Value, timestamp: Value, update_id: Value) -> Value {
    json!({"user_id": user_id, "movie_id": movie_id, "title": title, "rating": rating, "timestamp": timestamp,
        "update_id": update_id})
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_program_that_knows_only_the_wire_contract_is_served() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    let wire = &cluster.wire;
    for encoding in Encoding::BOTH {
        queries_answer_with_the_fields_of_the_contract(wire, encoding).await;
    }
    what_may_be_left_out_or_added(wire).await;
    for (encoding, user_id, by_subject) in [
        (Encoding::MessagePack, 1001, false),
        (Encoding::MessagePack, 1002, true),
        (Encoding::Json, 1003, false),
        (Encoding::Json, 1004, true),
    ] {
        updates_answer_with_the_rating_and_two_replicas(wire, encoding, user_id, by_subject).await;
    }
    for (user_id, make_id) in [
        (2001, update_id_v4 as fn() -> String),
        (2002, || update_id_v7(Duration::ZERO)),
        (2003, || update_id_v7(Duration::from_secs(20))),
    ] {
        an_id_takes_effect_once(wire, user_id, make_id).await;
    }
    labels_go_round(wire).await;
    what_anybody_on_the_broker_sees(&cluster).await;
    cluster.finish().await;
}

async fn queries_answer_with_the_fields_of_the_contract(wire: &Wire, encoding: Encoding) {
    let ask = async |rest: &str, map: Value| value_of(wire.ask_in(encoding, rest, &map).await.unwrap());
    let toy_story = rating(1, 1, "Toy Story (1995)", json!(4.0), json!(964_982_703), Value::Null);
    assert_eq!(ask("frontend.read", json!({"user_id": 1, "movie_id": 1})).await, toy_story);
    assert_eq!(ask("frontend.read.1", json!({"movie_id": 1})).await, toy_story);
    let unrated = rating(1, 7, "100% Wolf (2020)", Value::Null, Value::Null, Value::Null);
    assert_eq!(ask("frontend.read", json!({"user_id": 1, "movie_id": 7})).await, unrated);
    let greatest = rating(4_294_967_295, 2, "Jumanji (1995)", json!(2.5), json!(1_704_067_202), Value::Null);
    assert_eq!(ask("frontend.read", json!({"user_id": 4_294_967_295_u64, "movie_id": 2})).await, greatest);

    let jumanji = rating(1, 2, "Jumanji (1995)", json!(3.5), json!(964_982_704), Value::Null);
    let president = rating(1, 3, "American President, The (1995)", json!(0.5), json!(964_982_705), Value::Null);
    let whole = json!({"ratings": [toy_story, jumanji, president], "total": 3, "next": null});
    assert_eq!(ask("frontend.all", json!({"user_id": 1})).await, whole);
    assert_eq!(ask("frontend.all.1", json!({})).await, whole);
    let page = json!({"ratings": [toy_story, jumanji], "total": 3, "next": 2});
    assert_eq!(ask("frontend.all", json!({"user_id": 1, "limit": 2})).await, page);
    let rest = json!({"ratings": [president], "total": 3, "next": null});
    assert_eq!(ask("frontend.all", json!({"user_id": 1, "limit": 2, "after": 2})).await, rest);
    let nothing = json!({"ratings": [], "total": 0, "next": null});
    assert_eq!(ask("frontend.all", json!({"user_id": 5})).await, nothing);

    let average = json!({"movie_id": 2, "title": "Jumanji (1995)", "average": 3.0, "count": 2});
    assert_eq!(ask("frontend.average", json!({"movie_id": 2})).await, average);
    let nobody = json!({"movie_id": 193_609, "title": "Untitled (2018)", "average": null, "count": 0});
    assert_eq!(ask("frontend.average", json!({"movie_id": 193_609})).await, nobody);

    let titles = async |map: Value| -> Vec<u64> {
        let found = ask("frontend.search", map).await;
        assert_eq!(keys(&found), BTreeSet::from(["movies"]));
        found["movies"].as_array().unwrap().iter().map(|movie| movie["movie_id"].as_u64().unwrap()).collect()
    };
    let found = ask("frontend.search", json!({"title": "TOY sto"})).await;
    let genres = ["Adventure", "Animation", "Children", "Comedy", "Fantasy"];
    let movie = json!({"movie_id": 1, "title": "Toy Story (1995)", "genres": genres, "average": 4.5, "count": 3});
    assert_eq!(found, json!({"movies": [movie]}));
    assert_eq!(titles(json!({"title": "100%"})).await, [7]);
    assert_eq!(titles(json!({"title": "snake_"})).await, [9]);
    assert_eq!(titles(json!({"title": "AMÉLIE"})).await, [5]);
    assert_eq!(titles(json!({"title": "(1998)", "limit": 1})).await.len(), 1);
    assert_eq!(titles(json!({"title": "no such film"})).await, [0_u64; 0]);
    let untitled = ask("frontend.search", json!({"title": "untitled"})).await;
    assert_eq!(untitled["movies"][0]["genres"], json!([]), "(no genres listed) is no genre");
}

async fn what_may_be_left_out_or_added(wire: &Wire) {
    // An empty payload is an empty map.
    let all = value_of(wire.send("frontend.all.42", Vec::new(), Encoding::MessagePack).await.unwrap());
    assert_eq!(all["total"], 2);
    let refused = wire.send("frontend.read.42", Vec::new(), Encoding::MessagePack).await.unwrap();
    assert_eq!(refused.error().0, "400 BAD_REQUEST");
    for encoding in Encoding::BOTH {
        // Unknown fields of any kind, and nil for fields that may be left out.
        let map = json!({"user_id": 42, "movie_id": 1, "prev": null, "id": null, "later": {"a": [1, {"b": null}], "c": "d"},
            "rating_": 3.5, "": false});
        let read = value_of(wire.ask_in(encoding, "frontend.read", &map).await.unwrap());
        assert_eq!(read["rating"], 4.5);
        let label = json!({"replicas": {}, "clock": 0, "later": [1]});
        let map = json!({"user_id": 42, "movie_id": 1, "prev": label});
        assert!(wire.ask_in(encoding, "frontend.read", &map).await.unwrap().refusal.is_none());
    }
    // White space before and after the object a person typed.
    let typed = b"{ \"movie_id\" : 1 }\n".to_vec();
    assert_eq!(value_of(wire.send("frontend.read.42", typed, Encoding::Json).await.unwrap())["rating"], 4.5);
}

async fn updates_answer_with_the_rating_and_two_replicas(
    wire: &Wire,
    encoding: Encoding,
    user_id: u64,
    by_subject: bool,
) {
    let mut session = Session::new(wire);
    let mut ask = async |operation: &str, movie: u64, stars: Option<Value>, id: Option<&str>| {
        let mut map = json!({"movie_id": movie, "prev": session.label()});
        if let Some(stars) = stars {
            map["rating"] = stars;
        }
        if let Some(id) = id {
            map["id"] = json!(id);
        }
        let rest = if by_subject { format!("frontend.{operation}.{user_id}") } else { format!("frontend.{operation}") };
        if !by_subject {
            map["user_id"] = json!(user_id);
        }
        let answer = wire.ask_in(encoding, &rest, &map).await.unwrap();
        if operation != "read" {
            let replicas: BTreeSet<&str> =
                answer.body["replicas"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(replicas.len(), 2, "two replicas hold it: {}", answer.body);
        }
        session.merge(&answer.body["label"]);
        value_of(answer)
    };
    let before = unix_seconds();
    let id = update_id_v7(Duration::ZERO);
    // An integer is a rating too.
    let created = ask("create", 5, Some(json!(4)), Some(&id)).await;
    let title = "Le fabuleux destin d'Amélie Poulain (2001)";
    let written = created["timestamp"].as_u64().unwrap();
    assert!((before..=unix_seconds() + 1).contains(&written), "{created}");
    assert_eq!(created, rating(user_id, 5, title, json!(4.0), json!(written), json!(id)));
    assert_eq!(ask("read", 5, None, None).await, created);

    // The frontend makes an id where the client has none.
    let updated = ask("update", 5, Some(json!(0.5)), None).await;
    let made = updated["update_id"].as_str().unwrap().to_owned();
    assert!(made.len() == 36 && made.as_bytes()[14] == b'7' && made != id, "a UUID of version 7: {updated}");
    assert_eq!(updated["rating"], 0.5);
    assert_eq!(ask("read", 5, None, None).await, updated);

    let delete_id = update_id_v4();
    assert_eq!(ask("delete", 5, None, Some(&delete_id)).await, updated, "the rating that was deleted");
    let gone = ask("read", 5, None, None).await;
    assert_eq!((&gone["rating"], &gone["title"]), (&Value::Null, &json!(title)));
    assert!(gone["update_id"].is_null() || gone["update_id"] == json!(delete_id), "{gone}");
}

/// Checks that an id takes effect once, at any frontend and for any number of retries.
async fn an_id_takes_effect_once(wire: &Wire, user_id: u64, make_id: fn() -> String) {
    let mut session = Session::new(wire);
    let mut previous: Option<Value> = None;
    for (operation, stars) in [("create", Some(3.5)), ("update", Some(2.0)), ("delete", None), ("create", Some(1.0))] {
        let id = make_id();
        let map = |id: &str| {
            let mut map = json!({"user_id": user_id, "movie_id": 8, "id": id});
            if let Some(stars) = stars {
                map["rating"] = json!(stars);
            }
            map
        };
        let first = value_of(session.ask(operation, map(&id)).await);
        match stars {
            Some(stars) => assert_eq!((&first["rating"], &first["update_id"]), (&json!(stars), &json!(id))),
            None => assert_eq!(Some(&first), previous.as_ref(), "a delete answers with what it deleted"),
        }
        for attempt in 0..6 {
            // Half of the retries know what came before, half know nothing, as after a crash of the client.
            let mut retrying = if attempt % 2 == 0 { session.clone() } else { Session::new(wire) };
            let again = value_of(retrying.ask(operation, map(&id)).await);
            assert_eq!(again, first, "{operation} with {id}, retry {attempt}");
        }
        let read = value_of(session.ask("read", json!({"user_id": user_id, "movie_id": 8})).await);
        if stars.is_some() {
            assert_eq!(read, first);
        } else {
            assert_eq!(read["rating"], Value::Null);
        }
        previous = Some(first);
    }
    // A new id is another update.
    let map = json!({"user_id": user_id, "movie_id": 8, "rating": 5, "id": make_id()});
    assert_eq!(session.ask("create", map).await.error().0, "409 RATING_EXISTS");
}

async fn labels_go_round(wire: &Wire) {
    let mut writer = Session::new(wire);
    let mut reader = Session::new(wire);
    let mut clock = 0;
    for movie_id in [1, 2, 3, 5, 7, 8] {
        let map = json!({"user_id": 3001, "movie_id": movie_id, "rating": 2.5});
        writer.ask("create", map).await.ok();
        let label = writer.label();
        assert!(label["clock"].as_u64().unwrap() > clock, "an update's stamp is above all that its session has seen");
        clock = label["clock"].as_u64().unwrap();
        // The label makes another session see it too.
        reader.merge(&label);
        let all = reader.ask("all", json!({"user_id": 3001})).await.ok();
        let found = all["value"]["ratings"].as_array().unwrap();
        assert_eq!(found.last().unwrap()["movie_id"], movie_id, "{all}");
        assert!(all["label"]["clock"].as_u64().unwrap() >= clock, "covers what the answer shows: {all}");
    }
}

/// Gossip and presence.
async fn what_anybody_on_the_broker_sees(cluster: &Cluster<'_>) {
    let wire = &cluster.wire;
    let mut gossip = wire.client().subscribe(wire.subject("gossip.*")).await.unwrap();
    wire.flush().await;
    let id = update_id_v7(Duration::ZERO);
    let map = json!({"user_id": 4001, "movie_id": 3, "rating": 1.5, "id": id});
    let reply = wire.ask("create", map).await.ok();
    let (message, record) = loop {
        let message = tokio::time::timeout(Duration::from_secs(20), gossip.next()).await.unwrap().unwrap();
        let gossip = Encoding::MessagePack.decode(&message.payload).unwrap();
        let wanted = BTreeSet::from(["id", "replica_timestamp", "value_timestamp", "digest", "records"]);
        assert!(keys(&gossip).is_superset(&wanted), "{gossip}");
        assert_eq!(
            Some(message.subject.as_str()),
            gossip["id"].as_str().map(|id| wire.subject(&format!("gossip.{id}"))).as_deref()
        );
        let records = gossip["records"].as_array().unwrap();
        if let Some(record) = records.iter().find(|record| record["id"] == json!(id)) {
            break (gossip.clone(), record.clone());
        }
    };
    assert!(keys(&record).is_superset(&BTreeSet::from(["id", "i", "seq", "prev", "request", "stamp"])), "{record}");
    assert_eq!(record["i"], message["id"], "its acceptor gossips it");
    assert_eq!(reply["label"]["replicas"][record["i"].as_str().unwrap()], record["seq"], "the label names it");
    let params = json!({"user_id": 4001, "movie_id": 3, "rating": 1.5});
    assert_eq!(record["request"], json!({"method": "CREATE", "params": params}));
    for name in ["r1", "r2", "r3", "f1", "f2"] {
        let presence = cluster.observer.seen().named(name).unwrap().1.presence.clone();
        let mut wanted = BTreeSet::from(["role", "id", "status", "version", "uptime_ms"]);
        match presence["role"].as_str().unwrap() {
            "frontend" => wanted.extend(["prev"]),
            _ => wanted.extend([
                "mode",
                "dataset",
                "durable",
                "value_timestamp",
                "replica_timestamp",
                "digest",
                "log_length",
            ]),
        }
        assert!(keys(&presence).is_superset(&wanted), "{presence}");
        if let Some(digest) = presence["digest"].as_str() {
            assert!(digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
        }
    }
}
