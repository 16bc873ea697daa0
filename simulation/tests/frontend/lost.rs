//! Messages that are lost with a connection: the frontend asks again when there is a new one.

use natter_common::frontend::{Input, Output};
use natter_common::messages::{Reply, Status};

use crate::bench::{
    Bench, accepted, answer, answered, confirms, held, label, names, presence, queries, timestamp, updates,
};
use crate::updates::unknown;

/// Time in which a frontend asks each of three replicas once, in milliseconds; none counts as gone so early.
const ALL_ASKED_MS: u64 = 1_200;

fn asked(outputs: &[Output]) -> usize {
    queries(outputs).len() + updates(outputs).len() + confirms(outputs).len()
}

#[test]
fn a_query_is_asked_again_after_a_new_connection() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let first = queries(&bench.query(label(&[])));
    let others = queries(&bench.pass(ALL_ASKED_MS));
    assert_eq!((first.len(), others.len()), (1, 2), "each was asked once");
    assert_eq!(asked(&bench.pass(200)), 0, "all may still answer");
    bench.hear(Input::Disconnected);
    let again = queries(&bench.hear(Input::Connected));
    let mut whom = names(&again);
    whom.sort_unstable();
    assert_eq!(whom, ["a", "b", "c"]);
    // A reply that was on its way all the same counts only under its new number.
    let (name, request) = &again[0];
    assert!(bench.reply(name, first[0].1.n, answered(&[])).is_empty());
    assert!(answer(&bench.reply(name, request.n, answered(&[]))).is_ok());
}

#[test]
fn a_replica_that_was_cut_off_is_asked_again_when_it_shows_itself() {
    let mut bench = Bench::beside(&["a"]);
    bench.shown.clear();
    bench.query(label(&[]));
    bench.pass(1_300);
    let again = queries(&bench.show(presence("a", Status::Active, &[])));
    assert_eq!(names(&again), ["a"]);
    let (_, request) = &again[0];
    assert!(answer(&bench.reply("a", request.n, answered(&[]))).is_ok());
}

#[test]
fn a_replica_that_is_only_slow_is_asked_once() {
    let mut bench = Bench::beside(&["a"]);
    let first = queries(&bench.query(label(&[])));
    assert_eq!(asked(&bench.pass(1_300)), 0, "it shows itself all the while");
    assert!(answer(&bench.reply("a", first[0].1.n, answered(&[]))).is_ok());
}

#[test]
fn a_query_goes_to_a_newcomer_where_all_others_were_asked() {
    let mut bench = Bench::beside(&["a"]);
    bench.query(label(&[]));
    assert_eq!(asked(&bench.pass(500)), 0);
    let asked = queries(&bench.show(presence("b", Status::Active, &[])));
    assert_eq!(names(&asked), ["b"]);
}

#[test]
fn an_update_is_asked_again_after_a_new_connection_and_counts_once() {
    let mut bench = Bench::beside(&["a", "b"]);
    let outputs = bench.update(None, label(&[]));
    let (acceptor, first) = updates(&outputs).pop().unwrap();
    bench.hear(Input::Disconnected);
    let again = bench.hear(Input::Connected);
    let (name, request) = updates(&again).pop().unwrap();
    assert_eq!((updates(&again).len(), confirms(&again).len()), (1, 1));
    assert_eq!((request.id, request.stamp), (first.id, first.stamp), "the same update");
    // The first attempt reached the acceptor, though nobody heard of it.
    let (confirming, confirm) = confirms(&again).pop().unwrap();
    bench.reply(&name, request.n, accepted(&acceptor, 1));
    let outputs = bench.reply(&confirming, confirm.n, held(&acceptor, 1));
    let reply = answer(&outputs).unwrap();
    assert_eq!(reply.label.replicas, timestamp(&[(acceptor.as_str(), 1)]));
}

#[test]
fn a_request_whose_time_is_over_asks_nobody_any_more() {
    let mut bench = Bench::beside(&["a", "b"]);
    bench.update(None, label(&[]));
    bench.query(label(&[]));
    // This process is paused, and goes on.
    bench.now.monotonic_ms += 60_000;
    assert_eq!(asked(&bench.hear(Input::Connected)), 0);
    bench.shown.clear();
    assert_eq!(queries(&bench.show(presence("c", Status::Active, &[]))).len(), 0);
}

#[test]
fn a_look_up_is_asked_again_after_a_new_connection() {
    let mut bench = Bench::beside(&["a", "b"]);
    let outputs = bench.update(Some(unknown()), label(&[]));
    let looked_up = confirms(&outputs);
    assert_eq!((looked_up.len(), updates(&outputs).len()), (2, 0), "it may be a retry");
    let again = confirms(&bench.hear(Input::Connected));
    assert_eq!(again.len(), 2);
    bench.reply(&looked_up[0].0, looked_up[0].1.n, Reply::NotHeld);
    let last: Vec<_> = again.iter().flat_map(|(name, confirm)| bench.reply(name, confirm.n, Reply::NotHeld)).collect();
    assert_eq!(updates(&last).len(), 1);
}
