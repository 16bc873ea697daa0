//! Servers in use by the connections of one process, so that no single server takes all of them away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ServerAddr, ServerInfo};

/// The connections of one process that should use different servers where there are several. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Siblings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Each connection's address and server, by the connection's name.
    seats: BTreeMap<String, (ServerAddr, String)>,
    /// Addresses that servers advertised.
    advertised: Vec<ServerAddr>,
}

impl Siblings {
    /// The connection `name` uses this server now.
    pub(super) fn sit(&self, name: &str, address: ServerAddr, server: String) {
        self.state().seats.insert(name.to_owned(), (address, server));
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
    }

    /// `addresses`, and those that servers advertised to the siblings.
    pub(super) fn known_beside(&self, mut addresses: Vec<ServerAddr>) -> Vec<ServerAddr> {
        for advertised in &self.state().advertised {
            if !addresses.contains(advertised) {
                addresses.push(advertised.clone());
            }
        }
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
