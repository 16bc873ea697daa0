//! Stamps follow the clocks of machines, however wrong: no session drives the clocks of all others ahead.

use natter_common::clock::Stamp;
use natter_common::record::Record;

use super::{Violation, check};

/// A clock of a label that is ahead of a wall clock by no more than this may be taken as it is, in milliseconds: one
/// second, and the time since a replica showed a wall clock that has been set back meanwhile.
const CLOCKS_DIFFER_MS: u64 = 6000;

/// The latest that any machine's wall clock ever showed, those of clients too, in Unix milliseconds.
#[derive(Debug, Default)]
pub struct Clocks {
    greatest_wall_ms: u64,
}

impl Clocks {
    /// A machine's wall clock shows this.
    pub fn shows(&mut self, wall_ms: u64) {
        self.greatest_wall_ms = self.greatest_wall_ms.max(wall_ms);
    }

    /// A replica manager accepted a record. Its stamp is no later than the latest clock ever, and a few steps.
    pub fn accepted(&self, record: &Record) -> Result<(), Violation> {
        let limit = Stamp::new(self.greatest_wall_ms + CLOCKS_DIFFER_MS, u16::MAX);
        check(record.stamp <= limit, "clocks are not driven ahead", || {
            format!("{} of {} is stamped {}, after {limit}", record.name(), record.id, record.stamp)
        })
    }
}
