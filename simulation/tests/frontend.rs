//! One frontend, input by input: the replicas that it asks, when it asks another one, and what it tells its clients.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "frontend/bench.rs"]
mod bench;
#[path = "frontend/choice.rs"]
mod choice;
#[path = "frontend/clocks.rs"]
mod clocks;
#[path = "frontend/clusters.rs"]
mod clusters;
#[path = "frontend/losses.rs"]
mod losses;
#[path = "frontend/lost.rs"]
mod lost;
#[path = "frontend/queries.rs"]
mod queries;
#[path = "frontend/retired.rs"]
mod retired;
#[path = "frontend/updates.rs"]
mod updates;
