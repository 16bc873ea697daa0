//! A Natter cluster under a prefix of its own: replicas and frontends, each a process, or replicas that also answer clients.

use std::borrow::BorrowMut;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::Subscriber;
use futures_util::StreamExt;
use futures_util::future::join_all;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Role};
use natter_common::subjects::Subjects;
use natter_common::wire::Format;

use super::child::Child;
use super::usage;
use super::watching::{METRICS, Watched, Watching};
use crate::roles;

/// Interval of checks whether an awaited process has ended.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(20);
/// `--timeout` of frontends under load: longer than usual, so that a machine that stalls shows as a latency and not as an
/// error.
pub(crate) const PATIENT: &str = "10s";
/// Maximum time until all processes serve.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Size and settings of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClusterPlan {
    /// Number of separate frontends.
    pub(crate) frontends: u8,
    /// Number of replicas that also answer clients (`replica --frontend`): the first of `replicas`.
    pub(crate) together: u8,
    /// Number of replicas.
    pub(crate) replicas: u8,
    /// Number of ratings in the data set.
    pub(crate) ratings: u64,
    /// `--sync` of durable replica managers; `None` in memory.
    pub(crate) sync: Option<&'static str>,
    /// Whether its processes are of the earlier build that `--before` names.
    pub(crate) before: bool,
    /// Metrics, observer and change feed of it.
    pub(crate) watched: Watched,
}

impl ClusterPlan {
    /// Number of processes that answer clients.
    pub(crate) fn entrances(&self) -> u8 {
        self.frontends + self.together
    }

    /// The prefix of its subjects, and of its logs' and directories' names. Each started cluster has another one, so
    /// that its messages are not taken for those of an earlier one.
    fn prefix(&self) -> String {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let Self { frontends, together, replicas, ratings, sync, before, .. } = self;
        let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        let build = if *before { "-before" } else { "" };
        format!("bench{number}-f{frontends}-t{together}-r{replicas}-n{ratings}-{}{build}", sync.unwrap_or("memory"))
    }
}

/// Time that a replica took to start, and its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Time from its start until it serves, in seconds.
    pub(crate) seconds: f64,
    /// Its resident memory then, in MiB.
    pub(crate) resident_mib: Option<f64>,
}

/// A running cluster.
pub(crate) struct Cluster {
    prefix: String,
    replicas: Vec<Child>,
    frontends: Vec<Child>,
    replica_ids: Vec<ReplicaId>,
    starts: Vec<Start>,
    watching: Watching,
}

/// Brokers, folder and programs of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The brokers, at least one: the first replica and the first frontend connect to the first, and so on in turn.
    pub(crate) servers: &'a [String],
    /// `--timeout` of frontends.
    pub(crate) timeout: &'a str,
    /// Folder for logs and data directories.
    pub(crate) folder: &'a Path,
    /// The program of the earlier build; `None` where no build is compared with.
    pub(crate) before: Option<&'a Path>,
}

impl<'a> Ground<'a> {
    /// The broker of the process of this number, from 1.
    fn server(&self, n: u8) -> Result<&'a str> {
        let turn = usize::from(n.saturating_sub(1)) % self.servers.len().max(1);
        self.servers.get(turn).map(String::as_str).context("a cluster needs a broker")
    }

    /// The program of a cluster's processes: `None` is this executable.
    fn program(&self, plan: &ClusterPlan) -> Result<Option<&'a Path>> {
        match (plan.before, self.before) {
            (true, None) => bail!("there is no earlier build: name its program with --before"),
            (true, before) => Ok(before),
            (false, _) => Ok(None),
        }
    }
}

impl Cluster {
    /// Starts it, and waits until all serve.
    pub(crate) async fn start(plan: &ClusterPlan, database: &Path, ground: Ground<'_>) -> Result<Self> {
        let prefix = plan.prefix();
        let subjects = Subjects::new(&prefix).context("a prefix")?;
        let client = async_nats::connect(ground.server(1)?).await?;
        let presence = |role| client.subscribe(subjects.all_presence(role));
        let mut replicas_seen = Seen::new(presence(Role::Replica).await?);
        let mut frontends_seen = Seen::new(presence(Role::Frontend).await?);
        client.flush().await?;
        let mut cluster = Self {
            prefix,
            replicas: Vec::new(),
            frontends: Vec::new(),
            replica_ids: Vec::new(),
            starts: Vec::new(),
            watching: Watching::default(),
        };
        for n in 1..=plan.replicas {
            cluster.start_replica(n, plan, database, ground)?;
        }
        let replicas = cluster.replicas.len();
        replicas_seen.wait_for(replicas, &mut cluster.replicas).await?;
        cluster.note_starts(&replicas_seen);
        for n in 1..=plan.frontends {
            let name = format!("f{n}");
            let metrics = if plan.watched.metrics { &METRICS[..] } else { &[] };
            let arguments = [
                &[roles::FRONTEND, "--name", &name, "--fault-tolerance", "2", "--timeout", ground.timeout][..],
                &["--server", ground.server(n)?, "--prefix", &cluster.prefix],
                metrics,
            ];
            let log = format!("{}-{name}", cluster.prefix);
            let child = Child::start(&log, ground.program(plan)?, &arguments.concat(), ground.folder)?;
            cluster.frontends.push(child);
        }
        // A replica that answers clients shows the presence of a frontend too.
        let mut answering: Vec<&mut Child> = cluster.frontends.iter_mut().chain(&mut cluster.replicas).collect();
        frontends_seen.wait_for(plan.entrances().into(), &mut answering).await?;
        let watching = Watching::start(plan.watched, &cluster.prefix, ground.server(1)?, ground.folder, answering);
        cluster.watching = watching.await?;
        Ok(cluster)
    }

