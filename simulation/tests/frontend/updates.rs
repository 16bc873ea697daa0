//! The way of an update.

use natter_common::clock::{STAMP_AHEAD_MS_MAX, Stamp};
use natter_common::frontend::{Config, Input, Output};
use natter_common::ids::UpdateId;
use natter_common::label::Label;
use natter_common::messages::{Refusal, Reply, Status, UpdateRequest};

use crate::bench::{
    Bench, PATIENCE_MS, TIMEOUT_MS, accepted, answer, answers, config, confirms, error, held, id, label, names,
    presence, timestamp, updates,
};

/// The only replica that is asked to accept something, and what.
fn asked(outputs: &[Output]) -> (String, UpdateRequest) {
    let mut asked = updates(outputs);
    assert_eq!(asked.len(), 1, "{outputs:?}");
    asked.pop().unwrap()
}

fn made(ago_ms: u64, bench: &Bench) -> UpdateId {
    UpdateId::from_stamp(Stamp::new(bench.now.wall_ms - ago_ms, 3), 1)
}

/// A version 4, which shows no age.
pub(crate) fn unknown() -> UpdateId {
    "919108f7-52d1-4320-9bac-f847db4148a8".parse().unwrap()
}

#[test]
fn one_accepts_another_confirms_and_then_the_client_has_its_answer() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let outputs = bench.update(None, label(&[("x", 1)]));
    let (acceptor, request) = asked(&outputs);
    let confirming = confirms(&outputs);
    assert_eq!(confirming.len(), 1);
    let (other, confirm) = confirming[0].clone();
    assert_ne!(acceptor, other);
    assert_eq!((confirm.id, confirm.acceptor, confirm.wait_ms), (request.id, Some(id(&acceptor)), 2 * PATIENCE_MS));
    assert_eq!(
        (request.copies, request.fresh, request.proven, &request.prev),
        (2, true, false, &timestamp(&[("x", 1)]))
    );
    assert_eq!((request.stamp, request.id.stamp()), (Stamp::new(bench.now.wall_ms, 0), Some(request.stamp)));
    assert_eq!(request.wait_ms, TIMEOUT_MS - TIMEOUT_MS / 10);
    assert_eq!(answers(&bench.reply(&acceptor, request.n, accepted("x", 5))), []);
    let reply = answer(&bench.reply(&other, confirm.n, held("x", 5))).unwrap();
    assert_eq!(reply.label, Label { clock: Stamp(5), ..label(&[("x", 5)]) });
    assert_eq!((reply.replicas.len(), bench.frontend.prev()), (2, &reply.label));
    let next = asked(&bench.update(None, label(&[]))).1;
    assert_eq!((next.stamp.milliseconds(), next.stamp.counter(), next.proven), (bench.now.wall_ms, 1, true));
    assert_ne!(next.id, request.id);
}

#[test]
fn they_must_hold_the_same_record() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let outputs = bench.update(None, label(&[]));
    let (acceptor, request) = asked(&outputs);
    let (other, confirm) = confirms(&outputs).pop().unwrap();
    bench.reply(&acceptor, request.n, accepted(&acceptor, 1));
    let outputs = bench.reply(&other, confirm.n, held(&other, 9));
    assert_eq!(answers(&outputs), []);
    // A third replica is asked, which holds one of them.
    let (third, confirm) = confirms(&outputs).pop().unwrap();
    assert!(third != acceptor && third != other);
    let reply = answer(&bench.reply(&third, confirm.n, held(&acceptor, 1))).unwrap();
    assert_eq!(reply.label.replicas, timestamp(&[(&acceptor, 1)]));
    assert!(!reply.replicas.contains(&id(&other)));
}

#[test]
fn a_replica_that_holds_another_record_of_it_is_asked_again_after_a_while() {
    let mut bench = Bench::beside(&["a", "b"]);
    let outputs = bench.update(None, label(&[]));
    let (acceptor, request) = asked(&outputs);
    let (other, confirm) = confirms(&outputs).pop().unwrap();
    bench.reply(&acceptor, request.n, accepted(&acceptor, 1));
    let outputs = bench.reply(&other, confirm.n, held(&other, 9));
    assert!(outputs.is_empty(), "{outputs:?}");
    let (asked_again, confirm) = confirms(&bench.pass(PATIENCE_MS)).pop().unwrap();
    assert_eq!(asked_again, other);
    let reply = answer(&bench.reply(&other, confirm.n, held(&acceptor, 1))).unwrap();
    assert_eq!(reply.label.replicas, timestamp(&[(&acceptor, 1)]));
}

