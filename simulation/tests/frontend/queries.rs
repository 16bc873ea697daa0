//! The way of a query.

use natter_common::clock::{STAMP_AHEAD_MS_MAX, Stamp};
use natter_common::frontend::Input;
use natter_common::label::Label;
use natter_common::messages::{Refusal, Reply, Status};

use crate::bench::{
    Bench, PATIENCE_MS, TIMEOUT_MS, answer, answered, answers, config, error, id, label, names, presence, queries,
    timestamp,
};

#[test]
fn an_answer_goes_to_the_client_and_its_label_is_learnt() {
    let mut bench = Bench::beside(&["a"]);
    let outputs = bench.query(label(&[("x", 1)]));
    let asked = queries(&outputs);
    let request = &asked[0].1;
    assert_eq!((names(&asked), &request.prev, request.proven), (vec!["a"], &timestamp(&[("x", 1)]), false));
    assert_eq!(request.wait_ms, TIMEOUT_MS - TIMEOUT_MS / 10);
    let reply = answer(&bench.reply("a", request.n, answered(&[("x", 2)]))).unwrap();
    assert_eq!((reply.label, reply.replicas), (label(&[("x", 2)]), vec![id("a")]));
    assert_eq!((bench.frontend.prev(), bench.frontend.pending()), (&label(&[("x", 2)]), 0));
    assert!(bench.reply("a", request.n, answered(&[("x", 3)])).is_empty(), "one answer is enough");
    // The next one brings what was seen, which is proven.
    let outputs = bench.query(label(&[]));
    let request = queries(&outputs).pop().unwrap().1;
    assert_eq!((&request.prev, request.proven), (&timestamp(&[("x", 2)]), true));
}

#[test]
fn what_an_answer_leaves_out_was_retired() {
    let mut bench = Bench::beside(&["a"]);
    let ask = |bench: &mut Bench, with: &[(&str, u64)]| {
        let n = queries(&bench.query(label(&[]))).pop().unwrap().1.n;
        bench.reply("a", n, answered(with));
        bench.frontend.prev().clone()
    };
    assert_eq!(ask(&mut bench, &[("x", 2), ("y", 1)]), label(&[("x", 2), ("y", 1)]));
    assert_eq!(ask(&mut bench, &[("y", 3)]), label(&[("y", 3)]));
    // Entries that the query did not bring stay: the frontend may have learnt them from another answer meanwhile.
    let n = queries(&bench.query(label(&[]))).pop().unwrap().1.n;
    assert_eq!(ask(&mut bench, &[("y", 3), ("z", 1)]), label(&[("y", 3), ("z", 1)]));
    bench.reply("a", n, answered(&[("y", 4)]));
    assert_eq!(bench.frontend.prev(), &label(&[("y", 4), ("z", 1)]));
}

#[test]
fn who_is_silent_is_not_waited_for_alone() {
    let mut bench = Bench::beside(&["a", "b"]);
    let first = queries(&bench.query(label(&[]))).pop().unwrap();
    assert_eq!(queries(&bench.pass(PATIENCE_MS - 20)), []);
    let outputs = bench.pass(20);
    let second = queries(&outputs).pop().unwrap();
    assert_ne!(first.0, second.0);
    assert_eq!(second.1.wait_ms, TIMEOUT_MS - PATIENCE_MS - TIMEOUT_MS / 10);
    // Others are asked first until it shows itself again.
    assert_eq!(queries(&bench.query(label(&[]))).pop().unwrap().0, second.0);
    // The first may answer all the same.
    assert!(answer(&bench.reply(&first.0, first.1.n, answered(&[]))).is_ok());
}

#[test]
fn nobody_answers_in_time() {
    let mut bench = Bench::beside(&["a"]);
    bench.query(label(&[]));
    assert_eq!(answers(&bench.pass(TIMEOUT_MS - 20)), []);
    assert_eq!(error(&bench.pass(20)), "504 TIMEOUT");
    assert_eq!(bench.frontend.pending(), 0);
}

#[test]
fn somebody_who_is_behind_is_not_the_only_one_asked() {
    let mut bench = Bench::beside(&["a", "b"]);
    let first = queries(&bench.query(label(&[("x", 9)]))).pop().unwrap();
    let outputs = bench.reply(&first.0, first.1.n, Reply::Behind);
    let second = queries(&outputs).pop().unwrap();
    assert_ne!(first.0, second.0);
    assert!(answers(&bench.reply(&second.0, second.1.n, Reply::Behind)).is_empty());
    let outputs = bench.pass(TIMEOUT_MS);
    assert_eq!(error(&outputs), "504 STALE");
    let again = queries(&outputs);
    assert!(!again.is_empty() && again.len() < 8, "asked again, not all the time: {}", again.len());
}

