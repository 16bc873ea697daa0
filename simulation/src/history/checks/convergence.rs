//! All see the writes of a key in one order, and all replicas end with the same.
//!
//! Causal convergence (CCv): where a read sees w2 and knew of another write w1 of the key, w1 comes before w2; these
//! orders and the causal order together must have no cycle (`CyclicCF` of Bouajjani et al. 2017; the axiom of Biswas &
//! Enea 2019). Only the latest w1 of each session matters: the earlier ones come before it.

use std::collections::{HashMap, VecDeque};

use crate::history::causality::Causality;
use crate::history::index::{Index, NO_CHAIN, Source};
use crate::history::{Cell, Promise, Row, Verdict, Violation};

/// Maximum conflicts from which the search for a short cycle starts.
const STARTS_MAX: usize = 64;

/// Reason why one node comes before another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Session,
    Reads,
    Conflict(usize),
}

pub(in crate::history) fn check(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    let conflicts = conflicts(index, causality);
    verdict.counts.conflicts = conflicts.len();
    let edges = edges(index, &conflicts);
    let left = on_cycles(&edges);
    if left.iter().any(|&is_left| is_left) {
        let starts = conflicts.iter().filter(|(pair, _)| left[pair.0] && left[pair.1]).take(STARTS_MAX);
        let cycles = starts.filter_map(|(&(from, to), &by)| {
            let mut path = path(&edges, &left, to, from)?;
            path.insert(0, (from, Why::Conflict(by)));
            Some(path)
        });
        if let Some(cycle) = cycles.min_by_key(|path| path.iter().filter(|(_, why)| *why != Why::Session).count()) {
            verdict.add(tell(index, &cycle));
        }
    }
    replicas(index, verdict);
}

/// The causal order itself goes in a circle (`CyclicCO`).
pub(in crate::history) fn cyclic(index: &Index<'_>, cycle: &[usize], verdict: &mut Verdict) {
    let text = "a session saw what follows from what it did later".to_owned();
    let story = cycle.iter().chain(cycle.first()).map(|&n| index.tell(n)).collect();
    verdict.add(Violation { promise: Promise::CausalOrder, text, story });
}

/// Pairs of writes of one key, the earlier first, that are not ordered causally, with a read that orders them.
fn conflicts(index: &Index<'_>, causality: &Causality) -> HashMap<(usize, usize), usize> {
    let mut conflicts = HashMap::new();
    for (reader, node) in index.nodes.iter().enumerate() {
        for read in &node.reads {
            let Source::Write(seen) = read.source else { continue };
            for known in causality.latest(index, reader, read.key) {
                // Ordered causally: nothing new, or a stale read, which is told as one.
                if known != seen && !causality.is_before(known, seen) && !causality.is_before(seen, known) {
                    conflicts.entry((known, seen)).or_insert(reader);
                }
            }
        }
    }
    conflicts
}

fn edges(index: &Index<'_>, conflicts: &HashMap<(usize, usize), usize>) -> Vec<Vec<(usize, Why)>> {
    let mut edges = vec![Vec::new(); index.nodes.len()];
    for (n, node) in index.nodes.iter().enumerate() {
        if let Some(before) = node.before {
            edges[before].push((n, Why::Session));
        }
        if let Some(known) = node.knows {
            edges[known].push((n, Why::Reads));
        }
        for read in &node.reads {
            if let Source::Write(writer) = read.source {
                edges[writer].push((n, Why::Reads));
            }
        }
    }
    for (&(earlier, later), &by) in conflicts {
        edges[earlier].push((later, Why::Conflict(by)));
    }
    edges
}

