//! Waiting until all frontends and replica managers serve, by what they show of themselves.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use natter_broker::ask::{WrongAnswer, ask};
use natter_broker::connection::{ConnectionEvent, ConnectionSettings, Denial, Patience, connect};
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Presence, Role, StatusReply, StatusRequest};
use natter_common::subjects::Subjects;
use natter_common::wire::{Format, encode};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::Broker;
use crate::error::ClusterError;
use crate::log_file;
use crate::members::Member;
use crate::notices::tell;
use crate::refusals::Refusals;
use crate::sites::Site;

/// Maximum time for a broker that should be running to answer.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);
/// Maximum time for a replica to answer.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);
/// Interval at which to check whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Interval of notices that name the members that are not ready.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// Receives the presence of frontends and replicas, at the broker of each site.
pub(crate) struct Lookout {
    subjects: Subjects,
    // Connections live as long as their subscriptions.
    clients: Vec<Client>,
    presence: SelectAll<Subscriber>,
    events: UnboundedReceiver<ConnectionEvent>,
}

impl Lookout {
    /// Connects and subscribes.
    pub(crate) async fn connect(broker: &Broker) -> Result<Self, ClusterError> {
        let prefix = &broker.options().prefix;
        let subjects =
            Subjects::new(prefix).ok_or_else(|| ClusterError::Subscribe(format!("\"{prefix}\" is not a prefix")))?;
        let (sender, events) = unbounded_channel();
        let mut lookout = Self { subjects, clients: Vec::new(), presence: SelectAll::new(), events };
        for site in broker.sites() {
            let patience = Patience::GiveUpAfter(BROKER_PATIENCE);
            let settings = ConnectionSettings { name: "cluster".to_owned(), no_echo: true, patience };
            let client = connect(broker.options_at(*site), &settings, Some(sender.clone())).await?;
            let failed = |error: async_nats::SubscribeError| ClusterError::Subscribe(error.to_string());
            for role in [Role::Frontend, Role::Replica] {
                let presence = client.subscribe(lookout.subjects.all_presence(role)).await.map_err(failed)?;
                lookout.presence.push(presence);
            }
            lookout.clients.push(client);
        }
        Ok(lookout)
    }

    /// Waits until all members are ready. It is an error if a member ends meanwhile, or is not ready in time.
    pub(crate) async fn wait_until_ready(
        &mut self,
        members: &mut [Member],
        within: Duration,
    ) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut told = started;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refusals = Refusals::default();
        while refusals.is_any() || !members.iter().all(Member::is_ready) {
            tokio::select! {
                presence = next_presence(&mut self.presence) => {
                    for member in &mut *members {
                        member.notice(&presence);
                    }
                }
                denial = next_denial(&mut self.events) => refusals.add(denial),
                _ = look.tick() => {
                    if let Some(mut ended) = members.iter_mut().find_map(Member::newly_ended) {
                        ended.log.complete().await;
                        let last_words = log_file::last_words(ended.log.path());
                        let error = ClusterError::EndedEarly { what: ended.what, how: ended.how, last_words };
                        if !refusals.explain(&error) {
                            return Err(error);
                        }
                    }
                    if let Some(error) = refusals.are_complete(members) {
                        return Err(error);
                    }
                    let waiting = || {
                        let not_ready = members.iter().filter(|member| !member.is_ready());
                        not_ready.map(Member::state).collect::<Vec<_>>().join(", ")
                    };
                    if started.elapsed() >= within {
                        return Err(ClusterError::NotReady { waited: within, waiting: waiting() });
                    }
                    if told.elapsed() >= TELL_EVERY {
                        told = Instant::now();
                        tell(&format!("waiting for {}", waiting()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The next presence message that can be read. Nothing is lost where this is dropped.
    pub(crate) async fn next(&mut self) -> Presence {
        next_presence(&mut self.presence).await
    }

    /// Sets the mode of a replica, and returns its answer, or in words why there is none.
    pub(crate) async fn set_mode(&self, site: Site, id: &ReplicaId, mode: Mode) -> Result<StatusReply, String> {
        let Some(client) = self.clients.get(site.index()) else { return Err(format!("{site} is unknown")) };
        let request = encode(&StatusRequest { mode: Some(mode) }).map_err(|error| error.to_string())?;
        let read = |message: &async_nats::Message| {
            let payload = &message.payload;
            Format::of(payload).decode(payload).map_err(|error| WrongAnswer::of(message, &error))
        };
        let subject = self.subjects.replica(id, "status");
        let answered = ask(client, subject, request.into(), REPLICA_PATIENCE, None, read).await;
        answered.map_err(|error| error.to_string())
    }
}

async fn next_presence(presence: &mut SelectAll<Subscriber>) -> Presence {
    while let Some(message) = presence.next().await {
        if let Ok(presence) = Format::of(&message.payload).decode(&message.payload) {
            return presence;
        }
    }
    std::future::pending().await
}

/// The next refusal of the broker; none after the connection has ended.
async fn next_denial(events: &mut UnboundedReceiver<ConnectionEvent>) -> Denial {
    while let Some(event) = events.recv().await {
        if let ConnectionEvent::Denied(denial) = event {
            return denial;
        }
    }
    std::future::pending().await
}
