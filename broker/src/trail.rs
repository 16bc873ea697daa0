//! Lines of the debug log that tell which message a process sent and received, so that the logs of all processes can be
//! joined: `client shiviz` does that.
//!
//! Both ends compute the same number of a message from what both have: subject, reply subject and payload. Heartbeats have
//! no such lines.

use std::fmt::{self, Display};

use tracing::{Level, debug, enabled};
use xxhash_rust::xxh3::Xxh3;

/// The word that a line about a sent message begins with.
pub const SENDS: &str = "sends";
/// The word that a line about a received message begins with.
pub const RECEIVES: &str = "receives";

/// A message, as both ends see it.
#[derive(Clone, Copy)]
pub struct Sighting<'a> {
    /// The process that sends or receives it.
    pub process: &'a dyn Display,
    /// Its kind, in a word: `update`, `gossip`, `replies`.
    pub kind: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// The subject of its replies; empty where it has none.
    pub reply: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
}

impl Sighting<'_> {
    /// Logs that the process sends it.
    pub fn log_sent(self) {
        if enabled!(Level::DEBUG) {
            let Self { process, kind, subject, .. } = self;
            debug!(%process, kind, wire = %self.number(), subject, "sends");
        }
    }

    /// Logs that the process received it.
    pub fn log_received(self) {
        if enabled!(Level::DEBUG) {
            let Self { process, kind, subject, .. } = self;
            debug!(%process, kind, wire = %self.number(), subject, "receives");
        }
    }

    fn number(&self) -> Number {
        let mut hash = Xxh3::new();
        for part in [self.subject.as_bytes(), self.reply.as_bytes()] {
            hash.update(part);
            hash.update(b"\0"); // no subject has it
        }
        hash.update(self.payload);
        Number(hash.digest())
    }
}

/// The number of a message: 16 hexadecimal digits.
struct Number(u64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_depends_on_subject_reply_and_payload() {
        let number = |subject, reply, payload: &'static [u8]| {
            Sighting { process: &"r1", kind: "query", subject, reply, payload }.number().to_string()
        };
        let one = number("a.b", "c", b"x");
        assert_eq!(one, number("a.b", "c", b"x"));
        assert_eq!(one.len(), 16);
        for other in [number("a", "b.c", b"x"), number("a.b", "", b"x"), number("a.b", "c", b"y")] {
            assert_ne!(one, other);
        }
    }
}
