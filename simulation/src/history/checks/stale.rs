//! Stale reads, and how their readers may have known better.

use crate::history::causality::Causality;
use crate::history::index::{Index, Source};
use crate::history::{Promise, Violation};

/// A read of `older`, which `newer` had replaced, by a node that knew of `newer`.
pub(super) struct Stale {
    pub(super) reader: usize,
    pub(super) key: usize,
    pub(super) older: Source,
    pub(super) newer: usize,
}

impl Stale {
    /// The violation, with what the reader knew `newer` by.
    pub(super) fn violation(&self, index: &Index<'_>, promise: Promise, by: &[usize]) -> Violation {
        let mut story = vec![
            format!("older: {}", index.tell_source(self.key, self.older)),
            format!("newer: {}", index.tell(self.newer)),
        ];
        story.extend(by.iter().map(|&n| format!("then: {}", index.tell(n))));
        story.push(format!("yet: {}", index.tell(self.reader)));
        let text = format!("an old value of {} was seen", index.keys[self.key].key);
        Violation { promise, text, story }
    }
}

/// Whether `newer` had replaced `older` for every session that knows both.
pub(super) fn replaces(causality: &Causality, newer: usize, older: Source) -> bool {
    match older {
        Source::Initial => true,
        Source::Write(older) => causality.is_before(older, newer),
    }
}

/// The nodes of the reader's session up to the reader, the latest first.
pub(super) fn session_back(index: &Index<'_>, reader: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(reader), |&n| index.nodes[n].before)
}

/// Writes that the reader's session saw, each with the node that saw it, the latest first.
pub(super) fn writes_seen(index: &Index<'_>, reader: usize) -> impl Iterator<Item = (usize, usize)> {
    session_back(index, reader).flat_map(|n| {
        index.nodes[n].reads.iter().filter_map(move |read| match read.source {
            Source::Write(writer) => Some((n, writer)),
            Source::Initial => None,
        })
    })
}
