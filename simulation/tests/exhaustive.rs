//! Every order of events in small clusters of the real protocol cores; see `natter_simulation::exhaustive`.
//!
//! `EXHAUSTIVE=n` searches up to that many states of each configuration instead of what CI does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::Instant;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::Stars;
use natter_common::request::{Query, Update};
use natter_simulation::exhaustive::{Configuration, search};
use natter_simulation::simulation::client::Asked;

/// Maximum states of a configuration that are searched, unless `EXHAUSTIVE` sets another limit.
const STATES_MAX: usize = 30_000;

fn user() -> UserId {
    UserId::new(7).unwrap()
}

fn movie() -> MovieId {
    MovieId::new(2).unwrap()
}

fn create(half_stars: u8) -> Asked {
    let rating = Stars::from_half_stars(half_stars).unwrap();
    Asked::Update(Update::Create { user_id: user(), movie_id: movie(), rating })
}

fn change(half_stars: u8) -> Asked {
    let rating = Stars::from_half_stars(half_stars).unwrap();
    Asked::Update(Update::Update { user_id: user(), movie_id: movie(), rating })
}

fn delete() -> Asked {
    Asked::Update(Update::Delete { user_id: user(), movie_id: movie() })
}

fn read() -> Asked {
    Asked::Query(Query::Read { user_id: user(), movie_id: movie() })
}

fn searched(name: &str, configuration: &Configuration) {
    let limit = std::env::var("EXHAUSTIVE").ok().and_then(|text| text.parse().ok()).unwrap_or(STATES_MAX);
    let began = Instant::now();
    match search(configuration, limit) {
        Ok(searched) => println!("{name}: {searched:?} in {:.1} s", began.elapsed().as_secs_f64()),
        Err(found) => {
            let way: Vec<String> = found.actions.iter().map(ToString::to_string).collect();
            panic!("{name}: {}\nafter\n  {}", found.broken, way.join("\n  "));
        }
    }
}

#[test]
fn two_replicas_one_frontend_two_sessions_that_write_the_same_rating() {
    searched(
        "2 replicas, 1 frontend, create | create",
        &Configuration {
            replicas: 2,
            colocated: 0,
            frontends: 1,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4))], vec![(0, create(8))]],
            crashes: 0,
            power_losses: 0,
            losses: 0,
            ticks: 0,
            shared_turns: true,
        },
    );
}

#[test]
fn a_session_that_hops_between_frontends_while_a_replica_crashes() {
    searched(
        "2 replicas, 2 frontends, create, read elsewhere, one crash",
        &Configuration {
            replicas: 2,
            colocated: 0,
            frontends: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, read())]],
            crashes: 1,
            power_losses: 0,
            losses: 0,
            ticks: 1,
            shared_turns: false,
        },
    );
}

#[test]
fn an_update_of_which_one_message_is_lost() {
    searched(
        "2 replicas, 1 frontend, create, read, one message lost",
        &Configuration {
            replicas: 2,
            colocated: 0,
            frontends: 1,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (0, read())]],
            crashes: 0,
            power_losses: 0,
            losses: 1,
            ticks: 2,
            shared_turns: false,
        },
    );
}

#[test]
fn three_replicas_where_any_one_crashes() {
    searched(
        "3 replicas, 1 frontend, create, read, one crash",
        &Configuration {
            replicas: 3,
            colocated: 0,
            frontends: 1,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (0, read())]],
            crashes: 1,
            power_losses: 0,
            losses: 0,
            ticks: 1,
            shared_turns: false,
        },
    );
}

#[test]
fn three_replicas_where_one_crashes_under_two_sessions() {
    searched(
        "3 replicas, 2 frontends, create, delete | change, one crash",
        &Configuration {
            replicas: 3,
            colocated: 0,
            frontends: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, delete())], vec![(1, change(8))]],
            crashes: 1,
            power_losses: 0,
            losses: 0,
            ticks: 0,
            shared_turns: true,
        },
    );
}

#[test]
fn two_processes_with_both_halves_write_the_same_rating() {
    searched(
        "2 replicas that are frontends, create, delete elsewhere | change, read elsewhere",
        &Configuration {
            replicas: 2,
            colocated: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, delete())], vec![(1, change(8)), (0, read())]],
            shared_turns: true,
            ..Configuration::default()
        },
    );
}

#[test]
fn a_process_with_both_halves_crashes_and_its_session_asks_again_elsewhere() {
    searched(
        "2 replicas, 1 a frontend, 1 frontend alone, create, read elsewhere, one crash",
        &Configuration {
            replicas: 2,
            colocated: 1,
            frontends: 1,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, read())]],
            crashes: 1,
            ticks: 1,
            ..Configuration::default()
        },
    );
}

#[test]
fn a_process_with_both_halves_misses_a_message() {
    searched(
        "2 replicas that are frontends, create, read elsewhere, one message lost",
        &Configuration {
            replicas: 2,
            colocated: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, read())]],
            losses: 1,
            ticks: 2,
            ..Configuration::default()
        },
    );
}

#[test]
fn a_process_with_both_halves_loses_power_before_a_commit() {
    searched(
        "2 replicas that are frontends, create | read, read, one loses power",
        &Configuration {
            replicas: 2,
            colocated: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4))], vec![(1, read()), (0, read())]],
            power_losses: 1,
            shared_turns: true,
            ..Configuration::default()
        },
    );
}

#[test]
fn three_replicas_of_which_two_are_frontends_where_any_one_crashes() {
    searched(
        "3 replicas, 2 of them frontends, create, read elsewhere, one crash",
        &Configuration {
            replicas: 3,
            colocated: 2,
            fault_tolerance: 2,
            scripts: vec![vec![(0, create(4)), (1, read())]],
            crashes: 1,
            ticks: 1,
            ..Configuration::default()
        },
    );
}
