//! The broker's word on whether a replica is connected, asked for replicas that keep a request waiting.
//!
//! "No responders" tells at once that a replica is gone, but not where another program subscribes to everything. The
//! server of the broker at which a replica is connected also lists the connections that subscribe to the replica's subject.
//! Where that list lacks the replica, the replica is gone, even if other programs subscribe.

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use serde::Deserialize;

/// The subject at which each server of the broker lists connections of the account.
pub(crate) const LISTS: &str = "$SYS.REQ.SERVER.PING.CONNZ";

/// Ticks that a replica is silent while it is asked something, before the broker is asked; then twice that, and so on.
const PATIENCE_TICKS: u32 = 3;
/// Ticks between two questions at which server a replica is connected.
const LOCATE_TICKS: u32 = 25;
/// Ticks without presence after which a replica is not looked for any more.
const UNSEEN_TICKS: u32 = 75;
/// Ticks without presence after which a replica is forgotten.
const FORGET_TICKS: u32 = 500;

/// The replicas that have shown themselves.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    peers: BTreeMap<ReplicaId, Peer>,
    /// Whether the broker gives no such lists to this frontend.
    is_mute: bool,
}

#[derive(Debug, Default)]
struct Peer {
    /// The server that listed it last.
    server: Option<String>,
    /// Ticks since it was asked something, while nothing has come from it; else 0.
    waits_ticks: u32,
    /// Ticks since it showed itself.
    unseen_ticks: u32,
    /// Ticks until its server is asked for again, while that is unknown.
    locate_ticks: u32,
}

/// A list of connections, as far as it is needed.
#[derive(Deserialize)]
struct Listing {
    server: Server,
    data: Connections,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Connections {
    num_connections: usize,
    limit: usize,
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    #[serde(default)]
    name: String,
}

/// The question for the connections that subscribe to `subject`.
pub(crate) fn question(subject: &str) -> String {
    serde_json::json!({"filter_subject": subject}).to_string()
}

impl Witness {
    /// The replica showed itself.
    pub(crate) fn shown(&mut self, replica: &ReplicaId) {
        match self.peers.get_mut(replica) {
            Some(peer) => peer.unseen_ticks = 0,
            None => drop(self.peers.insert(replica.clone(), Peer::default())),
        }
    }

    /// The replica said goodbye.
    pub(crate) fn left(&mut self, replica: &ReplicaId) {
        self.peers.remove(replica);
    }

    /// The replica was asked something.
    pub(crate) fn was_asked(&mut self, replica: &ReplicaId) {
        if let Some(peer) = self.peers.get_mut(replica) {
            peer.waits_ticks = peer.waits_ticks.max(1);
        }
    }

    /// The replica answered something.
    pub(crate) fn has_replied(&mut self, replica: &ReplicaId) {
        if let Some(peer) = self.peers.get_mut(replica) {
            peer.waits_ticks = 0;
        }
    }

    /// The broker gives no lists to this frontend.
    pub(crate) fn falls_mute(&mut self) {
        self.is_mute = true;
    }

    /// Another connection may give lists.
    pub(crate) fn reconnected(&mut self) {
        self.is_mute = false;
    }

    /// Takes in a server's list of the connections that subscribe to the subject of `replica`, in which the replica's
    /// connection has this name. Returns whether the replica is gone.
    pub(crate) fn listed(&mut self, replica: &ReplicaId, name: &str, listing: &[u8]) -> bool {
        let Some(peer) = self.peers.get_mut(replica) else { return false };
        let Ok(Listing { server, data }) = serde_json::from_slice(listing) else { return false };
        if data.connections.iter().any(|connection| connection.name == name) {
            peer.server = Some(server.id);
            return false;
        }
        let is_complete = data.num_connections < data.limit;
        if !is_complete || peer.server.as_ref() != Some(&server.id) {
            return false;
        }
        *peer = Peer { locate_ticks: LOCATE_TICKS, ..Peer::default() };
        true
    }

