//! The lives of a replica manager in one process: mostly one; another one where its store failed and works again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use natter_broker::clocks::Clocks;
use natter_broker::metrics::{Exposition, MetricsError};
use natter_broker::role::{self, RoleError};
use natter_common::colocated::Colocated;
use natter_common::replica_manager::{Config, ReplicaManager};
use natter_common::subjects::Subjects;
use tracing::{Level, enabled, info};

use crate::core::Core;
use crate::entrance::Entrance;
use crate::line::{Connection, Line};
use crate::metrics::Instruments;
use crate::offline::Offline;
use crate::shell::{End, Shell};
use crate::storage::Storage;
use crate::wait::until_free;
use crate::{ReplicaArgs, ReplicaError};

/// Runs a replica manager until `shutdown`.
///
/// # Errors
///
/// The broker cannot be reached as the command line says, or refuses something that a replica needs. The data set or the
/// directory cannot be opened, or the store fails. Another replica started from another data set before.
pub async fn run(arguments: ReplicaArgs, shutdown: impl Future<Output = ()>) -> Result<(), ReplicaError> {
    let subjects = role::subjects(&arguments.broker)?;
    let exposition = Exposition::start(&arguments.metrics).map_err(RoleError::from)?;
    let define = |exposition: &Exposition| Instruments::define(exposition, arguments.frontend);
    let instruments =
        exposition.as_ref().map(define).transpose().map_err(MetricsError::from).map_err(RoleError::from)?;
    if let Some(instruments) = &instruments {
        instruments.replica.wait("starts: opens its data");
    }
    tokio::pin!(shutdown);
    let Some(mut storage) = until_free(&arguments, Storage::open, shutdown.as_mut()).await? else { return Ok(()) };
    let counts = storage.store.counts();
    info!(replica = %storage.id, movies = counts.movies, ratings = counts.ratings,
        dataset = %storage.store.fingerprint(), "loaded the data set");
    loop {
        match live(&arguments, &subjects, storage, instruments.as_ref(), shutdown.as_mut()).await? {
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
    instruments: Option<&Instruments>,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Storage>, ReplicaError> {
    if let Some(instruments) = instruments {
        instruments.replica.identify(&storage.id, &storage.store.fingerprint().to_string());
        instruments.replica.wait("starts, and is not connected to the broker yet");
    }
    let Some(connection) = unless(shutdown.as_mut(), Connection::open(arguments, subjects, &storage.id)).await else {
        storage.store.close_cleanly()?;
        return Ok(None);
    };
    let connection = connection?;
    let Storage { store, id, former, saved } = storage;
    let clocks = Clocks::start();
    let config = Config {
        id: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dataset: store.fingerprint().to_string(),
        mode: arguments.status,
        gossip_interval_ms: arguments.gossip_interval.as_millis() as u64,
        forget_after_ms: arguments.forget_after.as_millis() as u64,
        durable: saved.is_some(),
        message_bytes_max: connection.client.max_payload(),
        seed: fastrand::u64(..),
    };
    let mut core = match saved {
        None => ReplicaManager::new(config, clocks.now()),
        Some(saved) => ReplicaManager::recover(config, saved, &former, clocks.now()).map_err(|problem| {
            let path = arguments.data_dir.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            ReplicaError::Recover { path, problem }
        })?,
    };
    // The change feed is made from notices of single records.
    core.be_quiet(!enabled!(Level::DEBUG) && !arguments.changes);
    let introduction = core.introduction(clocks.now(), &store);
    let opening = Line::open(connection, arguments, subjects, &introduction);
    let mut line = match unless(shutdown.as_mut(), opening).await {
        Some(Ok(line)) => line,
        Some(Err(error)) => {
            store.close_cleanly()?;
            return Err(error.into());
        }
        None => {
            store.close_cleanly()?;
            return Ok(None);
        }
    };
    line.outbox.metrics = instruments.map(|instruments| Arc::clone(&instruments.replica));
    let (core, entrance) = if arguments.frontend {
        let core = Colocated::new(Entrance::core(arguments, &id, &clocks)?, core);
        let opening = Entrance::open(arguments, subjects, &core, &clocks, instruments);
        let entrance = match unless(shutdown.as_mut(), opening).await {
            Some(Ok(entrance)) => Some(entrance),
            refused => {
                store.close_cleanly()?;
                return refused.map_or(Ok(None), |entrance| entrance.map(|_| None));
            }
        };
        (Core::Colocated(Box::new(core)), entrance)
    } else {
        (Core::Replica(Box::new(core)), None)
    };
    info!(replica = %id, "joins");
    let mut shell = Shell::new(core, entrance, store, clocks, line);
    let end = loop {
        match shell.serve(shutdown.as_mut()).await? {
            End::Denied(suspended) => match suspended.stay(arguments, subjects, shutdown.as_mut()).await? {
                Some(resumed) => shell = resumed,
                None => return Ok(None),
            },
            end => break end,
        }
    };
    match end {
        End::Left | End::Denied(_) => Ok(None),
        End::StoreFailed(remains) => {
            let offline = Offline { arguments: arguments.clone(), remains: *remains };
            offline.stay(shutdown).await.map(Some)
        }
    }
}

/// Returns the result of `work`, or `None` if `shutdown` comes first. No wait of a start outlasts a signal.
async fn unless<T>(shutdown: Pin<&mut impl Future<Output = ()>>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown => None,
        result = work => Some(result),
    }
}
