//! Helpers that the tests of the whole system share.
//!
//! - [`decoders`]: what must hold of everything that reads what others wrote
//! - [`harness`]: a real broker and real processes, and raw requests to them
//! - [`live`]: faults that happen to real processes, and a history of what clients saw meanwhile
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

pub mod decoders;
pub mod harness;
pub mod live;
