//! Metrics, the observer and the change feed of a cluster. Each has a program that reads it, as in use: a scraper once a
//! second, an open page, a subscriber.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::child::Child;
use crate::roles;

/// Options of a process whose metrics are on. The system chooses the port, and the log tells it.
pub(crate) const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];
/// Interval of scrapes: shorter than usual, so that each measurement has some.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a page's stream that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Kinds of watching that are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watched {
    /// `--metrics` at each process.
    pub(crate) metrics: bool,
    /// An observer.
    pub(crate) observer: bool,
    /// `--changes` at each replica.
    pub(crate) changes: bool,
}

impl Watched {
    /// Nothing.
    pub(crate) const NOT: Self = Self { metrics: false, observer: false, changes: false };
}

/// Programs that watch a cluster. They end when this is dropped.
#[derive(Default)]
pub(crate) struct Watching {
    observer: Vec<Child>,
    readers: JoinSet<Result<()>>,
}

impl Watching {
    /// Starts what `watched` says. `members` are the processes of the cluster.
    pub(crate) async fn start(
        watched: Watched,
        prefix: &str,
        server: &str,
        folder: &Path,
        members: Vec<&mut Child>,
    ) -> Result<Self> {
        let mut watching = Self::default();
        if watched.metrics {
            let mut addresses = Vec::new();
            for member in members {
                let line = member.line_with("serves metrics and health").await?;
                addresses.push(address_in(&line).context("an address in the log")?.to_owned());
            }
            watching.readers.spawn(scrape(addresses));
        }
        if watched.observer {
            let arguments = [roles::OBSERVER, "--listen", "127.0.0.1:0", "--server", server, "--prefix", prefix];
            let mut observer = Child::start(&format!("{prefix}-observer"), None, &arguments, folder)?;
            let line = observer.line_with("the page is ready").await?;
            let address = address_in(&line).context("an address in the log")?;
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
            watching.observer.push(observer);
            watching.readers.spawn(async move {
                let mut page = get(&address, "/events").await?;
                let mut chunk = vec![0; CHUNK_BYTES];
                while page.read(&mut chunk).await? > 0 {}
                anyhow::bail!("the observer has ended the stream of its page")
            });
        }
        if watched.changes {
            let client = async_nats::connect(server).await?;
            let mut changes = client.subscribe(format!("{prefix}.changed.>")).await?;
            client.flush().await?;
            watching.readers.spawn(async move {
                while changes.next().await.is_some() {}
                anyhow::bail!("the broker has ended the subscription to changes")
            });
        }
        Ok(watching)
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> &[Child] {
        &self.observer
    }

    /// Fails where one of them has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.observer.iter_mut().try_for_each(Child::check)?;
        match self.readers.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?,
        }
    }

    /// Stops them.
    pub(crate) async fn stop(mut self) {
        self.readers.shutdown().await;
        for observer in self.observer {
            observer.stop().await;
        }
    }
}

/// The field `address` of a log line.
fn address_in(line: &str) -> Option<&str> {
    line.split(' ').find_map(|word| word.strip_prefix("address="))
}

/// Asks for a page, and returns the connection on which it comes.
async fn get(address: &str, path: &str) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    Ok(connection)
}

/// Reads the metrics of all processes, again and again.
async fn scrape(addresses: Vec<String>) -> Result<()> {
    let mut ticks = interval(SCRAPE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut page = Vec::new();
    loop {
        ticks.tick().await;
        for address in &addresses {
            page.clear();
            get(address, "/metrics").await?.read_to_end(&mut page).await?;
            anyhow::ensure!(page.starts_with(b"HTTP/1.1 200"), "{address} shows no metrics");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_from_the_log() {
        let line = "2026-12-01T03:00:00.000000Z INFO serves metrics and health address=127.0.0.1:43597";
        assert_eq!(address_in(line), Some("127.0.0.1:43597"));
        assert_eq!(address_in("serves metrics and health"), None);
    }
}