#[test]
fn where_fewer_are_up_those_count() {
    let mut bench = Bench::beside(&["a"]);
    let outputs = bench.update(None, label(&[]));
    let (_, request) = asked(&outputs);
    assert_eq!(confirms(&outputs), []);
    assert_eq!(answer(&bench.reply("a", request.n, accepted("a", 1))).unwrap().replicas, [id("a")]);
    // Before every process had the time to show up, it is not known which are up.
    let mut bench = Bench::new(config());
    bench.show(presence("a", Status::Active, &[]));
    let (_, request) = asked(&bench.update(None, label(&[])));
    assert_eq!(answers(&bench.reply("a", request.n, accepted("a", 1))), []);
}

#[test]
fn a_strict_frontend_wants_as_many_as_were_asked_for() {
    let strict = || Config { strict: true, ..config() };
    let mut bench = Bench::with(strict(), &["a"]);
    assert_eq!(error(&bench.update(None, label(&[]))), "503 NOT_ENOUGH_REPLICAS");
    let mut bench = Bench::with(strict(), &["a", "b"]);
    let outputs = bench.update(None, label(&[]));
    let (acceptor, request) = asked(&outputs);
    bench.reply(&acceptor, request.n, accepted("x", 1));
    let outputs = bench.pass(TIMEOUT_MS);
    let text = answer(&outputs).unwrap_err().to_string();
    assert!(text.starts_with("NOT_ENOUGH_REPLICAS: 1 of 2 replicas hold"), "{text}");
}

#[test]
fn a_silent_acceptor_is_replaced_under_the_same_id_and_stamp() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let outputs = bench.update(None, label(&[]));
    let (first, request) = asked(&outputs);
    let confirming = confirms(&outputs).pop().unwrap().0;
    assert_eq!(updates(&bench.pass(PATIENCE_MS - 20)), []);
    let outputs = bench.pass(20);
    let (second, again) = asked(&outputs);
    assert!(second != first && second != confirming, "who was silent is asked last");
    assert_eq!((again.id, again.stamp, again.fresh), (request.id, request.stamp, false), "the first may have it");
    let silent = outputs.iter().filter(|output| matches!(output, Output::Notice(_))).count();
    assert_eq!(silent, 2);
    let outputs = bench.pass(TIMEOUT_MS);
    let text = answer(&outputs).unwrap_err().to_string();
    assert!(text.starts_with("TIMEOUT: ") && text.contains(&request.id.to_string()), "{text}");
}

#[test]
fn a_refusal_is_certain_where_nobody_else_may_have_accepted_it() {
    let refused = || Reply::Refused { refusal: Refusal::RatingExists, label: label(&[("x", 4)]) };
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, request) = asked(&bench.update(None, label(&[])));
    let error = answer(&bench.reply(&acceptor, request.n, refused())).unwrap_err();
    assert_eq!((error.code(), bench.frontend.prev()), (409, &label(&[("x", 4)])));
    assert!(error.to_string().contains("user 7 has already rated movie 2"), "{error}");
    // If one is silent, which may have accepted it, the update is looked up first.
    let (first, _) = asked(&bench.update(None, label(&[])));
    let (second, again) = asked(&bench.pass(PATIENCE_MS));
    let outputs = bench.reply(&second, again.n, refused());
    assert_eq!(answers(&outputs), []);
    let looked_up = confirms(&outputs);
    assert_eq!(names(&looked_up), [first.as_str(), second.as_str()]);
    assert!(looked_up.iter().all(|(_, request)| request.wait_ms == 0 && request.acceptor.is_none()));
}

#[test]
fn a_stamp_that_is_not_above_the_rating_is_made_anew() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, request) = asked(&bench.update(None, label(&[])));
    let mut above = Stamp::new(bench.now.wall_ms + 50, 0);
    let (mut acceptor, mut n) = (acceptor, request.n);
    for _ in 0..8 {
        let outputs = bench.reply(&acceptor, n, Reply::StampAgain { above });
        let (next, again) = asked(&outputs);
        assert_eq!((again.stamp, again.id, again.fresh), (above.next(), request.id, true));
        (acceptor, n, above) = (next, again.n, Stamp(above.0 + 9));
    }
    assert_eq!(error(&bench.reply(&acceptor, n, Reply::StampAgain { above })), "400 BAD_REQUEST");
}

