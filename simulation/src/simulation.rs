//! A cluster in one thread and in virtual time: the real protocol cores, a simulated network, simulated clocks.
//!
//! - [`cluster`]: one queue of events, ordered by (virtual time, sequence number); no randomness but a seed's
//! - [`process`], [`message`], [`wire`], [`network`], [`value`]: what a cluster is made of
//! - [`failing`]: a store that fails
//! - [`bystanders`]: other programs on the broker
//! - [`invariants`]: what must hold after every event, one file each
//! - [`client`], [`plan`], [`kind`], [`faults`], [`run`]: the randomised simulation; [`record`]: what its sessions saw
//! - [`outcome`], [`many`], [`only`], [`shrink`]: what a run came to; many of them; what is left of one; as little as shows
//!   a violation
//! - [`transcript`]: scenarios as text

pub mod bystanders;
pub mod client;
pub mod cluster;
pub mod disk;
pub mod failing;
pub mod faults;
pub mod invariants;
pub mod kind;
pub mod many;
pub mod message;
pub mod network;
pub mod only;
pub mod outcome;
pub mod plan;
pub mod process;
pub mod record;
pub mod run;
pub mod shrink;
pub mod transcript;
pub mod value;
pub mod wire;
