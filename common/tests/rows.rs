//! Messages of many: what neighbours share is written once, and read as if it had been written for each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::{
    Alike, ConfirmRequest, Gossip, NumberedReply, QueryRequest, Replicas, Replies, Reply, Requests, UpdateRequest,
};
use natter_common::rating::{Rating, Stars};
use natter_common::record::{Deleted, Record, RecordRef};
use natter_common::request::{Answer, Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::value::Digest;
use natter_common::wire::{Format, decode, encode};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn key() -> (UserId, MovieId) {
    (UserId::new(7).unwrap(), MovieId::new(1).unwrap())
}

/// One of few, so that neighbours are often alike.
fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop::sample::select(vec![vec![], vec![("a", 1)], vec![("a", 1), ("b", 7)]])
        .prop_map(|entries| entries.into_iter().map(|(name, count)| (id(name), count)).collect())
}

fn origin() -> impl Strategy<Value = ReplicaId> {
    prop::sample::select(vec!["a", "b"]).prop_map(id)
}

fn update_id() -> impl Strategy<Value = UpdateId> {
    any::<u128>().prop_map(|bits| UpdateId::from_uuid(uuid::Uuid::from_u128(bits)))
}

fn stars() -> impl Strategy<Value = Stars> {
    (1u8..=10).prop_map(|half_stars| Stars::from_half_stars(half_stars).unwrap())
}

fn update() -> impl Strategy<Value = Update> {
    (0..3, 1u32.., 1u32.., stars()).prop_map(|(kind, user, movie, rating)| {
        let (user_id, movie_id) = (UserId::new(user).unwrap(), MovieId::new(movie).unwrap());
        match kind {
            0 => Update::Create { user_id, movie_id, rating },
            1 => Update::Update { user_id, movie_id, rating },
            _ => Update::Delete { user_id, movie_id },
        }
    })
}

fn query() -> impl Strategy<Value = Query> {
    (0..4, 1u32..).prop_map(|(kind, number)| match kind {
        0 => Query::Average { movie_id: MovieId::new(number).unwrap() },
        _ => Query::Read { user_id: UserId::new(number).unwrap(), movie_id: MovieId::new(number).unwrap() },
    })
}

fn rating() -> impl Strategy<Value = Rating> {
    let fields = (".{0,40}", prop::option::of(stars()), any::<Option<i64>>(), prop::option::of(update_id()));
    fields.prop_map(|(title, rating, timestamp, update_id)| {
        let (user_id, movie_id) = key();
        Rating { user_id, movie_id, title, rating, timestamp, update_id }
    })
}

fn update_request() -> impl Strategy<Value = UpdateRequest> {
    let shared = (
        timestamp(),
        any::<bool>(),
        prop::sample::select(vec![0, 0, 0, 1]),
        2u32..4,
        prop::sample::select(vec![9u64, 10]),
    );
    (any::<u64>(), update_id(), shared, update(), any::<u64>(), any::<bool>()).prop_map(
        |(n, update_id, (prev, proven, unheard, copies, wait_ms), request, stamp, fresh)| UpdateRequest {
            n,
            id: update_id,
            prev,
            proven,
            unheard: vec![id("x"); unheard],
            request,
            stamp: Stamp(stamp),
            copies,
            fresh,
            wait_ms,
        },
    )
}

fn query_request() -> impl Strategy<Value = QueryRequest> {
    let shared =
        (timestamp(), any::<bool>(), prop::sample::select(vec![0, 0, 0, 1]), prop::sample::select(vec![9u64, 10]));
    (any::<u64>(), shared, query()).prop_map(|(n, (prev, proven, unheard, wait_ms), request)| QueryRequest {
        n,
        prev,
        proven,
        unheard: vec![id("x"); unheard],
        request,
        wait_ms,
    })
}

