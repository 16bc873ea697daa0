//! Metrics of connections to the broker, which both roles have.

use async_nats::Client;
use async_nats::connection::State;
use prometheus::{IntCounter, IntGauge};

use super::{Definitions, Followed};
use crate::connection::ConnectionEvent;

/// Metrics of the connections of one role.
#[derive(Debug)]
pub struct ConnectionMetrics {
    up: Vec<IntGauge>,
    losses: Vec<IntCounter>,
    unread: IntCounter,
    unsent: Followed,
    malformed: Followed,
}

impl ConnectionMetrics {
    /// Defines them. `prefix` is that of all names of the role, `connections` are the names of its connections.
    ///
    /// # Errors
    ///
    /// A name is taken.
    pub fn define(definitions: Definitions<'_>, prefix: &str, connections: &[&str]) -> Result<Self, prometheus::Error> {
        let name = |rest: &str| format!("{prefix}_{rest}");
        Ok(Self {
            up: definitions.gauges(
                &name("connection_up"),
                "Whether the connection to the broker stands (1) or not (0).",
                "connection",
                connections,
            )?,
            losses: definitions.counters(
                &name("connection_losses_total"),
                "Number of times that the connection to the broker was lost.",
                "connection",
                connections,
            )?,
            unread: definitions.counter(
                &name("dropped_incoming_messages_total"),
                "Messages from the broker that were dropped because they came faster than they were read.",
            )?,
            unsent: definitions.followed(
                &name("dropped_outgoing_messages_total"),
                "Messages that were dropped because the connection to the broker was lost or took no more.",
            )?,
            malformed: definitions.followed(
                &name("malformed_messages_total"),
                "Messages that were dropped because they could not be decoded.",
            )?,
        })
    }

    /// Something happened to the connection with this number in the list of connections.
    pub fn hear(&self, connection: usize, event: &ConnectionEvent) {
        match event {
            ConnectionEvent::Disconnected => {
                if let Some(losses) = self.losses.get(connection) {
                    losses.inc();
                }
            }
            ConnectionEvent::SlowConsumer { dropped } => self.unread.inc_by(*dropped),
            ConnectionEvent::Connected | ConnectionEvent::Denied(_) => {}
        }
    }

    /// The state of all connections, and what was counted elsewhere. Returns whether all stand.
    pub fn show(&self, connections: &[&Client], unsent: u64, malformed: u64) -> bool {
        self.unsent.follow(unsent);
        self.malformed.follow(malformed);
        let mut all_stand = true;
        for (up, client) in self.up.iter().zip(connections) {
            let stands = client.connection_state() == State::Connected;
            up.set(i64::from(stands));
            all_stand &= stands;
        }
        all_stand
    }
}