    /// Lets a tick pass. Gives the replicas that the broker is to be asked about.
    pub(crate) fn tick(&mut self) -> Vec<ReplicaId> {
        self.peers.retain(|_, peer| {
            peer.unseen_ticks += 1;
            peer.unseen_ticks < FORGET_TICKS
        });
        if self.is_mute {
            return Vec::new();
        }
        let is_due = |peer: &mut Peer| {
            if peer.server.is_none() {
                peer.waits_ticks = 0;
                let is_due = peer.locate_ticks == 0 && peer.unseen_ticks < UNSEEN_TICKS;
                peer.locate_ticks = if is_due { LOCATE_TICKS } else { peer.locate_ticks.saturating_sub(1) };
                return is_due;
            }
            if peer.waits_ticks == 0 {
                return false;
            }
            let waited = peer.waits_ticks;
            peer.waits_ticks = waited.saturating_add(1);
            waited.is_multiple_of(PATIENCE_TICKS) && (waited / PATIENCE_TICKS).is_power_of_two()
        };
        self.peers.iter_mut().filter_map(|(replica, peer)| is_due(peer).then(|| replica.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(server: &str, names: &[&str], limit: usize) -> Vec<u8> {
        let connections: Vec<_> = names.iter().map(|name| json!({"cid": 5, "name": name})).collect();
        let data = json!({"num_connections": names.len(), "total": 9, "limit": limit, "connections": connections});
        json!({"server": {"id": server, "ver": "2.15.1"}, "data": data}).to_string().into_bytes()
    }

    fn asked(witness: &mut Witness, ticks: u32) -> usize {
        (0..ticks).map(|_| witness.tick().len()).sum()
    }

    #[test]
    fn silent_replica_is_gone_once_its_own_server_does_not_list_it() {
        let (id, mut witness) = (ReplicaId::new("r1").unwrap(), Witness::default());
        witness.was_asked(&id);
        assert_eq!(asked(&mut witness, 50), 0, "it has not shown itself");
        witness.shown(&id);
        assert_eq!(witness.tick(), std::slice::from_ref(&id), "its server is unknown");
        assert!(!witness.listed(&id, "replica-r1", &listing("other", &["recorder"], 1024)));
        assert_eq!(asked(&mut witness, LOCATE_TICKS + 1), 1);
        assert!(!witness.listed(&id, "replica-r1", &listing("home", &["recorder", "replica-r1"], 1024)));
        assert_eq!(asked(&mut witness, 60), 0, "nobody waits for it");

        witness.was_asked(&id);
        assert_eq!(asked(&mut witness, 24), 4, "after 3, 6, 12 and 24 ticks");
        witness.has_replied(&id);
        assert_eq!(asked(&mut witness, 30), 0);
        for (server, names, limit) in [("other", &["recorder"][..], 1024), ("home", &["recorder"], 1)] {
            assert!(!witness.listed(&id, "replica-r1", &listing(server, names, limit)), "{server} {limit}");
        }
        assert!(!witness.listed(&id, "replica-r1", b"{}") && !witness.listed(&id, "replica-r1", b""));
        assert!(witness.listed(&id, "replica-r1", &listing("home", &["recorder"], 1024)));
        assert!(!witness.listed(&id, "replica-r1", &listing("home", &["recorder"], 1024)), "it is told once");
    }

    #[test]
    fn broker_without_lists_is_not_asked_before_the_next_connection() {
        let (id, mut witness) = (ReplicaId::new("r1").unwrap(), Witness::default());
        witness.shown(&id);
        witness.falls_mute();
        assert_eq!(asked(&mut witness, 50), 0);
        witness.reconnected();
        assert_eq!(asked(&mut witness, 1), 1);
        asked(&mut witness, FORGET_TICKS);
        assert!(witness.peers.is_empty());
        witness.shown(&id);
        witness.left(&id);
        assert_eq!(asked(&mut witness, 50), 0);
    }
}
