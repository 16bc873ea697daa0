//! The history checker: what it accepts, what it rejects and by which name; see `natter_simulation::history`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "history/brute_force.rs"]
mod brute_force;
#[path = "history/hand_made.rs"]
mod hand_made;
#[path = "history/model.rs"]
mod model;
#[path = "history/mutations.rs"]
mod mutations;
#[path = "history/stored.rs"]
mod stored;
#[path = "history/tale.rs"]
mod tale;

use std::time::Instant;

use natter_simulation::history::check;

use model::{Plan, history};

#[test]
fn what_a_causal_store_does_is_accepted() {
    let mut counts = (0, 0, 0);
    for seed in 0..300 {
        let plan =
            Plan { sessions: 2 + seed as usize % 6, operations: 150, users: 3, movies: 3, replicas: 3, nameless: true };
        let verdict = check(&history(seed, &plan));
        assert!(verdict.is_ok(), "seed {seed}: {verdict}");
        counts.0 += verdict.counts.unknown_seen;
        counts.1 += verdict.counts.conflicts;
        counts.2 += verdict.counts.means_checked;
    }
    assert!(counts.0 > 100 && counts.1 > 100 && counts.2 > 100, "the model has lost its teeth: {counts:?}");
}

#[test]
fn a_hundred_thousand_operations_of_twenty_sessions_are_checked() {
    let plan = Plan { sessions: 20, operations: 100_000, users: 100, movies: 30, replicas: 5, nameless: true };
    let history = history(1, &plan);
    let start = Instant::now();
    let verdict = check(&history);
    println!("checked in {:?}: {verdict}", start.elapsed());
    assert!(verdict.is_ok(), "{verdict}");
}
