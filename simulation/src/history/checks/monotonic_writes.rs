//! A session that sees a write sees the earlier writes of the same session too. Terry et al. 1994.

use super::stale::{Stale, session_back, writes_seen};
use crate::history::index::Index;
use crate::history::{Promise, Violation};

/// The session has read a later write of the session that wrote the newer one.
pub(super) fn names(index: &Index<'_>, stale: &Stale) -> Option<Violation> {
    let later = |writer: usize| {
        session_back(index, writer).skip(1).any(|n| n == stale.newer || index.nodes[n].knows == Some(stale.newer))
    };
    writes_seen(index, stale.reader)
        .find(|&(_, writer)| later(writer))
        .map(|(n, writer)| stale.violation(index, Promise::MonotonicWrites, &[writer, n]))
}
