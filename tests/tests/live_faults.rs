//! Faults that really happen to real processes while sessions work; what they saw goes through the history checker.
//!
//! `LIVE_SEED` repeats the faults of a run, `LIVE_SECONDS` (20) says how long they are mixed:
//! `LIVE_SECONDS=600 cargo test --release -p natter-tests --test live_faults mixed -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

#[path = "live_faults/brokers.rs"]
mod brokers;
#[path = "live_faults/clocks.rs"]
mod clocks;
#[path = "live_faults/disks.rs"]
mod disks;
#[path = "live_faults/messages.rs"]
mod messages;
#[path = "live_faults/mixed.rs"]
mod mixed;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
/// Folder for histories that break a promise.
const KEEP_IN: &str = env!("CARGO_TARGET_TMPDIR");

/// Messages that can be lost: (their subject, its destination, per cent: none at first).
const LOSSES: [(&str, &str, u32); 5] = [
    ("ratings.gossip.*", "lost.gossip.$1", 0),
    ("ratings.presence.*.*", "lost.presence.$1.$2", 0),
    ("ratings.replica.*.*", "lost.replica.$1.$2", 0),
    ("ratings.frontend.*", "lost.frontend.$1", 0),
    ("_INBOX.>", "lost.replies.>", 0),
];

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} should be a number, and is {text:?}")))
}

/// Returns the seed of faults and requests: another one each time, unless one is given.
fn seed() -> u64 {
    number("LIVE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000))
}
