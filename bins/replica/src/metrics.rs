//! Metrics and health of a replica. Without `--metrics` there are none.
//!
//! - [`ReplicaMetrics`]: counters, and the health of the loop; [`store`]: time in the store; [`lag`]: how far the replica is
//!   behind the others

mod lag;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use natter_broker::connection::ConnectionEvent;
use natter_broker::metrics::connections::ConnectionMetrics;
use natter_broker::metrics::peers::{Peers, status_name};
use natter_broker::metrics::{Exposition, Followed, Health, Information, LATENCY_BUCKETS, gauge_value};
use natter_common::counted::counted;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Reply, SnapshotPart, SnapshotReply, Status};
use natter_common::replica_manager::{Input, Notice, Output, ReplicaManager};
use natter_common::timestamp::Timestamp;
use natter_frontend::FrontendMetrics;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use crate::inbox::Endpoint;

pub(crate) use store::{StoreMetrics, Timed};

use lag::Lag;

/// Time behind the others after which a replica is not ready.
const LAG_MAX: Duration = Duration::from_secs(5);
/// Interval at which the lag is found out, in ticks: each time takes a look at each replica.
const LAG_TICKS: u64 = 5;

/// Kinds of replies, as a label names them.
const REPLIES: [&str; 10] = [
    "accepted",
    "answered",
    "held",
    "not_held",
    "refused",
    "stamp_again",
    "stamp_ahead",
    "id_in_use",
    "behind",
    "not_serving",
];
/// Every status that a replica may have.
const STATUSES: [Status; 5] = [Status::Active, Status::Overloaded, Status::Offline, Status::Joining, Status::Left];

/// The metrics of a process: those of a replica, and those of a frontend where it answers clients.
#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    pub(crate) replica: Arc<ReplicaMetrics>,
    pub(crate) frontend: Option<Arc<FrontendMetrics>>,
}

impl Instruments {
    /// Defines them.
    pub(crate) fn define(exposition: &Exposition, answers_clients: bool) -> Result<Self, prometheus::Error> {
        let replica = ReplicaMetrics::define(exposition)?;
        let frontend = if answers_clients { Some(FrontendMetrics::define(exposition)?) } else { None };
        Ok(Self { replica: Arc::new(replica), frontend })
    }
}

/// Metrics and health of a replica.
#[derive(Debug)]
pub(crate) struct ReplicaMetrics {
    health: Arc<Health>,
    information: Information,
    /// By endpoint.
    requests: Vec<IntCounter>,
    /// By endpoint.
    durations: Vec<Histogram>,
    /// In the order of [`REPLIES`].
    replies: Vec<IntCounter>,
    gossip_sent: IntCounter,
    gossip_received: IntCounter,
    records_sent: IntCounter,
    records_received: IntCounter,
    acknowledgements_sent: IntCounter,
    acknowledgements_received: IntCounter,
    pulls: IntCounter,
    pulled_records: IntCounter,
    failed_pulls: IntCounter,
    snapshots: IntCounter,
    snapshot_rows: IntCounter,
    catch_ups: IntCounter,
    divergences: IntCounter,
    rejected_records: IntCounter,
    lost_records: IntCounter,
    accepted_records: Followed,
    applied: IntGauge,
    held: IntGauge,
    log: IntGauge,
    waiting: IntGauge,
    queue: IntGauge,
    lag_records: IntGauge,
    lag_seconds: Gauge,
    statuses: Vec<IntGauge>,
    peers: IntGauge,
    connections: ConnectionMetrics,
    pub(crate) store: StoreMetrics,
    others: Mutex<Others>,
}

/// The other replicas, and how far this one is behind them.
#[derive(Debug, Default)]
struct Others {
    peers: Peers,
    lag: Lag,
}

