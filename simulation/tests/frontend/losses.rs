//! Losses that replicas show: a frontend that started after the origin was gone tells sessions of them.

use natter_common::frontend::Output;
use natter_common::presence::{LostRecords, Presence, Status};
use natter_common::timestamp::Timestamp;

use crate::bench::*;

/// Replica "a" counts records 4 and 5 of "x" as lost.
fn shows_losses() -> Presence {
    let lost = vec![LostRecords { origin: id("x"), first: 4, last: 5 }];
    Presence { lost, ..presence("a", Status::Active, &[("a", 1)]) }
}

fn told(outputs: &[Output]) -> Vec<Timestamp> {
    let lost = |output: &Output| match output {
        Output::Lost(_, lost) => Some(lost.clone()),
        _ => None,
    };
    outputs.iter().filter_map(lost).collect()
}

#[test]
fn a_frontend_tells_of_a_loss_that_a_replica_shows_and_waits_for_nothing() {
    let mut bench = Bench::beside(&["a", "b"]);
    bench.show(shows_losses());
    let outputs = bench.query(label(&[("x", 5), ("a", 1)]));
    assert_eq!(told(&outputs), [timestamp(&[("x", 5)])]);
    assert_eq!(queries(&outputs)[0].1.prev, timestamp(&[("x", 3), ("a", 1)]), "what came before it is not lost");
    // Records that depend on a lost record are lost too, and those before it are not.
    assert_eq!(told(&bench.query(label(&[("x", 6)]))), [timestamp(&[("x", 6)])]);
    assert_eq!(told(&bench.query(label(&[("x", 3)]))), []);
    assert_eq!(told(&bench.query(label(&[("y", 3)]))), []);
}

#[test]
fn nothing_is_lost_that_a_replica_holds_or_may_come_back_with() {
    // Another replica holds it.
    let mut bench = Bench::beside(&["a", "b"]);
    bench.show(shows_losses());
    bench.show(presence("b", Status::Active, &[("x", 5)]));
    assert_eq!(told(&bench.query(label(&[("x", 5)]))), []);
    // An OFFLINE one may.
    bench.show(presence("b", Status::Offline, &[]));
    bench.show(presence("c", Status::Offline, &[]));
    assert_eq!(told(&bench.query(label(&[("x", 6)]))), []);
    // The origin is there after all.
    let mut bench = Bench::beside(&["a", "x"]);
    bench.show(shows_losses());
    assert_eq!(told(&bench.query(label(&[("x", 5)]))), []);
    // The replica that showed the loss is gone, and shows no other.
    let mut bench = Bench::beside(&["a", "b"]);
    bench.show(shows_losses());
    bench.show(presence("a", Status::Active, &[("a", 1)]));
    assert_eq!(told(&bench.query(label(&[("x", 5)]))), []);
}
