//! The line to the broker: the connection, the service, everything that comes in and everything that goes out.

use async_nats::Client;
use async_nats::service::Service;
use natter_broker::access::{self, Needs};
use natter_broker::connection::{ConnectionEvent, ConnectionSettings, Patience, connect};
use natter_broker::live::Live;
use natter_broker::publisher::Publisher;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Gossip, Presence, Role};
use natter_common::subjects::Subjects;
use natter_common::wire::encode;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::inbox::{self, Inbox};
use crate::outbox::Outbox;
use crate::{ReplicaArgs, ReplicaError};

/// Replies to one message, of which each may answer some of its requests. More than these are needed under load; a broker
/// that permits so many mostly permits all.
const REPLIES: usize = 8;

/// A connection, and what happens to it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) events: UnboundedReceiver<ConnectionEvent>,
}

impl Connection {
    /// Waits until there is one.
    pub(crate) async fn open(arguments: &ReplicaArgs, id: &ReplicaId) -> Result<Self, ReplicaError> {
        let (sender, events) = unbounded_channel();
        let client = connect(&arguments.broker, &settings(format!("replica-{id}")), Some(sender)).await?;
        Ok(Self { client, events })
    }
}

/// All that connects a replica manager with the others.
pub(crate) struct Line {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    /// As long as it lives, requests come in.
    pub(crate) service: Service,
    pub(crate) events: UnboundedReceiver<ConnectionEvent>,
}

impl Line {
    /// Serves and subscribes, and waits until the broker is known to hear it and to permit everything. `introduction` is
    /// how the replica manager shows itself first.
    pub(crate) async fn open(
        connection: Connection,
        arguments: &ReplicaArgs,
        subjects: &Subjects,
        introduction: &(Presence, Option<Gossip>),
    ) -> Result<Self, ReplicaError> {
        let Connection { client, mut events } = connection;
        let (presence, gossip) = introduction;
        let id = &presence.id;
        let live = Live::default();
        let dataset = presence.dataset.clone().unwrap_or_default();
        let service = inbox::start_service(&client, subjects, id, &dataset, live.clone())
            .await
            .map_err(ReplicaError::Subscribe)?;
        let pull_replies = client.new_inbox();
        let inbox =
            inbox::subscribe(&client, &service, subjects, id, &pull_replies).await.map_err(ReplicaError::Subscribe)?;
        // The connection ends with the last of its handles.
        let second = connect(&arguments.broker, &settings(format!("replica-{id}-proof")), None).await?;
        access::check(&client, &mut events, &second, &needs(subjects, presence, gossip.as_ref())).await?;
        let outbox = Outbox::new(Publisher::new(client), subjects.clone(), id.clone(), pull_replies, live);
        Ok(Self { inbox, outbox, service, events })
    }
}

fn settings(name: String) -> ConnectionSettings {
    ConnectionSettings { name, no_echo: true, patience: Patience::Forever }
}

/// What a replica manager subscribes it has subscribed already.
fn needs(subjects: &Subjects, presence: &Presence, gossip: Option<&Gossip>) -> Needs {
    let id = &presence.id;
    let payload = |encoded: Result<Vec<u8>, _>| encoded.unwrap_or_default().into();
    let mut publishes = vec![(subjects.presence(Role::Replica, id), payload(encode(presence)))];
    publishes.extend(gossip.map(|gossip| (subjects.gossip(id), payload(encode(gossip)))));
    // No other replica manager listens there.
    let to_itself =
        ["log", "snapshot", "acknowledge"].map(|endpoint| (subjects.replica(id, endpoint), payload(Ok(Vec::new()))));
    publishes.extend(to_itself);
    Needs {
        role: "replica",
        own: subjects.proof(id),
        publishes,
        subscribes: Vec::new(),
        optional: vec![subjects.alive(id)],
        replies: REPLIES,
    }
}
