//! Choice of the replicas that a frontend asks.

use natter_common::frontend::{Config, Input, Output};
use natter_common::messages::{Presence, Status};

use crate::bench::{Bench, answer, answered, config, id, label, names, presence, queries};

fn asked(bench: &mut Bench, prev: &[(&str, u64)]) -> String {
    let outputs = bench.query(label(prev));
    let asked = queries(&outputs);
    assert_eq!(asked.len(), 1);
    asked[0].0.clone()
}

/// Asks and answers the request, so that its number is free again; gives the replica that was asked.
fn asked_and_answered(bench: &mut Bench, prev: &[(&str, u64)], with: &[(&str, u64)]) -> String {
    let outputs = bench.query(label(prev));
    let (name, request) = queries(&outputs).pop().unwrap();
    assert!(answer(&bench.reply(&name, request.n, answered(with))).is_ok());
    name
}

#[test]
fn those_that_serve_are_asked_by_turns() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let mut asked: Vec<String> = (0..6).map(|_| asked(&mut bench, &[])).collect();
    assert_eq!(asked[..3], asked[3..]);
    asked.truncate(3);
    asked.sort();
    assert_eq!(asked, ["a", "b", "c"]);
}

#[test]
fn the_active_are_asked_before_the_overloaded_and_nobody_else() {
    let mut bench = Bench::beside(&["a", "b", "c", "d"]);
    bench.show(presence("a", Status::Overloaded, &[]));
    bench.show(presence("c", Status::Offline, &[]));
    bench.show(presence("d", Status::Joining, &[]));
    for _ in 0..4 {
        assert_eq!(asked(&mut bench, &[]), "b");
    }
    bench.show(presence("b", Status::Left, &[]));
    assert_eq!(asked(&mut bench, &[]), "a");
}

#[test]
fn those_that_are_known_to_hold_what_a_session_brings_are_asked_first() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    bench.show(presence("b", Status::Active, &[("x", 3)]));
    for _ in 0..4 {
        assert_eq!(asked(&mut bench, &[("x", 3)]), "b");
    }
    // No replica is known to hold more.
    let all: std::collections::BTreeSet<String> = (0..3).map(|_| asked(&mut bench, &[("x", 4)])).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn a_reply_shows_what_its_sender_holds() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let name = asked_and_answered(&mut bench, &[], &[("x", 5)]);
    // Records that the frontend has seen itself reach every replica by gossip.
    let all: std::collections::BTreeSet<String> = (0..3).map(|_| asked(&mut bench, &[("x", 5)])).collect();
    assert_eq!(all.len(), 3);
    // For other records it asks a replica that holds them.
    let outputs = bench.reply(&name, 999, crate::bench::held("y", 2));
    assert!(outputs.is_empty());
    for _ in 0..4 {
        assert_eq!(asked(&mut bench, &[("y", 2)]), name);
    }
}

#[test]
fn who_lags_behind_what_everybody_should_have_is_asked_last() {
    let mut bench = Bench::beside(&["a", "b"]);
    asked_and_answered(&mut bench, &[], &[("x", 5)]);
    // Both had the time to get it; one shows that it has.
    bench.pass(400);
    bench.show(presence("a", Status::Active, &[("x", 5)]));
    bench.show(presence("b", Status::Active, &[("x", 4)]));
    for _ in 0..4 {
        assert_eq!(asked(&mut bench, &[]), "a");
    }
    bench.show(presence("b", Status::Active, &[("x", 5)]));
    assert_ne!(asked(&mut bench, &[]), asked(&mut bench, &[]));
}

#[test]
fn presence_is_a_claim_and_an_answer_is_proof() {
    let mut bench = Bench::beside(&["a"]);
    let outputs = bench.show(presence("b", Status::Active, &[]));
    let probe =
        outputs.iter().any(|output| matches!(output, Output::Confirm(to, request) if *to == id("b") && request.n == 0));
    assert!(probe, "it is asked for something that nobody holds: {outputs:?}");
    for _ in 0..4 {
        assert_eq!(asked(&mut bench, &[]), "a");
    }
    bench.prove("b");
    assert_ne!(asked(&mut bench, &[]), asked(&mut bench, &[]));
    let outputs = bench.show(presence("b", Status::Active, &[]));
    assert!(outputs.is_empty(), "it is asked no more: {outputs:?}");
    // A replica that cannot be reached has to prove itself again.
    bench.hear(Input::Unreachable(id("b"), 0..0));
    bench.show(presence("b", Status::Active, &[]));
    assert_eq!((asked(&mut bench, &[]), asked(&mut bench, &[])), ("a".to_owned(), "a".to_owned()));
}

