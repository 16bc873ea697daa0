//! Three nodes of a system, and the faults of one of them.

use anyhow::{Context, Result};
use natter_processes::nats_server::NatsServer;
use natter_processes::owned_process::OwnedProcess;
use tempfile::TempDir;

use super::plan::System;
use crate::bench::Bench;
use crate::world::child::Child;
use crate::world::cluster::{Cluster, ClusterPlan, Ground};
use crate::world::jetstream::{JetStream, JetStreamPlan, Storage};
use crate::world::watching::Watched;
use crate::world::{data, servers};

/// Number of nodes.
pub(super) const NODES: u8 = 3;
/// Number of ratings of the data set. The sessions use a few of them.
pub(super) const RATINGS: u64 = 10_000;
/// The bucket's storage: in memory, as in Natter's replicas.
pub(super) const STORAGE: Storage = Storage::Memory;
/// `--timeout` of frontends: the default.
const TIMEOUT: &str = "2s";

/// Three nodes, running.
pub(super) enum Nodes {
    /// A broker on each node, and the processes of Natter, each of which knows the broker of its node only.
    Natter {
        /// The processes.
        cluster: Cluster,
        /// The brokers.
        brokers: Vec<NatsServer>,
        /// The brokers' files.
        _folder: TempDir,
    },
    /// A server on each node, and a bucket on all of them.
    Kv(JetStream),
}

impl Nodes {
    /// Starts the nodes of a system, and waits until all serve.
    pub(super) async fn start(bench: &Bench, system: System) -> Result<Self> {
        let (frontends, together) = match system {
            System::NatterTogether => (0, NODES),
            System::Natter => (NODES, 0),
            System::KvDirect | System::KvLeader => {
                let (plan, folder) = (JetStreamPlan { servers: NODES, sync_always: false }, bench.folder.path());
                return Ok(Self::Kv(JetStream::start(bench.binary.clone(), &plan, &[STORAGE], folder).await?));
            }
        };
        let folder = tempfile::Builder::new().prefix("brokers-").tempdir_in(bench.folder.path())?;
        let brokers = servers::start(&bench.binary, NODES, folder.path(), |_| String::new()).await?;
        let urls: Vec<String> = brokers.iter().map(|broker| broker.url().to_owned()).collect();
        let database = data::file(&bench.data_folder(), RATINGS).await?;
        let plan = ClusterPlan {
            frontends,
            together,
            replicas: NODES,
            ratings: RATINGS,
            sync: None,
            before: false,
            watched: Watched::NOT,
        };
        let ground = Ground { servers: &urls, timeout: TIMEOUT, folder: bench.folder.path(), before: None };
        let cluster = Cluster::start(&plan, &database, ground).await?;
        Ok(Self::Natter { cluster, brokers, _folder: folder })
    }

    /// Returns the URLs to which clients of each node connect.
    pub(super) fn urls(&mut self) -> Vec<String> {
        let servers = match self {
            Self::Natter { brokers, .. } => brokers,
            Self::Kv(jetstream) => jetstream.servers(),
        };
        servers.iter().map(|server| server.url().to_owned()).collect()
    }

    /// The prefix of a Natter cluster.
    pub(super) fn prefix(&self) -> Result<&str> {
        match self {
            Self::Natter { cluster, .. } => Ok(cluster.prefix()),
            Self::Kv(_) => None.context("a bucket has no prefix"),
        }
    }

    /// The node that fails: that of the bucket's leader. Natter's nodes are equal.
    pub(super) fn victim(&self) -> usize {
        match self {
            Self::Natter { .. } => 0,
            Self::Kv(jetstream) => jetstream.leader(STORAGE).unwrap_or(0),
        }
    }

    /// Kills all processes of a node (SIGKILL).
    pub(super) fn kill(&mut self, node: usize) {
        self.each(node, OwnedProcess::kill);
    }

    /// Freezes all processes of a node (SIGSTOP).
    pub(super) fn pause(&mut self, node: usize) {
        self.each(node, OwnedProcess::pause);
    }

    /// Lets a frozen node go on (SIGCONT).
    pub(super) fn resume(&mut self, node: usize) {
        self.each(node, OwnedProcess::resume);
    }

    fn each(&mut self, node: usize, what: impl Fn(&OwnedProcess)) {
        let servers = match self {
            Self::Natter { cluster, brokers, .. } => {
                cluster.node(node).map(Child::process).for_each(&what);
                brokers
            }
            Self::Kv(jetstream) => jetstream.servers(),
        };
        if let Some(server) = servers.get_mut(node) {
            what(server.process());
        }
    }

    /// Stops all nodes.
    pub(super) async fn stop(self) {
        match self {
            Self::Natter { cluster, brokers, .. } => {
                cluster.stop().await;
                // A missing exit status does not matter here.
                futures_util::future::join_all(brokers.into_iter().map(NatsServer::stop)).await;
            }
            Self::Kv(jetstream) => jetstream.stop().await,
        }
    }
}
