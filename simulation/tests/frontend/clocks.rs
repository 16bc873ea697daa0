//! Clocks of labels that are ahead of the wall clock.

use natter_common::clock::{STAMP_AHEAD_MS_MAX, Stamp};
use natter_common::frontend::Output;
use natter_common::ids::UpdateId;
use natter_common::label::Label;
use natter_common::messages::{Presence, Reply, Status};

use crate::bench::{Bench, answer, answered, answers, config, error, label, names, presence, queries, updates};

const HOUR_MS: u64 = 3_600_000;

/// A replica that holds an update of a clock that was once an hour ahead.
fn an_hour_ahead(bench: &Bench) -> (Presence, Stamp) {
    let clock = Stamp::new(bench.now.wall_ms + HOUR_MS, 7);
    (Presence { clock: Some(clock), ..presence("a", Status::Active, &[("x", 5)]) }, clock)
}

fn seen(clock: Stamp) -> Label {
    Label { clock, ..label(&[("x", 5)]) }
}

fn stamp(outputs: &[Output]) -> Stamp {
    let updates = updates(outputs);
    assert_eq!(updates.len(), 1, "{outputs:?}");
    updates[0].1.stamp
}

#[test]
fn label_ahead_of_the_wall_clock_is_served_where_replicas_hold_its_clock() {
    let mut bench = Bench::beside(&["a"]);
    let (ahead, clock) = an_hour_ahead(&bench);
    bench.show(ahead);
    assert_eq!(names(&queries(&bench.query(seen(clock)))), ["a"]);
    assert_eq!(stamp(&bench.update(None, seen(clock))), clock.next(), "no question goes before it");
    let too_far = Stamp::new(clock.milliseconds() + STAMP_AHEAD_MS_MAX + 1, 0);
    assert_eq!(error(&bench.query(seen(too_far))), "400 BAD_REQUEST");
}

#[test]
fn before_a_replica_has_answered_a_label_ahead_is_unavailable_and_not_refused() {
    let mut bench = Bench::new(config());
    let clock = Stamp::new(bench.now.wall_ms + HOUR_MS, 7);
    assert_eq!(error(&bench.query(seen(clock))), "503 UNAVAILABLE");
    let (ahead, clock) = an_hour_ahead(&bench);
    bench.show(ahead);
    assert_eq!(error(&bench.query(seen(clock))), "503 UNAVAILABLE", "presence is a claim, an answer is proof");
    bench.prove("a");
    assert_eq!(answers(&bench.query(seen(clock))), []);
}

#[test]
fn label_with_the_clock_of_a_replica_that_has_not_answered_yet_is_not_refused() {
    let mut bench = Bench::beside(&["b"]);
    let (ahead, clock) = an_hour_ahead(&bench);
    bench.show(presence("b", Status::Active, &[("x", 5)]));
    assert_eq!(error(&bench.query(seen(clock))), "400 BAD_REQUEST", "nobody shows that clock");
    bench.show(ahead);
    assert_eq!(answers(&bench.query(seen(clock))), [], "it is asked of one that covers the label");
    let too_far = Stamp::new(clock.milliseconds() + STAMP_AHEAD_MS_MAX + 1, 0);
    assert_eq!(error(&bench.query(seen(too_far))), "400 BAD_REQUEST");
}

#[test]
fn label_whose_records_no_present_replica_holds_is_not_judged_by_its_clock() {
    let mut bench = Bench::beside(&["a"]);
    let clock = Stamp::new(bench.now.wall_ms + HOUR_MS, 7);
    assert_eq!(names(&queries(&bench.query(seen(clock)))), ["a"], "it waits for them");
}

#[test]
fn clock_between_the_bounds_is_lowered_to_that_of_a_replica_which_covers_the_label() {
    let mut bench = Bench::beside(&["a"]);
    bench.show(presence("a", Status::Active, &[("x", 5)]));
    let (mut prev, wall) = (Stamp::ZERO, bench.now.wall_ms);
    for _ in 0..5 {
        // As far ahead as a client can say, again and again.
        prev = Stamp::new(wall.max(prev.milliseconds()) + STAMP_AHEAD_MS_MAX, 0);
        let outputs = bench.update(None, seen(prev));
        let [(replica, question)] = &queries(&outputs)[..] else { panic!("a question goes before it: {outputs:?}") };
        assert_eq!(question.prev.get(&crate::bench::id("x")), 5);
        let Reply::Answered { value, .. } = answered(&[("x", 5)]) else { panic!("an answer") };
        let reply = Reply::Answered { value, label: Label { clock: Stamp::new(wall, 3), ..label(&[("x", 5)]) } };
        let outputs = bench.reply(replica, question.n, reply);
        assert!(stamp(&outputs).milliseconds() < wall + 100, "{} was driven ahead", stamp(&outputs));
        bench.pass(20);
        if prev.milliseconds() > wall + STAMP_AHEAD_MS_MAX / 2 {
            break;
        }
    }
}

#[test]
fn no_answer_to_the_question_before_an_update_says_that_nothing_changed() {
    let mut bench = Bench::beside(&["a"]);
    bench.show(presence("a", Status::Active, &[("x", 5)]));
    let outputs = bench.update(None, seen(Stamp::new(bench.now.wall_ms + STAMP_AHEAD_MS_MAX / 2, 0)));
    assert_eq!((queries(&outputs).len(), updates(&outputs).len()), (1, 0));
    let outputs = bench.pass(2_500);
    let text = answer(&outputs).unwrap_err().to_string();
    assert!(text.starts_with("TIMEOUT: ") && !text.contains("may still take effect"), "{text}");
}

#[test]
fn retry_of_an_update_stamped_ahead_keeps_the_stamp_of_its_id() {
    let mut bench = Bench::beside(&["a"]);
    let (ahead, clock) = an_hour_ahead(&bench);
    bench.show(ahead);
    let a_step_ahead = UpdateId::from_stamp(clock.next(), 1);
    assert_eq!(stamp(&bench.update(Some(a_step_ahead), seen(clock))), clock.next());
    // An id far above what the replicas hold carries nothing.
    let far = UpdateId::from_stamp(Stamp(clock.0 + 5000), 1);
    let outputs = bench.update(Some(far), seen(clock));
    assert!(updates(&outputs).iter().all(|(_, request)| request.stamp < Stamp(clock.0 + 100)), "{outputs:?}");
}

#[test]
fn frontend_whose_clock_is_ahead_stamps_by_the_clock_of_a_replica_until_the_update_is_accepted() {
    let mut bench = Bench::beside(&["a", "b"]);
    let wall_ms = bench.now.wall_ms;
    bench.now.wall_ms += HOUR_MS;
    let stamped = |outputs: &[Output]| {
        let (replica, request) = updates(outputs).remove(0);
        (replica, request.n, request.stamp)
    };
    let (first, n, stamp) = stamped(&bench.update(None, Label::new()));
    assert!(stamp.milliseconds() >= wall_ms + HOUR_MS);
    let outputs = bench.reply(&first, n, Reply::StampAhead { wall_ms, clock: Stamp::ZERO });
    let (second, n, stamp) = stamped(&outputs);
    assert_eq!(stamp, Stamp::new(wall_ms, 1));
    // Another update moves the clock here ahead again.
    bench.update(None, Label::new());
    let above = Stamp::new(wall_ms + 7, 0);
    let (third, _, stamp) = stamped(&bench.reply(&second, n, Reply::StampAgain { above }));
    assert_eq!(stamp, above.next());
    assert_eq!(third, second, "that one holds what the stamp has to be above");
}
