//! Messages that can be read and that no sound process sends, and what a protocol core must do with them: it neither
//! stops nor grows without bound.
//!
//! Everything is drawn from bytes, so that a fuzzer, a property test and a replay go the same way.
//!
//! - [`draw`]: numbers and ids from bytes, with a liking for the ends of their range
//! - [`messages`]: one of each kind of message
//! - [`replica_manager`], [`frontend`]: a core that is told nothing but that
//! - [`colocated`]: both cores in one process, whose halves are told nothing else

pub mod colocated;
pub mod draw;
pub mod frontend;
pub mod messages;
pub mod replica_manager;
