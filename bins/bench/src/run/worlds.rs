//! All worlds of a section, running at the same time, so that their subjects can be measured in turn.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use crate::bench::Bench;
use crate::catalogue::{Asked, Subject, World};
use crate::echo;
use crate::load::job::{KvOperation, Target};
use crate::world::broker::{Broker, ECHO_SUBJECT};
use crate::world::cluster::{Cluster, ClusterPlan, Ground, PATIENT};
use crate::world::data;
use crate::world::jetstream::{JetStream, JetStreamPlan, Storage};
use crate::world::valkey::{self, Valkey};

/// The length of raw payloads and of values: about that of Natter's requests, which have 28 to 44 bytes.
const PAYLOAD_BYTES: usize = 60;
/// The length of a request to read.
const READ_REQUEST_BYTES: usize = 28;
/// Maximum number of different ratings, or keys, that are asked for. It keeps the load generator's own tables small; of a
/// larger data set the ratings of random users are taken.
const KEYS_MAX: u32 = 1_000_000;

/// Number of different ratings, or keys, that are asked for: the whole data set, up to [`KEYS_MAX`].
pub(crate) fn keys(ratings: u64) -> u32 {
    u32::try_from(ratings).unwrap_or(KEYS_MAX).min(KEYS_MAX)
}

/// Systems that the subjects of a section need.
pub(super) struct Worlds {
    clusters: BTreeMap<ClusterPlan, Cluster>,
    jetstreams: BTreeMap<JetStreamPlan, JetStream>,
    valkey: Option<Valkey>,
    /// Number of keys in buckets and in raw requests, as in the data set.
    keys: u32,
}

impl Worlds {
    /// Starts everything.
    pub(super) async fn start(bench: &Bench, subjects: &[Subject]) -> Result<Self> {
        let keys = keys(bench.arguments.ratings);
        let mut worlds = Self { clusters: BTreeMap::new(), jetstreams: BTreeMap::new(), valkey: None, keys };
        let mut plans: BTreeSet<ClusterPlan> = BTreeSet::new();
        let mut buckets: BTreeMap<JetStreamPlan, BTreeSet<Storage>> = BTreeMap::new();
        for subject in subjects {
            match subject.world {
                World::Raw | World::Valkey => {}
                World::Cluster(plan) => {
                    plans.insert(plan);
                }
                World::JetStream(plan, storage) => {
                    buckets.entry(plan).or_default().insert(storage);
                }
            }
        }
        // Data sets first, each once. Then the clusters start at the same time.
        for plan in &plans {
            data::file(&bench.data_folder(), plan.ratings).await?;
        }
        let starting = plans.iter().map(|plan| start_cluster(bench, plan));
        let started = try_join_all(starting).await?;
        worlds.clusters = plans.into_iter().zip(started).collect();
        for (plan, storages) in buckets {
            let storages: Vec<Storage> = storages.into_iter().collect();
            let started = JetStream::start(bench.binary.clone(), &plan, &storages, bench.folder.path()).await?;
            worlds.jetstreams.insert(plan, started);
        }
        if subjects.iter().any(|subject| subject.world == World::Valkey) {
            let program = valkey::find().context(valkey::MISSING)?;
            worlds.valkey = Some(Valkey::start(&program, bench.folder.path()).await?);
        }
        Ok(worlds)
    }

