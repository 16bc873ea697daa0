//! A history as a graph: each read leads back to the write that it saw.
//!
//! - `reads`: what each operation saw

mod reads;

use std::collections::{BTreeMap, HashMap, HashSet};

use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::{RatingKey, Stars};

use super::operation::{Cell, History, Kind, Operation, Outcome, Seen};
use super::{Promise, Verdict, Violation};

/// The chain of nodes that belong to none.
pub(super) const NO_CHAIN: usize = usize::MAX;

/// Origin of a value that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The data set.
    Initial,
    /// The write of this node.
    Write(usize),
}

/// One key read, and the write it saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) key: usize,
    pub(super) source: Source,
}

/// One key of which only this is told: whether a rating is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glimpse {
    pub(super) key: usize,
    pub(super) is_there: bool,
}

/// Write of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) key: usize,
    pub(super) stars: Option<Stars>,
    pub(super) is_acknowledged: bool,
}

/// Part of the history that a node stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The operation of this number.
    Operation(usize),
    /// A write whose session never learned the id, seen under this id.
    Nameless(UpdateId),
    /// The final state of the replica of this number.
    Final(usize),
}

/// An operation that tells something, or that others saw.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) what: What,
    /// Nodes of one chain are ordered; a session is a chain, an update without an answer one of its own.
    pub(super) chain: usize,
    /// From 1.
    pub(super) position: u32,
    /// The node before it in its session.
    pub(super) before: Option<usize>,
    /// Another node that it knows of: the update that it sent before, under the same id.
    pub(super) knows: Option<usize>,
    pub(super) reads: Vec<Read>,
    pub(super) glimpses: Vec<Glimpse>,
    pub(super) write: Option<Write>,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) key: RatingKey,
    pub(super) initial: Option<Stars>,
    /// Whether anybody ever tried to delete it, and may have.
    pub(super) may_be_deleted: bool,
    /// The writes of each chain, in order.
    pub(super) writes: BTreeMap<usize, Vec<usize>>,
    /// Updates without an answer that no session saw by name: (rating, when sent).
    pub(super) unseen: Vec<(Option<Stars>, u64)>,
    /// The glimpses of each chain, in order: those of nothing, and those of a rating.
    pub(super) glimpses: BTreeMap<usize, [Vec<usize>; 2]>,
}

/// The graph.
#[derive(Debug)]
pub(super) struct Index<'h> {
    pub(super) history: &'h History,
    pub(super) nodes: Vec<Node>,
    pub(super) keys: Vec<Key>,
    pub(super) by_key: HashMap<RatingKey, usize>,
    /// The keys of each user, by movie.
    pub(super) users: HashMap<UserId, BTreeMap<MovieId, usize>>,
    /// Number of sessions: theirs are the first chains.
    pub(super) sessions: usize,
    /// The nodes of each chain, in order; those of replicas at the end belong to none.
    pub(super) chains: Vec<Vec<usize>>,
    /// Ids of updates that were refused.
    pub(super) refused: HashMap<UpdateId, usize>,
    /// Reads whose value no session wrote: (node, key, what was seen).
    pub(super) thin_air: Vec<(usize, usize, Cell)>,
    by_id: HashMap<UpdateId, usize>,
    /// Updates without an answer and without an id: (operation, rating, key), those that are still free.
    nameless: HashMap<(usize, Option<Stars>), Vec<usize>>,
    /// Deletes that were done without an id, for which no answer tells it: their nodes, by key.
    nameless_deletes: HashMap<usize, Vec<usize>>,
}

