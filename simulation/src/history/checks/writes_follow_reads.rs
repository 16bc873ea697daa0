//! A session that sees a write sees all that the writing session had read before. Terry et al. 1994.

use super::stale::{Stale, session_back, writes_seen};
use crate::history::index::{Index, Source};
use crate::history::{Promise, Violation};

/// The session has read a write by a session that had read the newer one before.
pub(super) fn names(index: &Index<'_>, stale: &Stale) -> Option<Violation> {
    let read_newer = |&n: &usize| index.nodes[n].reads.iter().any(|read| read.source == Source::Write(stale.newer));
    writes_seen(index, stale.reader).find_map(|(n, writer)| {
        let read = session_back(index, writer).find(read_newer)?;
        let by: Vec<usize> = if read == writer { vec![writer, n] } else { vec![read, writer, n] };
        Some(stale.violation(index, Promise::WritesFollowReads, &by))
    })
}
