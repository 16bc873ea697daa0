//! The change feed: each record that this replica accepted is told once, when it is applied. By then enough replicas hold
//! it, and in a directory it is committed.
//!
//! Core NATS delivers at most once, so the feed does too: a change that meets no connection is lost. Reads have the whole
//! truth. Nothing here waits for subscribers, and a broker that takes no messages costs changes and no time.

use std::time::Duration;

use natter_broker::connection::ConnectionEvent;
use natter_broker::publisher::{Publisher, encoded};
use natter_common::change::Change;
use natter_common::ids::ReplicaId;
use natter_common::messages::Status;
use natter_common::replica_manager::{Notice, Output, ReplicaManager};
use natter_common::subjects::Subjects;
use natter_common::value::Value;
use natter_common::wire::encode;
use tokio::time::Instant;
use tracing::warn;

/// Time without changes after the broker refused one. Each attempt costs the broker an error and a line in its log.
const PAUSE: Duration = Duration::from_secs(10);
/// Maximum changes that wait while the replica is OFFLINE. It accepts nothing then, so only what was in flight waits.
const WAITING_MAX: usize = 65_536;

/// Changes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    waiting: Vec<Change>,
    /// Time when the broker refused a change.
    refused: Option<Instant>,
    has_warned: bool,
}

impl Feed {
    /// Takes the changes out of the `outputs` of a turn of `core`.
    pub(crate) fn take_in(&mut self, core: &ReplicaManager, outputs: &[Output], value: &dyn Value) {
        for output in outputs {
            if let Output::Notice(Notice::Applied { record, .. }) = output
                && record.i == *core.id()
                && let Some(request) = &record.request
            {
                let title = value.title(request.key().movie_id).unwrap_or_default();
                self.waiting.extend(Change::of(record, title, core.clock(), core.cluster().id.as_ref()));
            }
        }
    }

    /// Publishes them. An OFFLINE replica says nothing, so its changes wait.
    pub(crate) async fn publish(&mut self, core: &ReplicaManager, subjects: &Subjects, publisher: &mut Publisher) {
        if self.waiting.is_empty() {
            return;
        }
        if core.status() == Status::Offline {
            self.waiting.truncate(WAITING_MAX);
            return;
        }
        if self.refused.is_some_and(|at| at.elapsed() < PAUSE) {
            self.waiting.clear();
            return;
        }
        for change in self.waiting.drain(..) {
            if let Some(payload) = encoded(encode(&change)) {
                publisher.publish(subjects.changed(change.movie_id, change.user_id), payload.into()).await;
            }
        }
    }

    /// Notes that the broker refuses changes, and warns of it once on each connection.
    pub(crate) fn hear(&mut self, event: &ConnectionEvent, replica: &ReplicaId, subjects: &Subjects) {
        match event {
            ConnectionEvent::Connected => (self.refused, self.has_warned) = (None, false),
            ConnectionEvent::Denied(denial) if subjects.include_change(&denial.subject) => {
                self.refused = Some(Instant::now());
                if !std::mem::replace(&mut self.has_warned, true) {
                    warn!(%replica, "the broker does not permit to {denial}, so the change feed is silent: permit \
                        {} for the user of this replica, or leave out --changes", subjects.changes(None, None));
                }
            }
            _ => {}
        }
    }
}