    /// Returns the server and the target of a subject.
    pub(super) fn target(&self, subject: &Subject, broker: &str) -> Result<(String, Target)> {
        let bytes = PAYLOAD_BYTES;
        match (subject.world, subject.asked) {
            (World::Cluster(plan), Asked::Natter { reads_percent }) => {
                let prefix = self.clusters.get(&plan).context("a cluster that was not started")?.prefix().to_owned();
                let (users, keys) = (data::users(plan.ratings), keys(plan.ratings) as usize);
                let exact = plan.entrances() == 1;
                Ok((broker.to_owned(), Target::Natter { prefix, reads_percent, users, keys, exact }))
            }
            (World::Cluster(plan), Asked::Batch { size }) => {
                let cluster = self.clusters.get(&plan).context("a cluster that was not started")?;
                let (prefix, replicas) = (cluster.prefix().to_owned(), cluster.replica_ids().to_vec());
                let (users, keys) = (data::users(plan.ratings), keys(plan.ratings) as usize);
                Ok((broker.to_owned(), Target::Batch { prefix, size, users, keys, replicas }))
            }
            (World::JetStream(plan, storage), Asked::Kv(operation)) => {
                let jetstream = self.jetstreams.get(&plan).context("servers that were not started")?;
                let exact = plan.servers == 1 || operation == KvOperation::Get;
                let bucket = storage.name().to_owned();
                let target = Target::Kv { bucket, operation, keys: self.keys, bytes, exact };
                Ok((jetstream.url(storage)?.to_owned(), target))
            }
            (World::Valkey, Asked::Valkey(operation)) => {
                let valkey = self.valkey.as_ref().context("Valkey was not started")?;
                Ok((valkey.primary().to_owned(), Target::Valkey { operation, keys: self.keys, bytes }))
            }
            (_, Asked::Request) => {
                let (subject, keys) = (ECHO_SUBJECT.to_owned(), self.keys);
                Ok((broker.to_owned(), Target::Requests { subject, bytes, keys }))
            }
            (_, Asked::EchoOfRead) => {
                let (subject, reply_bytes) = (echo::of_reads(ECHO_SUBJECT), Some(echo::READ_REPLY_BYTES));
                let target = Target::Echo { subject, bytes: READ_REQUEST_BYTES, reply_bytes, keys: self.keys };
                Ok((broker.to_owned(), target))
            }
            _ => {
                let (subject, keys) = (ECHO_SUBJECT.to_owned(), self.keys);
                Ok((broker.to_owned(), Target::Echo { subject, bytes, reply_bytes: None, keys }))
            }
        }
    }

    /// The processes that have to do with a subject.
    pub(super) fn processes(&mut self, subject: &Subject, broker: &mut Broker) -> Vec<(&'static str, Option<u32>)> {
        let brokers = broker.processes().into_iter();
        let found: Vec<(&'static str, u32)> = match subject.world {
            World::Raw => brokers.collect(),
            World::Cluster(plan) => {
                let cluster = self.clusters.get(&plan).map(Cluster::processes).unwrap_or_default();
                cluster.into_iter().chain(brokers.filter(|(what, _)| *what == "broker")).collect()
            }
            World::Valkey => self.valkey.as_ref().map(Valkey::processes).unwrap_or_default(),
            World::JetStream(plan, _) => self.jetstreams.get_mut(&plan).map(JetStream::processes).unwrap_or_default(),
        };
        found.into_iter().map(|(what, id)| (what, Some(id))).collect()
    }

    /// Fails where a process has ended that has to do with a subject.
    pub(super) fn check(&mut self, subject: &Subject) -> Result<()> {
        match subject.world {
            World::Cluster(plan) => self.clusters.get_mut(&plan).map_or(Ok(()), Cluster::check),
            _ => Ok(()),
        }
    }

    /// Stops everything.
    pub(super) async fn stop(self) {
        futures_util::future::join_all(self.clusters.into_values().map(Cluster::stop)).await;
        futures_util::future::join_all(self.jetstreams.into_values().map(JetStream::stop)).await;
        if let Some(valkey) = self.valkey {
            valkey.stop().await;
        }
    }
}

/// Starts a cluster on the bench's broker.
pub(crate) async fn start_cluster(bench: &Bench, plan: &ClusterPlan) -> Result<Cluster> {
    let database = data::file(&bench.data_folder(), plan.ratings).await?;
    let before = bench.arguments.before.as_deref();
    let servers = [bench.broker.url().to_owned()];
    let ground = Ground { servers: &servers, timeout: PATIENT, folder: bench.folder.path(), before };
    Cluster::start(plan, &database, ground).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_data_set_is_asked_for_up_to_a_million_ratings() {
        assert_eq!(
            [1000, 100_000, 1_000_000, 32_000_000, 1 << 40].map(keys),
            [1000, 100_000, KEYS_MAX, KEYS_MAX, KEYS_MAX]
        );
    }
}
