//! Replicas that keep what they have, on real processes: killed, copied, cut, broken, exported.
//!
//! Environment variables set the amount of work of each test: `DURABLE_ROUNDS`, `DURABLE_COMMITS`, `DURABLE_COPIES`,
//! `DURABLE_FLIPS`, `DURABLE_RESTARTS`, `UPDATES`, `CHANGED`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "durable/broken.rs"]
mod broken;
#[path = "durable/clocks.rs"]
mod clocks;
#[path = "durable/copies.rs"]
mod copies;
#[path = "durable/cut.rs"]
mod cut;
#[path = "durable/export.rs"]
mod export;
#[path = "durable/failing.rs"]
mod failing;
#[path = "durable/histories.rs"]
mod histories;
#[path = "durable/kills.rs"]
mod kills;
#[path = "durable/leaving.rs"]
mod leaving;
#[path = "durable/logs.rs"]
mod logs;
#[path = "durable/neighbours.rs"]
mod neighbours;
#[path = "durable/newcomer.rs"]
mod newcomer;
#[path = "durable/normal.rs"]
mod normal;
#[path = "durable/restarts.rs"]
mod restarts;
#[path = "durable/support.rs"]
mod support;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
