//! Decoders of all bytes that come from other processes or people, and the properties that hold for any bytes:
//!
//! - a decoder never panics, and uses no more time and memory than the bytes warrant;
//! - a message that is read can be written, and reads as the same again;
//! - a message of a sound process reads as it was ([`wire`] draws such messages, from `hostile`);
//! - the same message by another encoder reads as it was, and bytes that only look like it are refused ([`encoders`]).
//!
//! `cargo test` runs the checks on arbitrary bytes and on examples that were tampered with ([`tamper`]); the targets of
//! `fuzz/` on what a fuzzer thinks of.

pub mod encoders;
pub mod programs;
pub mod tamper;
pub mod wire;

/// Checks that what must hold does, for these bytes. Says whether they could be read.
///
/// # Panics
///
/// Panics if a property does not hold.
pub type Check = fn(&[u8]) -> bool;

/// Reads a message, and gives it as it would be written again: equal bytes are the same message.
pub type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// Something that reads bytes.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name: of the fuzz target, and of what fails.
    pub name: &'static str,
    /// The check, which panics if a promise is broken.
    pub check: Check,
    /// Draws bytes that it reads.
    pub example: fn(&[u8]) -> Vec<u8>,
    /// Rewriter of messages that are maps.
    pub rewrite: Option<Rewrite>,
    /// Cost of its check: `cargo test` runs this many times fewer cases.
    pub cost: u64,
}

/// All of them.
pub const ALL: [Decoder; 21] = [
    wire::GOSSIP,
    wire::RECORD,
    wire::ACKNOWLEDGEMENT,
    wire::LOG_REQUEST,
    wire::LOG_PAGE,
    wire::UPDATES,
    wire::QUERIES,
    wire::CONFIRMS,
    wire::REPLIES,
    wire::SNAPSHOT_REQUEST,
    wire::SNAPSHOT_REPLY,
    wire::PRESENCE,
    wire::STATUS_REQUEST,
    wire::STATUS_REPLY,
    wire::LABEL,
    wire::STATE,
    wire::CLIENT_REPLY,
    wire::CLIENT_REQUEST,
    wire::IDS,
    programs::CLIENT_DECODE,
    programs::DATA_SET,
];
