//! Every value that is read was written, under this id, with this rating, and not after the read; and it was not
//! refused.
//!
//! `ThinAirRead` of Bouajjani et al. 2017; an aborted read (G1a) in Adya, "Weak Consistency", 1999.

use crate::history::index::{Index, Source};
use crate::history::{Promise, Verdict, Violation};

pub(in crate::history) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    for &(reader, key, cell) in &index.thin_air {
        let refused = cell.update_id.and_then(|id| index.refused.get(&id));
        let key = index.keys[key].key;
        let mut story: Vec<_> = refused.map(|&n| format!("#{n} {}", index.history.operations[n])).into_iter().collect();
        story.push(index.tell(reader));
        verdict.add(match refused {
            Some(_) => {
                let text = format!("{cell} was seen at {key}, though that update was refused");
                Violation { promise: Promise::RefusedUnseen, text, story }
            }
            None => {
                let text = format!("{cell} was seen at {key}, and nobody wrote that");
                Violation { promise: Promise::ThinAir, text, story }
            }
        });
    }
    for (n, node) in index.nodes.iter().enumerate() {
        for read in &node.reads {
            let Source::Write(writer) = read.source else { continue };
            if index.start_us(writer) > index.end_us(n) {
                verdict.add(Violation {
                    promise: Promise::ThinAir,
                    text: "a write was seen before it was asked for".to_owned(),
                    story: vec![index.tell(n), index.tell(writer)],
                });
            }
        }
    }
}
