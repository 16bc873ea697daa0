//! Properties of every message in any encoding. `tests/tests/decoders.rs` goes through all of them.
#![allow(clippy::unwrap_used, reason = "test code")]

use natter_common::edge::decode_request;
use natter_common::ids::ReplicaId;
use natter_common::label::Label;
use natter_common::messages::{Mode, SnapshotPlace, SnapshotRequest, StatusRequest};
use natter_common::subjects::Operation;
use natter_common::wire::{Format, decode};
use serde_json::json;

#[test]
fn only_text_names_a_field() {
    let read = |payload: &[u8]| decode_request(Operation::Read, None, payload).map_err(|error| error.to_string());
    // Integers are no positions of fields, and a list is no map.
    assert!(read(b"\x82\x01\x2a\x02\x01").unwrap_err().contains("user_id is missing"));
    assert!(read(b"\x92\x2a\x01").unwrap_err().contains("a list, expected a map"));
    assert!(read(b"\x82\xa7user_id\x2a\x02\x01").unwrap_err().contains("movie_id is missing"));
    assert!(read(b"\x83\xa7user_id\x2a\x02\x07\xa8movie_id\x01").is_ok(), "unknown keys are ignored");
    assert!(read(b"\x82\xc4\x07user_id\x2a\xc4\x08movie_id\x01").is_ok(), "bytes that are text are text");
    for twice in [
        &b"\x83\xa7user_id\x2a\xc4\x07user_id\x2b\xa8movie_id\x01"[..],
        b"\x84\xa7user_id\x2a\xa8movie_id\x01\xa1x\x01\xa1x\x01",
        b"\x83\xa7user_id\x2a\xa8movie_id\x01\xa1x\x91\x82\xa1y\x01\xc4\x01y\x01",
        br#"{"user_id":42,"movie_id":1,"x":[{"y":1,"\u0079":1}]}"#,
        br#"{"user_id":42,"movie_id":1,"prev":{"replicas":{"a":1,"a":2}}}"#,
        br#"{"user_id":42,"movie_id":1,"movie_id":1}"#,
    ] {
        let error = read(twice).unwrap_err();
        assert!(error.contains("stands twice in a map") || error.contains("duplicate field"), "{error}");
    }
}

#[test]
fn the_name_of_a_variant_is_text() {
    let mode = |payload: &[u8]| decode::<StatusRequest>(payload).map(|request| request.mode).map_err(|e| e.to_string());
    assert_eq!(mode(b"\x81\xa4mode\xa7offline"), Ok(Some(Mode::Offline)));
    assert_eq!(mode(b"\x81\xc4\x04mode\xc4\x07offline"), Ok(Some(Mode::Offline)));
    // Neither positions nor maps are names.
    assert_eq!(mode(b"\x81\x00\xa7offline"), Ok(None), "an unknown key");
    for payload in [
        &b"\x81\xa4mode\x02"[..],
        b"\x81\xa4mode\x81\x02\xc0",
        b"\x81\xa4mode\x81\xa7offline\xc0",
        b"\x81\xa4mode\xc4\x01\xff",
        b"\x91\xa7offline",
    ] {
        assert!(mode(payload).is_err(), "{payload:02x?}");
    }
    assert_eq!(mode(b"\x90"), Ok(None), "an empty list is an empty map");
    // A variant with content may have unknown keys beside it, but no second variant.
    let place =
        |payload: &[u8]| decode::<SnapshotRequest>(&[b"\x83\xa2id\xa1a\xa8snapshot\x01\xa4from", payload].concat());
    let retired = |payload: &[u8]| place(payload).map(|request| request.from).ok();
    let expected = Some(SnapshotPlace::AfterRetired(ReplicaId::new("b").unwrap()));
    assert_eq!(retired(b"\x81\xadafter_retired\xa1b"), expected);
    assert_eq!(retired(b"\x83\x05\x01\xadafter_retired\xa1b\xa4more\x01"), expected);
    assert_eq!(retired(b"\x82\xadafter_retired\xa1b\xaeafter_executed\xa1b"), None);
    assert_eq!(retired(b"\x81\x05\xa1b"), None);
    assert_eq!(retired(b"\xadafter_retired"), None);
    assert_eq!(retired(b"\xa8executed"), Some(SnapshotPlace::Executed));
    assert_eq!(
        retired(b"\x81\xa9after_row\x92\x01\xcb\x40\x00\x00\x00\x00\x00\x00\x00"),
        retired(b"\x81\xa9after_row\x92\x01\x02")
    );
    assert_eq!(retired(b"\x81\xa9after_row\x82\x01\x02\x03\x04"), None);
}

#[test]
fn a_float_clock_covers_the_clock_that_was_meant() {
    // Clocks that JavaScript rounds to the nearest float.
    for clock in [117_666_561_586_036_736, 117_666_561_586_036_737, 117_666_561_586_036_751, (1u64 << 53) + 1] {
        let label = json!({"replicas": {}, "clock": clock as f64});
        for format in [Format::Json, Format::MessagePack] {
            let request = format.encode(&json!({"movie_id": 1, "prev": label})).unwrap();
            let prev = decode_request(Operation::Average, None, &request).unwrap().prev().clone();
            assert!((clock..=clock + 16).contains(&prev.clock.0), "{clock}: {prev:?}");
            let read: Label = format.decode(&format.encode(&label).unwrap()).unwrap();
            assert_eq!(read, prev, "as in every other message");
        }
    }
}

#[test]
fn what_is_typed_by_hand_and_no_json_is_told_so() {
    for (payload, text) in [
        (&b" {\"user_id\":42}"[..], "it begins with a blank; by hand, send JSON whose first character is `{`"),
        (b"user_id=42", "it begins with `u`"),
        (b"[{\"user_id\":42}]", "it begins with `[`"),
        (b"\n{}", "it begins with a line end"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark"),
        (b"\xc0", "it does not begin with a map"),
    ] {
        let error = decode_request(Operation::Read, None, payload).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn json_where_only_messagepack_is_taken_is_told_so() {
    let error = decode::<StatusRequest>(br#"{"replicas":{},"clock":0}"#).unwrap_err().to_string();
    assert!(error.ends_with("JSON is taken only on subjects that clients and operators ask"), "{error}");
    let error = decode::<StatusRequest>(b"hello").unwrap_err().to_string();
    assert!(error.ends_with("it does not begin with a map"), "{error}");
}

#[test]
fn a_mode_that_is_none_is_told_with_all_that_there_are() {
    for value in [json!(3), json!(true), json!("asleep")] {
        for format in [Format::Json, Format::MessagePack] {
            let request = format.encode(&json!({"mode": value})).unwrap();
            let error = format.decode::<StatusRequest>(&request).unwrap_err().to_string();
            for mode in Mode::ALL {
                assert!(error.contains(mode.name()), "{error}");
            }
        }
    }
}
