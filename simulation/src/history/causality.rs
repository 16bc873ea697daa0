//! The causal order: the transitive closure of the order of each session and of "reads from", as vector clocks over
//! chains.
//!
//! Mattern, "Virtual Time and Global States of Distributed Systems", 1989.

use super::index::{Index, NO_CHAIN, Source, What};

/// For each node, how many of each chain came before it, itself included.
///
/// Sessions are few and long; the other chains are many and have one node each, of which a bit is enough.
#[derive(Debug)]
pub(super) struct Causality {
    clocks: Vec<u32>,
    sessions: usize,
    bits: Vec<u64>,
    words: usize,
    nodes: Vec<(usize, u32)>,
}

impl Causality {
    /// Fails with the nodes of a cycle, each before the next.
    pub(super) fn new(index: &Index<'_>) -> Result<Self, Vec<usize>> {
        let (sessions, count) = (index.sessions, index.nodes.len());
        let words = (index.chains.len() - sessions).div_ceil(64);
        let mut waits_for: Vec<usize> = (0..count).map(|n| predecessors(index, n).count()).collect();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (n, before) in (0..count).flat_map(|n| predecessors(index, n).map(move |before| (n, before))) {
            followers[before].push(n);
        }
        let mut ready: Vec<usize> = (0..count).filter(|&n| waits_for[n] == 0).collect();
        let mut clocks = vec![0u32; count * sessions];
        let mut bits = vec![0u64; count * words];
        let (mut clock, mut set) = (vec![0u32; sessions], vec![0u64; words]);
        let mut done = 0;
        while let Some(n) = ready.pop() {
            done += 1;
            clock.fill(0);
            set.fill(0);
            for before in predecessors(index, n) {
                let other = &clocks[before * sessions..(before + 1) * sessions];
                clock.iter_mut().zip(other).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
                let other = &bits[before * words..(before + 1) * words];
                set.iter_mut().zip(other).for_each(|(mine, theirs)| *mine |= theirs);
            }
            let node = &index.nodes[n];
            if let What::Final(_) = node.what {
                clock.iter_mut().zip(&index.chains).for_each(|(mine, chain)| *mine = chain.len() as u32);
                set.fill(u64::MAX);
            } else if node.chain < sessions {
                clock[node.chain] = node.position;
            } else {
                let bit = node.chain - sessions;
                set[bit / 64] |= 1 << (bit % 64);
            }
            clocks[n * sessions..(n + 1) * sessions].copy_from_slice(&clock);
            bits[n * words..(n + 1) * words].copy_from_slice(&set);
            for &follower in &followers[n] {
                waits_for[follower] -= 1;
                if waits_for[follower] == 0 {
                    ready.push(follower);
                }
            }
        }
        if done < count {
            return Err(cycle(index, &waits_for));
        }
        let nodes = index.nodes.iter().map(|node| (node.chain, node.position)).collect();
        Ok(Self { clocks, sessions, bits, words, nodes })
    }

    /// Number of nodes of `chain` that came before `n`; `n` itself doesn't count.
    pub(super) fn count_before(&self, n: usize, chain: usize) -> u32 {
        let count = match chain.checked_sub(self.sessions) {
            None => self.clocks[n * self.sessions + chain],
            Some(bit) => (self.bits[n * self.words + bit / 64] >> (bit % 64) & 1) as u32,
        };
        if self.nodes[n].0 == chain { count - 1 } else { count }
    }

    /// Whether `a` came before `b`.
    pub(super) fn is_before(&self, a: usize, b: usize) -> bool {
        let (chain, position) = self.nodes[a];
        chain != NO_CHAIN && position <= self.count_before(b, chain)
    }

    /// Number of these nodes of one chain, in order, that came before `n`.
    pub(super) fn prefix<T>(&self, n: usize, chain: usize, of: &[T], node: impl Fn(&T) -> usize) -> usize {
        let count = self.count_before(n, chain);
        of.partition_point(|item| self.nodes[node(item)].1 <= count)
    }

    /// The latest writes of a key that came before `n`, one a chain at most.
    pub(super) fn latest<'a>(&'a self, index: &'a Index<'_>, n: usize, key: usize) -> impl Iterator<Item = usize> + 'a {
        index.keys[key].writes.iter().filter_map(move |(&chain, writes)| {
            let count = self.prefix(n, chain, writes, |write| *write);
            count.checked_sub(1).map(|last| writes[last])
        })
    }
}

/// Direct predecessors of a node.
fn predecessors(index: &Index<'_>, n: usize) -> impl Iterator<Item = usize> {
    let node = &index.nodes[n];
    let sources = node.reads.iter().filter_map(|read| match read.source {
        Source::Write(writer) => Some(writer),
        Source::Initial => None,
    });
    node.before.into_iter().chain(node.knows).chain(sources)
}

/// A cycle among the nodes that still wait: each of them has a predecessor that waits too.
fn cycle(index: &Index<'_>, waits_for: &[usize]) -> Vec<usize> {
    let mut n = waits_for.iter().position(|&count| count > 0).unwrap_or_default();
    let mut visited = vec![usize::MAX; waits_for.len()];
    let mut path = Vec::new();
    while visited[n] == usize::MAX {
        visited[n] = path.len();
        path.push(n);
        let Some(before) = predecessors(index, n).find(|&before| waits_for[before] > 0) else { break };
        n = before;
    }
    let mut cycle = path.split_off(visited[n]);
    cycle.reverse();
    cycle
}
