//! Faults that really happen to real processes, while several sessions work and everything they see is taken down for the
//! history checker.
//!
//! - [`Stage`]: the processes, the sessions and the observers; it waits for calm and judges at the end
//! - [`Sessions`]: clients that ask through the public wire contract, hop between frontends and connections with their
//!   label, and retry under the same id; [`Tally`]: results of their requests
//! - [`DigestWatch`]: hears all gossip from outside: equal value timestamps, equal digests
//! - [`Fault`], [`Nemesis`]: kinds of faults, and their source, by a seed
//!
//! A run that fails keeps its history, and says with which command it is checked again.

mod answers;
mod digests;
mod faults;
mod inflict;
mod means;
mod nemesis;
mod session;
mod sessions;
mod stage;
mod tally;

pub use digests::DigestWatch;
pub use faults::Fault;
pub use nemesis::{Nemesis, Report};
pub use sessions::{Sessions, SessionsPlan};
pub use stage::{Stage, StagePlan};
pub use tally::Tally;
