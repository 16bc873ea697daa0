//! The protocol core of the process: a replica, or a replica and a frontend joined in memory.

use natter_common::clock::Now;
use natter_common::colocated::{Colocated, Outputs};
use natter_common::frontend;
use natter_common::replica_manager::{self, ReplicaManager};
use natter_common::value::{Value, ValueError};

/// The protocol core of the process.
pub(crate) enum Core {
    Replica(Box<ReplicaManager>),
    Colocated(Box<Colocated>),
}

impl Core {
    pub(crate) fn replica(&self) -> &ReplicaManager {
        match self {
            Self::Replica(replica) => replica,
            Self::Colocated(both) => both.replica(),
        }
    }

    pub(crate) fn replica_mut(&mut self) -> &mut ReplicaManager {
        match self {
            Self::Replica(replica) => replica,
            Self::Colocated(both) => both.replica_mut(),
        }
    }

    /// Handles a turn of both halves. Returns whether there was something to save.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub(crate) fn step(
        &mut self,
        now: Now,
        of_frontend: &mut Vec<frontend::Input>,
        of_replica: &mut Vec<replica_manager::Input>,
        value: &mut dyn Value,
        outputs: &mut Outputs,
    ) -> Result<bool, ValueError> {
        match self {
            Self::Replica(replica) => replica.step(now, of_replica.drain(..), value, &mut outputs.replica),
            Self::Colocated(both) => both.step(now, of_frontend.drain(..), of_replica.drain(..), value, outputs),
        }
    }
}
