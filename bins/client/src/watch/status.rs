//! `client status`: the state of the cluster, as its processes show it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natter_broker::logs::date_and_time;
use natter_common::cluster::ClusterId;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Presence, Replicas, Role, Status};
use natter_common::timestamp::Timestamp;
use natter_common::value::Digest;
use serde::Serialize;
use tokio::time::Instant;

use super::listen::Shown;
use super::message::{Heard, What};
use super::names::Names;

/// The state of the cluster at one moment. Serialised, it is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Time of the snapshot, RFC 3339.
    pub time: String,
    /// Prefix of all subjects.
    pub prefix: String,
    /// Identity of the cluster, where a process shows one.
    pub cluster: Option<ClusterId>,
    /// Whether all replicas that show themselves have applied the same records, all that any of them holds, and show the
    /// same digest. `None` where no replica shows itself.
    pub converged: Option<bool>,
    /// Time since when it is so, at least: when it was seen first.
    pub since: String,
    /// Stamp of the newest record that any replica holds, as a time. `None` where none holds any.
    pub newest_update: Option<String>,
    /// Frontends, by id.
    pub frontends: Vec<FrontendRow>,
    /// Replicas, by id.
    pub replicas: Vec<ReplicaRow>,
    /// Parts that the broker's permissions hide.
    pub hidden: Vec<String>,
}

/// A frontend.
#[derive(Clone, Debug, Serialize)]
pub struct FrontendRow {
    /// Its id.
    pub id: ReplicaId,
    /// Its status.
    pub status: Status,
    /// Time since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Its version.
    pub version: String,
    /// The updates that it has seen.
    pub prev: Timestamp,
}

/// A replica.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaRow {
    /// Its id.
    pub id: ReplicaId,
    /// Its status.
    pub status: Status,
    /// The mode that decides its status.
    pub mode: Option<Mode>,
    /// Time since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Its version.
    pub version: String,
    /// Whether it keeps its state on disk.
    pub durable: bool,
    /// The records that it has applied.
    pub value_timestamp: Timestamp,
    /// The records that it holds.
    pub replica_timestamp: Timestamp,
    /// Number of records that any replica holds and that it has not applied.
    pub lag_records: u64,
    /// Time by which it is behind, in milliseconds, where it is: from the stamp of its newest record to that of the newest
    /// anywhere, or since this program first saw it behind, whichever is longer.
    pub lag_ms: Option<u64>,
    /// Number of records in its log.
    pub log_length: u64,
    /// Digest of its ratings.
    pub digest: Option<Digest>,
    /// Number of records that it counts as lost.
    pub lost: u64,
}

/// Observations from which snapshots are made.
#[derive(Debug)]
pub struct Board {
    prefix: String,
    names: Names,
    /// Gossip is more recent than presence while updates come in.
    gossip: BTreeMap<ReplicaId, (Instant, Timestamp, Timestamp, Digest)>,
    /// Time when each replica was first seen behind, while it is.
    behind: BTreeMap<ReplicaId, Instant>,
    /// Whether the replicas were converged at the last snapshot, and since when.
    state: Option<(bool, SystemTime)>,
    begun: SystemTime,
    hidden: BTreeSet<String>,
}

