//! The wire contract and the guarantees, on real processes, asked by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "end_to_end/batches.rs"]
mod batches;
#[path = "end_to_end/broker.rs"]
mod broker;
#[path = "end_to_end/client_clusters.rs"]
mod client_clusters;
#[path = "end_to_end/client_failures.rs"]
mod client_failures;
#[path = "end_to_end/colocated.rs"]
mod colocated;
#[path = "end_to_end/command_lines.rs"]
mod command_lines;
#[path = "end_to_end/contract.rs"]
mod contract;
#[path = "end_to_end/credentials.rs"]
mod credentials;
#[path = "end_to_end/errors.rs"]
mod errors;
#[path = "end_to_end/guarantees.rs"]
mod guarantees;
#[path = "end_to_end/imports.rs"]
mod imports;
#[path = "end_to_end/logs.rs"]
mod logs;
#[path = "end_to_end/losses.rs"]
mod losses;
#[path = "end_to_end/neighbours.rs"]
mod neighbours;
#[path = "end_to_end/permissions.rs"]
mod permissions;
#[path = "end_to_end/services.rs"]
mod services;
#[path = "end_to_end/signals.rs"]
mod signals;
#[path = "end_to_end/sizes.rs"]
mod sizes;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
