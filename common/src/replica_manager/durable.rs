//! State of a replica on disk: its part of the transaction that also has the value.
//!
//! The value saves [`Changes`] before the core gives out an output that depends on them (`commits.rs`). So a record is
//! shown as held here only when a crash can no longer remove it. At the next start the value gives back [`Saved`].

use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::clock::Stamp;
use crate::cluster::ClusterNames;
use crate::ids::ReplicaId;
use crate::messages::Replicas;
use crate::record::{ExecutedOperation, Record, RecordRef};
use crate::timestamp::Timestamp;

/// The changes of one turn or several. Saved in one transaction with what it did to the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Records that are held from now on.
    pub held: Vec<Arc<Record>>,
    /// Updates that are known from now on by a snapshot, without their records.
    pub executed: Vec<ExecutedOperation>,
    /// Records, and what is known of records, that are neither in the log nor in the executed-operation table any more.
    pub forgotten: Vec<RecordRef>,
    /// Replica managers that are retired, or with `None` not any more.
    pub retired: Vec<(ReplicaId, Option<u64>)>,
    /// Whether rows of a snapshot were put aside, or taken out again.
    pub staged: bool,
    /// In place of the one saved before; `None` where it is the same.
    pub state: Option<State>,
    /// In place of those saved before; `None` where they are the same.
    pub known: Option<Vec<KnownAt>>,
}

impl Changes {
    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
            && self.executed.is_empty()
            && self.forgotten.is_empty()
            && self.retired.is_empty()
            && !self.staged
            && self.state.is_none()
            && self.known.is_none()
    }
}

/// Timestamps, clock and other small state of a replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Exactly the set of updates applied to the value.
    pub value_timestamp: Replicas,
    /// The updates held without a gap.
    pub replica_timestamp: Replicas,
    /// Number after which the log of each origin begins.
    pub starts: Replicas,
    /// The greatest stamp of the records held.
    pub clock: Stamp,
    /// A snapshot whose rows are all on the stage and being merged.
    pub merging: Option<Merging>,
    /// Others that may come back.
    pub members: Vec<SavedMember>,
    /// The names of the cluster. A directory of an older version has none.
    #[serde(default)]
    pub cluster: ClusterNames,
    /// Time for which all lives have run, in milliseconds; less if it was not saved since. A directory of an older
    /// version has 0.
    #[serde(default)]
    pub ran_ms: u64,
}

/// The updates that were known at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownAt {
    /// Time for which all lives had run by then, in milliseconds.
    pub ran_ms: u64,
    /// Number of known updates of each origin, the retired ones included.
    pub updates: Replicas,
}

/// A snapshot whose rows are all on the stage: held, and reflected by the value once they are merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Merging {
    /// Exactly the updates that its rows reflect.
    pub value_timestamp: Replicas,
    /// The replica managers that are retired there.
    pub retired: Replicas,
    /// Number of its rows.
    pub rows: u64,
}

/// Another replica, as remembered over a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedMember {
    /// Its id.
    pub id: ReplicaId,
    /// Whether it keeps its state on disk.
    pub durable: bool,
    /// Timestamp of the records that it was known to hold.
    pub replica_timestamp: Replicas,
    /// Time at which it was last heard, in Unix milliseconds; 0 in a directory of an older version.
    #[serde(default)]
    pub heard_wall_ms: u64,
}

/// All that was saved, for [`super::ReplicaManager::recover`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Timestamps, clock and other small state.
    pub state: State,
    /// Its records, in any order: those of its log, and those that only the executed-operation table needs.
    pub records: Vec<Arc<Record>>,
    /// Known updates without records.
    pub executed: Vec<ExecutedOperation>,
    /// Retired replica managers.
    pub retired: Timestamp,
    /// Updates that were known at earlier times, the earliest time first.
    pub known: Vec<KnownAt>,
}
