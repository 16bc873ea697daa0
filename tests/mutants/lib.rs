//! What of the tests decides about a mutant: the protocol cores in virtual time. In a copy, `tests/mutants/run` puts this
//! in the place of `tests/src/lib.rs`, so that neither the broker nor the programs are built for each mutant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

pub mod exhaustive;
pub mod history;
pub mod hostile;
pub mod simulation;