impl Board {
    /// Nothing observed yet.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            names: Names::default(),
            gossip: BTreeMap::new(),
            behind: BTreeMap::new(),
            state: None,
            begun: SystemTime::now(),
            hidden: BTreeSet::new(),
        }
    }

    /// Takes in messages.
    pub fn hear(&mut self, messages: &[Heard]) {
        for heard in messages {
            match &heard.what {
                What::Presence(presence) => self.names.learn(&presence.id),
                What::Gossip(gossip) => {
                    let (held, applied) = (&gossip.replica_timestamp.replicas, &gossip.value_timestamp.replicas);
                    let seen = (heard.at, held.clone(), applied.clone(), gossip.digest);
                    self.gossip.insert(gossip.id.clone(), seen);
                }
                _ => {}
            }
        }
    }

    /// Takes note of a part that permissions hide.
    pub fn hide(&mut self, text: String) {
        self.hidden.insert(text);
    }

    /// Short names of the processes.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The state of the processes that are `shown`.
    pub fn snapshot<'a>(&mut self, shown: impl Iterator<Item = &'a Shown>) -> Snapshot {
        let now = Instant::now();
        let shown: Vec<&Shown> = shown.collect();
        let here: BTreeSet<&ReplicaId> = shown.iter().map(|shown| &shown.presence.id).collect();
        self.gossip.retain(|id, _| here.contains(id));
        self.behind.retain(|id, _| here.contains(id));
        let of_role = |role| shown.iter().filter(move |shown| shown.presence.role == role).copied();
        let mut replicas: Vec<ReplicaRow> = of_role(Role::Replica).map(|shown| self.replica(shown, now)).collect();
        let mut newest = Timestamp::new();
        for row in &replicas {
            newest.merge(&row.replica_timestamp);
            newest.merge(&row.value_timestamp);
        }
        let newest_ms = of_role(Role::Replica).filter_map(|shown| clock_ms(&shown.presence)).max();
        for (row, shown) in replicas.iter_mut().zip(of_role(Role::Replica)) {
            let lacks = |(id, count): (&ReplicaId, u64)| count.saturating_sub(row.value_timestamp.get(id));
            row.lag_records = newest.iter().map(lacks).sum();
            if row.lag_records == 0 {
                self.behind.remove(&row.id);
                continue;
            }
            let since = *self.behind.entry(row.id.clone()).or_insert(now);
            let seen_ms = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
            let stamps_ms = newest_ms.zip(clock_ms(&shown.presence)).map(|(newest, own)| newest.saturating_sub(own));
            row.lag_ms = Some(seen_ms.max(stamps_ms.unwrap_or_default()));
        }
        let is_equal = |rows: &[ReplicaRow]| rows.windows(2).all(|pair| pair[0].digest == pair[1].digest);
        let converged =
            (!replicas.is_empty()).then(|| replicas.iter().all(|row| row.lag_records == 0) && is_equal(&replicas));
        let wall = SystemTime::now();
        let since = match (self.state, converged) {
            (Some((before, since)), Some(now)) if before == now => since,
            (None, Some(now)) => {
                self.state = Some((now, self.begun));
                self.begun
            }
            (_, Some(now)) => {
                self.state = Some((now, wall));
                wall
            }
            (_, None) => wall,
        };
        Snapshot {
            time: date_and_time(wall).to_string(),
            prefix: self.prefix.clone(),
            cluster: shown.iter().find_map(|shown| shown.presence.cluster.clone()),
            converged,
            since: date_and_time(since).to_string(),
            newest_update: newest_ms.map(|ms| date_and_time(UNIX_EPOCH + Duration::from_millis(ms)).to_string()),
            frontends: of_role(Role::Frontend).map(|shown| frontend(shown, now)).collect(),
            replicas,
            hidden: self.hidden.iter().cloned().collect(),
        }
    }

    fn replica(&self, shown: &Shown, now: Instant) -> ReplicaRow {
        let presence = &shown.presence;
        let of = |replicas: &Option<Replicas>| replicas.as_ref().map(|it| it.replicas.clone()).unwrap_or_default();
        let (mut held, mut applied) = (of(&presence.replica_timestamp), of(&presence.value_timestamp));
        let mut digest = presence.digest;
        if let Some((at, gossip_held, gossip_applied, gossip_digest)) = self.gossip.get(&presence.id)
            && *at > shown.at
        {
            (held, applied, digest) = (gossip_held.clone(), gossip_applied.clone(), Some(*gossip_digest));
        }
        ReplicaRow {
            id: presence.id.clone(),
            status: presence.status,
            mode: presence.mode,
            uptime_ms: uptime_ms(shown, now),
            version: presence.version.clone(),
            durable: presence.durable.unwrap_or_default(),
            value_timestamp: applied,
            replica_timestamp: held,
            lag_records: 0,
            lag_ms: None,
            log_length: presence.log_length.unwrap_or_default(),
            digest,
            lost: presence.lost.iter().map(|lost| (lost.last.saturating_sub(lost.first)).saturating_add(1)).sum(),
        }
    }
}

