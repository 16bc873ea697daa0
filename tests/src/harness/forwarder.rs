//! A TCP connection's way over loopback that can be blocked or cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Maximum bytes of one read.
const CHUNK: usize = 64 * 1024;

/// Treatment of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Bytes pass.
    Open,
    /// Bytes wait, and pass when the way is open again: neither side is told.
    Blocked,
    /// Connections break, and new ones are closed at once.
    Cut,
}

/// Counters of a forwarder.
#[derive(Debug, Default)]
struct Counts {
    /// Connections that were cut, or closed at once.
    broken: AtomicU64,
    /// Bytes that passed.
    passed: AtomicU64,
}

/// Listens on a port, and forwards to another one.
pub struct Forwarder {
    port: u16,
    way: watch::Sender<Way>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Begins, with the way open.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, watching) = watch::channel(Way::Open);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(accept(listener, target, watching, Arc::clone(&counts)));
        Self { port, way, counts, task }
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the way of the bytes from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Returns the number of connections that it broke or closed at once so far.
    pub fn broken(&self) -> u64 {
        self.counts.broken.load(Ordering::Relaxed)
    }

    /// Returns the bytes that passed so far, both ways together.
    pub fn passed(&self) -> u64 {
        self.counts.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, way: watch::Receiver<Way>, counts: Arc<Counts>) {
    // Connections that are open end with this task.
    let mut connections = JoinSet::new();
    while let Ok((incoming, _)) = listener.accept().await {
        if *way.borrow() == Way::Cut {
            counts.broken.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let Ok(outgoing) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
        connections.spawn(connect(incoming, outgoing, way.clone(), Arc::clone(&counts)));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards a connection until either side ends it, or it is cut.
async fn connect(incoming: TcpStream, outgoing: TcpStream, mut way: watch::Receiver<Way>, counts: Arc<Counts>) {
    let (mut from_in, mut to_in) = incoming.into_split();
    let (mut from_out, mut to_out) = outgoing.into_split();
    let there = copy(&mut from_in, &mut to_out, way.clone(), &counts);
    let back = copy(&mut from_out, &mut to_in, way.clone(), &counts);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {
            counts.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut way: watch::Receiver<Way>,
    counts: &Counts,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let may_pass = way.wait_for(|way| *way != Way::Blocked).await.is_ok();
        if !may_pass || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
        counts.passed.fetch_add(length as u64, Ordering::Relaxed);
    }
}
