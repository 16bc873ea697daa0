//! The disk of a simulated replica manager: what it saved, and what of it a power loss leaves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use natter_common::record::{ExecutedOperation, Record, RecordRef};
use natter_common::replica_manager::durable::{Changes, KnownAt, Saved, State};
use natter_common::timestamp::Timestamp;

use super::value::{MemoryValue, Written};

/// Maximum commits that a power loss takes from a disk that is not synced: the latest ones.
const UNSYNCED_MAX: usize = 20;

/// When a commit is safe from a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// At once.
    Full,
    /// Some time later.
    Normal,
}

/// State as of the last commit.
#[derive(Clone, Debug, Default)]
struct Contents {
    state: State,
    records: BTreeMap<RecordRef, Arc<Record>>,
    executed: BTreeMap<RecordRef, ExecutedOperation>,
    retired: Timestamp,
    known: Vec<KnownAt>,
    value: MemoryValue,
}

impl Contents {
    /// Writes what one commit changed.
    fn take(&mut self, changes: Changes) {
        self.records.extend(changes.held.into_iter().map(|record| (record.name(), record)));
        self.executed.extend(changes.executed.into_iter().map(|executed| (executed.name(), executed)));
        for name in changes.forgotten {
            self.records.remove(&name);
            self.executed.remove(&name);
        }
        for (id, count) in changes.retired {
            self.retired.set(&id, count.unwrap_or(0));
        }
        if let Some(state) = changes.state {
            self.state = state;
        }
        if let Some(known) = changes.known {
            self.known = known;
        }
    }
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// When a commit is safe.
    pub sync: Sync,
    /// Whether no commit ends for now.
    pub is_stalled: bool,
    /// The ids of earlier lives.
    pub former: Vec<natter_common::ids::ReplicaId>,
    contents: Contents,
    /// Earlier contents that a power loss may bring back, the earliest first.
    unsynced: VecDeque<Contents>,
}

impl Disk {
    /// An empty disk.
    pub fn new(sync: Sync) -> Self {
        let contents = Contents { value: MemoryValue::new(), ..Contents::default() };
        Self { sync, is_stalled: false, former: Vec::new(), contents, unsynced: VecDeque::new() }
    }

    /// Writes what was committed, in order.
    pub fn commit(&mut self, commits: impl IntoIterator<Item = Written>) {
        for Written { changes, value } in commits {
            if self.sync == Sync::Normal {
                self.unsynced.push_back(self.contents.clone());
                if self.unsynced.len() > UNSYNCED_MAX {
                    self.unsynced.pop_front();
                }
            }
            self.contents.value = value;
            self.contents.take(changes);
        }
    }

    /// The power goes: what was not synced may be gone.
    pub fn lose_power(&mut self, generator: &mut Rng) {
        if self.sync == Sync::Normal {
            let lost = generator.usize(..=self.unsynced.len());
            if lost > 0 {
                let at = self.unsynced.len() - lost;
                self.contents = self.unsynced.swap_remove_back(at).unwrap_or_default();
            }
            self.unsynced.clear();
        }
    }

    /// State that the next life finds.
    pub fn contents(&self) -> (Saved, MemoryValue) {
        let Contents { state, records, executed, retired, known, value } = self.contents.clone();
        let mut value = value;
        if state.merging.is_none() {
            value.drop_stage();
        }
        let saved = Saved {
            state,
            records: records.into_values().collect(),
            executed: executed.into_values().collect(),
            retired,
            known,
        };
        (saved, value)
    }
}
