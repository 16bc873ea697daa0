use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Stamp;
use crate::edge::{ClientRequest, decode_request};
use crate::ids::{MovieId, UpdateId};
use crate::messages::Refusal;
use crate::rating::{Rating, Stars};
use crate::request::{Answer, Query, Update};
use crate::subjects::Operation;
use crate::wire;

fn decode(format: Format, user_token: Option<&str>, message: &Value) -> Result<ClientBatch, String> {
    let payload = format.encode(message).unwrap();
    match decode_request(Operation::Batch, user_token, &payload) {
        Ok(ClientRequest::Batch(batch)) => Ok(batch),
        Ok(other) => panic!("not a batch: {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn user(number: u32) -> UserId {
    UserId::new(number).unwrap()
}

fn movie(number: u32) -> MovieId {
    MovieId::new(number).unwrap()
}

#[test]
fn each_operation_is_understood_by_itself() {
    let id = "019a0000-0000-7000-8000-000000000001";
    let message = json!({
        "unknown": {"x": [1]},
        "operations": [
            {"op": "create", "user_id": 7, "movie_id": 1, "rating": 4.5, "id": id, "later": [{}]},
            {"op": "update", "user_id": 7, "movie_id": 1, "rating": 4.3},
            {"op": "delete", "user_id": 7, "movie_id": 1, "id": null},
            {"op": "read", "user_id": 8, "movie_id": 2},
            {"op": "average", "movie_id": 2},
            {"op": "all", "user_id": 7},
            {"op": "rate", "user_id": 7},
            {"user_id": 7},
            {"op": "create", "user_id": 7, "movie_id": 1, "rating": 4, "id": 5},
            {},
        ],
        "prev": {"replicas": {"a": 3}, "clock": 9},
        "answers": "brief",
    });
    for format in [Format::MessagePack, Format::Json] {
        let batch = decode(format, None, &message).unwrap();
        assert_eq!((batch.prev.replicas.to_string(), batch.prev.clock), ("{a:3}".to_owned(), Stamp(9)));
        assert_eq!(batch.answers, Answers::Brief);
        let rating = Stars::try_from(4.5).unwrap();
        let create = Update::Create { user_id: user(7), movie_id: movie(1), rating };
        let delete = Update::Delete { user_id: user(7), movie_id: movie(1) };
        let read = Query::Read { user_id: user(8), movie_id: movie(2) };
        let good = |place: usize| batch.operations[place].clone().unwrap();
        let id: UpdateId = id.parse().unwrap();
        assert_eq!(good(0), SingleOperation::Update { request: create, id: Some(id) });
        assert_eq!(good(2), SingleOperation::Update { request: delete, id: None });
        assert_eq!(good(3), SingleOperation::Query(read));
        assert_eq!(good(4), SingleOperation::Query(Query::Average { movie_id: movie(2) }));
        for (place, text) in [
            (1, "rating: 4.3 is not on the scale"),
            (5, "op: all is not served in a batch"),
            (6, "op: \"rate\" is not an operation: send create, update"),
            (7, "op is missing: send create"),
            (8, "id: 5 is not a UUID"),
            (9, "op is missing"),
        ] {
            let error = batch.operations[place].clone().unwrap_err().to_string();
            assert!(error.starts_with("BAD_REQUEST: ") && error.contains(text), "{place}: {error}");
        }
    }
}

#[test]
fn the_user_of_the_subject_is_that_of_every_operation() {
    let message = json!({"operations": [
        {"op": "read", "movie_id": 1},
        {"op": "read", "movie_id": 1, "user_id": 42},
        {"op": "read", "movie_id": 1, "user_id": 43},
        {"op": "average", "movie_id": 1},
    ]});
    let batch = decode(Format::Json, Some("42"), &message).unwrap();
    let read = SingleOperation::Query(Query::Read { user_id: user(42), movie_id: movie(1) });
    assert_eq!(batch.operations[..2], [Ok(read.clone()), Ok(read)]);
    assert!(batch.operations[2].as_ref().unwrap_err().to_string().contains("43 differs from user 42 in the subject"));
    assert!(batch.operations[3].is_ok());
    assert!(decode(Format::Json, Some("042"), &message).unwrap_err().contains("is not a user id"));
}

#[test]
fn what_is_wrong_with_the_whole_message_is_said_of_the_whole_message() {
    for (message, text) in [
        (json!({}), "operations is missing: send a list of operations"),
        (json!({"operations": null}), "under `operations`: send a list"),
        (json!({"operations": {}}), "under `operations`: send a list"),
        (json!({"operations": [[1]]}), "a list, expected a map"),
        (json!({"operations": [7]}), "expected an operation, {op: \"create\""),
        (json!({"operations": [], "answers": "short"}), "answers: \"short\" is not a kind of answers"),
        (json!({"operations": [], "prev": 5}), "prev: 5 is not a label"),
        (json!({"operations": vec![json!({}); OPERATIONS_MAX + 1]}), "more than 8192 operations"),
    ] {
        for format in [Format::MessagePack, Format::Json] {
            let error = decode(format, None, &message).unwrap_err();
            assert!(error.starts_with("BAD_REQUEST: ") && error.contains(text), "{message}: {error}");
        }
    }
    let twice = br#"{"operations": [], "operations": []}"#;
    assert!(decode_request(Operation::Batch, None, twice).unwrap_err().to_string().contains("twice"));
    // A length that is not true reserves nothing.
    let mut payload = vec![0x81, 0xaa];
    payload.extend(b"operations\xdd\xff\xff\xff\xff");
    assert!(decode_request(Operation::Batch, None, &payload).is_err());
}

fn reply_of(outcomes: Vec<Outcome>) -> BatchReply {
    let label = Label { replicas: [(ReplicaId::new("a").unwrap(), 3)].into_iter().collect(), clock: Stamp(9) };
    BatchReply { outcomes, label, replicas: vec![ReplicaId::new("a").unwrap()], copies: Some(1) }
}

fn single(title: &str) -> ClientReply {
    let rating = Rating {
        user_id: user(7),
        movie_id: movie(1),
        title: title.to_owned(),
        rating: None,
        timestamp: None,
        update_id: None,
    };
    let replicas = vec![ReplicaId::new("a").unwrap()];
    ClientReply { value: Answer::Rating(rating), label: Label::new(), replicas }
}

fn refused() -> Outcome {
    let text = "user 7 has already rated movie 1".to_owned();
    Outcome::Failed(FrontendError::Refused { refusal: Refusal::RatingExists, text, label: Label::new() })
}

#[test]
fn outcomes_are_told_in_their_order() {
    let reply = reply_of(vec![Outcome::Done, Outcome::Written(single("T")), Outcome::Read(single("T")), refused()]);
    let encoded = encode_batch_reply(&reply, None, Format::Json, 1 << 20).unwrap();
    assert_eq!(encoded.error, None);
    let value =
        json!({"user_id": 7, "movie_id": 1, "title": "T", "rating": null, "timestamp": null, "update_id": null});
    let done = json!({"value": value, "replicas": ["a"]});
    let error = json!({"code": 409, "name": "RATING_EXISTS", "text": "user 7 has already rated movie 1"});
    let expected = json!({
        "outcomes": [{}, done, done, {"error": error}],
        "label": {"replicas": {"a": 3}, "clock": 9}, "replicas": ["a"], "copies": 1,
    });
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).unwrap(), expected);
    let body = encode_batch_reply(&reply, None, Format::MessagePack, 1 << 20).unwrap().body;
    let read: BatchReplyOf<Rating> = wire::decode(&body).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap()["outcomes"][3]["error"]["code"], 409);
    assert_eq!((&read.outcomes[0].value, &read.outcomes[0].error), (&None, &None));
}

