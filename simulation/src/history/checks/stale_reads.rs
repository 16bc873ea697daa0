//! No read sees a write that another write, which the reader knew of, had replaced.
//!
//! `WriteCORead` and `WriteCOInitRead` of Bouajjani et al. 2017. The promise that such a read breaks depends on how the
//! reader knew of the newer write: Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", PDIS 1994.

use super::stale::{Stale, replaces};
use super::{lost_updates, monotonic_reads, monotonic_writes, read_your_writes, writes_follow_reads};
use crate::history::causality::Causality;
use crate::history::index::{Index, Source};
use crate::history::{Promise, Verdict};

pub(in crate::history) fn check(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    for (reader, node) in index.nodes.iter().enumerate() {
        for read in &node.reads {
            let newer: Vec<usize> = causality
                .latest(index, reader, read.key)
                .filter(|&newer| read.source != Source::Write(newer) && replaces(causality, newer, read.source))
                .collect();
            let stales = newer.into_iter().map(|newer| Stale { reader, key: read.key, older: read.source, newer });
            let stales: Vec<Stale> = stales.collect();
            // The writes of its own session first: that is the simplest story.
            let own = stales.iter().find(|stale| read_your_writes::names(index, stale).is_some());
            let Some(stale) = own.or(stales.first()) else { continue };
            // A deleted rating that comes back has a name of its own, whatever else it breaks.
            let deletes = index.keys[read.key].writes.values().flatten().copied().filter(|&n| {
                index.nodes[n].write.is_some_and(|write| write.stars.is_none()) && causality.is_before(n, reader)
            });
            let mut deletes = deletes.filter(|&delete| replaces(causality, delete, read.source));
            if index.is_there(read.key, read.source)
                && let Some(newer) = deletes.next()
            {
                let dead = Stale { newer, ..*stale };
                verdict.add(dead.violation(index, Promise::DeletesStayDead, &[]));
            }
            verdict.add_stale(
                (reader, read.key),
                lost_updates::names(index, stale)
                    .or_else(|| read_your_writes::names(index, stale))
                    .or_else(|| monotonic_reads::names(index, stale))
                    .or_else(|| monotonic_writes::names(index, stale))
                    .or_else(|| writes_follow_reads::names(index, stale))
                    .unwrap_or_else(|| stale.violation(index, Promise::CausalOrder, &[])),
            );
        }
    }
}
