//! Valkey: a primary and two replicas of it, in memory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::child::Child;
use crate::load::valkey::replicas;

/// The program.
const PROGRAM: &str = "valkey-server";
/// Why there are no figures where the program is missing.
pub(crate) const MISSING: &str = "valkey-server not found: install it (Debian: apt-get install valkey-server; Debian 12 has \
                                  it in bookworm-backports)";
/// Number of replicas of the primary.
const REPLICAS: u8 = 2;
/// Pause before asking again whether all replicas follow.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Maximum time until all replicas follow.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A primary and its replicas, running.
pub(crate) struct Valkey {
    primary: String,
    children: Vec<Child>,
}

/// The program on PATH; `None` where there is none.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

impl Valkey {
    /// Starts all processes with their files in `parent`, and waits until the replicas follow the primary.
    pub(crate) async fn start(program: &Path, parent: &Path) -> Result<Self> {
        let mut ports = free_ports(1 + usize::from(REPLICAS))?.into_iter().map(|port| port.to_string());
        let port = ports.next().context("no port")?;
        let (primary, mut children) = (format!("127.0.0.1:{port}"), Vec::new());
        children.push(start_one(program, "valkey-primary", &port, None, parent)?);
        for (n, own) in ports.enumerate() {
            children.push(start_one(program, &format!("valkey-replica-{}", n + 1), &own, Some(&port), parent)?);
        }
        let mut started = Self { primary, children };
        let begun = Instant::now();
        // Until it listens there is an error, and none of it matters.
        while replicas(&started.primary, REPLICAS).await.unwrap_or(0) < REPLICAS.into() {
            started.children.iter_mut().try_for_each(Child::check)?;
            if begun.elapsed() > READY_WITHIN {
                bail!("Valkey's replicas do not follow its primary after {} s", READY_WITHIN.as_secs());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(started)
    }

    /// Returns the address and port of the primary.
    pub(crate) fn primary(&self) -> &str {
        &self.primary
    }

    /// Its processes: what they are, and their ids.
    pub(crate) fn processes(&self) -> Vec<(&'static str, u32)> {
        self.children.iter().filter_map(Child::id).map(|id| ("valkey", id)).collect()
    }

    /// Stops all processes.
    pub(crate) async fn stop(self) {
        futures_util::future::join_all(self.children.into_iter().map(Child::stop)).await;
    }
}

fn start_one(program: &Path, name: &str, port: &str, primary: Option<&str>, parent: &Path) -> Result<Child> {
    let folder = parent.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {} can't be made", folder.display()))?;
    let folder = folder.to_str().context("a path that is no text")?;
    let mut arguments =
        vec!["--bind", "127.0.0.1", "--port", port, "--dir", folder, "--save", "", "--appendonly", "no"];
    // By default a primary waits five seconds for more replicas before it sends its data.
    arguments.extend(["--repl-diskless-sync-delay", "0"]);
    if let Some(primary) = primary {
        arguments.extend(["--replicaof", "127.0.0.1", primary]);
    }
    Child::start(name, Some(program), &arguments, parent)
}

/// Returns free ports.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: std::io::Result<Vec<TcpListener>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    listeners.context("no free port")?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
