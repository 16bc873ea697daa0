//! The end of a life: a goodbye, a refusal of the broker, or a store that failed.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use natter_broker::connection::Denial;
use natter_common::messages::Presence;
use natter_common::value::ValueError;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Shell;
use crate::ReplicaError;
use crate::core::Core;
use crate::line::Line;
use crate::outbox::Refusal;
use crate::suspended::Suspended;

/// Maximum time for handing over the records that only this replica holds.
const HAND_OVER: Duration = Duration::from_secs(2);
/// Time for which requests that were in flight are still answered after LEFT.
const FAREWELL: Duration = Duration::from_millis(300);

/// Reason for the end of a life.
pub(crate) enum End {
    /// It said goodbye.
    Left,
    /// The broker refused something that it needs.
    Denied(Box<Suspended>),
    /// Its store failed: what it had in mind is worth nothing any more.
    StoreFailed(Box<Remains>),
}

/// The parts that are left of a life whose store failed.
pub(crate) struct Remains {
    /// The error of the store.
    pub(crate) failure: ReplicaError,
    /// The presence that was shown last, when all of it was committed.
    pub(crate) presence: Presence,
    /// The inbox with the messages that still come in, and the outbox.
    pub(crate) line: Line,
    /// The frontend half on its way out, where there is one.
    pub(crate) frontend: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Reason why a turn is the last one.
pub(super) enum Stop {
    Failed(ValueError),
    Told(Refusal),
    Denied(Denial),
    /// The frontend half does not get a place in the queue group.
    Entrance(ReplicaError),
}

impl From<ValueError> for Stop {
    fn from(failure: ValueError) -> Self {
        Self::Failed(failure)
    }
}

impl Shell {
    /// Serves until `shutdown`, and then says goodbye.
    pub(crate) async fn serve(mut self, shutdown: impl Future<Output = ()>) -> Result<End, ReplicaError> {
        let served = self.serve_until(shutdown).await;
        let left = match served {
            Ok(()) => self.leave().await,
            // The store changes hands only between two commits.
            Err(stop @ (Stop::Denied(_) | Stop::Entrance(_))) => Err(self.end_commit().await.err().unwrap_or(stop)),
            Err(stop) => Err(stop),
        };
        self.finish(left).await
    }

    /// Takes the life apart after it ended like this.
    async fn finish(self, left: Result<(), Stop>) -> Result<End, ReplicaError> {
        match left {
            Ok(()) => {
                self.end().await?;
                Ok(End::Left)
            }
            Err(Stop::Denied(denial)) => {
                let Self { core, entrance, disk, clocks, inbox, outbox, service, events, inputs, .. } = self;
                let line = Line { inbox, outbox, service, events };
                Ok(End::Denied(Box::new(Suspended { core, entrance, store: disk.store, clocks, line, inputs, denial })))
            }
            Err(Stop::Entrance(error)) => {
                self.end().await?;
                Err(error)
            }
            Err(Stop::Told(Refusal(reason))) => Err(ReplicaError::Stopped(reason)),
            Err(Stop::Failed(failure)) => match (self.disk.store.is_durable(), self.outbox.last_presence()) {
                // The other process goes on: this one must not open the directory again.
                _ if self.disk.store.taken_over().is_some() => Err(failure.into()),
                // The store is closed, so that it can be opened again.
                (true, Some(presence)) => {
                    let Self { core, entrance, clocks, inbox, outbox, outputs, service, events, .. } = self;
                    let frontend = match (core, entrance) {
                        (Core::Colocated(core), Some(entrance)) => {
                            let leaving = entrance.leave_without_replica(*core, clocks, outputs.frontend);
                            Some(Box::pin(leaving) as Pin<Box<dyn Future<Output = ()>>>)
                        }
                        _ => None,
                    };
                    let line = Line { inbox, outbox, service, events };
                    Ok(End::StoreFailed(Box::new(Remains { failure: failure.into(), presence, line, frontend })))
                }
                _ => Err(failure.into()),
            },
        }
    }

    /// Waits for the commit that is under way, if one is.
    async fn end_commit(&mut self) -> Result<(), Stop> {
        match self.disk.end_commit().await {
            Some(synced) => self.take_in_commit(synced),
            None => Ok(()),
        }
    }

    /// The frontend half leaves first, with the answers to what came. Then what only this one holds is handed over, then
    /// LEFT, then what was on its way.
    async fn leave(&mut self) -> Result<(), Stop> {
        if let Some(metrics) = &self.outbox.metrics {
            metrics.wait("leaves");
        }
        if let (Core::Colocated(core), Some(entrance)) = (&mut self.core, &mut self.entrance) {
            let deadline = entrance.begin_leaving(core, &self.clocks).await;
            let is_empty = |shell: &Self| shell.entrance.as_ref().is_none_or(|entrance| entrance.is_empty(&shell.core));
            self.go_on(deadline - Instant::now(), is_empty).await?;
        }
        if let Some(entrance) = self.entrance.take() {
            entrance.end().await;
        }
        let replica = self.core.replica_mut();
        info!(replica = %replica.id(), value_timestamp = %replica.value_timestamp(), "leaves");
        replica.begin_leaving();
        self.go_on(HAND_OVER, |shell| shell.core.replica().is_handed_over()).await?;
        let replica = self.core.replica_mut();
        if replica.not_handed_over() > 0 {
            let (records, durable) = (replica.not_handed_over(), self.disk.store.is_durable());
            let fate = if durable { "they stay in its data directory" } else { "they are lost" };
            warn!(replica = %replica.id(), records, "leaves with updates that no other replica is known to hold: {fate}");
        }
        replica.leave(self.clocks.now(), &mut self.disk.store, &mut self.outputs.replica);
        self.perform().await?;
        self.go_on(FAREWELL, |_| false).await
    }

    /// The last messages, and the last of the store.
    async fn end(self) -> Result<(), ReplicaError> {
        drop(self.service);
        self.outbox.close().await;
        Ok(self.disk.close().await?)
    }

    /// Goes on handling what comes in, for at most `time`, until `is_done`.
    async fn go_on(&mut self, time: Duration, is_done: impl Fn(&Self) -> bool) -> Result<(), Stop> {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        while !is_done(self) {
            let gathered = tokio::select! {
                gathered = self.gather() => gathered,
                () = &mut end => break,
            };
            if !self.take_in(gathered).await? {
                break;
            }
            self.handle_turn().await?;
        }
        Ok(())
    }
}