#[test]
fn nobody_is_there() {
    let mut bench = Bench::beside(&[]);
    assert_eq!(error(&bench.query(label(&[]))), "503 UNAVAILABLE");
    let mut bench = Bench::beside(&["a"]);
    bench.show(presence("a", Status::Offline, &[]));
    assert_eq!(error(&bench.query(label(&[]))), "503 UNAVAILABLE");
    // A replica that joins is waited for.
    bench.show(presence("a", Status::Joining, &[]));
    assert_eq!(answers(&bench.query(label(&[]))), []);
    bench.show(presence("a", Status::Active, &[]));
    assert_eq!(queries(&bench.pass(40)), []);
    let asked = queries(&bench.pass(20));
    assert_eq!(names(&asked), ["a"]);
}

#[test]
fn nobody_may_yet_have_had_the_time_to_show_up() {
    let mut bench = Bench::new(config());
    assert_eq!(answers(&bench.query(label(&[]))), []);
    assert_eq!(answers(&bench.pass(1_480)), []);
    assert_eq!(error(&bench.pass(60)), "503 UNAVAILABLE");
}

#[test]
fn an_attempt_fails_with_the_replica_that_is_gone() {
    let mut bench = Bench::beside(&["a", "b"]);
    let first = queries(&bench.query(label(&[]))).pop().unwrap();
    let outputs = bench.hear(Input::Unreachable(id(&first.0), 0..0));
    let second = queries(&outputs).pop().unwrap();
    assert_ne!(first.0, second.0);
    bench.shown.clear();
    let outputs = bench.show(presence(&second.0, Status::Left, &[]));
    assert_eq!(error(&outputs), "503 UNAVAILABLE");
}

#[test]
fn a_refusal_goes_to_the_client_with_its_label() {
    let mut bench = Bench::beside(&["a"]);
    let n = queries(&bench.query(label(&[]))).pop().unwrap().1.n;
    let refusal = Refusal::MovieNotFound;
    let outputs = bench.reply("a", n, Reply::Refused { refusal, label: label(&[("x", 4)]) });
    let refused = answer(&outputs).unwrap_err();
    assert_eq!((refused.code(), refused.label()), (404, Some(&label(&[("x", 4)]))));
    assert!(refused.to_string().contains("there is no movie 2"));
    assert_eq!(bench.frontend.prev(), &label(&[("x", 4)]));
}

#[test]
fn only_who_was_asked_is_heard() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (name, request) = queries(&bench.query(label(&[]))).pop().unwrap();
    let other = if name == "a" { "b" } else { "a" };
    assert!(bench.reply(other, request.n, answered(&[])).is_empty());
    assert!(bench.reply(&name, request.n + 1, answered(&[])).is_empty());
    assert!(answer(&bench.reply(&name, request.n, answered(&[]))).is_ok());
}

#[test]
fn so_many_wait_and_no_more() {
    let mut bench = Bench::beside(&["a"]);
    for n in 0..config().queue_length_max {
        assert_eq!(bench.frontend.pending(), n);
        assert_eq!(answers(&bench.query(label(&[]))), []);
    }
    assert_eq!(error(&bench.query(label(&[]))), "503 OVERLOADED");
}

#[test]
fn a_clock_more_than_a_minute_ahead_is_refused_unless_somebody_else_shows_it_too() {
    let mut bench = Bench::beside(&["a"]);
    let ahead = |bench: &Bench, more_ms| Label {
        clock: Stamp::new(bench.now.wall_ms + STAMP_AHEAD_MS_MAX + more_ms, 7),
        ..label(&[])
    };
    let prev = ahead(&bench, 1);
    assert_eq!(error(&bench.query(prev.clone())), "400 BAD_REQUEST");
    let most = ahead(&bench, 0);
    assert_eq!(answers(&bench.query(most)), []);
    let mut fast = presence("a", Status::Active, &[]);
    fast.wall_ms = bench.now.wall_ms + 1;
    bench.show(fast);
    assert_eq!(answers(&bench.query(prev)), [], "the clock here is slow");
}
