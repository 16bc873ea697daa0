use super::super::batch::decode_batch_by_field;
use super::super::request::decode_by_field;
use super::*;
use crate::edge::ClientRequest;
use crate::wire::encode;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

const OPERATIONS: [Operation; 8] = Operation::ALL;

/// Reads a payload in one go; gives the request that it is.
fn plain(operation: Operation, of_subject: Option<UserId>, payload: &[u8]) -> Option<ClientRequest> {
    Some(match read_plain(payload)?.request(operation, of_subject)? {
        (SingleOperation::Update { request, id }, prev) => ClientRequest::Update { request, id, prev, cluster: None },
        (SingleOperation::Query(request), prev) => ClientRequest::Query { request, prev, cluster: None },
    })
}

/// The same of a batch.
fn check_batch(of_subject: Option<UserId>, payload: &[u8]) -> bool {
    let Some(batch) = read_plain_batch(payload, of_subject) else { return false };
    assert_eq!(decode_batch_by_field(of_subject, payload), Ok(batch));
    true
}

/// Says whether it is read in one go; field by field it must be the same.
fn check(operation: Operation, of_subject: Option<UserId>, payload: &[u8]) -> bool {
    let Some(request) = plain(operation, of_subject, payload) else { return false };
    let token = of_subject.map(|user| user.to_string());
    assert_eq!(decode_by_field(operation, token.as_deref(), payload), Ok(request));
    true
}

#[derive(Clone, Debug, Serialize)]
struct Batch {
    operations: Vec<Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Member {
    op: &'static str,
    #[serde(flatten)]
    request: Request,
}

fn batch() -> impl Strategy<Value = Batch> {
    let op = prop::sample::select(vec!["create", "update", "delete", "read"]);
    let member = (op, request()).prop_map(|(op, mut request)| {
        request.rating = request.rating.or(Some(4.0));
        Member { op, request }
    });
    let answers = prop::option::of(prop::sample::select(vec!["full", "brief"]));
    (prop::collection::vec(member, 0..20), request(), answers)
        .prop_map(|(operations, Request { prev, .. }, answers)| Batch { operations, prev, answers })
}

#[derive(Clone, Debug, Serialize)]
struct Request {
    user_id: u64,
    movie_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Label>,
}

fn request() -> impl Strategy<Value = Request> {
    let label = (prop::collection::vec(("[a-z0-9-]{1,64}", 1..u64::MAX), 0..15), any::<u64>());
    let label = label.prop_map(|(entries, clock)| Label {
        replicas: entries.into_iter().map(|(id, count)| (ReplicaId::new(&id).unwrap(), count)).collect(),
        clock: Stamp(clock),
    });
    let rating = (1u8..=10).prop_map(|half_stars| f64::from(half_stars) / 2.0);
    let id = any::<u128>().prop_map(|bits| uuid::Uuid::from_u128(bits).to_string());
    let fields =
        (1u64..1 << 32, 1u64..1 << 32, prop::option::of(rating), prop::option::of(id), prop::option::of(label));
    fields.prop_map(|(user_id, movie_id, rating, id, prev)| Request { user_id, movie_id, rating, id, prev })
}

proptest! {
    #[test]
    fn ordinary_requests_are_read_in_one_go(request in request(), of_subject: bool) {
        let payload = encode(&request).unwrap();
        let of_subject = of_subject.then(|| UserId::try_from(request.user_id).unwrap());
        prop_assert!(check(Operation::Read, of_subject, &payload));
        prop_assert!(check(Operation::Delete, of_subject, &payload));
        prop_assert_eq!(check(Operation::Create, of_subject, &payload), request.rating.is_some());
        prop_assert_eq!(check(Operation::Update, of_subject, &payload), request.rating.is_some());
        for operation in OPERATIONS {
            check(operation, UserId::new(7).ok(), &payload);
        }
    }

    #[test]
    fn what_is_changed_anywhere_is_read_as_field_by_field_or_not_at_all(
        request in request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut payload = encode(&request).unwrap();
        for (place, byte) in changes {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        for operation in OPERATIONS {
            check(operation, None, &payload);
            check(operation, UserId::new(7).ok(), &payload);
        }
    }

    #[test]
    fn ordinary_batches_are_read_in_one_go_and_changed_ones_as_field_by_field_or_not_at_all(
        batch in batch(),
        place: prop::sample::Index,
        byte: u8,
    ) {
        let mut payload = encode(&batch).unwrap();
        prop_assert!(check_batch(None, &payload));
        check_batch(UserId::new(7).ok(), &payload);
        let place = place.index(payload.len());
        payload[place] = byte;
        check_batch(None, &payload);
        check_batch(None, &payload[..place]);
    }
}

#[test]
fn twice_the_same_field_or_something_after_the_map_is_not_read() {
    let map = |entries: &[u8], count: u8| [&[0x80 | count][..], entries].concat();
    let (user, movie) = (&b"\xa7user_id\x07"[..], &b"\xa8movie_id\x01"[..]);
    assert!(check(Operation::Read, None, &map(&[user, movie].concat(), 2)));
    assert!(!check(Operation::Read, None, &map(&[user, movie, user].concat(), 3)));
    assert!(!check(Operation::Read, None, &map(&[user, movie, b"\xc0"].concat(), 2)));
    assert!(!check(Operation::Read, None, &map(user, 1)));
    assert!(!check(Operation::Read, None, b""));
    assert!(!check(Operation::Read, None, b"{\"user_id\":7,\"movie_id\":1}"));
    let prev = b"\xa4prev\x82\xa5clock\x07\xa5clock\x07";
    assert!(!check(Operation::Read, None, &map(&[user, movie, prev].concat(), 3)));
}

#[test]
fn a_batch_with_something_out_of_the_ordinary_is_left_to_be_read_field_by_field() {
    let good = json!({"operations": [{"op": "read", "user_id": 7, "movie_id": 1}]});
    let read = |batch: &serde_json::Value| check_batch(None, &rmp_serde::to_vec_named(batch).unwrap());
    assert!(read(&good));
    for (name, value) in [("answers", json!("none")), ("prev", json!(7)), ("later", json!(1)), ("operations", json!(7))]
    {
        let mut batch = good.clone();
        batch[name] = value;
        assert!(!read(&batch), "{batch}");
    }
    for (name, value) in [("op", json!("average")), ("op", json!("fly")), ("user_id", json!(0)), ("later", json!(1))] {
        let mut batch = good.clone();
        batch["operations"][0][name] = value;
        assert!(!read(&batch), "{batch}");
    }
    assert!(!read(&json!({})));
    let many = vec![good["operations"][0].clone(); OPERATIONS_MAX + 1];
    assert!(!read(&json!({ "operations": many })));
    assert!(read(&json!({ "operations": many[..OPERATIONS_MAX] })));
    // A single request names no operation.
    assert!(!check(Operation::Read, None, &rmp_serde::to_vec_named(&good["operations"][0]).unwrap()));
}

#[test]
fn ratings_may_be_integers_and_short_floats() {
    let request = |rating: &[u8]| [&b"\x83\xa7user_id\x07\xa8movie_id\x01\xa6rating"[..], rating].concat();
    for good in [&b"\x04"[..], b"\xcc\x04", b"\xcd\x00\x04", b"\xca\x40\x20\x00\x00"] {
        assert!(check(Operation::Create, None, &request(good)), "{good:?}");
    }
    for bad in [&b"\x06"[..], b"\x00", b"\xff", b"\xc0", b"\xca\x7f\xc0\x00\x00", b"\xa14"] {
        assert!(!check(Operation::Create, None, &request(bad)), "{bad:?}");
    }
}
