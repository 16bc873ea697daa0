//! What the tests of the whole system share.
//!
//! - [`decoders`]: what must hold of everything that reads what others wrote
//! - [`exhaustive`]: every order of events in a small cluster of the protocol cores
//! - [`harness`]: a real broker and real processes, and raw requests to them
//! - [`history`]: decides from what clients saw whether the promises were kept
//! - [`hostile`]: protocol cores that are told what no sound process says
//! - [`live`]: faults that happen to real processes, and a history of what clients saw meanwhile
//! - [`simulation`]: the protocol cores of a cluster in one thread and in virtual time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

pub mod decoders;
pub mod exhaustive;
pub mod harness;
pub mod history;
pub mod hostile;
pub mod live;
pub mod simulation;
