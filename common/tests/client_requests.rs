//! Requests and replies of clients, field by field, in both encodings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use natter_common::clock::Stamp;
use natter_common::edge::{
    ClientReply, ClientRequest, FrontendError, RatingsReply, TITLE_BYTES_MAX, decode_request, encode_reply,
    encode_reply_within,
};
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::label::Label;
use natter_common::messages::Refusal;
use natter_common::rating::{Average, Movies, Rating, RatingKey, Ratings, Stars};
use natter_common::request::{
    ALL_LIMIT_DEFAULT, ALL_LIMIT_MAX, Answer, Query, SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX, Update,
};
use natter_common::subjects::Operation;
use natter_common::wire::{Format, WireError};
use serde_json::{Value, json};

fn user() -> UserId {
    UserId::new(7).unwrap()
}

fn movie() -> MovieId {
    MovieId::new(2).unwrap()
}

/// Decodes a map in both encodings, which must mean the same.
fn decode(operation: Operation, map: &Value) -> Result<ClientRequest, String> {
    let typed = decode_request(operation, None, &serde_json::to_vec(map).unwrap());
    let packed = decode_request(operation, None, &rmp_serde::to_vec_named(map).unwrap());
    assert_eq!(typed, packed, "{map}");
    typed.map_err(|error| error.to_string())
}

fn query(operation: Operation, map: &Value) -> Query {
    match decode(operation, map) {
        Ok(ClientRequest::Query { request, .. }) => request,
        other => panic!("{map}: {other:?}"),
    }
}

fn update(operation: Operation, map: &Value) -> Update {
    match decode(operation, map) {
        Ok(ClientRequest::Update { request, .. }) => request,
        other => panic!("{map}: {other:?}"),
    }
}

fn prev(label: &Value) -> Result<Label, String> {
    Ok(decode(Operation::Average, &json!({"movie_id": 2, "prev": label}))?.prev().clone())
}

#[test]
fn each_operation_takes_its_fields() {
    let map = json!({"user_id": 7, "movie_id": 2, "rating": 3.5, "title": "ran"});
    let rating = Stars::try_from(3.5).unwrap();
    let (user_id, movie_id) = (user(), movie());
    assert_eq!(update(Operation::Create, &map), Update::Create { user_id, movie_id, rating });
    assert_eq!(update(Operation::Update, &map), Update::Update { user_id, movie_id, rating });
    assert_eq!(update(Operation::Delete, &map), Update::Delete { user_id, movie_id });
    assert_eq!(query(Operation::Read, &map), Query::Read { user_id, movie_id });
    assert_eq!(query(Operation::All, &map), Query::All { user_id, limit: ALL_LIMIT_DEFAULT, after: 0 });
    assert_eq!(query(Operation::Average, &map), Query::Average { movie_id });
    let title = "ran".to_owned();
    assert_eq!(query(Operation::Search, &map), Query::Search { title, limit: SEARCH_LIMIT_DEFAULT });
    for (operation, method) in
        [(Operation::Create, "CREATE"), (Operation::Update, "UPDATE"), (Operation::Delete, "DELETE")]
    {
        assert_eq!(update(operation, &map).method(), method);
        assert_eq!(update(operation, &map).key(), RatingKey { user_id, movie_id });
    }
    for (operation, method) in [
        (Operation::Read, "READ"),
        (Operation::All, "ALL"),
        (Operation::Average, "AVERAGE"),
        (Operation::Search, "SEARCH"),
    ] {
        assert_eq!(query(operation, &map).method(), method);
    }
}

#[test]
fn whole_numbers_and_half_stars_are_ratings() {
    let create = |rating: Value| decode(Operation::Create, &json!({"user_id": 7, "movie_id": 2, "rating": rating}));
    for rating in [json!(1), json!(5), json!(0.5), json!(4.5), json!(5.0)] {
        assert!(create(rating.clone()).is_ok(), "{rating}");
    }
    for rating in [json!(0), json!(6), json!(-1), json!(0.25), json!(5.5), json!("4"), json!([4])] {
        assert!(create(rating.clone()).unwrap_err().contains("is not on the scale"), "{rating}");
    }
    assert!(create(json!(null)).unwrap_err().contains("rating is missing"));
}

