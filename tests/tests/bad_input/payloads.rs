//! Payloads that no sound program sends.

use natter_tests::harness::{Encoding, MADE_UP, update_id_v4};
use serde_json::{Value, json};

const HALF_A_MEGABYTE: usize = 512 * 1024;
const DEEP: usize = 100_000;

fn packed(map: &Value) -> Vec<u8> {
    Encoding::MessagePack.encode(map)
}

/// A map of one field, whose value is these bytes.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x81, 0xa0 | u8::try_from(name.len()).unwrap()];
    payload.extend(name.as_bytes());
    payload.extend(value);
    payload
}

/// Payloads that no process can read, by the problem with them.
pub(crate) fn unreadable() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, payload: Vec<u8>| all.push((name.to_owned(), payload));
    add("text", b"hello".to_vec());
    add("zeros", vec![0; 100]);
    add("a number", vec![0x07]);
    add("nil", vec![0xc0]);
    add("the reserved byte", vec![0xc1; 50]);
    add("a list", packed(&json!([1, 2, 3])));
    add("a map and more", [packed(&json!({"movie_id": 1})), vec![0x80]].concat());
    add("an open brace", b"{".to_vec());
    add("JSON and more", b"{\"movie_id\":1} {}".to_vec());
    // A message cut off at every place.
    let whole =
        packed(&json!({"user_id": 70_000, "movie_id": 1, "prev": {"replicas": {"a": 300}, "clock": 1_u64 << 60}}));
    for length in (1..whole.len()).step_by(7) {
        add(&format!("cut off after {length} bytes"), whole[..length].to_vec());
    }
    let whole = br#"{"user_id":7,"movie_id":1,"prev":{"replicas":{"a":3}}}"#;
    for length in [5, 20, whole.len() - 1] {
        add(&format!("JSON cut off after {length} bytes"), whole[..length].to_vec());
    }
    // Nested so deep that reading it by recursion would need more stack than there is.
    add("deep lists", [vec![0x91; DEEP], vec![0xc0]].concat());
    add("deep maps", [[0x81, 0xa1, b'a'].repeat(DEEP), vec![0xc0]].concat());
    add("JSON of deep maps", "{\"a\":".repeat(DEEP).into_bytes());
    add("JSON of deep lists", format!("{{\"a\":{}", "[".repeat(DEEP)).into_bytes());
    for name in ["prev", "title", "later", "requests", "mode", "have"] {
        let nested = [vec![0x91; DEEP], vec![0xc0]].concat();
        add(&format!("deep lists in {name}"), field(name, &nested));
    }
    // Lengths that promise 4 GiB: list, map, text, bytes, extension.
    for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let promise = [marker, 0xff, 0xff, 0xff, 0xff];
        add(&format!("{marker:#x} of 2^32-1"), promise.to_vec());
        for name in ["user_id", "prev", "title", "id", "requests", "mode", "have", "later"] {
            add(&format!("{name} is {marker:#x} of 2^32-1"), field(name, &promise));
        }
    }
    add("replicas of 2^32-1", field("prev", &field("replicas", &[0xdf, 0xff, 0xff, 0xff, 0xff])));
    // Half a megabyte of this and that.
    for byte in [0x00, 0x80, 0x91, 0xa1, 0xc0, 0xff, b'a', b'{', b'['] {
        add(&format!("half a megabyte of {byte:#x}"), vec![byte; HALF_A_MEGABYTE]);
    }
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..3 {
        let mut junk: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(HALF_A_MEGABYTE).collect();
        junk[0] = [b'{', 0xdf, 0x8f][n];
        add(&format!("half a megabyte of noise, {n}"), junk);
    }
    for n in 0..20 {
        let length = random.usize(2..300);
        let mut junk: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        junk[0] = 0xc1;
        add(&format!("noise {n}"), junk);
    }
    all
}

