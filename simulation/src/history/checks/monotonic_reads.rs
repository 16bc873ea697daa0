//! A session never sees older data than before. Terry et al. 1994.

use std::collections::{HashMap, HashSet};

use super::stale::{Stale, writes_seen};
use crate::history::index::{Index, Source};
use crate::history::{Promise, Verdict, Violation};

/// The session has read the newer write before.
pub(super) fn names(index: &Index<'_>, stale: &Stale) -> Option<Violation> {
    let mut seen = writes_seen(index, stale.reader).filter(|&(n, writer)| n != stale.reader && writer == stale.newer);
    seen.next().map(|(n, _)| stale.violation(index, Promise::MonotonicReads, &[n]))
}

/// No session comes back to a value that it has seen replaced, be the two writes concurrent or not: a session that saw
/// one after the other knows which of them stands.
pub(in crate::history) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    // For each session and key: the value that it sees now, with the latest node that saw it, and the values that it
    // has seen replaced.
    let mut now: HashMap<(usize, usize), (Source, usize)> = HashMap::new();
    let mut replaced: HashSet<(usize, usize, Source)> = HashSet::new();
    for (n, node) in index.nodes.iter().enumerate() {
        for read in &node.reads {
            let place = (node.chain, read.key);
            let before = now.insert(place, (read.source, n));
            let Some((source, since)) = before.filter(|(source, _)| *source != read.source) else { continue };
            let comes_back = replaced.contains(&(node.chain, read.key, read.source)) && node.before.is_some();
            if comes_back || verdict.is_stale(n, read.key) {
                // The session still knows the newer value: the next read of that is right.
                now.insert(place, (source, since));
            } else {
                replaced.insert((node.chain, read.key, source));
            }
            if comes_back {
                let violation = Violation {
                    promise: Promise::MonotonicReads,
                    text: format!("a session came back to an old value of {}", index.keys[read.key].key),
                    story: vec![
                        format!("old: {}", index.tell_source(read.key, read.source)),
                        format!("replaced: {}", index.tell(since)),
                        format!("back: {}", index.tell(n)),
                    ],
                };
                verdict.add_stale((n, read.key), violation);
            }
        }
        // Writes of a session count as seen by it.
        if let Some(write) = node.write {
            let source = Source::Write(n);
            if let Some((before, _)) = now.insert((node.chain, write.key), (source, n)) {
                replaced.insert((node.chain, write.key, before));
            }
        }
    }
}