#[test]
fn a_page_begins_after_a_movie_and_has_a_limit() {
    let all = |more: Value| {
        let mut map = json!({"user_id": 7});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        decode(Operation::All, &map)
    };
    let page = |more: Value| match all(more) {
        Ok(ClientRequest::Query { request: Query::All { limit, after, .. }, .. }) => (limit, after),
        other => panic!("{other:?}"),
    };
    assert_eq!(page(json!({"limit": 1, "after": 0})), (1, 0));
    assert_eq!(page(json!({"limit": null, "after": null})), (ALL_LIMIT_DEFAULT, 0));
    assert_eq!(page(json!({"limit": ALL_LIMIT_MAX, "after": 5})), (ALL_LIMIT_MAX, 5));
    assert_eq!(page(json!({"limit": ALL_LIMIT_MAX + 1, "after": u32::MAX})), (ALL_LIMIT_MAX, u32::MAX));
    assert_eq!(page(json!({"limit": u64::MAX})), (ALL_LIMIT_MAX, 0));
    for limit in [json!(0), json!(-1), json!(1.5), json!("1"), json!({})] {
        assert!(all(json!({"limit": limit})).unwrap_err().contains("is not a limit"), "{limit}");
    }
    for after in [json!(-1), json!(1u64 << 32), json!(0.5), json!("1"), json!([1])] {
        assert!(all(json!({"after": after})).unwrap_err().contains("is not a movie id"), "{after}");
    }
    let search = |limit: u64| query(Operation::Search, &json!({"title": "", "limit": limit}));
    let limited = |limit| Query::Search { title: String::new(), limit };
    assert_eq!((search(5), search(1_000)), (limited(5), limited(SEARCH_LIMIT_MAX)));
}

#[test]
fn a_title_has_a_greatest_length() {
    let search = |bytes: usize| decode(Operation::Search, &json!({"title": "a".repeat(bytes)}));
    assert!(search(TITLE_BYTES_MAX).is_ok());
    assert!(search(TITLE_BYTES_MAX + 1).unwrap_err().contains("longer than 1000 bytes"));
    assert!(decode(Operation::Search, &json!({"title": 7})).unwrap_err().contains("title: 7 is not a text"));
}

#[test]
fn an_update_may_bring_its_id() {
    let delete = |id: Value| decode(Operation::Delete, &json!({"user_id": 7, "movie_id": 2, "id": id}));
    let id_of = |id: Value| match delete(id) {
        Ok(ClientRequest::Update { id, .. }) => id.map(|id| id.to_string()),
        other => panic!("{other:?}"),
    };
    let text = "019a0000-0000-7000-8000-000000000001";
    assert_eq!((id_of(json!(text)), id_of(json!(null))), (Some(text.to_owned()), None));
    assert_eq!(id_of(json!(format!("urn:uuid:{text}"))), Some(text.to_owned()));
    for id in [json!(""), json!("x"), json!(format!("{text}{}", " ".repeat(60))), json!(7), json!([text])] {
        assert!(delete(id.clone()).unwrap_err().contains("is not a UUID"), "{id}");
    }
}

#[test]
fn prev_is_a_label_or_nothing() {
    let id = |text| ReplicaId::new(text).unwrap();
    assert_eq!(prev(&json!(null)), Ok(Label::new()));
    assert_eq!(prev(&json!({})), Ok(Label::new()));
    assert_eq!(prev(&json!([])), Ok(Label::new()));
    assert_eq!(prev(&json!({"replicas": [], "clock": 0.0})), Ok(Label::new()));
    assert_eq!(prev(&json!({"replicas": null, "clock": null, "more": [1]})), Ok(Label::new()));
    let label = prev(&json!({"replicas": {"a": 3, "b": u64::MAX, "c": 0}, "clock": 9})).unwrap();
    assert_eq!(label.clock, Stamp(9));
    assert_eq!(label.replicas, [(id("a"), 3), (id("b"), u64::MAX)].into_iter().collect());
    assert_eq!(label.to_string(), label.replicas.to_string());
    for (bad, text) in [
        (json!(5), "prev: 5 is not a label"),
        (json!([1]), "prev: a list is not a label"),
        (json!({"replica": {"a": 1}}), "prev: a map without `replicas` and `clock` is not a label"),
        (json!({"replicas": ["a"]}), "replicas: a list is not a map of counts"),
        (json!({"replicas": {"a": 1.5}}), "a: 1.5 is not a count, for it is not a whole number"),
        (json!({"replicas": {"a": 9007199254740992.0}}), "for it is a float from 2^53 on"),
        (json!({"replicas": {"a": -1}}), "a: -1 is not a count, for it is out of range"),
        (json!({"clock": 1e20}), "clock: 1e20 is not a clock, for it is out of range"),
        (json!({"replicas": 5}), "replicas: 5 is not a map of counts"),
        (json!({"replicas": {"a.b": 1}}), "\"a.b\" is not a replica id"),
        (json!({"replicas": {"a": "x"}}), "\"x\" is not a count"),
        (json!({"replicas": {"a": {}}}), "a map is not a count"),
        (json!({"clock": -1}), "clock: -1 is not a clock"),
        (json!({"clock": true}), "clock: a boolean is not a clock"),
    ] {
        let error = prev(&bad).unwrap_err();
        assert!(error.contains(text) && error.contains("send the label of the last reply"), "{bad}: {error}");
    }
}

