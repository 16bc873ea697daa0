//! Storage of a replica's state: in memory, or in a directory that outlives the process.

use natter_broker::role;
use natter_common::ids::ReplicaId;
use natter_common::replica_manager::Saved;
use natter_database::{DataDirectory, Identity, Recovered, Store, Sync};
use tracing::{info, warn};

use crate::{ReplicaArgs, ReplicaError};

/// A store that is open, and the id of its replica.
pub(crate) struct Storage {
    pub(crate) store: Store,
    pub(crate) id: ReplicaId,
    /// Ids of earlier lives, the last one last.
    pub(crate) former: Vec<ReplicaId>,
    /// The state that an earlier life saved; `None` in memory.
    pub(crate) saved: Option<Saved>,
}

impl Storage {
    /// Opens the store that the arguments name.
    pub(crate) fn open(arguments: &ReplicaArgs) -> Result<Self, ReplicaError> {
        let source = arguments.source()?;
        let Some(path) = &arguments.data_dir else {
            let mut store = Store::open(&source).map_err(ReplicaError::Data)?;
            store.limit_cache(arguments.cache.as_u64());
            return Ok(Self { store, id: role::new_id(&arguments.name)?, former: Vec::new(), saved: None });
        };
        let directory = DataDirectory::open(path)?;
        let (mut store, recovered) = Store::open_in(&source, directory, arguments.sync)?;
        store.limit_cache(arguments.cache.as_u64());
        let Recovered { identity, saved, clean, sync_before } = recovered;
        let id = role::new_id(&arguments.name)?;
        let former = match &identity {
            // A number is never used twice, whatever this directory is: a copy, or older than what its replica had said.
            Some(Identity { id: last, former }) => {
                info!(replica = %id, former = %last, clean, value_timestamp = %saved.state.value_timestamp.replicas,
                    records = saved.records.len(), data_dir = %path.display(), "goes on with what it had under a new id");
                match (clean, sync_before) {
                    (true, _) => {}
                    (false, Some(Sync::Normal)) => warn!(replica = %id,
                        "was not stopped cleanly under --sync normal, so its last updates may be missing here"),
                    (false, _) => warn!(replica = %id, "was not stopped cleanly: all that was committed is there"),
                }
                saved.former_of_next(former, last)
            }
            None => {
                info!(replica = %id, data_dir = %path.display(), "begins a new data directory");
                Vec::new()
            }
        };
        let identity = Identity { id, former };
        store.set_identity(&identity)?;
        Ok(Self { store, id: identity.id, former: identity.former, saved: Some(saved) })
    }

    /// Opens the store again after it failed; an error where there is nothing to go on with.
    pub(crate) fn reopen(arguments: &ReplicaArgs) -> Result<Self, ReplicaError> {
        match &arguments.data_dir {
            Some(path) if DataDirectory::has_database(path) => Self::open(arguments),
            _ => Err(ReplicaError::NothingLeft),
        }
    }
}