/// Payloads with a problem in a field that only some operations look at: an error, or ignored.
pub(crate) fn perhaps_ignored() -> Vec<Vec<u8>> {
    vec![
        vec![0x81, 0xa4, 0xff, 0xfe, 0x80, 0xc3, 0xc0],
        field("title", &[0xa4, 0xff, 0xfe, 0x80, 0xc3]),
        b"{\"title\":\"\xff\xfe\"}".to_vec(),
        br#"{"title":"\ud800"}"#.to_vec(),
    ]
}

/// Creates and updates whose rating is NaN or infinite, which JSON can't say.
pub(crate) fn ratings_that_are_no_numbers() -> Vec<(String, Vec<u8>)> {
    let numbers = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let double = |number: f64| [vec![0xcb], number.to_be_bytes().to_vec()].concat();
    let single = |number: f64| [vec![0xca], (number as f32).to_be_bytes().to_vec()].concat();
    let payload = |rating: Vec<u8>| {
        let mut payload = vec![0x83];
        for (name, value) in [("user_id", vec![7]), ("movie_id", vec![1]), ("rating", rating)] {
            payload.push(0xa0 | u8::try_from(name.len()).unwrap());
            payload.extend(name.as_bytes());
            payload.extend(value);
        }
        payload
    };
    let all = numbers.iter().flat_map(|&number| [double(number), single(number)].map(|bytes| (number, bytes)));
    all.map(|(number, bytes)| (number.to_string(), payload(bytes))).collect()
}

fn many_entries(count: usize) -> Value {
    Value::Object((0..count).map(|n| (format!("{MADE_UP}-{n}"), json!(u64::MAX))).collect())
}

fn update_request(n: u64, prev: &Value) -> Value {
    json!({"n": n, "id": update_id_v4(), "prev": prev, "stamp": u64::MAX, "copies": u32::MAX, "fresh": true, "wait_ms": 500,
        "request": {"method": "CREATE", "params": {"user_id": 9, "movie_id": 1, "rating": 1.0}}})
}

/// Requests to a replica that can be read, and that no frontend makes.
pub(crate) fn absurd_requests(endpoint: &str, ids: &[String]) -> Vec<Vec<u8>> {
    let heavy = many_entries(12_000);
    let reached_by_nobody = json!({ids[0].as_str(): u64::MAX});
    let requests = |requests: Vec<Value>| packed(&json!({"requests": requests}));
    let query = |n: u64, prev: &Value, wait_ms: u64| {
        json!({"n": n, "prev": prev, "wait_ms": wait_ms,
            "request": {"method": "READ", "params": {"user_id": 1, "movie_id": 1}}})
    };
    let rows = |prev: &Value| {
        let rows: Vec<Value> = (0..3000).map(|n| json!([n, 1, 1])).collect();
        json!({"prev": prev, "wait_ms": 500, "rows": rows})
    };
    match endpoint {
        "update" => vec![
            requests(vec![]),
            requests(vec![update_request(u64::MAX, &json!({}))]),
            requests(vec![update_request(0, &heavy)]),
            requests((0..1000).map(|n| update_request(n, &reached_by_nobody)).collect()),
        ],
        "query" => vec![
            requests(vec![]),
            requests(vec![query(u64::MAX, &heavy, 500)]),
            requests((0..3000).map(|n| query(n, &reached_by_nobody, 500)).collect()),
            requests(vec![rows(&reached_by_nobody)]),
            requests(vec![rows(&heavy)]),
            requests(vec![json!({"n": 1, "prev": {}, "wait_ms": u64::MAX,
                "request": {"method": "ALL", "params": {"user_id": 1, "limit": u32::MAX, "after": u32::MAX}}})]),
            requests(vec![json!({"n": 1, "prev": {}, "wait_ms": 0,
                "request": {"method": "SEARCH", "params": {"title": "", "limit": u32::MAX}}})]),
            requests(vec![json!({"n": 1, "prev": {}, "wait_ms": 0,
                "request": {"method": "SEARCH", "params": {"title": "%".repeat(100_000), "limit": 0}}})]),
        ],
        "confirm" => vec![
            requests(vec![]),
            requests(
                (0..2000).map(|n| json!({"n": n, "id": update_id_v4(), "acceptor": null, "wait_ms": 500})).collect(),
            ),
            requests(
                (0..2000)
                    .map(
                        |n| json!({"n": n, "id": update_id_v4(), "acceptor": format!("{MADE_UP}-{n}"), "wait_ms": 500}),
                    )
                    .collect(),
            ),
        ],
        "log" => vec![
            packed(&json!({"id": MADE_UP, "have": {"replicas": {}}})),
            packed(&json!({"id": MADE_UP, "have": {"replicas": heavy}})),
            packed(&json!({"id": ids[0], "have": {"replicas": many_entries(100)}})),
        ],
        "acknowledge" => vec![
            packed(&json!({"id": MADE_UP, "replica_timestamp": {"replicas": heavy}})),
            packed(&json!({"id": "no id", "replica_timestamp": {"replicas": {}}})),
            packed(&json!({"id": 5, "replica_timestamp": 5})),
        ],
        _ => vec![
            packed(&json!({"mode": "asleep"})),
            packed(&json!({"mode": 7})),
            packed(&json!({"mode": "x".repeat(100_000)})),
            br#"{"mode":"OFFLINE"}"#.to_vec(),
        ],
    }
}

