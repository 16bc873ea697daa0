//! A session sees what it wrote, or something newer. Terry et al. 1994.

use super::stale::{Stale, session_back};
use crate::history::index::Index;
use crate::history::{Promise, Violation};

/// The newer write is the session's own, or one that it asked for twice.
pub(super) fn names(index: &Index<'_>, stale: &Stale) -> Option<Violation> {
    let own = session_back(index, stale.reader).skip(1);
    let mut own = own.filter(|&n| n == stale.newer || index.nodes[n].knows == Some(stale.newer));
    own.next().map(|_| stale.violation(index, Promise::ReadYourWrites, &[]))
}
