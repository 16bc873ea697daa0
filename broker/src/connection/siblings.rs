//! Servers in use by the connections of one process, so that no single server takes all of them away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{ServerAddr, ServerInfo};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The connections of one process that should use different servers where there are several. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Siblings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Each connection's address and server, by the connection's name.
    seats: BTreeMap<String, (ServerAddr, String)>,
    /// The address that each connection used before its present one.
    left: BTreeMap<String, ServerAddr>,
    /// The addresses that a connection should take next, where one of them answers.
    preferred: BTreeMap<String, Vec<ServerAddr>>,
    /// Addresses that servers advertised.
    advertised: Vec<ServerAddr>,
    /// The number of addresses that a connection may choose among.
    known: usize,
}

/// Time for a server to greet a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before a server that does not answer is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Waits for the first byte that a server sends.
async fn greeting(address: &ServerAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.read_u8().await.map(|_| ())
}

impl Siblings {
    /// Whether there is more than one address to connect to.
    pub fn have_a_choice(&self) -> bool {
        self.state().known > 1
    }

    /// Waits until the server that the connection `name` used before its present one answers again. Returns at once where
    /// there was none.
    pub async fn server_that_was_left(&self, name: &str) {
        let Some(address) = self.state().left.get(name).cloned() else { return };
        while !matches!(timeout(ANSWER_TIMEOUT, greeting(&address)).await, Ok(Ok(()))) {
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Has the connection `name` take one of these addresses when it connects again, where one of them answers.
    pub(super) fn prefer(&self, name: &str, addresses: Vec<ServerAddr>) {
        self.state().preferred.insert(name.to_owned(), addresses);
    }

    /// The addresses that the connection `name` should take next, once.
    pub(super) fn take_preferred(&self, name: &str) -> Vec<ServerAddr> {
        self.state().preferred.remove(name).unwrap_or_default()
    }

    /// The address that the connection `name` uses.
    pub(super) fn seat(&self, name: &str) -> Option<ServerAddr> {
        self.state().seats.get(name).map(|(address, _)| address.clone())
    }

    /// The connection `name` uses this server now.
    pub(super) fn sit(&self, name: &str, address: ServerAddr, server: String) {
        let mut state = self.state();
        let before = state.seats.insert(name.to_owned(), (address.clone(), server));
        if let Some((before, _)) = before.filter(|(before, _)| *before != address) {
            state.left.insert(name.to_owned(), before);
        }
    }

    /// A connection stands: its server, and the addresses that this server advertises.
    pub(super) fn learn(&self, name: &str, address: Option<&ServerAddr>, info: &ServerInfo) {
        let mut state = self.state();
        if let Some(address) = address {
            state.seats.insert(name.to_owned(), (address.clone(), info.server_id.clone()));
        }
        for url in &info.connect_urls {
            if let Ok(advertised) = url.parse::<ServerAddr>()
                && !state.advertised.contains(&advertised)
            {
                state.advertised.push(advertised);
            }
        }
        state.known = state.known.max(state.advertised.len());
    }

    /// `addresses`, and those that servers advertised to the siblings.
    pub(super) fn known_beside(&self, mut addresses: Vec<ServerAddr>) -> Vec<ServerAddr> {
        let mut state = self.state();
        for advertised in &state.advertised {
            if !addresses.contains(advertised) {
                addresses.push(advertised.clone());
            }
        }
        state.known = state.known.max(addresses.len());
        addresses
    }

    /// Whether a connection other than `name` uses this address.
    pub(super) fn use_address(&self, name: &str, address: &ServerAddr) -> bool {
        self.state().seats.iter().any(|(sibling, (used, _))| sibling != name && used == address)
    }

    /// Whether a connection other than `name` uses this server.
    pub(super) fn use_server(&self, name: &str, server: &str) -> bool {
        self.state().seats.iter().any(|(sibling, (_, used))| sibling != name && used == server)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