#[test]
fn what_was_accepted_is_not_stamped_anew_though_its_acceptor_died() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let outputs = bench.update(None, label(&[]));
    let (acceptor, request) = asked(&outputs);
    let (other, confirm) = confirms(&outputs).pop().unwrap();
    bench.reply(&acceptor, request.n, accepted(&acceptor, 1));
    bench.hear(Input::Unreachable(id(&acceptor), 0..0));
    let (second, again) = asked(&bench.reply(&other, confirm.n, Reply::NotHeld));
    assert_eq!((again.id, again.stamp), (request.id, request.stamp));
    assert!(!again.fresh, "somebody may have its record");
    // Nor where the clock here is ahead.
    let wall_ms = bench.now.wall_ms - 100_000;
    let (_, third) = asked(&bench.reply(&second, again.n, Reply::StampAhead { wall_ms, clock: Stamp::ZERO }));
    assert_eq!(third.stamp, request.stamp);
}

#[test]
fn a_frontend_whose_clock_is_ahead_stamps_by_that_of_the_replica() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, request) = asked(&bench.update(None, label(&[])));
    let wall_ms = bench.now.wall_ms - 100_000;
    let outputs = bench.reply(&acceptor, request.n, Reply::StampAhead { wall_ms, clock: Stamp::ZERO });
    let (_, again) = asked(&outputs);
    assert_eq!(again.stamp, Stamp::new(wall_ms, 1));
    let told = outputs.iter().any(|output| matches!(output, Output::Notice(notice) if notice.to_string().starts_with("the clock here is 100000 ms ahead")));
    assert!(told, "{outputs:?}");
    // A session's label that is ahead is lowered to what the acceptor holds, which covers the label.
    let ahead = Label { clock: Stamp::new(wall_ms + STAMP_AHEAD_MS_MAX + 1, 0), ..label(&[]) };
    let (acceptor, request) = asked(&bench.update(None, ahead));
    let clock = Stamp::new(wall_ms, 3);
    let outputs = bench.reply(&acceptor, request.n, Reply::StampAhead { wall_ms, clock });
    let (_, again) = asked(&outputs);
    assert_eq!(again.stamp, clock.next());
}

#[test]
fn an_id_that_belongs_to_another_update_is_refused() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, request) = asked(&bench.update(None, label(&[])));
    assert_eq!(error(&bench.reply(&acceptor, request.n, Reply::IdInUse)), "400 BAD_REQUEST");
}

#[test]
fn a_new_id_is_sent_at_once_with_the_stamp_that_it_carries() {
    let mut bench = Bench::beside(&["a", "b"]);
    let id = made(1_000, &bench);
    let (_, request) = asked(&bench.update(Some(id), label(&[])));
    assert_eq!((request.id, Some(request.stamp), request.fresh), (id, id.stamp(), false));
    // Not above what the session has seen: then it has another.
    let prev = Label { clock: id.stamp().unwrap(), ..label(&[]) };
    let outputs = bench.update(Some(id), prev.clone());
    assert_eq!(confirms(&outputs).len(), 2, "it is looked up");
}

#[test]
fn an_id_that_may_be_a_retrys_is_looked_up_at_everybody_first() {
    for ago_ms in [1_001, 30_000] {
        let mut bench = Bench::beside(&["a", "b"]);
        bench.show(presence("c", Status::Joining, &[]));
        bench.show(presence("d", Status::Offline, &[]));
        let id = made(ago_ms, &bench);
        let outputs = bench.update(Some(id), label(&[]));
        let looked_up = confirms(&outputs);
        assert_eq!((names(&looked_up), updates(&outputs)), (vec!["a", "b", "c"], vec![]));
        assert!(looked_up.iter().all(|(_, request)| request.wait_ms == 0 && request.id == id));
        for (name, request) in &looked_up[..2] {
            assert_eq!(updates(&bench.reply(name, request.n, Reply::NotHeld)), []);
        }
        bench.show(presence("d", Status::Left, &[]));
        bench.show(presence("c", Status::Active, &[]));
        let (_, request) = asked(&bench.reply("c", looked_up[2].1.n, Reply::NotHeld));
        assert_eq!(Some(request.stamp), id.stamp());
        assert_eq!(request.fresh, ago_ms > 10_000, "an earlier attempt may still be on its way");
    }
}

