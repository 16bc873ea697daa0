//! Answers that tell only whether a rating is there (a refusal, an acknowledged create, update or delete, "nothing"
//! without the id of a delete) must have a write that explains them. That write leaves the rating so, the reader may
//! have seen it, and no other write which the reader knew of had replaced it.

use crate::history::causality::Causality;
use crate::history::index::{Glimpse, Index, NO_CHAIN, Read, Source};
use crate::history::{Promise, Verdict, Violation};

pub(in crate::history) fn check(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    for (reader, node) in index.nodes.iter().enumerate() {
        for glimpse in &node.glimpses {
            let known: Vec<usize> = causality.latest(index, reader, glimpse.key).collect();
            if is_explained(index, causality, reader, glimpse, &known) {
                continue;
            }
            let own = known.iter().any(|&write| index.nodes[write].chain == node.chain);
            let promise = match node.chain {
                NO_CHAIN => Promise::NoLostUpdate,
                _ if known.is_empty() => Promise::ThinAir,
                _ if own => Promise::ReadYourWrites,
                _ => Promise::CausalOrder,
            };
            let what = if glimpse.is_there { "there is a rating" } else { "there is no rating" };
            let mut story: Vec<_> = known.iter().map(|&write| format!("known: {}", index.tell(write))).collect();
            story.push(format!("yet: {}", index.tell(reader)));
            let text = format!("{what} at {}, and nothing explains that", index.keys[glimpse.key].key);
            verdict.add(Violation { promise, text, story });
        }
    }
}

/// Whether `write` is a delete whose answer says that it took away what `taken` wrote. It may have been accepted by two
/// replicas: by one before `taken` was, and by one that tells its answer, after `taken`.
fn took_away(index: &Index<'_>, write: usize, key: usize, taken: usize) -> bool {
    let node = &index.nodes[write];
    let is_of = |read: &Read| read.key == key && read.source == Source::Write(taken);
    node.write.is_some_and(|write| write.stars.is_none()) && node.reads.iter().any(is_of)
}

fn is_explained(index: &Index<'_>, causality: &Causality, reader: usize, glimpse: &Glimpse, known: &[usize]) -> bool {
    let key = &index.keys[glimpse.key];
    if known.is_empty() && key.initial.is_some() == glimpse.is_there {
        return true;
    }
    let fits = |write: usize| index.is_there(glimpse.key, Source::Write(write)) == glimpse.is_there;
    let stands = |write: usize| !known.iter().any(|&other| causality.is_before(write, other));
    if known.iter().any(|&write| fits(write) && stands(write)) {
        return true;
    }
    let end_us = index.end_us(reader);
    if key.unseen.iter().any(|&(stars, start_us)| stars.is_some() == glimpse.is_there && start_us <= end_us) {
        return true;
    }
    // Writes that the reader need not have known of, but may have.
    key.writes.iter().any(|(&chain, writes)| {
        let from = causality.prefix(reader, chain, writes, |&write| write);
        let later = writes[from..].iter().copied();
        let mut possible = later.take_while(|&write| {
            let may_precede = !causality.is_before(reader, write) || took_away(index, write, glimpse.key, reader);
            write == reader || index.start_us(write) <= end_us && may_precede
        });
        possible.any(|write| write != reader && fits(write))
    })
}