impl<'h> Index<'h> {
    pub(super) fn new(history: &'h History, verdict: &mut Verdict) -> Self {
        let mut index = Self {
            history,
            nodes: Vec::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            users: HashMap::new(),
            sessions: 0,
            chains: Vec::new(),
            refused: HashMap::new(),
            thin_air: Vec::new(),
            by_id: HashMap::new(),
            nameless: HashMap::new(),
            nameless_deletes: HashMap::new(),
        };
        index.find_keys();
        let seen = ids_seen(history);
        index.make_nodes(&seen, verdict);
        for (n, _) in history.finals.iter().enumerate() {
            index.nodes.push(node(What::Final(n), NO_CHAIN, 0, None));
        }
        for n in 0..index.nodes.len() {
            index.find_reads(n);
        }
        for n in 0..index.nodes.len() {
            if let (Some(write), chain @ 0..NO_CHAIN) = (index.nodes[n].write, index.nodes[n].chain) {
                index.keys[write.key].writes.entry(chain).or_default().push(n);
            }
        }
        for n in 0..index.nodes.len() {
            index.settle_glimpses(n);
        }
        let counts = &mut verdict.counts;
        counts.operations = history.operations.len();
        counts.sessions = index.sessions;
        counts.unknown_seen = index.chains.len() - index.sessions;
        counts.reads = index.nodes.iter().map(|node| node.reads.len()).sum();
        counts.glimpses = index.nodes.iter().map(|node| node.glimpses.len()).sum();
        index
    }

    fn find_keys(&mut self) {
        let history = self.history;
        for row in &history.initial {
            let key = self.key(row.key());
            self.keys[key].initial = row.cell.rating;
        }
        for operation in &history.operations {
            match (&operation.kind, &operation.outcome) {
                (Kind::Write { request, .. }, outcome) => {
                    let key = self.key(request.key());
                    self.keys[key].may_be_deleted |=
                        request.stars().is_none() && !matches!(outcome, Outcome::Refused(_));
                }
                (&Kind::Read { user_id, movie_id }, _) => _ = self.key(RatingKey { user_id, movie_id }),
                (_, Outcome::Ok(Seen::Page { rows, .. })) => {
                    rows.iter().for_each(|row| _ = self.key(row.key()));
                }
                _ => {}
            }
        }
        for row in history.finals.iter().flat_map(|state| &state.rows) {
            self.key(row.key());
        }
    }

    fn key(&mut self, key: RatingKey) -> usize {
        *self.by_key.entry(key).or_insert_with(|| {
            let n = self.keys.len();
            self.users.entry(key.user_id).or_default().insert(key.movie_id, n);
            self.keys.push(Key {
                key,
                initial: None,
                may_be_deleted: false,
                writes: BTreeMap::new(),
                unseen: Vec::new(),
                glimpses: BTreeMap::new(),
            });
            n
        })
    }

    fn make_nodes(&mut self, seen: &HashSet<UpdateId>, verdict: &mut Verdict) {
        let mut sessions: HashMap<&str, usize> = HashMap::new();
        for operation in &self.history.operations {
            let next = sessions.len();
            sessions.entry(&operation.session).or_insert(next);
        }
        self.sessions = sessions.len();
        self.chains = vec![Vec::new(); sessions.len()];
        for (n, operation) in self.history.operations.iter().enumerate() {
            let session = sessions[operation.session.as_str()];
            let before = self.chains[session].last().copied();
            let is_known = operation.outcome != Outcome::Unknown;
            let Kind::Write { request, .. } = &operation.kind else {
                if is_known {
                    self.push(What::Operation(n), session, before);
                }
                continue;
            };
            let id = operation.id();
            let first = id.and_then(|id| self.by_id.get(&id).copied());
            if let Some(first) = first {
                self.check_same(n, first, verdict);
                if is_known {
                    let again = self.push(What::Operation(n), session, before);
                    self.nodes[again].knows = matches!(operation.outcome, Outcome::Ok(_)).then_some(first);
                    if let (Outcome::Ok(_), Some(write)) = (&operation.outcome, &mut self.nodes[first].write) {
                        write.is_acknowledged = true;
                    }
                }
                continue;
            }
            let key = self.by_key[&request.key()];
            let write = Write { key, stars: request.stars(), is_acknowledged: is_known };
            match &operation.outcome {
                Outcome::Ok(_) => {
                    let node = self.push(What::Operation(n), session, before);
                    self.nodes[node].write = Some(write);
                    if let Some(id) = id {
                        self.by_id.insert(id, node);
                    } else if request.stars().is_none() {
                        self.nameless_deletes.entry(key).or_default().push(node);
                    }
                }
                Outcome::Refused(_) => {
                    self.push(What::Operation(n), session, before);
                    if let Some(id) = id {
                        self.refused.insert(id, n);
                    }
                }
                // Later operations of the session need not follow an update that it had no answer to.
                Outcome::Unknown => match id {
                    Some(id) if seen.contains(&id) => {
                        self.chains.push(Vec::new());
                        let node = self.push(What::Operation(n), self.chains.len() - 1, before);
                        self.nodes[node].write = Some(write);
                        self.by_id.insert(id, node);
                    }
                    Some(_) => self.keys[key].unseen.push((request.stars(), operation.start_us)),
                    None => {
                        self.keys[key].unseen.push((request.stars(), operation.start_us));
                        self.nameless.entry((key, request.stars())).or_default().push(n);
                    }
                },
            }
        }
    }

