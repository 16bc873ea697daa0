//! A session that knows that a rating was seen gone never sees that rating again. The other way round, a session that
//! knows that a rating was seen never sees the delete from before.
//!
//! It holds in causal convergence: the write that was seen in between is another one than the first, and comes after
//! it.

use crate::history::causality::Causality;
use crate::history::index::{Index, Source};
use crate::history::{Promise, Verdict, Violation};

pub(in crate::history) fn check(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    for (reader, node) in index.nodes.iter().enumerate() {
        for read in &node.reads {
            let is_there = index.is_there(read.key, read.source);
            for (&chain, glimpses) in &index.keys[read.key].glimpses {
                let others = &glimpses[usize::from(!is_there)];
                let count = causality.prefix(reader, chain, others, |&other| other);
                let Some(&between) = others[..count].last() else { continue };
                let Source::Write(writer) = read.source else { continue };
                // Clocks grow along a chain: the latest glimpse knows of all that the earlier ones do.
                if !causality.is_before(writer, between) {
                    continue;
                }
                let (promise, what) = match is_there {
                    true => (Promise::DeletesStayDead, "gone"),
                    false => (Promise::CausalOrder, "there again"),
                };
                verdict.add(Violation {
                    promise,
                    text: format!("{} was known to be {what}", index.keys[read.key].key),
                    story: vec![
                        format!("first: {}", index.tell(writer)),
                        format!("then {what}: {}", index.tell(between)),
                        format!("yet: {}", index.tell(reader)),
                    ],
                });
            }
        }
    }
}