impl ReplicaMetrics {
    fn define(exposition: &Exposition) -> Result<Self, prometheus::Error> {
        let define = exposition.definitions();
        let endpoints = Endpoint::ALL.map(Endpoint::name);
        let statuses = STATUSES.map(status_name);
        let counter = |name: &str, help| define.counter(&format!("natter_replica_{name}_total"), help);
        let gauge = |name: &str, help| define.gauge(&format!("natter_replica_{name}"), help);
        Ok(Self {
            health: exposition.health("replica"),
            information: define.information(
                "natter_replica_info",
                "The replica's id, version and data set; the value is always 1.",
                &["id", "version", "dataset"],
            )?,
            requests: define.counters(
                "natter_replica_requests_total",
                "Requests that came over the broker, by endpoint.",
                "endpoint",
                &endpoints,
            )?,
            durations: define.histograms(
                "natter_replica_message_duration_seconds",
                "Time from the arrival of a message with requests to the first answer to it, by endpoint.",
                "endpoint",
                &endpoints,
                &LATENCY_BUCKETS,
            )?,
            replies: define.counters(
                "natter_replica_replies_total",
                "Replies to updates, queries and confirms of other processes, by kind.",
                "reply",
                &REPLIES,
            )?,
            gossip_sent: counter("gossip_sent", "Gossip messages that were sent, with and without records.")?,
            gossip_received: counter("gossip_received", "Gossip messages of other replicas that were received.")?,
            records_sent: counter("gossip_records_sent", "Records in gossip messages that were sent.")?,
            records_received: counter("gossip_records_received", "Records in gossip messages that were received.")?,
            acknowledgements_sent: counter("acknowledgements_sent", "Acknowledgements of records that were sent.")?,
            acknowledgements_received: counter("acknowledgements_received", "Acknowledgements that were received.")?,
            pulls: counter("pulls", "Requests for missing records that were sent to other replicas.")?,
            pulled_records: counter("pulled_records", "Records that came in answers to pulls.")?,
            failed_pulls: counter("failed_pulls", "Pulls that reached no replica.")?,
            snapshots: counter("snapshots_loaded", "Snapshots of other replicas that were loaded.")?,
            snapshot_rows: counter("snapshot_rows_received", "Rows in chunks of snapshots that were received.")?,
            catch_ups: counter(
                "catch_ups",
                "Number of times that the replica had caught up with the others and began to serve.",
            )?,
            divergences: counter(
                "divergences",
                "Number of times that a replica with an equal value timestamp showed another digest.",
            )?,
            rejected_records: counter(
                "rejected_records",
                "Records of other replicas that were not taken in, such as ill-formed ones.",
            )?,
            lost_records: counter("lost_records", "Records that are lost with the replicas that held them.")?,
            accepted_records: define.followed(
                "natter_replica_accepted_records_total",
                "Updates that this replica accepted as records of its own.",
            )?,
            applied: gauge("applied_records", "Records that the ratings reflect: the sum of the value timestamp.")?,
            held: gauge("held_records", "Records that the replica holds: the sum of the replica timestamp.")?,
            log: gauge("log_records", "Records in the update log.")?,
            waiting: gauge("waiting_requests", "Requests that wait for records that are missing here.")?,
            queue: gauge(
                "queued_messages",
                "Most messages with requests that waited for one turn since the last tick.",
            )?,
            lag_records: gauge("lag_records", "Records that present replicas hold and that are not applied here.")?,
            lag_seconds: define.seconds(
                "natter_replica_lag_seconds",
                "Time since when the replica has lacked a record that present replicas hold; 0 where it lacks none.",
            )?,
            statuses: define.gauges(
                "natter_replica_status",
                "Status of the replica: 1 for the present one, 0 for the others.",
                "status",
                &statuses,
            )?,
            peers: gauge("peers", "Other replicas that are present.")?,
            connections: ConnectionMetrics::define(define, "natter_replica", &["replica"])?,
            store: StoreMetrics::define(define)?,
            others: Mutex::default(),
        })
    }

    /// The replica runs under this id.
    pub(crate) fn identify(&self, id: &ReplicaId, dataset: &str) {
        self.information.show(&[id.as_str(), env!("CARGO_PKG_VERSION"), dataset]);
        self.accepted_records.follow(0);
        *self.others() = Others::default();
    }

