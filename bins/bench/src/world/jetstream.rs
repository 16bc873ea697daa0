//! Servers with JetStream key-value buckets: one, or three that replicate.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::Client;
use natter_processes::nats_server::NatsServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{servers, usage};

/// Interval of checks whether the servers have found each other.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Maximum time until they have.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Number and settings of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JetStreamPlan {
    /// One server, or three; each bucket is on all of them.
    pub(crate) servers: u8,
    /// Whether each write is synced before it is acknowledged (`sync_interval: always`), or now and then.
    pub(crate) sync_always: bool,
}

/// Storage of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Storage {
    /// In memory.
    Memory,
    /// In files.
    File,
}

impl Storage {
    /// The bucket's name, and the word of the JetStream API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
        }
    }
}

/// Running servers, with a bucket of each kind of storage that is wanted.
pub(crate) struct JetStream {
    servers: Vec<NatsServer>,
    /// Server that leads each bucket.
    leaders: Vec<(Storage, usize)>,
    // The folder goes after the servers.
    _folder: TempDir,
}

impl JetStream {
    /// Starts the servers with their files in `parent`, waits until they have found each other, and makes the buckets.
    pub(crate) async fn start(
        binary: PathBuf,
        plan: &JetStreamPlan,
        storages: &[Storage],
        parent: &Path,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jetstream-").tempdir_in(parent)?;
        let sync = if plan.sync_always { "sync_interval: always" } else { "" };
        let config = |n| {
            let store = folder.path().join(format!("store-{n}"));
            format!("jetstream {{ store_dir: {:?}\n {sync} }}", store.display().to_string())
        };
        let servers = servers::start(&binary, plan.servers, folder.path(), config).await?;
        let mut started = Self { servers, leaders: Vec::new(), _folder: folder };
        let url = started.servers.first().context("no server")?.url().to_owned();
        let client = async_nats::connect(&url).await?;
        for storage in storages {
            let leader = make_bucket(&client, *storage, plan.servers).await?;
            started.leaders.push((*storage, leader));
        }
        Ok(started)
    }

    /// The number of the server that led a bucket when it was made.
    pub(crate) fn leader(&self, storage: Storage) -> Result<usize> {
        let leader = self.leaders.iter().find(|(kind, _)| *kind == storage).map(|(_, leader)| *leader);
        leader.context("there is no such bucket")
    }

    /// The URL of the server that leads a bucket: the shortest way to it.
    pub(crate) fn url(&self, storage: Storage) -> Result<&str> {
        let server = self.servers.get(self.leader(storage)?).context("there is no such server")?;
        Ok(server.url())
    }

    /// All servers.
    pub(crate) fn servers(&mut self) -> &mut [NatsServer] {
        &mut self.servers
    }

    /// Its processes: what they are, and their ids.
    pub(crate) fn processes(&mut self) -> Vec<(&'static str, u32)> {
        let ids = self.servers.iter_mut().filter_map(|server| usage::child_below_guard(server.process().id()?));
        ids.map(|id| ("jetstream", id)).collect()
    }

    /// Stops the servers.
    pub(crate) async fn stop(self) {
        // Errors at their ends do not matter here.
        futures_util::future::join_all(self.servers.into_iter().map(NatsServer::stop)).await;
    }
}

/// Makes a bucket as client libraries do, and tells the number of the server that leads it. Until the servers have found
/// each other they refuse.
async fn make_bucket(client: &Client, storage: Storage, replicas: u8) -> Result<usize> {
    let name = storage.name();
    let config = json!({
        "name": format!("KV_{name}"), "subjects": [format!("$KV.{name}.>")], "storage": name, "num_replicas": replicas,
        "retention": "limits", "discard": "new", "max_msgs_per_subject": 1, "max_msgs": -1, "max_bytes": -1,
        "max_consumers": -1, "max_age": 0, "duplicate_window": 120_000_000_000_u64, "allow_rollup_hdrs": true,
        "deny_delete": true, "allow_direct": true,
    });
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < READY_WITHIN {
        match ask(client, &format!("$JS.API.STREAM.CREATE.KV_{name}"), &config).await {
            Ok(answer) if answer.get("error").is_none() => return leader(client, name, replicas).await,
            Ok(answer) => last = answer["error"].to_string(),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    bail!("the bucket could not be made within {} s: {last}", READY_WITHIN.as_secs())
}

/// The number of the server that leads a bucket, once the others follow.
async fn leader(client: &Client, name: &str, replicas: u8) -> Result<usize> {
    if replicas == 1 {
        return Ok(0);
    }
    let begun = Instant::now();
    while begun.elapsed() < READY_WITHIN {
        let answer = ask(client, &format!("$JS.API.STREAM.INFO.KV_{name}"), &json!({})).await;
        if let Ok(answer) = answer
            && let Some(leader) = answer["cluster"]["leader"].as_str().and_then(|name| name.strip_prefix('s'))
            && let Some(followers) = answer["cluster"]["replicas"].as_array()
            && followers.len() + 1 == usize::from(replicas)
            && followers.iter().all(|follower| follower["current"] == true)
        {
            return leader.parse().context("a server's number");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    bail!("the bucket {name} had no leader and followers within {} s", READY_WITHIN.as_secs())
}

async fn ask(client: &Client, subject: &str, request: &Value) -> Result<Value> {
    let message = client.request(subject.to_owned(), serde_json::to_vec(request)?.into()).await?;
    Ok(serde_json::from_slice(&message.payload)?)
}