#[test]
fn what_only_messagepack_can_say_is_named_too() {
    let read = |value: &[u8]| {
        let payload = [b"\x82\xa7user_id\x07\xa8movie_id", value].concat();
        decode_request(Operation::Read, None, &payload).map_err(|error| error.to_string())
    };
    assert!(read(b"\xc4\x01\xff").unwrap_err().contains("movie_id: bytes is not an id"));
    assert!(read(b"\xd4\x01\x00").unwrap_err().contains("movie_id: an extension value is not an id"));
    assert!(
        read(b"\xca\x3f\xc0\x00\x00").unwrap_err().contains("movie_id: 1.5 is not an id, for it is not a whole number")
    );
    assert!(read(b"\xd4\x00\x00").unwrap_err().contains("movie_id is missing"), "undefined, as msgpackr writes it");
    assert!(read(b"\xd4\x00\x01").unwrap_err().contains("movie_id: an extension value is not an id"));
    assert!(read(b"\xd6\xff\0\0\0\0").unwrap_err().contains("movie_id: an extension value is not an id"), "a time");
    assert!(read(b"\xca\x4f\x80\x00\x00").unwrap_err().contains("is a 32-bit float from 2^24 on"));
    assert!(read(b"\xca\x3f\x80\x00\x00").is_ok(), "a float that is exactly an integer");
    let keys = |keys: &[u8]| {
        let payload = [b"\x82\xa8movie_id\x02\xa4prev\x81", keys].concat();
        decode_request(Operation::Average, None, &payload).map_err(|error| error.to_string())
    };
    assert!(keys(b"\xa8replicas\x81\x05\x01").unwrap_err().contains("a key that is not a text is not a replica id"));
    assert_eq!(keys(b"\xa8replicas\xd4\x00\x00"), keys(b"\xa8replicas\xc0"));
    assert!(
        keys(b"\xa8replicas\xd4\x05\x00").unwrap_err().contains("replicas: an extension value is not a map of counts")
    );
    let prev = |value: &[u8]| {
        let payload = [b"\x82\xa8movie_id\x02\xa4prev", value].concat();
        decode_request(Operation::Average, None, &payload).map_err(|error| error.to_string())
    };
    assert_eq!(prev(b"\xd4\x00\x00"), prev(b"\xc0"), "undefined is nil");
    assert!(prev(b"\xd4\x72\x40").unwrap_err().contains("prev: an extension value is not a label"));
    let whole = decode_request(Operation::Average, None, b"\xd4\x00\x00").unwrap_err().to_string();
    assert!(whole.contains("it does not begin with a map"), "{whole}");
    assert!(keys(b"\x05\x01").unwrap_err().contains("without `replicas` and `clock`"));
    assert!(keys(b"\xa5clock\xca\x00\x00\x00\x00").unwrap_err().contains("is a 32-bit float, which loses"));
    assert!(keys(b"\xc4\x05clock\xcb\x43\x7a\x00\x00\x00\x00\x00\x00").is_ok());
    assert!(keys(b"\xa8replicas\x82\xa1a\x01\xa1a\x02").unwrap_err().contains("the key \"a\" stands twice"));
    assert!(keys(b"\xa8replicas\x82\xa1a\x01\xc4\x01a\x02").unwrap_err().contains("the key \"a\" stands twice"));
}

#[test]
fn an_answer_is_one_map_whatever_the_value() {
    let label = Label { clock: Stamp(5), ..Label::new() };
    let replicas = vec![ReplicaId::new("a").unwrap()];
    let body = |value: Answer| {
        let reply = Ok(ClientReply { value, label: label.clone(), replicas: replicas.clone() });
        let encoded = encode_reply(&reply, None, Format::Json).unwrap();
        assert_eq!(encoded.error, None);
        serde_json::from_slice::<Value>(&encoded.body).unwrap()
    };
    let rest = json!({"replicas": {}, "clock": 5});
    let average = Average { movie_id: movie(), title: "Ran".to_owned(), average: Some(4.5), count: 1 };
    let value = json!({"movie_id": 2, "title": "Ran", "average": 4.5, "count": 1});
    assert_eq!(body(Answer::Average(average)), json!({"value": value, "label": rest, "replicas": ["a"]}));
    let ratings = body(Answer::Ratings(Ratings { ratings: Vec::new(), total: 0, next: Some(movie()) }));
    assert_eq!(ratings["value"], json!({"ratings": [], "total": 0, "next": 2}));
    assert_eq!(body(Answer::Movies(Movies { movies: Vec::new(), shortened: false }))["value"], json!({"movies": []}));
}

