//! Code that Natter's roles share. No tokio, no NATS, no clock, no SQL.
//!
//! - words of the field: [`timestamp`], [`label`], [`clock`], [`ids`], [`cluster`], [`rating`]
//! - what is asked and what it is asked of: [`request`], [`value`]
//! - what is sent: [`record`], [`messages`], [`packing`], [`subjects`], [`wire`], [`incoming`], and the clients' side of it, [`edge`], [`change`]
//! - who is there: [`presence`], [`roster`]; counts in texts: [`counted`]
//! - the protocol cores: [`frontend`], [`replica_manager`], both in one process: [`colocated`]; what a client keeps: [`session`]
//!
//! A core takes the inputs of a turn and gives outputs. It waits for nothing, so a test needs no broker:
//!
//! ```
//! use natter_common::clock::Now;
//! use natter_common::frontend::{Config, Frontend, Input, Output};
//! use natter_common::ids::ReplicaId;
//! use natter_common::messages::Status;
//! use natter_common::timestamp::Timestamp;
//!
//! // Timestamps count records by the replica that accepted them. Neither of these two covers the other: they are concurrent.
//! let (r1, r2) = (ReplicaId::new("r1")?, ReplicaId::new("r2")?);
//! let (mut phone, mut laptop) = (Timestamp::new(), Timestamp::new());
//! phone.set(&r1, 2);
//! laptop.set(&r2, 1);
//! assert!(!phone.covers(&laptop) && !laptop.covers(&phone));
//! phone.merge(&laptop);
//! assert!(phone.covers(&laptop));
//!
//! // A frontend that has just started shows its presence at its first tick.
//! let config = Config {
//!     id: ReplicaId::new("f1")?,
//!     version: "0.1.0".to_owned(),
//!     fault_tolerance: 2,
//!     strict: false,
//!     timeout_ms: 2000,
//!     queue_length_max: 100,
//!     seed: 7,
//! };
//! let mut frontend = Frontend::new(config, Now::default());
//! let mut outputs = Vec::new();
//! frontend.step(Now::default(), [Input::Tick { listened: true }], &mut outputs);
//! assert!(outputs.iter().any(|output| matches!(output, Output::Presence(shown) if shown.status == Status::Joining)));
//! # Ok::<(), natter_common::ids::IdError>(())
//! ```

pub mod change;
pub mod clock;
pub mod cluster;
pub mod colocated;
pub mod counted;
pub mod edge;
pub mod fit;
pub mod frontend;
pub mod ids;
pub mod incoming;
pub mod label;
pub mod messages;
mod missed;
pub mod packing;
pub mod presence;
pub mod rating;
pub mod record;
pub mod replica_manager;
pub mod request;
pub mod roster;
pub mod sequence;
pub mod session;
pub mod subjects;
pub mod timestamp;
pub mod value;
pub mod wire;
