//! A way of TCP connections over loopback that can be cut and healed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Pause after an error in taking connections, such as too many open files, so that it does not fill the processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Listens on a free port, and passes connections on to another one while it is not cut.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    is_cut: watch::Sender<bool>,
    /// Connections that pass bytes now.
    open: Arc<watch::Sender<usize>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Begins to pass connections on to this port.
    pub(crate) async fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_cut, cut) = watch::channel(false);
        let open = Arc::new(watch::Sender::new(0));
        let task = tokio::spawn(accept(listener, target, cut, Arc::clone(&open)));
        Ok(Self { port, is_cut, open, task })
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is cut.
    pub(crate) fn is_cut(&self) -> bool {
        *self.is_cut.borrow()
    }

    /// Breaks all connections and refuses new ones. Completes when none is left.
    pub(crate) async fn cut(&self) {
        self.is_cut.send_replace(true);
        // An error means that the task has ended, and all connections with it.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Passes connections on again.
    pub(crate) fn heal(&self) {
        self.is_cut.send_replace(false);
    }

    /// Waits until a connection passes bytes in both directions; tells whether one does within this time.
    pub(crate) async fn connected(&self, within: Duration) -> bool {
        let mut open = self.open.subscribe();
        matches!(timeout(within, open.wait_for(|open| *open > 0)).await, Ok(Ok(_)))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, is_cut: watch::Receiver<bool>, open: Arc<watch::Sender<usize>>) {
    // Connections that are open end with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((incoming, _)) = listener.accept().await else {
            sleep(ERROR_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if *is_cut.borrow() {
            continue; // dropping it refuses it
        }
        connections.spawn(pass(incoming, target, is_cut.clone(), Arc::clone(&open)));
    }
}

/// Passes a connection on until either side ends it, or it is cut.
async fn pass(
    mut incoming: TcpStream,
    target: u16,
    mut is_cut: watch::Receiver<bool>,
    open: Arc<watch::Sender<usize>>,
) {
    let passing = async {
        let mut outgoing = TcpStream::connect(("127.0.0.1", target)).await?;
        let _counted = Counted::new(open);
        tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await
    };
    // Either side's error ends the connection, as an end does.
    tokio::select! {
        _ = passing => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}

/// Counts a connection as open, for as long as this lives.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(open: Arc<watch::Sender<usize>>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn cut_breaks_connections_and_refuses_new_ones_until_it_is_healed() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::start(target.local_addr().unwrap().port()).await.unwrap();
        let connect = || TcpStream::connect(("127.0.0.1", relay.port()));
        for _ in 0..2 {
            let mut one = connect().await.unwrap();
            let (mut other, _) = target.accept().await.unwrap();
            one.write_all(b"there").await.unwrap();
            other.write_all(b"back").await.unwrap();
            let mut bytes = [0; 9];
            other.read_exact(&mut bytes[..5]).await.unwrap();
            one.read_exact(&mut bytes[5..]).await.unwrap();
            assert_eq!(&bytes, b"thereback");
            assert!(relay.connected(LONG).await && !relay.is_cut());
            relay.cut().await;
            assert!(relay.is_cut() && !relay.connected(Duration::ZERO).await);
            // An end, or an error, and no byte.
            assert_eq!(one.read(&mut bytes).await.unwrap_or(0), 0);
            assert_eq!(other.read(&mut bytes).await.unwrap_or(0), 0);
            let mut refused = connect().await.unwrap();
            assert_eq!(refused.read(&mut bytes).await.unwrap_or(0), 0);
            relay.heal();
        }
    }
}
