//! Code that Natter's roles share. No tokio, no NATS, no clock, no SQL.
//!
//! - words of the field: [`timestamp`], [`label`], [`clock`], [`ids`], [`cluster`], [`rating`]
//! - what is asked and what it is asked of: [`request`], [`value`]
//! - what is sent: [`record`], [`messages`], [`packing`], [`subjects`], [`wire`], [`incoming`], and the clients' side of it, [`edge`], [`change`]
//! - who is there: [`presence`], [`roster`]; counts in texts: [`counted`]
//! - the protocol cores: [`frontend`], [`replica_manager`], both in one process: [`colocated`]; what a client keeps: [`session`]

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
