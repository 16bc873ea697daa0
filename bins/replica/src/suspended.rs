//! While the broker does not permit what a replica needs: it keeps its state, serves nobody, and tries again.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use natter_broker::access::{RETRY, RETRY_LIMIT};
use natter_broker::clocks::Clocks;
use natter_broker::connection::Denial;
use natter_broker::role::RoleError;
use natter_common::messages::{Presence, Role, Status};
use natter_common::replica_manager::Input;
use natter_common::roster::PRESENCE_INTERVAL_MS;
use natter_common::subjects::Subjects;
use natter_database::Store;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{info, warn};

use crate::core::Core;
use crate::entrance::Entrance;
use crate::line::Line;
use crate::offline::refuse;
use crate::shell::Shell;
use crate::{ReplicaArgs, ReplicaError};

/// A replica that was refused something.
pub(crate) struct Suspended {
    pub(crate) core: Core,
    /// Its frontend half, which takes no requests meanwhile.
    pub(crate) entrance: Option<Entrance>,
    pub(crate) store: Store,
    pub(crate) clocks: Clocks,
    pub(crate) line: Line,
    /// Inputs that the core has yet to hear.
    pub(crate) inputs: Vec<Input>,
    pub(crate) denial: Denial,
}

impl Suspended {
    /// Stays until the broker permits everything that a replica needs. `None` where `shutdown` comes first.
    pub(crate) async fn stay(
        mut self,
        arguments: &ReplicaArgs,
        subjects: &Subjects,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Shell>, ReplicaError> {
        let replica = self.core.replica().id().clone();
        if let (Core::Colocated(core), Some(entrance)) = (&mut self.core, &mut self.entrance) {
            entrance.stop_serving(core, &self.clocks).await;
        }
        let mut told: Option<String> = None;
        if let Some(metrics) = &self.line.outbox.metrics {
            metrics.wait(format!("was refused to {}, and looks at what the broker permits", self.denial));
        }
        loop {
            let introduction = self.core.replica().introduction(self.clocks.now(), &self.store);
            let checking = timeout(RETRY_LIMIT, self.line.renew(arguments, subjects, &introduction, &self.denial));
            let checked = tokio::select! {
                biased;
                () = &mut shutdown => return self.leave().await,
                checked = checking => checked,
            };
            match checked {
                Ok(Err(RoleError::Access(error))) if error.is_refusal() => {
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        let every_s = RETRY.as_secs();
                        if let Some(metrics) = &self.line.outbox.metrics {
                            metrics.wait(format!("stops serving: {text}"));
                        }
                        warn!(%replica, "stops serving, keeps its state and tries again every {every_s} s: {text}");
                        told = Some(text);
                    }
                }
                Ok(Ok(())) if told.is_some() => {
                    info!(%replica, "the broker permits everything again: goes on");
                    return Ok(Some(self.resume()));
                }
                Ok(Ok(())) => {
                    warn!(%replica, "was refused to {}, and goes on: the broker permits everything that it needs", self.denial);
                    return Ok(Some(self.resume()));
                }
                // The broker did not answer: nothing is known of its permissions.
                _ if told.is_none() => return Ok(Some(self.resume())),
                _ => {}
            }
            tokio::select! {
                biased;
                () = &mut shutdown => return self.leave().await,
                () = self.be_offline_until(Instant::now() + RETRY) => {}
            }
        }
    }

    /// Shows OFFLINE, as far as that is permitted, and keeps nobody waiting.
    async fn be_offline_until(&mut self, end: Instant) {
        let mut show = interval(Duration::from_millis(PRESENCE_INTERVAL_MS));
        let end = sleep_until(end);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => return,
                Some(event) = self.line.events.recv() => self.line.outbox.hear(&event),
                _ = show.tick() => {
                    let presence = self.presence(Status::Offline);
                    self.line.outbox.show(Role::Replica, &presence).await;
                }
                Some(batch) = self.line.inbox.next() => {
                    let mut inputs = Vec::new();
                    for delivery in batch {
                        self.line.inbox.read(delivery, &mut inputs).await;
                    }
                    let presence = self.presence(Status::Offline);
                    refuse(&mut self.line, &presence, inputs).await;
                }
            }
        }
    }

    fn presence(&self, status: Status) -> Presence {
        let (presence, _) = self.core.replica().introduction(self.clocks.now(), &self.store);
        Presence { status, digest: None, ..presence }
    }

    /// The replica as it was. It does not know what others sent meanwhile, as after a lost connection.
    fn resume(self) -> Shell {
        let Self { core, entrance, store, clocks, line, inputs, .. } = self;
        let limit = line.outbox.max_payload();
        let mut shell = Shell::new(core, entrance, store, clocks, line);
        shell.begin_with(inputs);
        shell.begin_with([Input::MessageLimit(limit), Input::Disconnected, Input::Connected]);
        shell
    }

    /// Says goodbye, as far as that is permitted.
    async fn leave(mut self) -> Result<Option<Shell>, ReplicaError> {
        if let (Core::Colocated(core), Some(mut entrance)) = (&mut self.core, self.entrance.take()) {
            entrance.begin_leaving(core, &self.clocks).await;
            entrance.end().await;
        }
        let core = self.core.replica();
        let replica = core.id().clone();
        info!(%replica, value_timestamp = %core.value_timestamp(), "leaves");
        let records = core.not_handed_over();
        if records > 0 {
            let fate = if self.store.is_durable() { "they stay in its data directory" } else { "they are lost" };
            warn!(%replica, records, "leaves with updates that no other replica is known to hold: {fate}");
        }
        let presence = self.presence(Status::Left);
        self.line.outbox.show(Role::Replica, &presence).await;
        self.line.end().await;
        self.store.close_cleanly()?;
        Ok(None)
    }
}
