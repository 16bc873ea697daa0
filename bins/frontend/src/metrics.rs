//! Metrics and health of a frontend. Without `--metrics` there are none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use natter_broker::metrics::connections::ConnectionMetrics;
use natter_broker::metrics::peers::{Peers, status_name};
use natter_broker::metrics::{Exposition, Health, Information, LATENCY_BUCKETS, gauge_value};
use natter_common::counted::counted;
use natter_common::edge::{BatchReply, FrontendError, Outcome};
use natter_common::frontend::{Notice, Output};
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Refusal, Status};
use natter_common::subjects::Operation;
use prometheus::{Histogram, IntCounter, IntGauge};

/// The connections of a frontend, in the order in which they are shown.
const CONNECTIONS: [&str; 2] = ["replicas", "clients"];
/// The connection to the replicas.
pub(crate) const OF_REPLICAS: usize = 0;
/// The connection that clients come in by.
pub(crate) const OF_CLIENTS: usize = 1;
/// Status of replicas, as a label shows it.
const STATUSES: [Status; 4] = [Status::Active, Status::Overloaded, Status::Offline, Status::Joining];

/// Outcomes of requests, as a label names them.
const OUTCOMES: [&str; 11] = [
    "ok",
    "bad_request",
    "movie_not_found",
    "rating_not_found",
    "rating_exists",
    "unavailable",
    "overloaded",
    "not_enough_replicas",
    "stale",
    "timeout",
    "reply_too_large",
];
/// The place of success in [`OUTCOMES`].
const OK: usize = 0;
/// The place of a reply that does not fit into a message in [`OUTCOMES`].
const REPLY_TOO_LARGE: usize = 10;

/// The place of an error in [`OUTCOMES`].
fn place_of(error: &FrontendError) -> usize {
    match error {
        FrontendError::BadRequest(_) => 1,
        FrontendError::Refused { refusal: Refusal::MovieNotFound, .. } => 2,
        FrontendError::Refused { refusal: Refusal::RatingNotFound, .. } => 3,
        FrontendError::Refused { refusal: Refusal::RatingExists, .. } => 4,
        FrontendError::Unavailable | FrontendError::QueryNotPermitted { .. } => 5,
        FrontendError::Overloaded { .. } => 6,
        FrontendError::NotEnoughReplicas { .. } => 7,
        FrontendError::Stale { .. } | FrontendError::OtherCluster { .. } => 8,
        FrontendError::QueryTimeout { .. }
        | FrontendError::UpdateTimeout { .. }
        | FrontendError::RefusalUncertain { .. }
        | FrontendError::UpdateNotPermitted { .. }
        | FrontendError::NotBegun { .. } => 9,
        FrontendError::ReplyTooLarge => REPLY_TOO_LARGE,
    }
}

/// Metrics and health of a frontend.
#[derive(Debug)]
pub struct FrontendMetrics {
    health: Arc<Health>,
    information: Information,
    /// By operation and outcome.
    requests: Vec<Vec<IntCounter>>,
    /// By operation.
    durations: Vec<Histogram>,
    /// By outcome.
    batch_operations: Vec<IntCounter>,
    pending: IntGauge,
    updates: IntCounter,
    confirms: IntCounter,
    queries: IntCounter,
    retries: IntCounter,
    restamps: IntCounter,
    lost: IntCounter,
    replicas: Vec<IntGauge>,
    places: IntGauge,
    pub(crate) connections: ConnectionMetrics,
    peers: Mutex<Peers>,
}

/// Facts about a frontend that its health and metrics show, apart from its connections.
pub(crate) struct Facts {
    /// Permissions that the broker does not grant, in words.
    pub(crate) missing: Option<String>,
    /// Number of its places in the queue group.
    pub(crate) places: usize,
    pub(crate) has_served: bool,
    pub(crate) pending: usize,
    /// Maximum number of requests that may wait.
    pub(crate) queue_length_max: usize,
    /// Messages that could not be sent, and messages that could not be read.
    pub(crate) unsent: u64,
    pub(crate) malformed: u64,
}

impl FrontendMetrics {
    /// Defines them.
    ///
    /// # Errors
    ///
    /// A name is taken.
    pub fn define(exposition: &Exposition) -> Result<Arc<Self>, prometheus::Error> {
        let define = exposition.definitions();
        let operations = Operation::ALL.map(Operation::name);
        let sent = define.counters(
            "natter_frontend_replica_requests_total",
            "Requests to replicas, by kind: an update asks a replica to accept, a confirm to say when it holds the update.",
            "kind",
            &["update", "confirm", "query"],
        )?;
        let [updates, confirms, queries] = <[IntCounter; 3]>::try_from(sent)
            .map_err(|_| prometheus::Error::Msg("three kinds of requests have three counters".to_owned()))?;
        Ok(Arc::new(Self {
            health: exposition.health("frontend"),
            information: define.information(
                "natter_frontend_info",
                "The frontend's id and version; the value is always 1.",
                &["id", "version"],
            )?,
            requests: define.counter_table(
                "natter_frontend_requests_total",
                "Requests of clients that were answered, by operation and outcome.",
                ["operation", "outcome"],
                &operations,
                &OUTCOMES,
            )?,
            durations: define.histograms(
                "natter_frontend_request_duration_seconds",
                "Time from the arrival of a client's request to its answer, by operation.",
                "operation",
                &operations,
                &LATENCY_BUCKETS,
            )?,
            batch_operations: define.counters(
                "natter_frontend_batch_operations_total",
                "Operations inside of batches that were answered, by outcome.",
                "outcome",
                &OUTCOMES,
            )?,
            pending: define.gauge(
                "natter_frontend_pending_requests",
                "Requests of clients that have no answer yet, each operation of a batch counted.",
            )?,
            updates,
            confirms,
            queries,
            retries: define.counter(
                "natter_frontend_retries_total",
                "Requests that were sent to another replica because the first one was silent.",
            )?,
            restamps: define.counter(
                "natter_frontend_restamps_total",
                "Updates that were given another stamp because a replica asked for a greater one.",
            )?,
            lost: define.counter(
                "natter_frontend_lost_updates_total",
                "Updates that sessions have seen and that are lost with the replicas that held them.",
            )?,
            replicas: define.gauges(
                "natter_frontend_replicas",
                "Replicas that the frontend hears, by status.",
                "status",
                &STATUSES.map(status_name),
            )?,
            places: define.gauge(
                "natter_frontend_queue_places",
                "Places of the frontend in the queue group that clients send to; 0 while it takes no requests.",
            )?,
            connections: ConnectionMetrics::define(define, "natter_frontend", &CONNECTIONS)?,
            peers: Mutex::default(),
        }))
    }