    fn check_same(&self, n: usize, first: usize, verdict: &mut Verdict) {
        let What::Operation(first) = self.nodes[first].what else { return };
        let (first, again) = (&self.history.operations[first], &self.history.operations[n]);
        let request = |operation: &Operation| match operation.kind {
            Kind::Write { request, .. } => Some(request),
            _ => None,
        };
        if request(first) != request(again) {
            verdict.add(Violation {
                promise: Promise::WellFormed,
                text: "one id, two updates".to_owned(),
                story: vec![first.to_string(), again.to_string()],
            });
        }
    }

    fn push(&mut self, what: What, chain: usize, before: Option<usize>) -> usize {
        let n = self.nodes.len();
        self.chains[chain].push(n);
        self.nodes.push(node(what, chain, self.chains[chain].len() as u32, before));
        n
    }

    /// The operation that a node stands for.
    pub(super) fn operation(&self, n: usize) -> Option<&'h Operation> {
        match self.nodes[n].what {
            What::Operation(operation) => Some(&self.history.operations[operation]),
            _ => None,
        }
    }

    /// When it was sent, in microseconds; 0 where that is not known.
    pub(super) fn start_us(&self, n: usize) -> u64 {
        self.operation(n).map_or(0, |operation| operation.start_us)
    }

    /// When its answer came, in microseconds; the end of time where that is not known.
    pub(super) fn end_us(&self, n: usize) -> u64 {
        self.operation(n).map_or(u64::MAX, |operation| operation.end_us)
    }

    /// One line for people.
    pub(super) fn tell(&self, n: usize) -> String {
        match self.nodes[n].what {
            What::Operation(operation) => format!("#{operation} {}", self.history.operations[operation]),
            What::Nameless(id) => format!("update {id}, whose session had no answer"),
            What::Final(state) => format!("the end at {}", self.history.finals[state].replica),
        }
    }

    /// Whether a source leaves a rating there.
    pub(super) fn is_there(&self, key: usize, source: Source) -> bool {
        match source {
            Source::Initial => self.keys[key].initial.is_some(),
            Source::Write(writer) => self.nodes[writer].write.is_some_and(|write| write.stars.is_some()),
        }
    }

    /// One line for people.
    pub(super) fn tell_source(&self, key: usize, source: Source) -> String {
        match source {
            Source::Initial => format!("the data set's {:?} for {}", self.keys[key].initial, self.keys[key].key),
            Source::Write(writer) => self.tell(writer),
        }
    }
}

fn node(what: What, chain: usize, position: u32, before: Option<usize>) -> Node {
    Node { what, chain, position, before, knows: None, reads: Vec::new(), glimpses: Vec::new(), write: None }
}

/// All ids that any answer names or acknowledges.
fn ids_seen(history: &History) -> HashSet<UpdateId> {
    let mut seen: HashSet<UpdateId> =
        history.finals.iter().flat_map(|state| &state.rows).filter_map(|row| row.cell.update_id).collect();
    for operation in &history.operations {
        if matches!(operation.outcome, Outcome::Ok(_)) {
            seen.extend(operation.id());
        }
        match &operation.outcome {
            Outcome::Ok(Seen::Cell(cell)) => seen.extend(cell.update_id),
            Outcome::Ok(Seen::Page { rows, .. }) => seen.extend(rows.iter().filter_map(|row| row.cell.update_id)),
            _ => {}
        }
    }
    seen
}
