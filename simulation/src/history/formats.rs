//! The same history for public checkers of causal consistency (of the converging kind, as here), so that anyone can
//! check again. All three know transactions of reads and writes; an operation is one.
//!
//! | format | read by | from |
//! | --- | --- | --- |
//! | [`plume`] | Plume, PolySI, AWDIT (`check -i causal FILE`) | AWDIT's `parse_plume_history` in `src/formats.rs`, Plume's `TextHistoryLoader` |
//! | [`awdit`] | AWDIT, its format `test` | `parse_test_history` in `src/formats.rs` of <https://github.com/lassemoldrup/AWDIT> |
//! | [`dbcop`] | `dbcop verify --consistency causal`, as `.hist` | `docs/history-format.md` of <https://github.com/rnbguy/dbcop> |
//!
//! Left out, as these formats can't tell it: glimpses, means, updates without an answer that no session saw, and that
//! the replicas' state at the end follows everything. An update without an answer that a session saw is a session of
//! its own.

use std::fmt::Write;

use super::index::{Index, Source};
use super::{History, Verdict};

/// One read or write: key and value by number; 0 is the value of the data set.
struct Event {
    is_write: bool,
    key: usize,
    value: usize,
}

/// Content that the formats have in common.
struct Plain {
    /// The sessions, their transactions, the events of these.
    sessions: Vec<Vec<Vec<Event>>>,
    /// The updates that were refused: (key, value).
    refused: Vec<(usize, usize)>,
    /// Number of keys.
    keys: usize,
}

fn plain(history: &History) -> Plain {
    let index = Index::new(history, &mut Verdict::default());
    let value = |source| if let Source::Write(n) = source { n + 1 } else { 0 };
    let events = |n: usize| {
        let node = &index.nodes[n];
        let reads = node.reads.iter().map(|read| Event { is_write: false, key: read.key, value: value(read.source) });
        let write = node.write.map(|write| Event { is_write: true, key: write.key, value: n + 1 });
        reads.chain(write).collect::<Vec<_>>()
    };
    let session = |chain: &Vec<usize>| -> Vec<Vec<Event>> {
        chain.iter().map(|&n| events(n)).filter(|events| !events.is_empty()).collect()
    };
    let sessions = index.chains.iter().map(session).filter(|session| !session.is_empty()).collect();
    let key = |&n: &usize| match history.operations[n].kind {
        super::Kind::Write { request, .. } => index.by_key[&request.key()],
        _ => 0,
    };
    let mut refused: Vec<_> = index.refused.values().map(|n| (key(n), index.nodes.len() + 1 + n)).collect();
    refused.sort_unstable();
    Plain { sessions, refused, keys: index.keys.len() }
}

/// One event a line: `r(key,value,session,transaction)` or `w(...)`; transaction −1 was refused; a key has the value 0
/// at first.
pub fn plume(history: &History) -> String {
    let Plain { sessions, refused, .. } = plain(history);
    let mut text = String::new();
    let mut transaction = 0;
    for (session, transactions) in sessions.iter().enumerate() {
        for events in transactions {
            for Event { is_write, key, value } in events {
                let op = if *is_write { 'w' } else { 'r' };
                _ = writeln!(text, "{op}({key},{value},{session},{transaction})");
            }
            transaction += 1;
        }
    }
    for (key, value) in refused {
        _ = writeln!(text, "w({key},{value},{},-1)", sessions.len());
    }
    text
}

/// One event a line, `r key value` or `w key value`; a line of `-` between transactions, one of `=` between sessions.
/// The first session writes what the data set came with.
pub fn awdit(history: &History) -> String {
    let Plain { sessions, keys, .. } = plain(history);
    let mut text: String = (0..keys).map(|key| format!("w {key} 0\n")).collect();
    for transactions in &sessions {
        text.push_str("=====\n");
        for (n, events) in transactions.iter().enumerate() {
            text.push_str(if n > 0 { "-----\n" } else { "" });
            for Event { is_write, key, value } in events {
                _ = writeln!(text, "{} {key} {value}", if *is_write { 'w' } else { 'r' });
            }
        }
    }
    text
}

/// One transaction a line, `[k1:=2 k3==4 k5==?]`: a write, a read, a read of what the data set came with; `---` between
/// sessions; `!` after a transaction that was refused.
pub fn dbcop(history: &History) -> String {
    let Plain { sessions, refused, .. } = plain(history);
    let mut text = String::new();
    for (n, transactions) in sessions.iter().enumerate() {
        text.push_str(if n > 0 { "---\n" } else { "" });
        for events in transactions {
            let event = |Event { is_write, key, value }: &Event| match (is_write, value) {
                (true, _) => format!("k{key}:={value}"),
                (false, 0) => format!("k{key}==?"),
                (false, _) => format!("k{key}=={value}"),
            };
            let events: Vec<_> = events.iter().map(event).collect();
            _ = writeln!(text, "[{}]", events.join(" "));
        }
    }
    for (key, value) in refused {
        _ = writeln!(text, "---\n[k{key}:={value}]!");
    }
    text
}