fn frontend(shown: &Shown, now: Instant) -> FrontendRow {
    let presence = &shown.presence;
    FrontendRow {
        id: presence.id.clone(),
        status: presence.status,
        uptime_ms: uptime_ms(shown, now),
        version: presence.version.clone(),
        prev: presence.prev.as_ref().map(|label| label.replicas.clone()).unwrap_or_default(),
    }
}

/// Time since the start, as of now.
fn uptime_ms(shown: &Shown, now: Instant) -> u64 {
    let since = u64::try_from(now.saturating_duration_since(shown.at).as_millis()).unwrap_or_default();
    shown.presence.uptime_ms.saturating_add(since)
}

/// The stamp of the newest record that a replica holds, in Unix milliseconds.
fn clock_ms(presence: &Presence) -> Option<u64> {
    presence.clock.map(|clock| clock.milliseconds()).filter(|ms| *ms > 0)
}

impl Snapshot {
    /// The parts that change only when something happens: no times.
    pub fn essence(&self) -> impl PartialEq + use<> {
        let frontends: Vec<_> =
            self.frontends.iter().map(|row| (row.id.clone(), row.status, row.prev.clone())).collect();
        let replicas: Vec<_> = self
            .replicas
            .iter()
            .map(|row| {
                let timestamps = (row.value_timestamp.clone(), row.replica_timestamp.clone());
                (row.id.clone(), row.status, row.mode, timestamps, row.log_length, row.digest, row.lost)
            })
            .collect();
        (self.converged, frontends, replicas, self.hidden.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::clock::Stamp;

    fn shown(id: &str, entries: &[(&str, u64)], clock_ms: u64, digest: u64) -> Shown {
        let timestamp: Timestamp = entries.iter().map(|(id, count)| (ReplicaId::new(id).unwrap(), *count)).collect();
        let mut presence = Presence::of_the_past(ReplicaId::new(id).unwrap(), false);
        presence.status = Status::Active;
        presence.value_timestamp = Some(Replicas { replicas: timestamp.clone() });
        presence.replica_timestamp = Some(Replicas { replicas: timestamp });
        presence.clock = Some(Stamp::new(clock_ms, 0));
        presence.digest = Some(Digest(digest));
        Shown { presence, at: Instant::now(), times: 1 }
    }

    #[tokio::test]
    async fn replica_that_lacks_records_is_behind_by_them_and_by_their_stamps() {
        let mut board = Board::new("ratings");
        let (ahead, behind) =
            (shown("a", &[("a", 3), ("b", 1)], 9_000, 1), shown("b", &[("a", 1), ("b", 1)], 4_000, 2));
        let snapshot = board.snapshot([&ahead, &behind].into_iter());
        assert_eq!(snapshot.converged, Some(false));
        assert_eq!((snapshot.replicas[0].lag_records, snapshot.replicas[0].lag_ms), (0, None));
        assert_eq!(snapshot.replicas[1].lag_records, 2);
        assert!(snapshot.replicas[1].lag_ms >= Some(5_000));
        assert_eq!(snapshot.newest_update.as_deref(), Some("1970-01-01T00:00:09.000000Z"));
        let snapshot = board.snapshot([&ahead, &shown("b", &[("a", 3), ("b", 1)], 9_000, 1)].into_iter());
        assert_eq!((snapshot.converged, snapshot.replicas[1].lag_ms), (Some(true), None));
    }

    #[tokio::test]
    async fn equal_timestamps_with_unequal_digests_are_not_converged() {
        let mut board = Board::new("ratings");
        let (a, b) = (shown("a", &[("a", 1)], 1, 1), shown("b", &[("a", 1)], 1, 2));
        assert_eq!(board.snapshot([&a, &b].into_iter()).converged, Some(false));
        assert_eq!(board.snapshot(std::iter::empty()).converged, None);
    }
}
