//! After the store failed: nothing more is acknowledged, and no request is kept waiting.

use std::future::Future;
use std::time::Duration;

use futures_util::future::OptionFuture;
use natter_common::messages::{Presence, Reply, Role, Status, StatusReply};
use natter_common::replica_manager::Input;
use natter_common::roster::PRESENCE_INTERVAL_MS;
use tokio::time::{Instant, interval, interval_at};
use tracing::{error, info, warn};

use crate::line::Line;
use crate::shell::Remains;
use crate::storage::Storage;
use crate::{ReplicaArgs, ReplicaError};

/// Maximum time for the last answers of the frontend half.
const LAST: Duration = Duration::from_secs(2);
/// Interval of attempts to open the store again.
const RETRY: Duration = Duration::from_secs(5);

/// Stand-in for a replica manager whose store failed: it shows itself as OFFLINE and refuses requests.
pub(crate) struct Offline {
    pub(crate) arguments: ReplicaArgs,
    pub(crate) remains: Remains,
}

impl Offline {
    /// Says OFFLINE until the store can be opened again, or with the error of the store until `shutdown`.
    pub(crate) async fn stay(mut self, shutdown: impl Future<Output = ()>) -> Result<Storage, ReplicaError> {
        let replica = self.remains.presence.id.clone();
        error!(%replica, error = %self.remains.failure, "is OFFLINE: it cannot save any more, and takes no requests until it can");
        if let Some(metrics) = &self.remains.line.outbox.metrics {
            metrics.wait(format!("is OFFLINE, as it cannot save any more: {}", self.remains.failure));
        }
        self.remains.presence.status = Status::Offline;
        self.remains.presence.digest = None;
        let mut show = interval(Duration::from_millis(PRESENCE_INTERVAL_MS));
        let mut retry = interval_at(Instant::now() + RETRY, RETRY);
        let mut frontend = self.remains.frontend.take();
        tokio::pin!(shutdown);
        loop {
            let frontend_ends = OptionFuture::from(frontend.as_mut());
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(()) = frontend_ends => frontend = None,
                Some(event) = self.remains.line.events.recv() => self.remains.line.outbox.hear(&event),
                _ = show.tick() => {
                    self.remains.presence.uptime_ms += PRESENCE_INTERVAL_MS;
                    self.remains.line.outbox.show(Role::Replica, &self.remains.presence).await;
                }
                _ = retry.tick() => match Storage::reopen(&self.arguments) {
                    Ok(storage) => {
                        info!(%replica, "can save again, and comes back");
                        end_frontend(frontend).await;
                        self.end().await;
                        return Ok(storage);
                    }
                    Err(error) => warn!(%replica, %error, "still cannot save"),
                },
                batch = self.remains.line.inbox.next() => {
                    let Some(batch) = batch else { break };
                    let mut inputs = Vec::new();
                    for delivery in batch {
                        self.remains.line.inbox.read(delivery, &mut inputs).await;
                    }
                    refuse(&mut self.remains.line, &self.remains.presence, inputs).await;
                }
            }
        }
        end_frontend(frontend).await;
        self.remains.presence.status = Status::Left;
        self.remains.line.outbox.show(Role::Replica, &self.remains.presence).await;
        Err(self.end().await)
    }

    /// Ends what is left of this life, so that it is not there beside the next one.
    async fn end(self) -> ReplicaError {
        let Remains { failure, line, .. } = self.remains;
        line.end().await;
        failure
    }
}

/// Lets the frontend half answer what it still can.
async fn end_frontend(leaving: Option<impl Future<Output = ()>>) {
    if let Some(leaving) = leaving {
        let _ = tokio::time::timeout(LAST, leaving).await;
    }
}

/// Refuses requests in place of a replica that serves none and shows itself like this.
pub(crate) async fn refuse(line: &mut Line, presence: &Presence, inputs: Vec<Input>) {
    for input in inputs {
        match input {
            Input::Update(to, _) | Input::Query(to, _) | Input::Confirm(to, _) => {
                line.outbox.queue_reply(to, Reply::NotServing);
            }
            Input::Status(to, _) => {
                let (id, mode) = (presence.id.clone(), presence.mode.unwrap_or_default());
                let reply = StatusReply { id, status: Status::Offline, mode, diverged: Vec::new(), lost: 0 };
                line.outbox.respond(&to.subject, &reply, &mut line.inbox).await;
            }
            _ => {}
        }
    }
    line.outbox.send_replies(&mut line.inbox).await;
}
