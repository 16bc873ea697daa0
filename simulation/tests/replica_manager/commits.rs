//! A replica manager whose disk takes its time: what is told before a commit has ended, and what is not.

use natter_common::messages::{Reply, Status};
use natter_common::replica_manager::{Config, Input, Output};
use natter_common::request::Answer;

use super::bench::{
    Bench, config, confirm, create, gossips, numbered, presence, read, record, reply, timestamp, to, update,
};

/// Serves beside another one, with a disk that has ended all commits, and ends no other before it is told to.
fn with_slow_disk() -> Bench {
    let mut bench = Bench::new(Config { durable: true, ..config() });
    bench.pass(3_200);
    bench.hear(Input::Presence(Box::new(presence("a", Status::Active, &[]))));
    bench.value.take_committed();
    bench.value.be_slow(true);
    bench
}

fn stars(reply: &Reply) -> Option<u8> {
    match reply {
        Reply::Answered { value: Answer::Rating(rating), .. } => rating.rating.map(|stars| stars.half_stars()),
        other => panic!("{other:?}"),
    }
}

fn tells(output: &Output) -> bool {
    !matches!(output, Output::Notice(_))
}

#[test]
fn an_update_is_told_when_the_disk_has_it() {
    let mut bench = with_slow_disk();
    let outputs = bench.update(update(1, create(2)));
    assert!(!outputs.iter().any(tells), "{outputs:?}");
    assert!(bench.manager.is_committing());
    let outputs = bench.hear(Input::Committed);
    assert!(matches!(reply(&outputs), Reply::Accepted { .. }));
    assert_eq!(gossips(&outputs).len(), 1);
    assert!(!bench.manager.is_committing(), "that it is applied is no reason for another commit");
}

#[test]
fn a_read_during_a_commit_sees_what_is_on_disk_at_once() {
    let mut bench = with_slow_disk();
    bench.update(update(1, create(2)));
    let outputs = bench.query(read(2, &[]));
    let Reply::Answered { label, .. } = reply(&outputs) else { panic!("{outputs:?}") };
    assert_eq!((stars(&reply(&outputs)), label.replicas), (None, timestamp(&[])));
    // A query that needs the open commit waits for it.
    assert!(numbered(&bench.query(read(3, &[("own", 1)]))).is_empty());
    let outputs = bench.hear(Input::Committed);
    let replies = numbered(&outputs);
    assert_eq!(replies.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(stars(&replies[1].1), Some(8));
    assert_eq!(bench.value.take_committed().len(), 1, "reads wait for no commit of their own");
}

#[test]
fn all_that_comes_during_a_commit_shares_the_next_one() {
    let mut bench = with_slow_disk();
    bench.update(update(1, create(2)));
    bench.update(update(2, create(3)));
    bench.gossip("a", &[("a", 1)], vec![record("a", 1, 3, create(4))]);
    bench.hear(Input::Confirm(to(4), confirm(3, 500)));
    bench.update(update(5, create(5)));
    assert_eq!(bench.value.take_committed().len(), 1);
    let outputs = bench.hear(Input::Committed);
    assert_eq!(numbered(&outputs).iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1]);
    assert_eq!(bench.value.take_committed().len(), 1);
    let outputs = bench.hear(Input::Committed);
    let replies: Vec<_> = numbered(&outputs).into_iter().map(|(n, _)| n).collect();
    assert_eq!(replies, [2, 4, 5]);
    let records: Vec<_> = gossips(&outputs).iter().map(|gossip| gossip.records.len()).collect();
    assert_eq!(records, [2], "one message of gossip, which acknowledges too: {outputs:?}");
    assert_eq!(bench.value.take_committed().len(), 0);
}

#[test]
fn what_was_applied_is_saved_within_a_second_if_nothing_else_is() {
    let mut bench = with_slow_disk();
    bench.update(update(1, create(2)));
    bench.hear(Input::Committed);
    assert_eq!(bench.value.take_committed().len(), 1);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("own", 1)]));
    bench.pass(900);
    assert_eq!(bench.value.take_committed().len(), 0);
    bench.pass(200);
    let saved = bench.value.take_committed().pop().and_then(|commit| commit.changes.state).unwrap();
    assert_eq!(saved.value_timestamp.replicas, timestamp(&[("own", 1)]));
}

#[test]
fn a_crash_during_a_commit_takes_nothing_that_was_told() {
    let mut bench = with_slow_disk();
    let before = bench.manager.committed_timestamp().clone();
    let outputs = [bench.update(update(1, create(2))), bench.pass(1_000), bench.query(read(2, &[]))].concat();
    let shown = |output: &Output| match output {
        Output::Presence(presence) => presence.replica_timestamp.clone().map(|shown| shown.replicas),
        Output::Gossip(gossip) => Some(gossip.replica_timestamp.replicas.clone()),
        _ => None,
    };
    assert!(outputs.iter().filter_map(shown).all(|shown| before.covers(&shown)), "{outputs:?}");
    assert_eq!(bench.manager.committed_timestamp(), &before);
}
