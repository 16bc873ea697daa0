//! The protocol cores without anything around them.
//!
//! - [`exhaustive`]: every order of events in a small cluster
//! - [`history`]: decides from what clients saw whether the promises were kept
//! - [`hostile`]: cores that are told what no sound process says
//! - [`simulation`]: a cluster in one thread and in virtual time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

pub mod exhaustive;
pub mod history;
pub mod hostile;
pub mod simulation;
