//! Commands that look at a running cluster, against real processes and a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "watching/changes.rs"]
mod changes;
#[path = "watching/editing.rs"]
mod editing;
#[path = "watching/generated.rs"]
mod generated;
#[path = "watching/json.rs"]
mod json;
#[path = "watching/shiviz.rs"]
mod shiviz;
#[path = "watching/status.rs"]
mod status;
#[path = "watching/support.rs"]
mod support;
#[path = "watching/tap.rs"]
mod tap;
#[path = "watching/terminal.rs"]
mod terminal;
#[path = "watching/trace.rs"]
mod trace;
#[path = "watching/traceparent.rs"]
mod traceparent;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