fn gossip(id: &str, records: &[Value]) -> Value {
    json!({"id": id, "replica_timestamp": {"replicas": {}}, "value_timestamp": {"replicas": {}},
        "digest": "0000000000000000", "records": records})
}

fn record(origin: &str, seq: u64, movie_id: u64) -> Value {
    json!({"id": update_id_v4(), "i": origin, "seq": seq, "prev": {}, "stamp": 1_u64 << 40, "copies": 2,
        "request": {"method": "CREATE", "params": {"user_id": 9, "movie_id": movie_id, "rating": 1.0}}})
}

/// Gossip of made-up senders, and in the name of real ones, with the sender's id.
pub(crate) fn absurd_gossip(ids: &[String]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let with = |field: &str, value: Value| {
        let mut gossip = gossip(&ids[0], &[]);
        gossip[field] = value;
        (ids[0].clone(), packed(&gossip))
    };
    all.extend([
        with("id", json!(MADE_UP)),
        with("id", json!("no id")),
        with("id", json!(7)),
        with("replica_timestamp", json!({"replicas": {"no id": 1}})),
        with("replica_timestamp", json!({"replicas": {"a": -1}})),
        with("value_timestamp", json!([])),
        with("digest", json!("0000")),
        with("digest", json!("x".repeat(16))),
        with("digest", json!(0)),
        with("records", json!("none")),
        with("records", json!([1, 2, 3])),
        with("records", json!([{"id": "x"}])),
    ]);
    for (field, value) in [
        ("stamp", json!(-1)),
        ("copies", json!(-1)),
        ("seq", json!(1.5)),
        ("id", json!("no-uuid")),
        ("i", json!("a.b")),
        ("prev", json!([["a", 1]])),
        ("request", json!({"method": "DROP", "params": {}})),
        ("request", json!({"method": "CREATE", "params": {"user_id": 0, "movie_id": 1, "rating": 1.0}})),
        ("request", json!({"method": "CREATE", "params": {"user_id": 1, "movie_id": 1, "rating": 9.0}})),
    ] {
        let mut bad = record(&ids[0], 1_000_000, 1);
        bad[field] = value;
        all.push((ids[0].clone(), packed(&gossip(&ids[0], &[bad]))));
    }
    // Thousands of made-up senders: with another digest at the timestamp of the first moment, with a movie that isn't
    // there, with numbers out of range, with records in the name of the receivers, and with a later record than the
    // first, so that it would have to be kept until the ones before it come.
    for n in 0..3000 {
        let id = format!("{MADE_UP}-{n}");
        let records = [
            record(&id, 2 + n, 1),
            record(&id, 1, 4_000_000),
            record(&id, 0, 1),
            record(&ids[0], 1_000_000 + n, 1),
            record(&ids[1], u64::MAX, 1),
        ];
        all.push((id.clone(), packed(&gossip(&id, &records))));
    }
    let many: Vec<Value> = (0..2500).map(|n| record(MADE_UP, 2 + n, 4_000_000)).collect();
    all.extend((0..5).map(|_| (MADE_UP.to_owned(), packed(&gossip(MADE_UP, &many)))));
    let mut heavy = gossip(MADE_UP, &[]);
    heavy["replica_timestamp"] = json!({"replicas": many_entries(20_000)});
    all.push((MADE_UP.to_owned(), packed(&heavy)));
    all
}

