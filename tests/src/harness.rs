//! Real processes: a nats-server on a free port, the roles as child processes, and requests made by hand.
//!
//! - [`World`]: the broker of a test, its folder, and how the roles are run
//! - [`Cluster`]: the frontends and replicas under one prefix; [`Member`]: one of them
//! - [`Observer`]: what they show on presence and gossip; waiting is asking it, never sleeping
//! - [`Wire`]: requests in MessagePack or JSON, made from plain maps and not from the system's own types; [`Session`]: the
//!   same with a label that goes along
//! - [`Load`]: clients that go on asking while something happens, and check what they read
//! - [`Ledger`]: clients that retry until they are answered, and what was acknowledged to them
//! - [`data`]: data sets for the tests
//!
//! Every process ends with the test, also where that fails; then the last lines of every log are printed.

mod broker;
mod cluster;
pub mod data;
mod ledger;
mod load;
mod member;
mod observer;
mod wire;
mod world;

pub use broker::Broker;
pub use cluster::{Cluster, ClusterPlan};
pub use ledger::{Clients, Compare, Ledger, Mark};
pub use load::{Failure, Load, LoadReport};
pub use member::{Member, ResidentSet};
pub use observer::{MADE_UP, Member as Shown, Observer, Seen};
pub use wire::{Answer, Encoding, Refusal, Session, Silence, Wire, update_id_v4, update_id_v7};
pub use world::World;

use std::time::Duration;

/// No wait of a test is longer than this, on however busy a machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