#[test]
fn an_update_that_was_done_takes_a_byte_where_the_client_wants_brief_answers() {
    let size = |count| {
        let reply = reply_of(vec![Outcome::Done; count]);
        encode_batch_reply(&reply, None, Format::MessagePack, 1 << 20).unwrap().body.len()
    };
    assert_eq!(size(8192) - size(4192), 4000);
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let title = "[a-zü]{0,200}";
    prop_oneof![
        Just(Outcome::Done),
        title.prop_map(|title| Outcome::Written(single(&title))),
        title.prop_map(|title| Outcome::Read(single(&title))),
        title.prop_map(|text| Outcome::Failed(FrontendError::BadRequest(text))),
        (0usize..100_000).prop_map(|waiting| Outcome::Failed(FrontendError::Overloaded { waiting })),
        Just(Outcome::Failed(FrontendError::ReplyTooLarge)),
    ]
}

proptest! {
    #[test]
    fn a_reply_never_outgrows_a_message_and_no_outcome_turns_into_another(
        outcomes in prop::collection::vec(outcome(), 0..60),
        room in 0usize..8000,
        json: bool,
    ) {
        let format = if json { Format::Json } else { Format::MessagePack };
        let reply = reply_of(outcomes.clone());
        let bytes_max = outcomes.len() * BARE_BYTES_MAX + 200 + room;
        let encoded = encode_batch_reply(&reply, None, format, bytes_max).unwrap();
        prop_assert!(encoded.body.len() <= bytes_max, "{} of {bytes_max}", encoded.body.len());
        prop_assert_eq!(encoded.error, None);
        let read: BatchReplyOf<Rating> = format.decode(&encoded.body).unwrap();
        prop_assert_eq!(read.outcomes.len(), outcomes.len());
        for (shown, outcome) in read.outcomes.iter().zip(&outcomes) {
            let name = shown.error.as_ref().map(|error| error.name.as_str());
            match outcome {
                Outcome::Done => prop_assert!(shown.value.is_none() && name.is_none()),
                Outcome::Written(_) => prop_assert_eq!(name, None),
                Outcome::Read(_) => prop_assert!(shown.value.is_some() || name == Some("REPLY_TOO_LARGE")),
                Outcome::Failed(error) => prop_assert!(name.is_some_and(|name| error.to_string().starts_with(name))),
            }
        }
    }

    #[test]
    fn where_not_even_the_names_fit_the_whole_reply_is_an_error(count in 10usize..200) {
        let reply = reply_of(vec![refused(); count]);
        let encoded = encode_batch_reply(&reply, None, Format::Json, 300).unwrap();
        let (code, text) = encoded.error.unwrap();
        prop_assert!(encoded.body.is_empty() && code == 413 && text.starts_with("REPLY_TOO_LARGE: "));
    }

    #[test]
    fn no_bytes_break_the_decoder(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(Operation::Batch, None, &payload);
        let mut listed = vec![0x81, 0xaa];
        listed.extend(b"operations");
        listed.extend(payload);
        let _ = decode_request(Operation::Batch, None, &listed);
    }
}