fn confirm_request() -> impl Strategy<Value = ConfirmRequest> {
    (any::<u64>(), update_id(), prop::option::of(origin()), 9u64..11)
        .prop_map(|(n, id, acceptor, wait_ms)| ConfirmRequest { n, id, acceptor, wait_ms })
}

fn reply() -> impl Strategy<Value = Reply> {
    let records = prop::collection::vec((origin(), any::<u64>()), 1..3)
        .prop_map(|names| names.into_iter().map(|(i, seq)| RecordRef { i, seq }).collect::<Vec<_>>());
    (0..4, rating(), records, timestamp(), prop::sample::select(vec![3u64, 4])).prop_map(
        |(kind, rating, records, replicas, clock)| {
            let (value, clock) = (Answer::Rating(rating), Stamp(clock));
            match kind {
                0 => Reply::Accepted { value, records, clock, retired: Timestamp::new() },
                1 => Reply::Answered { value, label: Label { replicas, clock } },
                2 => Reply::Held { records, clock },
                _ => Reply::NotHeld,
            }
        },
    )
}

fn record() -> impl Strategy<Value = Arc<Record>> {
    let seq = prop::sample::select(vec![1u64, 2, 3, u64::MAX]);
    let kind = prop::sample::select(vec![0, 0, 0, 0, 1, 2]);
    (update_id(), origin(), seq, timestamp(), update(), any::<u64>(), 2u32..4, kind).prop_map(
        |(update_id, i, seq, prev, request, stamp, copies, kind)| {
            let deleted = Deleted { rating: Stars::from_half_stars(3).unwrap(), timestamp: 5, update_id: None };
            Arc::new(Record {
                id: update_id,
                i,
                seq,
                prev,
                request: (kind != 1).then_some(request),
                retires: if kind == 1 { [(id("gone"), 4)].into_iter().collect() } else { Timestamp::new() },
                stamp: Stamp(stamp),
                copies,
                deleted: (kind == 2).then_some(deleted),
            })
        },
    )
}

fn reads_as_it_was<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = encode(message).unwrap();
    assert_eq!(decode::<T>(&bytes).unwrap(), *message);
    assert_eq!(encode(&decode::<T>(&bytes).unwrap()).unwrap(), bytes);
}

fn gossip(records: Vec<Arc<Record>>) -> Gossip {
    let (replica_timestamp, value_timestamp) = (Replicas::default(), Replicas::default());
    Gossip { id: id("a"), replica_timestamp, value_timestamp, digest: Digest(0), records }
}

proptest! {
    #[test]
    fn whatever_neighbours_share_each_reads_as_it_was(
        updates in prop::collection::vec(update_request(), 0..12),
        queries in prop::collection::vec(query_request(), 0..12),
        confirms in prop::collection::vec(confirm_request(), 0..12),
        replies in prop::collection::vec((any::<u64>(), reply()), 0..12),
        mut records in prop::collection::vec(record(), 0..12),
        in_order: bool,
    ) {
        if in_order {
            for (seq, record) in (u64::MAX - 5..=u64::MAX).zip(&mut records) {
                Arc::make_mut(record).seq = seq;
            }
        }
        reads_as_it_was(&Requests { requests: updates });
        reads_as_it_was(&Requests { requests: queries });
        reads_as_it_was(&Requests { requests: confirms });
        let replies = replies.into_iter().map(|(n, reply)| NumberedReply { n, reply }).collect();
        reads_as_it_was(&Replies { id: id("a"), replies });
        reads_as_it_was(&gossip(records));
    }
}

/// The items of the list under `name`, as JSON.
fn items(message: &impl Serialize, name: &str) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&Format::Json.encode(message).unwrap()).unwrap();
    json[name].as_array().unwrap().clone()
}

fn simple_update(n: u64, prev: &Timestamp) -> UpdateRequest {
    let (user_id, movie_id) = key();
    UpdateRequest {
        n,
        id: UpdateId::from_stamp(Stamp(n), n),
        prev: prev.clone(),
        proven: true,
        unheard: Vec::new(),
        request: Update::Delete { user_id, movie_id },
        stamp: Stamp(n),
        copies: 2,
        fresh: true,
        wait_ms: 1800,
    }
}

