//! Status and mode.

use natter_common::messages::{Mode, Reply, Status, StatusReply};
use natter_common::replica_manager::{Input, Output};

use crate::bench::{Bench, confirm, create, gossips, numbered, presence, presences, read, to, update};

fn set(bench: &mut Bench, mode: Option<Mode>) -> (StatusReply, Vec<Output>) {
    let outputs = bench.hear(Input::Status(to(1), mode));
    let Some(Output::Status(_, reply)) = outputs.last() else { panic!("{outputs:?}") };
    (reply.clone(), outputs)
}

fn tick(bench: &mut Bench, queue_length: usize) -> Status {
    bench.hear(Input::Tick { queue_length, listened: true });
    bench.manager.status()
}

#[test]
fn a_measured_status_follows_the_queue_with_a_margin() {
    let mut bench = Bench::serving();
    assert_eq!(tick(&mut bench, 4096), Status::Active);
    assert_eq!(tick(&mut bench, 4097), Status::Overloaded);
    assert_eq!(tick(&mut bench, 1024), Status::Overloaded);
    assert_eq!(tick(&mut bench, 1023), Status::Active);
}

#[test]
fn a_fixed_status_stays_whatever_the_queue() {
    let mut bench = Bench::serving();
    for (mode, status) in [(Mode::Active, Status::Active), (Mode::Overloaded, Status::Overloaded)] {
        let (reply, outputs) = set(&mut bench, Some(mode));
        assert_eq!((reply.mode, reply.status, reply.lost), (mode, status, 0));
        assert_eq!(presences(&outputs).len(), usize::from(status == Status::Overloaded), "shown when it changes");
        assert_eq!((tick(&mut bench, 1 << 20), tick(&mut bench, 0)), (status, status));
    }
    assert_eq!(set(&mut bench, None).0.status, Status::Overloaded);
    assert_eq!(set(&mut bench, Some(Mode::Measured)).0.status, Status::Active);
}

#[test]
fn who_is_offline_says_so_and_nothing_else() {
    let mut bench = Bench::serving_beside(&["a"]);
    bench.query(read(1, &[("a", 1)]));
    bench.hear(Input::Confirm(to(2), confirm(2, 60_000)));
    let (reply, outputs) = set(&mut bench, Some(Mode::Offline));
    assert_eq!((reply.status, presences(&outputs).len()), (Status::Offline, 1));
    assert_eq!(bench.manager.waiting(), 0);
    assert!(bench.query(read(3, &[])).is_empty() && bench.update(update(3, create(2))).is_empty());
    assert!(bench.hear(Input::Confirm(to(3), confirm(3, 0))).is_empty());
    let outputs = bench.pass(61_000);
    assert!(numbered(&outputs).is_empty() && gossips(&outputs).is_empty());
    assert_eq!(presences(&outputs).len(), 122);
    assert_eq!(bench.manager.log().len(), 0);
}

#[test]
fn who_was_offline_catches_up_before_it_serves() {
    let mut bench = Bench::serving_beside(&["a"]);
    set(&mut bench, Some(Mode::Offline));
    bench.hear(Input::Presence(Box::new(presence("a", Status::Active, &[("a", 1)]))));
    let (reply, _) = set(&mut bench, Some(Mode::Measured));
    assert_eq!(reply.status, Status::Joining);
    assert_eq!(numbered(&bench.query(read(1, &[]))), [(1, Reply::NotServing)]);
    // Replicas need not catch up with one that is OFFLINE.
    bench.hear(Input::Presence(Box::new(presence("a", Status::Offline, &[("a", 1)]))));
    bench.pass(20);
    assert_eq!(bench.manager.status(), Status::Active);
}

#[test]
fn an_arbitrary_status_is_drawn_again_and_again() {
    let mut bench = Bench::serving();
    set(&mut bench, Some(Mode::Arbitrary));
    let mut lengths = Vec::new();
    let (mut seen, mut last, mut since_ms) = (Vec::new(), bench.manager.status(), bench.now.monotonic_ms);
    for _ in 0..6_000 {
        bench.pass(20);
        let status = bench.manager.status();
        if status != last {
            lengths.push(bench.now.monotonic_ms - since_ms);
            (last, since_ms) = (status, bench.now.monotonic_ms);
            seen.push(status);
        }
    }
    for status in [Status::Active, Status::Overloaded, Status::Offline] {
        assert!(seen.contains(&status), "{status}");
    }
    assert!(lengths.len() > 80, "{} changes in two minutes", lengths.len());
    assert!(lengths.iter().all(|length_ms| *length_ms >= 300), "{lengths:?}");
}