/// Nodes that remain when those without a predecessor, and those without a successor, are removed again and again.
fn on_cycles(edges: &[Vec<(usize, Why)>]) -> Vec<bool> {
    let count = edges.len();
    let mut left = vec![true; count];
    let mut back = vec![Vec::new(); count];
    for (from, to) in edges.iter().enumerate().flat_map(|(from, to)| to.iter().map(move |&(to, _)| (from, to))) {
        back[to].push(from);
    }
    let forth: Vec<Vec<usize>> = edges.iter().map(|to| to.iter().map(|&(to, _)| to).collect()).collect();
    for (ways, opposite) in [(&forth, &back), (&back, &forth)] {
        let mut waits_for: Vec<usize> =
            opposite.iter().map(|others| others.iter().filter(|&&n| left[n]).count()).collect();
        let mut ready: Vec<usize> = (0..count).filter(|&n| left[n] && waits_for[n] == 0).collect();
        while let Some(n) = ready.pop() {
            left[n] = false;
            for &to in &ways[n] {
                waits_for[to] = waits_for[to].saturating_sub(1);
                if left[to] && waits_for[to] == 0 {
                    ready.push(to);
                }
            }
        }
    }
    left
}

/// The way from one node to another with the fewest steps between sessions: each node with why the next one follows.
fn path(edges: &[Vec<(usize, Why)>], left: &[bool], from: usize, to: usize) -> Option<Vec<(usize, Why)>> {
    let mut parents: HashMap<usize, (usize, Why)> = HashMap::new();
    let mut queue = VecDeque::from([(from, None)]);
    while let Some((n, parent)) = queue.pop_front() {
        if parents.contains_key(&n) || parent.is_none() && !parents.is_empty() {
            continue;
        }
        if let Some(parent) = parent {
            parents.insert(n, parent);
        }
        if n == to && parent.is_some() {
            let mut path = Vec::new();
            let mut at = to;
            while at != from || path.is_empty() {
                let (before, why) = parents[&at];
                path.insert(0, (before, why));
                at = before;
            }
            return Some(path);
        }
        for &(next, why) in edges[n].iter().filter(|(next, _)| left[*next] && *next != from) {
            let entry = (next, Some((n, why)));
            if why == Why::Session { queue.push_front(entry) } else { queue.push_back(entry) }
        }
    }
    None
}

fn tell(index: &Index<'_>, cycle: &[(usize, Why)]) -> Violation {
    let mut story = Vec::new();
    let mut last = None;
    for (n, why) in cycle.iter().chain(cycle.first()) {
        // Of a row of operations of one session, the first and the last say it.
        if last == Some(Why::Session) && *why == Why::Session {
            continue;
        }
        last = Some(*why);
        story.push(index.tell(*n));
        if story.len() > 1 && n == &cycle[0].0 {
            break;
        }
        story.push(match why {
            Why::Session => "  before, in the same session:".to_owned(),
            Why::Reads => "  which is seen by:".to_owned(),
            Why::Conflict(by) => format!("  which loses, as [{}] knew it and saw instead:", index.tell(*by)),
        });
    }
    let text = "the orders in which writes were seen contradict each other".to_owned();
    Violation { promise: Promise::Convergence, text, story }
}

/// All replicas hold the same at the end.
fn replicas(index: &Index<'_>, verdict: &mut Verdict) {
    let Some((first, others)) = index.history.finals.split_first() else { return };
    let map = |rows: &[Row]| -> HashMap<_, Cell> { rows.iter().map(|row| (row.key(), row.cell)).collect() };
    let of_first = map(&first.rows);
    for other in others {
        let of_other = map(&other.rows);
        for key in of_first.keys().chain(of_other.keys().filter(|key| !of_first.contains_key(key))) {
            let both = |user| first.users.contains(user) && other.users.contains(user);
            let at = |rows: &HashMap<_, Cell>| rows.get(key).copied().unwrap_or(Cell::ABSENT);
            let (mine, theirs) = (at(&of_first), at(&of_other));
            let is_same = mine == theirs || mine.rating.is_none() && theirs.rating.is_none();
            if both(&key.user_id) && !is_same {
                verdict.add(Violation {
                    promise: Promise::Convergence,
                    text: format!("replicas differ at {key}"),
                    story: vec![format!("{}: {mine}", first.replica), format!("{}: {theirs}", other.replica)],
                });
            }
        }
    }
    debug_assert!(index.nodes.iter().filter(|node| node.chain == NO_CHAIN).count() == index.history.finals.len());
}