#[test]
fn one_by_itself_has_all_its_fields_and_several_alike_share_an_item() {
    let (one, other) = (Timestamp::new(), [(id("a"), 3)].into_iter().collect());
    let requests = [(1, &one), (2, &one), (3, &one), (4, &other), (5, &one), (6, &one)];
    let requests = Requests { requests: requests.map(|(n, prev)| simple_update(n, prev)).to_vec() };
    let items = items(&requests, "requests");
    let rows: Vec<usize> = items.iter().map(|item| item["rows"].as_array().map_or(1, Vec::len)).collect();
    assert_eq!(rows, [3, 1, 2]);
    assert_eq!(items[1]["request"]["method"], "DELETE");
    assert_eq!((&items[1]["n"], &items[0]["n"]), (&json!(4), &Value::Null));
}

#[test]
fn a_hundred_records_take_a_fifth_of_what_they_take_singly() {
    let prev = [(id("r2-abcdefgh"), 70_000), (id("r3-abcdefgh"), 80_000)].into_iter().collect();
    let records = (1..=100).map(|seq| {
        let UpdateRequest { id, prev, request, stamp, copies, .. } = simple_update(seq, &prev);
        let retires = Timestamp::new();
        let i = ReplicaId::new("r1-abcdefgh").unwrap();
        Arc::new(Record { id, i, seq, prev, request: Some(request), retires, stamp, copies, deleted: None })
    });
    let records: Vec<_> = records.collect();
    let singly: usize = records.iter().map(|record| encode(record).unwrap().len()).sum();
    let together = encode(&gossip(records)).unwrap().len();
    assert!(5 * together < singly, "{together} bytes, {singly} singly");
}

fn is_refused<T: Alike + std::fmt::Debug>(items: &Value) -> bool {
    decode::<Requests<T>>(&rmp_serde::to_vec_named(&json!({ "requests": items })).unwrap()).is_err()
}

#[test]
fn an_item_that_is_neither_one_nor_several_is_refused() {
    let shared = json!({"prev": {}, "copies": 2, "fresh": true, "wait_ms": 9, "rows": []});
    assert!(!is_refused::<UpdateRequest>(&json!([shared])));
    for (name, value) in [("n", json!(1)), ("stamp", json!(1)), ("unheard", json!(["x"]))] {
        let mut item = shared.clone();
        item[name] = value;
        assert!(is_refused::<UpdateRequest>(&json!([item])), "{item}");
    }
    let entries = |count: usize| Value::Object((0..count).map(|n| (format!("r{n}"), json!(1))).collect());
    for (count, is_too_much) in [(64, false), (65, true)] {
        let mut item = shared.clone();
        item["prev"] = entries(count);
        assert_eq!(is_refused::<UpdateRequest>(&json!([item])), is_too_much, "{count} entries, for each row");
    }
    let mut rowless = shared.clone();
    rowless.as_object_mut().unwrap().remove("rows");
    assert!(is_refused::<UpdateRequest>(&json!([rowless])));
    let reads = json!({"prev": {}, "wait_ms": 9, "rows": [[1, 7, 1]]});
    assert!(!is_refused::<QueryRequest>(&json!([reads])));
    for rows in [json!([[1, 7]]), json!([[1, 7, 1, 1]]), json!([[1, 0, 1]]), json!([{}]), json!(7)] {
        let item = json!({"prev": {}, "wait_ms": 9, "rows": rows});
        assert!(is_refused::<QueryRequest>(&json!([item])), "{item}");
    }
    let confirms = json!({"wait_ms": 9, "rows": []});
    assert!(!is_refused::<ConfirmRequest>(&json!([confirms])));
    let both = json!({"wait_ms": 9, "n": 1, "rows": []});
    assert!(is_refused::<ConfirmRequest>(&json!([both])));
}