    fn start_replica(&mut self, n: u8, plan: &ClusterPlan, database: &Path, ground: Ground<'_>) -> Result<()> {
        let name = format!("r{n}");
        let log = format!("{}-{name}", self.prefix);
        let data_dir: PathBuf = ground.folder.join(format!("{log}-data"));
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
        let (database, data_dir) = (text(database)?, text(&data_dir)?);
        let server = ground.server(n)?;
        let mut arguments = vec![roles::REPLICA, "--name", &name, "--server", server, "--prefix", &self.prefix];
        arguments.extend(["--database", &database]);
        if let Some(sync) = plan.sync {
            arguments.extend(["--data-dir", &data_dir, "--sync", sync]);
        }
        if n <= plan.together {
            arguments.extend(["--frontend", "--fault-tolerance", "2", "--timeout", ground.timeout]);
        }
        if plan.watched.metrics {
            arguments.extend(METRICS);
        }
        if plan.watched.changes {
            arguments.push("--changes");
        }
        self.replicas.push(Child::start(&log, ground.program(plan)?, &arguments, ground.folder)?);
        Ok(())
    }

    fn note_starts(&mut self, seen: &Seen) {
        self.replica_ids = seen.serving.iter().map(|(id, _)| id.clone()).collect();
        for child in &self.replicas {
            let name = child.name().rsplit('-').next().unwrap_or_default();
            let found = seen.serving.iter().find(|(id, _)| id.as_str().starts_with(&format!("{name}-")));
            let Some((_, at)) = found else { continue };
            let resident_mib = child.id().and_then(usage::resident_mib);
            let seconds = at.duration_since(child.started()).as_secs_f64();
            self.starts.push(Start { seconds, resident_mib });
        }
    }

    /// The prefix of its subjects.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All its replica managers.
    pub(crate) fn replica_ids(&self) -> &[ReplicaId] {
        &self.replica_ids
    }

    /// Returns the starts of its replicas.
    pub(crate) fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// Its processes: what they are, and their ids.
    pub(crate) fn processes(&self) -> Vec<(&'static str, u32)> {
        let of = |what: &'static str, children: &[Child]| {
            children.iter().filter_map(Child::id).map(|id| (what, id)).collect::<Vec<_>>()
        };
        let watching = self.watching.processes();
        [of("frontend", &self.frontends), of("replica", &self.replicas), of("observer", watching)].concat()
    }

    /// The replica of this number and the separate frontend of this number, from 0, as far as there are such.
    pub(crate) fn node(&self, n: usize) -> impl Iterator<Item = &Child> {
        self.replicas.get(n).into_iter().chain(self.frontends.get(n))
    }

    /// Fails where one of its processes has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.replicas.iter_mut().chain(&mut self.frontends).try_for_each(Child::check)?;
        self.watching.check()
    }

    /// Stops it: frontends first, as they would only look for the others.
    pub(crate) async fn stop(self) {
        self.watching.stop().await;
        join_all(self.frontends.into_iter().map(Child::stop)).await;
        join_all(self.replicas.into_iter().map(Child::stop)).await;
    }
}

/// Processes that show in their presence that they serve.
struct Seen {
    presences: Subscriber,
    serving: Vec<(ReplicaId, Instant)>,
}

impl Seen {
    fn new(presences: Subscriber) -> Self {
        Self { presences, serving: Vec::new() }
    }

    /// Waits until `count` of these children serve.
    async fn wait_for(&mut self, count: usize, children: &mut [impl BorrowMut<Child>]) -> Result<()> {
        let begun = Instant::now();
        while self.serving.len() < count {
            if let Ok(message) = tokio::time::timeout(ASK_EVERY, self.presences.next()).await {
                let message = message.context("the broker has ended")?;
                let presence = Format::of(&message.payload).decode::<Presence>(&message.payload);
                if let Ok(presence) = presence
                    && presence.is_serving()
                    && !self.serving.iter().any(|(id, _)| *id == presence.id)
                {
                    self.serving.push((presence.id, Instant::now()));
                }
            }
            children.iter_mut().try_for_each(|child| child.borrow_mut().check())?;
            if begun.elapsed() > READY_WITHIN {
                let serving = self.serving.len();
                bail!("after {} s only {serving} of {count} serve", READY_WITHIN.as_secs());
            }
        }
        Ok(())
    }
}
