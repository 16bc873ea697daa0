//! Requests to a replica that is alone.

use natter_common::clock::{STAMP_AHEAD_MS_MAX, Stamp};
use natter_common::messages::{Refusal, Reply, UpdateRequest};
use natter_common::record::{COPIES_MAX, RecordRef};
use natter_common::replica_manager::{Input, Output};
use natter_common::request::Answer;

use crate::bench::{
    Bench, GOSSIP_INTERVAL_MS, WALL_MS, config, confirm, create, delete, gossips, id, named, numbered, presences, read,
    reply, timestamp, to, update,
};

fn refusal(outputs: &[Output]) -> Refusal {
    match reply(outputs) {
        Reply::Refused { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_served_before_everybody_had_the_time_to_show_up() {
    let mut bench = Bench::new(config());
    bench.pass(1_480);
    assert_eq!(reply(&bench.query(read(1, &[]))), Reply::NotServing);
    assert_eq!(reply(&bench.update(update(1, create(2)))), Reply::NotServing);
    bench.pass(20);
    assert!(matches!(reply(&bench.query(read(1, &[]))), Reply::Answered { .. }));
}

#[test]
fn an_update_is_accepted_once_and_answered_the_same_again() {
    let mut bench = Bench::serving();
    let first = reply(&bench.update(update(1, create(2))));
    let Reply::Accepted { value: Answer::Rating(rating), records, clock, .. } = first.clone() else {
        panic!("{first:?}")
    };
    assert_eq!((rating.title.as_str(), rating.rating.unwrap().as_f64()), ("Ikiru (1952)", 4.0));
    assert_eq!((rating.timestamp, rating.update_id), (Some(WALL_MS as i64 / 1000), Some(named(1).0)));
    assert_eq!((records, clock), (vec![RecordRef { i: id("own"), seq: 1 }], named(1).1));
    assert_eq!(reply(&bench.update(update(1, create(2)))), first);
    assert_eq!(reply(&bench.update(update(1, create(3)))), Reply::IdInUse);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("own", 1)]));
    let Reply::Accepted { value: Answer::Rating(deleted), .. } = reply(&bench.update(update(2, delete(2)))) else {
        panic!("not deleted")
    };
    assert_eq!((deleted.rating, deleted.update_id), (rating.rating, rating.update_id), "what it took away");
}

#[test]
fn the_value_refuses_what_it_does_not_allow() {
    let mut bench = Bench::serving();
    assert_eq!(refusal(&bench.update(update(1, create(99)))), Refusal::MovieNotFound);
    assert_eq!(refusal(&bench.update(update(1, delete(2)))), Refusal::RatingNotFound);
    bench.update(update(2, create(2)));
    assert_eq!(refusal(&bench.update(update(3, create(2)))), Refusal::RatingExists);
    assert_eq!(bench.manager.log().len() + bench.manager.executed_operations().len(), 2);
}

#[test]
fn a_stamp_must_be_above_that_of_the_rating_and_no_minute_ahead() {
    let mut bench = Bench::serving();
    bench.update(update(5, create(2)));
    let above = named(5).1;
    let again = |n| UpdateRequest { stamp: above, ..update(n, delete(2)) };
    assert_eq!(reply(&bench.update(again(6))), Reply::StampAgain { above });
    // Another replica may have accepted it with this stamp.
    let sure = UpdateRequest { fresh: false, ..again(6) };
    assert!(matches!(reply(&bench.update(sure)), Reply::Accepted { .. }));
    let wall_ms = bench.now.wall_ms;
    let ahead = |n, by_ms| UpdateRequest { stamp: Stamp::new(wall_ms + by_ms, 0), ..update(n, create(3)) };
    assert_eq!(
        reply(&bench.update(ahead(7, STAMP_AHEAD_MS_MAX + 1))),
        Reply::StampAhead { wall_ms, clock: bench.manager.clock() }
    );
    assert!(matches!(reply(&bench.update(ahead(7, STAMP_AHEAD_MS_MAX))), Reply::Accepted { .. }));
}

#[test]
fn an_update_asks_for_one_copy_at_least_and_not_for_very_many() {
    let mut bench = Bench::serving();
    for (n, copies, kept) in [(1, 0, 1), (2, 3, 3), (3, u32::MAX, COPIES_MAX)] {
        let outputs = bench.update(UpdateRequest { copies, ..update(n, create(n as u32)) });
        let gossip = gossips(&outputs);
        assert_eq!(gossip[0].records[0].copies, kept);
    }
}