#[test]
fn what_somebody_holds_already_is_confirmed_and_answered_again() {
    let mut bench = Bench::beside(&["a", "b"]);
    let outputs = bench.update(Some(unknown()), label(&[]));
    let looked_up = confirms(&outputs);
    assert_eq!(names(&looked_up), ["a", "b"]);
    assert_eq!(updates(&bench.reply("a", looked_up[0].1.n, held("a", 4))), []);
    // Its holder knows the first answer.
    let (name, request) = asked(&bench.reply("b", looked_up[1].1.n, held("a", 4)));
    assert_eq!((name.as_str(), request.fresh), ("a", false));
    let reply = answer(&bench.reply("a", request.n, accepted("a", 4))).unwrap();
    assert_eq!((reply.label.replicas, reply.replicas.len()), (timestamp(&[("a", 4)]), 2));
}

#[test]
fn somebody_who_does_not_answer_a_look_up_is_not_waited_for() {
    let mut bench = Bench::beside(&["a", "b"]);
    let outputs = bench.update(Some(unknown()), label(&[]));
    let looked_up = confirms(&outputs);
    bench.reply("a", looked_up[0].1.n, Reply::NotHeld);
    assert_eq!(updates(&bench.pass(PATIENCE_MS - 20)), []);
    let (_, request) = asked(&bench.pass(20));
    assert!(!request.fresh, "the other may hold it");
}

#[test]
fn an_old_id_without_a_stamp_that_counts_is_refused() {
    let mut bench = Bench::beside(&["a", "b"]);
    let seen = |id: UpdateId| Label { clock: id.stamp().unwrap(), ..label(&[]) };
    let old = made(60_001, &bench);
    let error = answer(&bench.update(Some(old), seen(old))).unwrap_err();
    assert!(error.code() == 400 && error.to_string().contains("more than a minute ago"), "{error}");
    let young = made(60_000, &bench);
    assert_eq!(answers(&bench.update(Some(young), seen(young))), []);
    assert_eq!(answers(&bench.update(Some(old), label(&[]))), [], "the stamp in it counts");
    // An id that is ahead by more than a minute carries no stamp either.
    let ahead = UpdateId::from_stamp(Stamp::new(bench.now.wall_ms + STAMP_AHEAD_MS_MAX + 1, 0), 1);
    assert_eq!(confirms(&bench.update(Some(ahead), label(&[]))).len(), 2);
}

#[test]
fn a_dead_acceptor_is_replaced_at_once() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let (first, request) = asked(&bench.update(None, label(&[])));
    bench.shown.retain(|shown| shown.id != id(&first));
    let (second, again) = asked(&bench.hear(Input::Unreachable(id(&first), 0..0)));
    assert!(second != first && again.id == request.id && !again.fresh);
}

#[test]
fn what_came_to_nobody_was_accepted_by_nobody() {
    let mut bench = Bench::beside(&["a", "b", "c"]);
    let (first, request) = asked(&bench.update(None, label(&[])));
    bench.shown.retain(|shown| shown.id != id(&first));
    let (second, again) = asked(&bench.hear(Input::Unreachable(id(&first), request.n..request.n + 1)));
    assert!(again.fresh, "it is as new as before");
    // And a refusal is certain at once.
    let refused = Reply::Refused { refusal: Refusal::RatingExists, label: label(&[]) };
    assert_eq!(error(&bench.reply(&second, again.n, refused)), "409 RATING_EXISTS");
}

#[test]
fn what_was_said_to_a_look_up_before_an_acceptor_was_known_to_be_dead_does_not_count() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, _) = asked(&bench.update(None, label(&[])));
    let (other, again) = asked(&bench.pass(PATIENCE_MS));
    let refused = Reply::Refused { refusal: Refusal::RatingExists, label: label(&[]) };
    let earlier = confirms(&bench.reply(&other, again.n, refused));
    assert_eq!(names(&earlier), [acceptor.as_str(), other.as_str()]);
    assert_eq!(confirms(&bench.hear(Input::Unreachable(id(&acceptor), 0..0))), [], "it may be back soon");
    bench.show_later_life(&acceptor, "z");
    let later = confirms(&bench.reply(&other, earlier[1].1.n, Reply::NotHeld));
    assert_eq!(names(&later), [acceptor.as_str(), other.as_str(), "z"], "everybody is asked again");
    bench.hear(Input::Unreachable(id(&acceptor), 0..0));
    assert_eq!(answers(&bench.reply("z", later[2].1.n, Reply::NotHeld)), []);
    assert_eq!(error(&bench.reply(&other, later[1].1.n, Reply::NotHeld)), "409 RATING_EXISTS");
}