#[test]
fn only_what_tells_of_the_ratings_has_a_body() {
    let label = Label { clock: Stamp(5), ..Label::new() };
    let refusal = Refusal::RatingExists;
    let key = RatingKey { user_id: user(), movie_id: movie() };
    let text = refusal.explain(Some(key), movie());
    let refused = FrontendError::Refused { refusal, text: text.clone(), label };
    let encoded = encode_reply(&Err(refused), None, Format::Json).unwrap();
    assert_eq!(encoded.error, Some((409, format!("RATING_EXISTS: {text}"))));
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).unwrap(), json!({"label": {"replicas": {}, "clock": 5}}));
    let encoded = encode_reply(&Err(FrontendError::Unavailable), None, Format::Json).unwrap();
    assert!(encoded.body.is_empty() && encoded.error.unwrap().0 == 503);
    for (refusal, expected) in [
        (Refusal::MovieNotFound, "there is no movie 2: search"),
        (Refusal::RatingNotFound, "user 7 has not rated movie 2: check both numbers; only `create`"),
        (Refusal::RatingExists, "user 7 has already rated movie 2: update"),
    ] {
        assert!(refusal.explain(Some(key), movie()).starts_with(expected));
    }
    assert!(Refusal::RatingNotFound.explain(None, movie()).starts_with("this user has not rated movie 2"));
}

#[test]
fn a_payload_is_in_the_encoding_that_it_begins_as() {
    assert_eq!(
        (Format::of(b"{}"), Format::of(b"\x80"), Format::of(b"")),
        (Format::Json, Format::MessagePack, Format::MessagePack)
    );
    let label = Label { clock: Stamp(5), ..Label::new() };
    assert_eq!(Format::Json.encode(&label).unwrap(), br#"{"replicas":{},"clock":5}"#);
    assert_eq!(Format::MessagePack.encode(&label).unwrap(), b"\x82\xa8replicas\x80\xa5clock\x05");
    for (format, bytes, text) in [
        (Format::Json, &b"{\"clock\":\"x\"}"[..], "not a JSON object"),
        (Format::MessagePack, b"\x81\xa5clock\xa1x", "not a MessagePack map"),
        (Format::MessagePack, b"\x80\x80\x80", "something follows the map"),
        (Format::MessagePack, b"\x91\x05", "a list, expected a map"),
    ] {
        let error: WireError = format.decode::<Label>(bytes).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn answers_fit_into_the_messages_of_the_broker() {
    let rating = |n: u32| Rating {
        user_id: user(),
        movie_id: MovieId::new(n).unwrap(),
        title: format!("Amélie {n}"),
        rating: Some(Stars::from_half_stars(7).unwrap()),
        timestamp: Some(1),
        update_id: None,
    };
    let label = Label { replicas: [(ReplicaId::new("a").unwrap(), 3)].into_iter().collect(), clock: Stamp(5) };
    let reply = |value| Ok(ClientReply { value, label: label.clone(), replicas: vec![ReplicaId::new("a").unwrap()] });
    let page = Ratings { ratings: (1..=500).map(rating).collect(), total: 500, next: None };
    let page = reply(Answer::Ratings(page));
    for format in [Format::Json, Format::MessagePack] {
        for bytes_max in [1_000, 4_096, 65_536] {
            let encoded = encode_reply_within(&page, None, format, bytes_max).unwrap();
            assert!(encoded.body.len() <= bytes_max && encoded.body.len() > bytes_max.min(20_000) - 300, "{bytes_max}");
            let read: RatingsReply = format.decode(&encoded.body).unwrap();
            let last = read.value.ratings.last().map(|rating| rating.movie_id);
            assert!(encoded.error.is_none() && (read.value.next == last || read.value.ratings.len() == 500));
        }
        // A reply without a list, or with a list that cannot be short enough, is an error, and an error goes without
        // its label.
        let single = reply(Answer::Rating(rating(1)));
        for (reply, bytes_max) in [(&page, 100), (&single, 100)] {
            let encoded = encode_reply_within(reply, None, format, bytes_max).unwrap();
            assert!(encoded.body.is_empty() && encoded.error.unwrap().1.starts_with("REPLY_TOO_LARGE: "));
        }
        let refused =
            FrontendError::Refused { refusal: Refusal::RatingExists, text: String::new(), label: label.clone() };
        let encoded = encode_reply_within(&Err(refused), None, format, 20).unwrap();
        assert!(encoded.body.is_empty() && encoded.error.unwrap().0 == 409);
    }
}
