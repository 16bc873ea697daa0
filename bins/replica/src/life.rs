//! The lives of a replica manager in one process: mostly one; another one where its id must not be used any more, or its
//! store failed and works again.

use std::future::Future;
use std::pin::Pin;

use natter_broker::clocks::Clocks;
use natter_broker::connection::{ConnectionSettings, Patience, connect};
use natter_broker::live::Live;
use natter_broker::publisher::{Publisher, round_trip};
use natter_common::replica_manager::{Config, ReplicaManager};
use natter_common::subjects::Subjects;
use tokio::sync::mpsc::unbounded_channel;
use tracing::{Level, enabled, info, warn};

use crate::offline::Offline;
use crate::outbox::Outbox;
use crate::shell::{End, Shell};
use crate::storage::Storage;
use crate::wait::until_free;
use crate::{ReplicaArgs, ReplicaError, inbox};

/// Runs a replica manager until `shutdown`.
pub async fn run(arguments: ReplicaArgs, shutdown: impl Future<Output = ()>) -> Result<(), ReplicaError> {
    let subjects =
        Subjects::new(&arguments.broker.prefix).ok_or_else(|| ReplicaError::Prefix(arguments.broker.prefix.clone()))?;
    tokio::pin!(shutdown);
    let Some(mut storage) = until_free(&arguments, Storage::open, shutdown.as_mut()).await? else { return Ok(()) };
    let counts = storage.store.counts();
    info!(replica = %storage.id, movies = counts.movies, ratings = counts.ratings,
        dataset = %storage.store.fingerprint(), "loaded the data set");
    loop {
        match live(&arguments, &subjects, storage, shutdown.as_mut()).await? {
            Some(next) => storage = next,
            None => return Ok(()),
        }
    }
}

/// One life. Gives what the next one begins with, if there is to be one.
async fn live(
    arguments: &ReplicaArgs,
    subjects: &Subjects,
    storage: Storage,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Storage>, ReplicaError> {
    let (events_sender, mut events) = unbounded_channel();
    let settings =
        ConnectionSettings { name: format!("replica-{}", storage.id), no_echo: true, patience: Patience::Forever };
    let client = tokio::select! {
        client = connect(&arguments.broker, &settings, Some(events_sender)) => client?,
        () = &mut shutdown => {
            storage.store.close_cleanly()?;
            return Ok(None);
        }
    };
    if inbox::is_served_by_somebody(&client, subjects, &storage.id).await {
        warn!(replica = %storage.id,
            "another replica is there under this id: the data directory is a copy, and this one takes a new id");
        return storage.under_new_id(arguments).map(Some);
    }
    let Storage { store, id, former, saved } = storage;
    let dataset = store.fingerprint().to_string();
    let presence = Live::default();
    let service =
        inbox::start_service(&client, &id, &dataset, presence.clone()).await.map_err(ReplicaError::Subscribe)?;
    let pull_replies = client.new_inbox();
    let inbox =
        inbox::subscribe(&client, &service, subjects, &id, &pull_replies).await.map_err(ReplicaError::Subscribe)?;
    round_trip(&client, subjects.replica(&id, "nobody")).await?;

    let clocks = Clocks::start();
    let config = Config {
        id: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dataset,
        mode: arguments.status,
        gossip_interval_ms: arguments.gossip_interval.as_millis() as u64,
        forget_after_ms: arguments.forget_after.as_millis() as u64,
        durable: saved.is_some(),
        message_bytes_max: client.server_info().max_payload,
        seed: fastrand::u64(..),
    };
    info!(replica = %id, "joins");
    let mut core = match saved {
        None => ReplicaManager::new(config, clocks.now()),
        Some(saved) => ReplicaManager::recover(config, saved, &former, clocks.now()).map_err(|problem| {
            let path = arguments.data_dir.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            ReplicaError::Recover { path, problem }
        })?,
    };
    core.be_quiet(!enabled!(Level::DEBUG));
    let outbox = Outbox::new(Publisher::new(client), subjects.clone(), id.clone(), pull_replies, presence);
    let end = Shell::new(core, store, clocks, inbox, outbox, service).serve(&mut events, shutdown.as_mut()).await?;
    match end {
        End::Left => Ok(None),
        End::TakeNewId { known, held } => {
            warn!(replica = %id, known, held,
                "others know of more of its updates than are in its data directory, which is older than what it said: it \
                 goes on with what it has under a new id");
            let storage = until_free(arguments, Storage::reopen, shutdown).await?;
            storage.map(|storage| storage.under_new_id(arguments)).transpose()
        }
        End::StoreFailed(remains) => {
            let offline = Offline { arguments: arguments.clone(), remains: *remains };
            offline.stay(&mut events, shutdown).await.map(Some)
        }
    }
}