    /// The frontend runs under this id.
    pub fn identify(&self, id: &ReplicaId) {
        self.information.show(&[id.as_str(), env!("CARGO_PKG_VERSION")]);
    }

    /// The frontend does not serve, and its loop does not turn, for this reason.
    pub fn wait(&self, reason: &str) {
        self.health.wait(reason);
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A replica showed itself.
    pub(crate) fn hear(&self, presence: &Presence) {
        self.peers().heard(presence);
    }

    /// The outcome of a request, as [`FrontendMetrics::count_answer`] takes it.
    pub(crate) fn outcome(error: Option<&FrontendError>) -> usize {
        error.map_or(OK, place_of)
    }

    /// Counts an answer. One that has become an error only when it was encoded was too large.
    pub(crate) fn count_answer(&self, operation: Operation, outcome: usize, is_error: bool, duration: Duration) {
        let outcome = if is_error && outcome == OK { REPLY_TOO_LARGE } else { outcome };
        let operation = operation as usize;
        if let Some(counter) = self.requests.get(operation).and_then(|outcomes| outcomes.get(outcome)) {
            counter.inc();
        }
        if let Some(histogram) = self.durations.get(operation) {
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Counts the operations of a batch.
    pub(crate) fn count_batch(&self, reply: &BatchReply) {
        for outcome in &reply.outcomes {
            let place = match outcome {
                Outcome::Failed(error) => place_of(error),
                Outcome::Done | Outcome::Written(_) | Outcome::Read(_) => OK,
            };
            if let Some(counter) = self.batch_operations.get(place) {
                counter.inc();
            }
        }
    }

    /// Counts what the core asks for.
    pub(crate) fn count_output(&self, output: &Output) {
        match output {
            Output::Update(..) => self.updates.inc(),
            Output::Confirm(..) => self.confirms.inc(),
            Output::Query(..) => self.queries.inc(),
            Output::Notice(Notice::Retried { .. }) => self.retries.inc(),
            Output::Notice(Notice::StampedAgain(_)) => self.restamps.inc(),
            Output::Notice(Notice::Lost { after, until, .. }) => self.lost.inc_by(until.saturating_sub(*after)),
            _ => {}
        }
    }

    /// Shows how the frontend is, at a tick.
    pub(crate) fn show(&self, of_replicas: &Client, of_clients: &Client, facts: Facts) {
        let Facts { missing, places, has_served, pending, queue_length_max, unsent, malformed } = facts;
        let stand = self.connections.show(&[of_replicas, of_clients], unsent, malformed);
        self.pending.set(gauge_value(pending));
        self.places.set(gauge_value(places));
        let serving = {
            let mut peers = self.peers();
            peers.forget_the_silent();
            for (status, gauge) in STATUSES.into_iter().zip(&self.replicas) {
                gauge.set(gauge_value(peers.with_status(status)));
            }
            peers.serving()
        };
        let unhealthy = match missing {
            _ if !stand => Some("the connection to the broker is lost".to_owned()),
            missing => missing,
        };
        let unready = if serving == 0 {
            Some("no replica serves: all are OFFLINE, joining or gone".to_owned())
        } else if places == 0 && has_served {
            Some("takes no requests: it heard no replica for a while".to_owned())
        } else if places == 0 {
            Some("joins: it has not heard enough replicas yet".to_owned())
        } else if pending >= queue_length_max {
            Some(format!("has {} that wait, its maximum: more are refused as OVERLOADED", counted(pending, "request")))
        } else {
            None
        };
        self.health.turn(unhealthy, unready);
    }
}

#[cfg(test)]
mod tests {
    use natter_common::label::Label;

    use super::*;

    #[test]
    fn outcome_of_an_error_is_its_name_in_the_contract() {
        let refused = |refusal| FrontendError::Refused { refusal, text: String::new(), label: Label::new() };
        for error in [
            FrontendError::BadRequest(String::new()),
            refused(Refusal::MovieNotFound),
            refused(Refusal::RatingNotFound),
            refused(Refusal::RatingExists),
            FrontendError::Unavailable,
            FrontendError::Overloaded { waiting: 1 },
            FrontendError::Stale { timeout_ms: 1 },
            FrontendError::QueryTimeout { timeout_ms: 1 },
            FrontendError::ReplyTooLarge,
        ] {
            let text = error.to_string();
            let name = text.split(':').next().unwrap();
            assert_eq!(OUTCOMES[place_of(&error)].to_uppercase(), name);
        }
    }
}
