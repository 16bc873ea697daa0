//! At the end, where everything has reached every replica, each key shows a write that no other had replaced.
//!
//! The end is a read that follows every operation: a lost update is a stale one of these.

use super::stale::Stale;
use crate::history::index::{Index, What};
use crate::history::{Promise, Violation};

/// The reader is a replica at the end.
pub(super) fn names(index: &Index<'_>, stale: &Stale) -> Option<Violation> {
    matches!(index.nodes[stale.reader].what, What::Final(_)).then(|| {
        let violation = stale.violation(index, Promise::NoLostUpdate, &[]);
        Violation { text: format!("an update of {} is gone", index.keys[stale.key].key), ..violation }
    })
}
