//! The cluster as a whole, as the page gets it.

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::messages::{Role, Status};
use natter_common::timestamp::Timestamp;
use serde::Serialize;

use super::processes::Shown;
use super::rates::RatesShown;
use super::{MILLI, Micros, Model};

/// Updates in the list of the latest ones.
const LATEST: usize = 30;
/// Maximum entries of a timestamp in the grid.
const ENTRIES_MAX: usize = 64;

/// A view of everything but messages.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    processes: Vec<ProcessView>,
    lag: Vec<f64>,
    rates: RatesShown,
    agreement: &'static str,
    agreement_since: f64,
    updates: Vec<UpdateView>,
    malformed: u64,
}

/// A process, with one role or both.
#[derive(Clone, Debug, Serialize)]
struct ProcessView {
    id: String,
    replica: Option<ReplicaView>,
    frontend: Option<RoleView>,
}

#[derive(Clone, Debug, Serialize)]
struct RoleView {
    id: String,
    status: String,
    uptime_ms: u64,
    version: String,
}

#[derive(Clone, Debug, Serialize)]
struct ReplicaView {
    #[serde(flatten)]
    role: RoleView,
    mode: Option<&'static str>,
    durable: Option<bool>,
    log_length: Option<u64>,
    /// Rows taken of a snapshot, and their number in all.
    snapshot: Option<(u64, u64)>,
    held: Entries,
    applied: Entries,
    digest: Option<String>,
    lag_records: u64,
    lag_ms: f64,
}

type Entries = BTreeMap<String, u64>;

#[derive(Clone, Debug, Serialize)]
struct UpdateView {
    id: String,
    what: String,
    record: Option<String>,
    stamp: Option<String>,
    at: f64,
    /// Milliseconds until the client had its answer.
    answered_ms: Option<f64>,
    held: usize,
    applied: usize,
}

impl Model {
    /// The whole as it is now.
    pub fn view(&self, now: Micros) -> View {
        let (agreement, since) = self.progress.agreement();
        View {
            processes: self.process_views(now),
            lag: self.progress.curve().collect(),
            rates: self.rates.shown(),
            agreement: agreement.name(),
            agreement_since: since as f64 / MILLI as f64,
            updates: self.update_views(),
            malformed: self.malformed,
        }
    }

    fn process_views(&self, now: Micros) -> Vec<ProcessView> {
        let replicas = self.processes.of(Role::Replica).iter().map(|(id, shown)| {
            let frontend = self.processes.of(Role::Frontend).get(format!("f-{id}").as_str());
            ProcessView {
                id: id.to_string(),
                replica: Some(self.replica_view(id, shown, now)),
                frontend: frontend.map(role_view),
            }
        });
        let is_alone = |id: &&ReplicaId| self.processes.process_of(id.as_str()) == id.as_str();
        let frontends = self
            .processes
            .of(Role::Frontend)
            .iter()
            .filter(|(id, _)| is_alone(id))
            .map(|(id, shown)| ProcessView { id: id.to_string(), replica: None, frontend: Some(role_view(shown)) });
        frontends.chain(replicas).collect()
    }

    fn replica_view(&self, id: &ReplicaId, shown: &Shown, now: Micros) -> ReplicaView {
        let position = self.progress.position(id);
        let (lag_records, lag) = self.progress.lag(id, now);
        let presence = &shown.presence;
        ReplicaView {
            role: role_view(shown),
            mode: presence.mode.map(|mode| mode.name()),
            durable: presence.durable,
            log_length: presence.log_length,
            snapshot: presence.snapshot.map(|progress| (progress.rows, progress.of)),
            held: position.map(|position| entries(&position.held)).unwrap_or_default(),
            applied: position.map(|position| entries(&position.applied)).unwrap_or_default(),
            digest: position.and_then(|position| position.digest).map(|digest| digest.to_string()),
            lag_records,
            lag_ms: lag as f64 / MILLI as f64,
        }
    }

    fn update_views(&self) -> Vec<UpdateView> {
        let positions: Vec<_> =
            self.processes.present(Role::Replica).filter_map(|id| self.progress.position(id)).collect();
        let view = |seen: &super::updates::Seen| {
            let having = |timestamp: fn(&super::progress::Position) -> &Timestamp| {
                let has = |record: &natter_common::record::RecordRef| {
                    positions.iter().filter(|position| timestamp(position).get(&record.i) >= record.seq).count()
                };
                seen.record.as_ref().map_or(0, has)
            };
            UpdateView {
                id: seen.id.to_string(),
                what: seen.what.clone(),
                record: seen.record.as_ref().map(ToString::to_string),
                stamp: seen.stamp.map(|stamp| stamp.0.to_string()),
                at: seen.first_seen as f64 / MILLI as f64,
                answered_ms: seen.answered.map(|at| at.saturating_sub(seen.first_seen) as f64 / MILLI as f64),
                held: having(|position| &position.held),
                applied: having(|position| &position.applied),
            }
        };
        self.updates.latest(LATEST).map(view).collect()
    }
}

fn role_view(shown: &Shown) -> RoleView {
    let presence = &shown.presence;
    let is_silent = !shown.is_present && presence.status != Status::Left;
    RoleView {
        id: presence.id.to_string(),
        status: if is_silent { "GONE".to_owned() } else { presence.status.to_string() },
        uptime_ms: presence.uptime_ms,
        version: presence.version.clone(),
    }
}

fn entries(timestamp: &Timestamp) -> Entries {
    timestamp.iter().take(ENTRIES_MAX).map(|(id, count)| (id.to_string(), count)).collect()
}
