//! Where a replica manager's state is: in memory, or in a directory that outlives the process.

use natter_broker::role;
use natter_common::ids::ReplicaId;
use natter_common::replica_manager::Saved;
use natter_database::{DataDirectory, Identity, Recovered, Store, Sync};
use tracing::{info, warn};

use crate::{ReplicaArgs, ReplicaError};

/// A store that is open, and who its replica manager is.
pub(crate) struct Storage {
    pub(crate) store: Store,
    pub(crate) id: ReplicaId,
    /// Ids of earlier lives that are not used any more.
    pub(crate) former: Vec<ReplicaId>,
    /// What an earlier life saved; `None` in memory.
    pub(crate) saved: Option<Saved>,
}

impl Storage {
    /// Opens the store that the arguments name.
    pub(crate) fn open(arguments: &ReplicaArgs) -> Result<Self, ReplicaError> {
        let source = arguments.source()?;
        let Some(path) = &arguments.data_dir else {
            let store = Store::open(&source).map_err(ReplicaError::Data)?;
            return Ok(Self { store, id: new_id(arguments)?, former: Vec::new(), saved: None });
        };
        let directory = DataDirectory::open(path)?;
        let (mut store, recovered) = Store::open_in(&source, directory, arguments.sync)?;
        let Recovered { identity, saved, clean, sync_before } = recovered;
        let identity = match identity {
            Some(identity) if clean || sync_before != Some(Sync::Normal) => {
                info!(replica = %identity.id, clean, value_timestamp = %saved.state.value_timestamp.replicas,
                    records = saved.records.len(), data_dir = %path.display(), "goes on with what it had");
                if !clean {
                    warn!(replica = %identity.id, "was not stopped cleanly: all that was committed is there");
                }
                identity
            }
            Some(old) => {
                let identity = renewed(old, arguments)?;
                warn!(replica = %identity.id, former = identity.former.last().map(tracing::field::display),
                    "was not stopped cleanly under --sync normal, so its last updates may be missing here: it goes on \
                     with what it has under a new id");
                store.set_identity(&identity)?;
                identity
            }
            None => {
                let identity = Identity { id: new_id(arguments)?, former: Vec::new() };
                info!(replica = %identity.id, data_dir = %path.display(), "begins a new data directory");
                store.set_identity(&identity)?;
                identity
            }
        };
        Ok(Self { store, id: identity.id, former: identity.former, saved: Some(saved) })
    }

    /// The same state under a new id.
    pub(crate) fn under_new_id(mut self, arguments: &ReplicaArgs) -> Result<Self, ReplicaError> {
        let identity = renewed(Identity { id: self.id, former: self.former }, arguments)?;
        self.store.set_identity(&identity)?;
        Ok(Self { id: identity.id, former: identity.former, ..self })
    }

    /// Opens the store again after it failed; an error where there is nothing to go on with.
    pub(crate) fn reopen(arguments: &ReplicaArgs) -> Result<Self, ReplicaError> {
        match &arguments.data_dir {
            Some(path) if DataDirectory::has_database(path) => Self::open(arguments),
            _ => Err(ReplicaError::NothingLeft),
        }
    }
}

fn new_id(arguments: &ReplicaArgs) -> Result<ReplicaId, ReplicaError> {
    role::new_id(&arguments.name).map_err(ReplicaError::Id)
}

fn renewed(old: Identity, arguments: &ReplicaArgs) -> Result<Identity, ReplicaError> {
    let mut former = old.former;
    former.push(old.id);
    Ok(Identity { id: new_id(arguments)?, former })
}