#[test]
fn a_request_waits_for_what_is_missing_until_its_deadline_and_a_minute_at_most() {
    let mut bench = Bench::serving();
    assert_eq!(numbered(&bench.query(read(1, &[("a", 1)]))), []);
    let mut long = read(2, &[("a", 1)]);
    long.wait_ms = u64::MAX;
    assert_eq!(numbered(&bench.query(long)), []);
    assert_eq!(bench.manager.waiting(), 2);
    assert_eq!(numbered(&bench.pass(480)), []);
    assert_eq!(numbered(&bench.pass(20)), [(1, Reply::Behind)]);
    assert_eq!(numbered(&bench.pass(59_480)), []);
    assert_eq!(numbered(&bench.pass(20)), [(2, Reply::Behind)]);
    assert_eq!(bench.manager.waiting(), 0);
}

#[test]
fn a_confirm_waits_until_the_update_is_held() {
    let mut bench = Bench::serving();
    let hear = |bench: &mut Bench, n, wait_ms| numbered(&bench.hear(Input::Confirm(to(n), confirm(n, wait_ms))));
    assert_eq!(hear(&mut bench, 1, 0), [(1, Reply::NotHeld)]);
    assert_eq!(hear(&mut bench, 1, 100), []);
    assert_eq!(hear(&mut bench, 2, u64::MAX), []);
    assert_eq!(numbered(&bench.pass(80)), []);
    assert_eq!(numbered(&bench.pass(20)), [(1, Reply::NotHeld)]);
    let replies = numbered(&bench.update(update(2, create(2))));
    let records = vec![RecordRef { i: id("own"), seq: 1 }];
    let held = Reply::Held { records, clock: named(2).1 };
    assert_eq!(replies[0], (2, held.clone()));
    assert_eq!(hear(&mut bench, 2, 0), [(2, held)]);
    assert_eq!(hear(&mut bench, 3, u64::MAX), []);
    assert_eq!(numbered(&bench.pass(59_980)), []);
    assert_eq!(numbered(&bench.pass(20)), [(3, Reply::NotHeld)]);
}

#[test]
fn it_gossips_at_once_what_it_accepted_and_else_where_it_stands() {
    let mut bench = Bench::serving();
    bench.pass(GOSSIP_INTERVAL_MS);
    let gossip = gossips(&bench.update(update(1, create(2))));
    assert_eq!(gossip.len(), 1);
    assert_eq!((gossip[0].records.len(), &gossip[0].replica_timestamp.replicas), (1, &timestamp(&[("own", 1)])));
    assert_eq!(gossips(&bench.pass(GOSSIP_INTERVAL_MS - 20)), []);
    let idle = gossips(&bench.pass(20));
    assert_eq!((idle.len(), idle[0].records.len()), (1, 0));
    assert_eq!(gossips(&bench.pass(10 * GOSSIP_INTERVAL_MS)).len(), 10);
}

#[test]
fn it_shows_itself_twice_a_second() {
    let mut bench = Bench::serving();
    let shown = presences(&bench.pass(5_000));
    assert_eq!(shown.len(), 10);
    let last = &shown[9];
    assert!((6_100..=6_600).contains(&last.uptime_ms), "{}", last.uptime_ms);
    assert_eq!((last.wall_ms, last.log_length, last.durable), (WALL_MS + last.uptime_ms, Some(0), Some(false)));
}

#[test]
fn who_leaves_accepts_nothing_more_and_says_goodbye() {
    let mut bench = Bench::serving();
    bench.update(update(1, create(2)));
    assert_eq!(bench.manager.not_handed_over(), 1);
    assert!(bench.manager.is_handed_over(), "nobody is there to have it");
    bench.manager.begin_leaving();
    assert_eq!(reply(&bench.update(update(2, create(3)))), Reply::NotServing);
    assert!(matches!(reply(&bench.query(read(1, &[]))), Reply::Answered { .. }));
    let mut outputs = Vec::new();
    bench.manager.leave(bench.now, &mut bench.value, &mut outputs);
    assert_eq!(presences(&outputs)[0].status.to_string(), "LEFT");
    let text = bench.manager.to_string();
    assert_eq!(text, "own (LEFT) applied {own:1} holds {own:1}");
}
