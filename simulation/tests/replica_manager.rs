//! One replica manager, input by input: limits, deadlines and words that no run of a whole cluster depends on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "replica_manager/ages.rs"]
mod ages;
#[path = "replica_manager/alone.rs"]
mod alone;
#[path = "replica_manager/bench.rs"]
mod bench;
#[path = "replica_manager/commits.rs"]
mod commits;
#[path = "replica_manager/identity.rs"]
mod identity;
#[path = "replica_manager/peers.rs"]
mod peers;
#[path = "replica_manager/retiring.rs"]
mod retiring;
#[path = "replica_manager/snapshots.rs"]
mod snapshots;
#[path = "replica_manager/status.rs"]
mod status;
