//! The line to the broker: two connections, the service, and what replica managers send.

use async_nats::Client;
use bytes::Bytes;
use natter_broker::access::{self, Events, Needs};
use natter_broker::connection::{Access, ConnectionSettings, Denial, Pair, PairPlan, Siblings, Sign, connect_beside};
use natter_broker::live::Live;
use natter_broker::role::RoleError;
use natter_broker::service::Service;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Role};
use natter_common::subjects::{FRONTEND_QUEUE, Operation, Subjects};
use natter_common::wire::encode;
use tokio::sync::mpsc::unbounded_channel;

use crate::FrontendArgs;
use crate::clients::start_service;
use crate::inbox::Inbox;

/// All that connects a frontend with replica managers and clients.
pub(crate) struct Line {
    /// The connection to the replica managers.
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) inbox: Inbox,
    /// Where replica managers answer, without the last two tokens: an inbox and the id of this frontend.
    pub(crate) replies: String,
    /// The connection that clients come in by.
    pub(crate) entrance: Client,
    pub(crate) entrance_events: Events,
    pub(crate) service: Service,
    pub(crate) live: Live,
    /// Servers in use by the two connections.
    pub(crate) siblings: Siblings,
    /// Keeps the two connections on the side of most servers of the broker.
    pub(crate) pair: Option<Pair>,
}

impl Line {
    /// Connects, and waits until the broker is known to hear it and to permit everything. `presence` is how the frontend
    /// shows itself first.
    pub(crate) async fn open(
        arguments: &FrontendArgs,
        subjects: &Subjects,
        presence: &Presence,
    ) -> Result<Self, RoleError> {
        let id = &presence.id;
        let (broker, siblings) = (&arguments.broker, Siblings::default());
        let (sender, events) = unbounded_channel();
        let client = connect_beside(broker, &ConnectionSettings::of_role(name(id)), &siblings, Some(sender)).await?;
        let (sender, entrance_events) = unbounded_channel();
        let outer = ConnectionSettings::of_role(entrance_name(id));
        let entrance = connect_beside(broker, &outer, &siblings, Some(sender)).await?;
        let plan = PairPlan {
            connections: [(name(id), client.clone()), (entrance_name(id), entrance.clone())],
            sign: Sign::Inbox(client.new_inbox()),
            proof: subjects.proof(id),
        };
        let pair = Pair::start(broker, &siblings, plan)?;
        let live = Live::default();
        let service = start_service(&entrance, subjects, id, live.clone()).await?;
        // The id tells observers which frontend asks.
        let replies = format!("{}.{id}", client.new_inbox());
        let inbox = Inbox::subscribe(&client, subjects, &replies).await?;
        let (mut events, entrance_events) = (Events::from(events), Events::from(entrance_events));
        access::check(&client, &mut events, &entrance, &needs(subjects, presence)).await?;
        events.forget_the_past();
        Ok(Self { client, events, inbox, replies, entrance, entrance_events, service, live, siblings, pair })
    }
}

/// The name of the connection to the replicas.
pub(crate) fn name(id: &ReplicaId) -> String {
    format!("frontend-{id}")
}

/// The name of the connection that clients come in by.
pub(crate) fn entrance_name(id: &ReplicaId) -> String {
    format!("frontend-{id}-entrance")
}

/// Needs of a frontend beside what its connection to the replicas has subscribed.
pub(crate) fn needs(subjects: &Subjects, presence: &Presence) -> Needs {
    let id = &presence.id;
    let shown: Bytes = encode(presence).unwrap_or_default().into();
    let mut publishes = vec![(subjects.presence(Role::Frontend, id), shown)];
    // No replica listens there.
    publishes.extend(["update", "confirm", "query"].map(|endpoint| (subjects.replica(id, endpoint), Bytes::new())));
    let served = Operation::ALL.into_iter().flat_map(|operation| {
        let of_user = operation.has_user().then(|| subjects.frontend_of_any_user(operation));
        std::iter::once(subjects.frontend(operation)).chain(of_user)
    });
    Needs {
        role: "frontend",
        own: subjects.proof(id),
        publishes,
        subscribes: served.collect(),
        queue: Some(FRONTEND_QUEUE),
        replies: 1,
        ..Needs::default()
    }
}

/// Needs of the connection that clients come in by, beside what it has subscribed.
pub(crate) fn entrance_needs(subjects: &Subjects, id: &ReplicaId) -> Needs {
    Needs { role: "frontend", own: subjects.proof(id), ..Needs::default() }
}

/// Whether a frontend can go on without what was refused on its connection to the replicas: service discovery, checks of
/// the broker's servers, and answers to clients, which leave by that connection only in an emergency.
pub(crate) fn is_dispensable(subjects: &Subjects, id: &ReplicaId, denial: &Denial) -> bool {
    match denial.access {
        Access::Subscribe => denial.subject.starts_with("$SRV.") || denial.subject == subjects.proof(id),
        Access::Publish => !subjects.include(&denial.subject),
    }
}

/// Whether a frontend can go on without what was refused on the connection that clients come in by.
pub(crate) fn is_dispensable_at_the_entrance(subjects: &Subjects, id: &ReplicaId, denial: &Denial) -> bool {
    let is_of_a_check = denial.subject == subjects.proof(id) || !subjects.include(&denial.subject);
    denial.access == Access::Subscribe && is_of_a_check
}
