//! All worlds of a section, running at the same time, so that their subjects can be measured in turn.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::catalogue::{Asked, Subject, World};
use crate::load::job::{KvOperation, Target};
use crate::world::broker::{Broker, ECHO_SUBJECT};
use crate::world::cluster::{Cluster, ClusterPlan, Ground};
use crate::world::data;
use crate::world::jetstream::{JetStream, JetStreamPlan, Storage};

/// The length of raw payloads and of values: about that of Natter's requests, which have 28 to 44 bytes.
const PAYLOAD_BYTES: usize = 60;
/// How many different ratings, or keys, are asked for.
pub(crate) const KEYS: u32 = 16_384;

/// What the subjects of a section need.
pub(super) struct Worlds {
    clusters: BTreeMap<ClusterPlan, Cluster>,
    jetstreams: BTreeMap<JetStreamPlan, JetStream>,
}

impl Worlds {
    /// Starts everything.
    pub(super) async fn start(bench: &Bench, subjects: &[Subject]) -> Result<Self> {
        let mut worlds = Self { clusters: BTreeMap::new(), jetstreams: BTreeMap::new() };
        let mut buckets: BTreeMap<JetStreamPlan, BTreeSet<Storage>> = BTreeMap::new();
        for subject in subjects {
            match subject.world {
                World::Raw => {}
                World::Cluster(plan) => {
                    if let Entry::Vacant(place) = worlds.clusters.entry(plan) {
                        place.insert(start_cluster(bench, &plan).await?);
                    }
                }
                World::JetStream(plan, storage) => {
                    buckets.entry(plan).or_default().insert(storage);
                }
            }
        }
        for (plan, storages) in buckets {
            let storages: Vec<Storage> = storages.into_iter().collect();
            let started = JetStream::start(bench.binary.clone(), &plan, &storages, bench.folder.path()).await?;
            worlds.jetstreams.insert(plan, started);
        }
        Ok(worlds)
    }

    /// Where to ask for a subject, and what.
    pub(super) fn target(&self, subject: &Subject, broker: &str) -> Result<(String, Target)> {
        let bytes = PAYLOAD_BYTES;
        match (subject.world, subject.asked) {
            (World::Cluster(plan), Asked::Natter { reads_percent }) => {
                let prefix = self.clusters.get(&plan).context("a cluster that was not started")?.prefix().to_owned();
                let (users, keys) = (data::users(plan.ratings), KEYS as usize);
                let exact = plan.frontends == 1;
                Ok((broker.to_owned(), Target::Natter { prefix, reads_percent, users, keys, exact }))
            }
            (World::Cluster(plan), Asked::Batch { size }) => {
                let cluster = self.clusters.get(&plan).context("a cluster that was not started")?;
                let (prefix, replicas) = (cluster.prefix().to_owned(), cluster.replica_ids().to_vec());
                let (users, keys) = (data::users(plan.ratings), KEYS as usize);
                Ok((broker.to_owned(), Target::Batch { prefix, size, users, keys, replicas }))
            }
            (World::JetStream(plan, storage), Asked::Kv(operation)) => {
                let jetstream = self.jetstreams.get(&plan).context("servers that were not started")?;
                let exact = plan.servers == 1 || operation == KvOperation::Get;
                let bucket = storage.name().to_owned();
                let target = Target::Kv { bucket, operation, keys: KEYS, bytes, exact };
                Ok((jetstream.url(storage)?.to_owned(), target))
            }
            (_, Asked::Request) => {
                Ok((broker.to_owned(), Target::Requests { subject: ECHO_SUBJECT.to_owned(), bytes }))
            }
            _ => Ok((broker.to_owned(), Target::Echo { subject: ECHO_SUBJECT.to_owned(), bytes })),
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
    }
}

/// Starts a cluster on the bench's broker.
pub(crate) async fn start_cluster(bench: &Bench, plan: &ClusterPlan) -> Result<Cluster> {
    let database = data::file(&bench.data_folder(), plan.ratings).await?;
    let ground = Ground { server: bench.broker.url(), folder: bench.folder.path() };
    Cluster::start(plan, &database, ground).await
}