/// Replies that can be read, to nothing that was asked.
pub(crate) fn absurd_replies() -> Vec<(String, Vec<u8>)> {
    let reply = |id: &str, reply: Value| {
        let replies: Vec<Value> = (0..100).map(|n| json!({"n": n, "reply": reply})).collect();
        (id.to_owned(), packed(&json!({"id": id, "replies": replies})))
    };
    vec![
        reply(MADE_UP, json!("not_held")),
        reply(MADE_UP, json!({"answered": {"value": {"rating": 5}, "label": {"replicas": {}, "clock": u64::MAX}}})),
        reply("no id", json!("behind")),
        (MADE_UP.to_owned(), packed(&json!({"id": MADE_UP, "replies": []}))),
        (
            MADE_UP.to_owned(),
            packed(&json!({"id": MADE_UP, "replica_timestamp": {"replicas": {}},
            "value_timestamp": {"replicas": {}}, "records": []})),
        ),
    ]
}

/// Presence of made-up processes, by kind and id: first malformed under a made-up name, then thousands that look right.
pub(crate) fn made_up_presence(dataset: &Value) -> Vec<(&'static str, String, Vec<u8>)> {
    let whole = |id: &str| {
        json!({"role": "replica", "id": id, "status": "ACTIVE", "mode": "measured", "version": "9.9.9", "dataset": dataset,
            "durable": false, "uptime_ms": 5, "value_timestamp": {"replicas": {}}, "replica_timestamp": {"replicas": {}},
            "digest": "0000000000000000", "log_length": 0})
    };
    let mut all = Vec::new();
    for (field, value) in [
        ("role", json!("king")),
        ("id", json!("no id")),
        ("id", json!("somebody-else")),
        ("id", json!(null)),
        ("status", json!("asleep")),
        ("status", json!(1)),
        ("mode", json!("fast")),
        ("version", json!(["1"])),
        ("version", json!("9".repeat(500_000))),
        ("dataset", json!("d".repeat(500_000))),
        ("dataset", json!({"a": 1})),
        ("durable", json!("yes")),
        ("uptime_ms", json!(-1)),
        ("value_timestamp", json!({"replicas": {"no id": 1}})),
        ("replica_timestamp", json!({"replicas": many_entries(15_000)})),
        ("digest", json!("short")),
        ("log_length", json!(1.5)),
        ("prev", json!({"replicas": [], "clock": "now"})),
    ] {
        for kind in ["replica", "frontend"] {
            let mut presence = whole(MADE_UP);
            presence[field] = value.clone();
            all.push((kind, MADE_UP.to_owned(), packed(&presence)));
        }
    }
    // More than anyone remembers.
    for n in 0..1500 {
        let id = format!("{MADE_UP}-{n}");
        let mut presence = whole(&id);
        match n % 4 {
            0 => presence["dataset"] = json!("another"),
            1 => presence["status"] = json!("LEFT"),
            2 if n < 200 => {
                presence["replica_timestamp"] = json!({"replicas": {id.as_str(): 7, "mallory": 1_u64 << 50}})
            }
            _ => {}
        }
        all.push(("replica", id, packed(&presence)));
    }
    all
}