    /// The replica does not serve, and its loop does not turn, for this reason.
    pub(crate) fn wait(&self, reason: impl Into<String>) {
        self.health.wait(reason);
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened to the connection.
    pub(crate) fn hear(&self, event: &ConnectionEvent) {
        self.connections.hear(0, event);
    }

    /// Counts what comes in, before the core of `own` handles it.
    pub(crate) fn count_input(&self, own: &ReplicaId, input: &Input) {
        let endpoint = match input {
            Input::Update(..) => Endpoint::Update,
            Input::Query(..) => Endpoint::Query,
            Input::Confirm(..) => Endpoint::Confirm,
            Input::Log(..) => Endpoint::Log,
            Input::Snapshot(..) => Endpoint::Snapshot,
            Input::Status(..) => Endpoint::Status,
            Input::Gossip(gossip) => {
                self.gossip_received.inc();
                return self.records_received.inc_by(gossip.records.len() as u64);
            }
            Input::Acknowledgement(_) => return self.acknowledgements_received.inc(),
            Input::LogPage(page) => return self.pulled_records.inc_by(page.records.len() as u64),
            Input::SnapshotReply(SnapshotReply { part: SnapshotPart::Chunk(chunk), .. }) => {
                return self.snapshot_rows.inc_by(chunk.rows.len() as u64);
            }
            Input::PullFailed(_) => return self.failed_pulls.inc(),
            Input::Tick { queue_length, .. } => return self.queue.set(gauge_value(*queue_length)),
            Input::Presence(presence) if presence.id != *own => return self.others().peers.heard(presence),
            _ => return,
        };
        if let Some(counter) = self.requests.get(endpoint as usize) {
            counter.inc();
        }
    }

    /// Counts what the core asks for.
    pub(crate) fn count_output(&self, output: &Output) {
        match output {
            Output::Reply(_, reply) => {
                if let Some(counter) = self.replies.get(place_of(reply)) {
                    counter.inc();
                }
            }
            Output::Gossip(gossip) => {
                self.gossip_sent.inc();
                self.records_sent.inc_by(gossip.records.len() as u64);
            }
            Output::Acknowledge(..) => self.acknowledgements_sent.inc(),
            Output::Pull(..) => self.pulls.inc(),
            Output::Notice(Notice::SnapshotLoaded { .. }) => self.snapshots.inc(),
            Output::Notice(Notice::CaughtUp { .. }) => self.catch_ups.inc(),
            Output::Notice(Notice::Diverged { .. }) => self.divergences.inc(),
            Output::Notice(Notice::Dropped { count, .. }) => self.rejected_records.inc_by(*count as u64),
            Output::Notice(Notice::Lost { after, until, .. }) => self.lost_records.inc_by(until.saturating_sub(*after)),
            _ => {}
        }
    }

    /// Counts the first answer to a message.
    pub(crate) fn count_answer(&self, endpoint: Endpoint, duration: Duration) {
        if let Some(histogram) = self.durations.get(endpoint as usize) {
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Shows how the replica is, at tick number `ticks`.
    pub(crate) fn show(&self, core: &ReplicaManager, ticks: u64, client: &Client, unsent: u64, malformed: u64) {
        let stands = self.connections.show(&[client], unsent, malformed);
        let status = core.status();
        for (shown, gauge) in STATUSES.into_iter().zip(&self.statuses) {
            gauge.set(i64::from(shown == status));
        }
        self.accepted_records.follow(core.replica_timestamp().get(core.id()));
        self.applied.set(sum(core.value_timestamp()));
        self.held.set(sum(core.replica_timestamp()));
        self.log.set(gauge_value(core.log().len()));
        self.waiting.set(gauge_value(core.waiting()));
        let mut others = self.others();
        if ticks.is_multiple_of(LAG_TICKS) {
            let Others { peers, lag } = &mut *others;
            peers.forget_the_silent();
            let table = core.timestamp_table();
            let shown = peers.ids().filter_map(|id| table.get(id)).map(|entry| &entry.replica_timestamp);
            lag.update(core.value_timestamp(), shown);
            self.peers.set(gauge_value(peers.ids().count()));
            self.lag_records.set(i64::try_from(lag.records()).unwrap_or(i64::MAX));
            self.lag_seconds.set(lag.time().as_secs_f64());
        }
        let unhealthy = (!stands).then(|| "the connection to the broker is lost".to_owned());
        self.health.turn(unhealthy, unready(status, &others.lag));
    }
}

/// The reason for which a replica does not serve now.
fn unready(status: Status, lag: &Lag) -> Option<String> {
    let records = lag.records();
    match status {
        Status::Joining => {
            Some(format!("joins: it has not caught up with the others yet, and lacks {}", counted(records, "record")))
        }
        Status::Offline => Some("is OFFLINE, as its mode says".to_owned()),
        Status::Left => Some("leaves".to_owned()),
        Status::Active | Status::Overloaded if lag.time() > LAG_MAX => {
            let seconds = lag.time().as_secs();
            Some(format!("has been behind the other replicas for {seconds} s, by {} now", counted(records, "record")))
        }
        Status::Active | Status::Overloaded => None,
    }
}

/// The place of a reply in [`REPLIES`].
fn place_of(reply: &Reply) -> usize {
    match reply {
        Reply::Accepted { .. } => 0,
        Reply::Answered { .. } => 1,
        Reply::Held { .. } => 2,
        Reply::NotHeld => 3,
        Reply::Refused { .. } => 4,
        Reply::StampAgain { .. } => 5,
        Reply::StampAhead { .. } => 6,
        Reply::IdInUse => 7,
        Reply::Behind => 8,
        Reply::NotServing => 9,
    }
}

/// Number of records in a timestamp.
fn sum(timestamp: &Timestamp) -> i64 {
    i64::try_from(timestamp.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(count))).unwrap_or(i64::MAX)
}
