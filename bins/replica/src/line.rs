//! The line to the broker: the connection, the service, everything that comes in and everything that goes out.

use std::time::Duration;

use async_nats::Client;
use natter_broker::access::{self, Events, Needs};
use natter_broker::connection::{
    Access, ConnectionSettings, Denial, Pair, PairPlan, Siblings, Sign, connect, connect_beside,
};
use natter_broker::live::Live;
use natter_broker::publisher::Publisher;
use natter_broker::role::RoleError;
use natter_broker::service::Service;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Gossip, Presence, Role};
use natter_common::roster::PRESENCE_INTERVAL_MS;
use natter_common::subjects::Subjects;
use natter_common::wire::encode;
use tokio::sync::mpsc::unbounded_channel;

use crate::ReplicaArgs;
use crate::feed::Feed;
use crate::inbox::{self, Inbox};
use crate::outbox::Outbox;

/// Replies to one message that are tried at the start. Each may answer some of its requests, so under load a message can
/// have more; a broker that permits this many is expected to permit all.
const REPLIES: usize = 256;

/// A connection, and what happens to it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) events: Events,
    /// Keeps it on the side of most servers of the broker, where there are several.
    pair: Option<Pair>,
}

impl Connection {
    /// Waits until there is one.
    pub(crate) async fn open(arguments: &ReplicaArgs, subjects: &Subjects, id: &ReplicaId) -> Result<Self, RoleError> {
        let (broker, siblings) = (&arguments.broker, Siblings::default());
        let (sender, events) = unbounded_channel();
        let (first, second) = (format!("replica-{id}"), format!("replica-{id}-second"));
        let client = connect_beside(broker, &ConnectionSettings::of_role(&first), &siblings, Some(sender)).await?;
        let pair = if siblings.have_a_choice() {
            let beside = connect_beside(broker, &ConnectionSettings::of_role(&second), &siblings, None).await?;
            let shown = subjects.presence(Role::Replica, id);
            let plan = PairPlan {
                connections: [(first, client.clone()), (second, beside)],
                sign: Sign::Presence(shown, Duration::from_millis(PRESENCE_INTERVAL_MS)),
                proof: subjects.proof(id),
            };
            Pair::start(broker, &siblings, plan)?
        } else {
            None
        };
        Ok(Self { client, events: events.into(), pair })
    }
}

/// All that connects a replica manager with the others.
pub(crate) struct Line {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    /// As long as it lives, requests come in.
    pub(crate) service: Service,
    pub(crate) events: Events,
}

impl Line {
    /// Serves and subscribes, and waits until the broker is known to hear it and to permit everything. `introduction` is
    /// how the replica manager shows itself first.
    pub(crate) async fn open(
        connection: Connection,
        arguments: &ReplicaArgs,
        subjects: &Subjects,
        introduction: &(Presence, Option<Gossip>),
    ) -> Result<Self, RoleError> {
        let Connection { client, mut events, pair } = connection;
        let (presence, gossip) = introduction;
        let id = &presence.id;
        let live = Live::default();
        let dataset = presence.dataset.clone().unwrap_or_default();
        let service = inbox::start_service(&client, subjects, id, &dataset, live.clone()).await?;
        let pull_replies = client.new_inbox();
        let inbox = inbox::subscribe(&client, &service, subjects, id, &pull_replies).await?;
        let second = second(pair.as_ref(), arguments, id).await?;
        let mut needs = needs(subjects, presence, gossip.as_ref());
        needs.traces.extend(arguments.changes.then(|| subjects.change_of_nothing()));
        access::check(&client, &mut events, &second, &needs).await?;
        events.forget_the_past();
        let mut outbox = Outbox::new(Publisher::new(client), subjects.clone(), id.clone(), pull_replies, live);
        outbox.pair = pair;
        outbox.feed = arguments.changes.then(Feed::default);
        Ok(Self { inbox, outbox, service, events })
    }

    /// Subscribes everything anew, as what the broker took away does not come back by itself, and checks what it permits,
    /// what it has refused among that. The change feed is not checked: a replica serves without it.
    pub(crate) async fn renew(
        &mut self,
        arguments: &ReplicaArgs,
        subjects: &Subjects,
        introduction: &(Presence, Option<Gossip>),
        refused: &Denial,
    ) -> Result<(), RoleError> {
        let (presence, gossip) = introduction;
        let id = &presence.id;
        let client = self.outbox.client().clone();
        let second = second(self.outbox.pair.as_ref(), arguments, id).await?;
        self.inbox = inbox::subscribe(&client, &self.service, subjects, id, self.outbox.pull_replies()).await?;
        let mut needs = needs(subjects, presence, gossip.as_ref());
        if refused.access == Access::Publish && subjects.include(&refused.subject) {
            needs.also_publish(&refused.subject);
        }
        access::check(&client, &mut self.events, &second, &needs).await?;
        Ok(())
    }

    /// Sends what is on its way, and closes the connection.
    pub(crate) async fn end(self) {
        drop(self.service);
        self.outbox.close().await;
    }
}

/// Another connection: one that stands, or one for a moment, which ends with the last of its handles.
async fn second(pair: Option<&Pair>, arguments: &ReplicaArgs, id: &ReplicaId) -> Result<Client, RoleError> {
    if let Some(pair) = pair {
        return Ok(pair.second().clone());
    }
    Ok(connect(&arguments.broker, &ConnectionSettings::of_role(format!("replica-{id}-proof")), None).await?)
}

/// Whether a replica can go on without what was refused: service discovery, checks of the broker's servers, or the change
/// feed.
pub(crate) fn is_dispensable(subjects: &Subjects, id: &ReplicaId, denial: &Denial) -> bool {
    match denial.access {
        Access::Subscribe => denial.subject.starts_with("$SRV.") || denial.subject == subjects.proof(id),
        Access::Publish => subjects.include_change(&denial.subject),
    }
}

/// Needs of a replica beside what it has subscribed already.
fn needs(subjects: &Subjects, presence: &Presence, gossip: Option<&Gossip>) -> Needs {
    let id = &presence.id;
    let payload = |encoded: Result<Vec<u8>, _>| encoded.unwrap_or_default().into();
    let mut publishes = vec![(subjects.presence(Role::Replica, id), payload(encode(presence)))];
    publishes.extend(gossip.map(|gossip| (subjects.gossip(id), payload(encode(gossip)))));
    // No other replica listens there.
    let to_itself =
        ["log", "snapshot", "acknowledge"].map(|endpoint| (subjects.replica(id, endpoint), payload(Ok(Vec::new()))));
    publishes.extend(to_itself);
    Needs { role: "replica", own: subjects.proof(id), publishes, replies: REPLIES, ..Needs::default() }
}