#[test]
fn a_refusal_is_not_certain_while_an_acceptor_may_only_have_lost_its_connection() {
    let mut bench = Bench::beside(&["a", "b"]);
    let (acceptor, _) = asked(&bench.update(None, label(&[])));
    let other = if acceptor == "a" { "b" } else { "a" };
    bench.shown.retain(|shown| shown.id == id(other));
    let (_, again) = asked(&bench.hear(Input::Unreachable(id(&acceptor), 0..0)));
    let refused = Reply::Refused { refusal: Refusal::RatingExists, label: label(&[]) };
    let looked_up = confirms(&bench.reply(other, again.n, refused));
    bench.hear(Input::Unreachable(id(&acceptor), 0..0));
    assert_eq!(answers(&bench.reply(other, looked_up[1].1.n, Reply::NotHeld)), []);
    let text = answer(&bench.pass(TIMEOUT_MS)).unwrap_err().to_string();
    let told = format!("is refused (RATING_EXISTS), but replica {acceptor}, which was asked before, is gone");
    assert!(text.starts_with("TIMEOUT: ") && text.contains(&told), "{text}");
}

#[test]
fn a_refusal_is_not_certain_while_one_is_away_who_may_have_heard_from_a_dead_acceptor() {
    let refused = || Reply::Refused { refusal: Refusal::RatingExists, label: label(&[]) };
    for is_away in [true, false] {
        let others: &[&str] = if is_away { &["a", "b", "c"] } else { &["a", "b"] };
        let mut bench = Bench::beside(others);
        let (acceptor, _) = asked(&bench.update(None, label(&[])));
        let other = if acceptor == "a" { "b" } else { "a" };
        bench.shown.retain(|shown| shown.id == id(other));
        if is_away {
            let third = others.iter().find(|name| **name != acceptor && **name != other).unwrap();
            bench.show(presence(third, Status::Offline, &[]));
        }
        let outputs = bench.hear(Input::Unreachable(id(&acceptor), 0..0));
        let (_, again) = asked(&outputs);
        bench.show_later_life(&acceptor, "z");
        let outputs = bench.reply(other, again.n, refused());
        let looked_up = confirms(&outputs);
        assert_eq!(names(&looked_up), [acceptor.as_str(), other, "z"]);
        bench.hear(Input::Unreachable(id(&acceptor), 0..0));
        bench.reply("z", looked_up[2].1.n, Reply::NotHeld);
        let outputs = bench.reply(other, looked_up[1].1.n, Reply::NotHeld);
        if is_away {
            assert_eq!(answers(&outputs), []);
            let text = answer(&bench.pass(TIMEOUT_MS)).unwrap_err().to_string();
            assert!(text.starts_with("TIMEOUT: "), "{text}");
        } else {
            assert_eq!(error(&outputs), "409 RATING_EXISTS");
        }
    }
}

#[test]
fn nobody_can_be_asked() {
    let mut bench = Bench::beside(&[]);
    assert_eq!(error(&bench.update(None, label(&[]))), "503 UNAVAILABLE");
    let mut bench = Bench::beside(&["a"]);
    bench.show(presence("a", Status::Joining, &[]));
    assert_eq!(answers(&bench.update(None, label(&[]))), [], "one that joins is waited for");
    bench.show(presence("a", Status::Active, &[]));
    assert_eq!(updates(&bench.pass(40)), []);
    asked(&bench.pass(20));
    let mut bench = Bench::beside(&["a"]);
    bench.show(presence("a", Status::Joining, &[]));
    bench.update(None, label(&[]));
    assert_eq!(error(&bench.pass(TIMEOUT_MS)), "503 UNAVAILABLE");
}

#[test]
fn nobody_has_what_the_session_has_seen() {
    let mut bench = Bench::beside(&["a"]);
    let (_, request) = asked(&bench.update(None, label(&[("x", 9)])));
    let outputs = bench.reply("a", request.n, Reply::Behind);
    assert_eq!(answers(&outputs), []);
    assert_eq!(error(&bench.pass(TIMEOUT_MS)), "504 TIMEOUT", "it was asked again and may have accepted it");
}
