//! Protocol cores that are told what no sound process says; see `natter_simulation::hostile`.
//!
//! `HOSTILE_SEED=n` goes through one seed again; `HOSTILE_SEEDS=n` through that many from `HOSTILE_FIRST` on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use natter_simulation::hostile::{colocated, frontend, replica_manager};

/// Number of seeds, unless `HOSTILE_SEEDS` sets another.
const SEEDS: u64 = 400;
/// Maximum bytes from which a life is drawn.
const BYTES_MAX: usize = 4096;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Whether enough seeds are gone through that all that matters must have happened.
fn is_all() -> bool {
    variable("HOSTILE_SEED").is_none() && variable("HOSTILE_SEEDS").is_none()
}

/// Goes through the seeds, and names the one that fails.
fn seeds(test: &str, mut live: impl FnMut(&[u8])) {
    let (first, count) = match variable("HOSTILE_SEED") {
        Some(seed) => (seed, 1),
        None => (variable("HOSTILE_FIRST").unwrap_or(1), variable("HOSTILE_SEEDS").unwrap_or(SEEDS)),
    };
    for seed in first..first + count {
        let mut random = fastrand::Rng::with_seed(seed);
        let length = random.usize(..BYTES_MAX);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(&bytes))) {
            println!("reproduce: HOSTILE_SEED={seed} cargo test -p natter-simulation --test hostile {test}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn a_replica_manager_stands_whatever_it_is_told() {
    let mut all = replica_manager::Told::default();
    seeds("a_replica_manager", |bytes| {
        let told = replica_manager::live(bytes);
        all.inputs += told.inputs;
        all.outputs += told.outputs;
        all.applied += told.applied;
        all.merged += told.merged;
        all.recovered += told.recovered;
    });
    println!("{all:?}");
    if is_all() {
        assert!(
            all.applied > 100 && all.merged > 0 && all.recovered > 100,
            "it was told nothing that matters: {all:?}"
        );
    }
}

#[test]
fn a_frontend_answers_everybody_once_whatever_it_is_told() {
    let mut all = frontend::Told::default();
    seeds("a_frontend", |bytes| {
        let told = frontend::live(bytes);
        all.inputs += told.inputs;
        all.asked += told.asked;
        all.answered += told.answered;
        all.refused += told.refused;
    });
    println!("{all:?}");
    if is_all() {
        assert!(all.answered > 50 && all.refused > 500, "it was told nothing that matters: {all:?}");
    }
}

#[test]
fn a_process_with_both_halves_stands_whatever_they_are_told() {
    let mut all = colocated::Told::default();
    seeds("a_process_with_both_halves", |bytes| {
        let told = colocated::live(bytes);
        all.inputs += told.inputs;
        all.outputs += told.outputs;
        all.answered += told.answered;
        all.answered_at_once += told.answered_at_once;
        all.refused += told.refused;
        all.applied += told.applied;
        all.merged += told.merged;
        all.recovered += told.recovered;
        all.failed += told.failed;
        all.replaced += told.replaced;
    });
    println!("{all:?}");
    if is_all() {
        assert!(
            all.applied > 100 && all.merged > 0 && all.recovered > 100,
            "it was told nothing that matters: {all:?}"
        );
        assert!(all.answered_at_once > 50 && all.refused > 500, "its clients had no answer: {all:?}");
        assert!(all.failed > 40 && all.replaced > 20, "its store did not fail: {all:?}");
    }
}