#[test]
fn it_tells_who_came_and_who_went() {
    let told = |outputs: &[Output]| {
        let notice = |output: &Output| match output {
            Output::Notice(notice) => Some(notice.to_string()),
            _ => None,
        };
        outputs.iter().filter_map(notice).collect::<Vec<_>>()
    };
    let mut bench = Bench::beside(&["a"]);
    assert_eq!(told(&bench.show(presence("b", Status::Joining, &[]))), [""; 0]);
    assert_eq!(told(&bench.show(presence("b", Status::Active, &[]))), ["replica b is there"]);
    assert_eq!(told(&bench.show(presence("b", Status::Left, &[]))), ["replica b is gone"]);
    assert_eq!(told(&bench.hear(Input::Unreachable(id("b"), 0..0))), [""; 0]);
    assert_eq!(told(&bench.hear(Input::Unreachable(id("a"), 0..0))), ["replica a is gone"]);
    bench.show(presence("a", Status::Active, &[]));
    bench.shown.clear();
    assert_eq!(told(&bench.pass(1_500)), [""; 0]);
    assert_eq!(told(&bench.pass(100)), ["replica a is gone"]);
}

#[test]
fn it_is_ready_when_enough_are_there_or_all_had_the_time() {
    let mut bench = Bench::new(config());
    assert!(!bench.frontend.is_ready(bench.now));
    bench.show(presence("a", Status::Active, &[]));
    assert!(!bench.frontend.is_ready(bench.now));
    bench.show(presence("b", Status::Overloaded, &[]));
    assert!(bench.frontend.is_ready(bench.now));
    let mut alone = Bench::new(config());
    alone.pass(1_480);
    assert!(!alone.frontend.is_ready(alone.now));
    alone.pass(20);
    assert!(alone.frontend.is_ready(alone.now));
    alone.hear(Input::Disconnected);
    alone.hear(Input::Connected);
    assert!(!alone.frontend.is_ready(alone.now), "it listens anew");
}

#[test]
fn it_shows_itself_with_what_it_has_seen() {
    let presences = |outputs: &[Output]| {
        let presence = |output: &Output| match output {
            Output::Presence(presence) => Some(Presence::clone(presence)),
            _ => None,
        };
        outputs.iter().filter_map(presence).collect::<Vec<Presence>>()
    };
    let mut bench = Bench::with(Config { queue_length_max: 1, ..config() }, &["a"]);
    asked_and_answered(&mut bench, &[], &[("x", 5)]);
    let shown = presences(&bench.pass(2_000));
    assert_eq!(shown.len(), 4);
    let last = shown.last().unwrap();
    assert_eq!((last.id.as_str(), last.status, last.prev.clone()), ("F", Status::Active, Some(label(&[("x", 5)]))));
    assert!(last.uptime_ms > 3_000 && last.uptime_ms <= bench.now.monotonic_ms);
    bench.query(label(&[]));
    assert_eq!(presences(&bench.pass(500))[0].status, Status::Overloaded);
    let mut outputs = Vec::new();
    bench.frontend.leave(bench.now, &mut outputs);
    assert_eq!(presences(&outputs)[0].status, Status::Left);
    assert_eq!(bench.frontend.to_string(), "F has seen {x:5}, 1 requests wait");
    assert_eq!((bench.frontend.id().as_str(), bench.frontend.prev()), ("F", &label(&[("x", 5)])));
}

#[test]
fn what_died_with_the_last_who_had_it_is_not_waited_for() {
    let mut bench = Bench::beside(&["a", "b"]);
    bench.show(presence("b", Status::Overloaded, &[("a", 3)]));
    assert_eq!(asked_and_answered(&mut bench, &[], &[("a", 5)]), "a");
    bench.shown.retain(|shown| shown.id != id("a"));
    bench.hear(Input::Unreachable(id("a"), 0..0));
    bench.pass(8_000);
    assert_eq!(bench.frontend.prev(), &label(&[("a", 5)]));
    bench.pass(4_000);
    assert_eq!(bench.frontend.prev(), &label(&[("a", 3)]), "as far as somebody holds it");
    let outputs = bench.query(label(&[("a", 5), ("b", 1)]));
    let asked = queries(&outputs);
    assert_eq!(names(&asked), ["b"]);
    assert_eq!(asked[0].1.prev, crate::bench::timestamp(&[("a", 3), ("b", 1)]));
}

#[test]
fn requests_that_came_together_go_to_the_same_replica_manager() {
    let mut bench = Bench::with(Config { queue_length_max: 100, ..config() }, &["a", "b", "c"]);
    let mut outputs = Vec::new();
    for _ in 0..3 {
        let requests: Vec<Input> = (0..5).map(|_| bench.request(label(&[]))).collect();
        bench.frontend.step(bench.now, requests, &mut outputs);
        let asked = queries(&std::mem::take(&mut outputs));
        assert_eq!(asked.len(), 5);
        assert!(asked.iter().all(|(replica, _)| *replica == asked[0].0), "{:?}", names(&asked));
    }
}
