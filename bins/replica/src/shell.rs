//! The loop: everything that waits is handled in one batch, committed, and only then answered.

use std::future::Future;
use std::time::Duration;

use async_nats::service::Service;
use futures_util::StreamExt;
use natter_broker::clocks::Clocks;
use natter_broker::connection::{ConnectError, ConnectionEvent, ConnectionSettings, Patience, connect};
use natter_broker::live::Live;
use natter_broker::moderation::Moderation;
use natter_broker::publisher::{NoRoundTrip, Publisher, round_trip};
use natter_broker::pulse::Pulse;
use natter_common::replica_manager::{Config, Input, Output, ReplicaManager};
use natter_common::subjects::Subjects;
use natter_common::value::ValueError;
use natter_database::{DataError, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::inbox::{self, Inbox};
use crate::outbox::Outbox;
use crate::{ReplicaArgs, steps};

/// After LEFT, requests that were on their way are still answered for so long.
const FAREWELL: Duration = Duration::from_millis(300);
/// How long the last messages may take.
const DRAIN: Duration = Duration::from_secs(2);
/// How often requests that nobody will answer are looked for, in ticks.
const SWEEP_TICKS: u64 = 500;

/// Why a replica manager does not run.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The name does not make an id.
    #[error("--name: {0}")]
    Id(#[source] natter_common::ids::IdError),
    /// The data set cannot be read.
    #[error("--database: {0}")]
    Data(#[source] DataError),
    /// The subject prefix is not one.
    #[error("--prefix: {0:?} is not tokens of A-Z a-z 0-9 _ - joined by dots")]
    Prefix(String),
    /// The broker is not to be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker did not take the subscriptions.
    #[error("the broker did not take the subscriptions: {0}")]
    Subscribe(async_nats::Error),
    /// The broker did not answer.
    #[error(transparent)]
    NoRoundTrip(#[from] NoRoundTrip),
    /// The store failed: nothing more is acknowledged.
    #[error(transparent)]
    Store(#[from] ValueError),
    /// It must not run here.
    #[error("{0}")]
    Stopped(String),
}

/// A replica manager with everything around it.
struct Shell {
    core: ReplicaManager,
    store: Store,
    clocks: Clocks,
    inbox: Inbox,
    outbox: Outbox,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    moderation: Moderation,
    /// The greatest batch since the last tick: how many messages waited.
    queue_length: usize,
}

/// Runs a replica manager until `shutdown`.
pub async fn run(arguments: ReplicaArgs, shutdown: impl Future<Output = ()>) -> Result<(), ReplicaError> {
    let id = arguments.new_id()?;
    let subjects =
        Subjects::new(&arguments.broker.prefix).ok_or_else(|| ReplicaError::Prefix(arguments.broker.prefix.clone()))?;
    let store = Store::open(&arguments.source()?).map_err(ReplicaError::Data)?;
    let dataset = store.fingerprint().to_string();
    let counts = store.counts();
    info!(replica = %id, movies = counts.movies, ratings = counts.ratings, %dataset, "loaded the data set");

    let (events_sender, events) = unbounded_channel();
    let settings = ConnectionSettings { name: format!("replica-{id}"), no_echo: true, patience: Patience::Forever };
    tokio::pin!(shutdown);
    let client = tokio::select! {
        client = connect(&arguments.broker, &settings, Some(events_sender)) => client?,
        () = &mut shutdown => return Ok(()),
    };
    let live = Live::default();
    let service = inbox::start_service(&client, &id, &dataset, live.clone()).await.map_err(ReplicaError::Subscribe)?;
    let pull_replies = client.new_inbox();
    let inbox =
        inbox::subscribe(&client, &service, &subjects, &id, &pull_replies).await.map_err(ReplicaError::Subscribe)?;
    round_trip(&client, subjects.replica(&id, "nobody")).await?;

    let clocks = Clocks::start();
    let config = Config {
        id: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dataset,
        mode: arguments.status,
        gossip_interval_ms: arguments.gossip_interval.as_millis() as u64,
        forget_after_ms: arguments.forget_after.as_millis() as u64,
        seed: fastrand::u64(..),
    };
    info!(replica = %id, "joins");
    let shell = Shell {
        core: ReplicaManager::new(config, clocks.now()),
        store,
        clocks,
        inbox,
        outbox: Outbox::new(Publisher::new(client), subjects, id, pull_replies, live),
        inputs: Vec::new(),
        outputs: Vec::new(),
        moderation: Moderation::default(),
        queue_length: 0,
    };
    shell.serve(service, events, shutdown).await
}

impl Shell {
    async fn serve(
        mut self,
        service: Service,
        mut events: UnboundedReceiver<ConnectionEvent>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ReplicaError> {
        tokio::pin!(shutdown);
        let mut pulse = Pulse::start();
        let mut ticks = 0u64;
        loop {
            // In this order: when it ticks, nothing that other replicas sent waits to be read.
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(event) = events.recv() => self.hear(event),
                batch = self.inbox.gossip.next() => {
                    let Some(batch) = batch else { break };
                    self.read(batch).await;
                    if pulse.is_overdue() {
                        self.tick(false);
                    }
                }
                () = pulse.tick() => {
                    self.tick(true);
                    ticks += 1;
                    if ticks.is_multiple_of(SWEEP_TICKS) {
                        self.inbox.sweep();
                    }
                }
                batch = self.inbox.requests.next() => {
                    let Some(batch) = batch else { break };
                    self.queue_length = self.queue_length.max(batch.len());
                    self.read(batch).await;
                }
            }
            self.handle_batch().await?;
        }
        self.leave(service).await
    }

    async fn read(&mut self, batch: Vec<inbox::Delivery>) {
        for delivery in batch {
            self.inbox.read(delivery, &mut self.inputs).await;
        }
    }

    fn tick(&mut self, listened: bool) {
        self.inputs.push(Input::Tick { queue_length: std::mem::take(&mut self.queue_length), listened });
    }

    fn hear(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Connected => {
                self.outbox.publisher.set_connected(true);
                self.inputs.push(Input::Connected);
            }
            ConnectionEvent::Disconnected => {
                self.outbox.publisher.set_connected(false);
                self.inputs.push(Input::Disconnected);
            }
            ConnectionEvent::SlowConsumer { dropped } => {
                warn!(dropped, "messages came faster than they were read; gossip that was lost is pulled");
            }
        }
    }

    /// Handles all inputs in one transaction; what they ask for happens after it.
    async fn handle_batch(&mut self) -> Result<(), ReplicaError> {
        let now = self.clocks.now();
        self.store.begin()?;
        for input in self.inputs.drain(..) {
            steps::log_input(self.core.id(), &input);
            self.core.step(now, input, &mut self.store, &mut self.outputs)?;
        }
        self.store.commit()?;
        self.core.flush(now, &mut self.store, &mut self.outputs);
        self.perform().await
    }

    async fn perform(&mut self) -> Result<(), ReplicaError> {
        for output in &self.outputs {
            steps::log_output(self.core.id(), output, &mut self.moderation);
        }
        self.outbox.perform(&mut self.outputs, &mut self.inbox).await.map_err(ReplicaError::Stopped)
    }

    /// LEFT first, then what was on its way, then the last messages.
    async fn leave(mut self, service: Service) -> Result<(), ReplicaError> {
        info!(replica = %self.core.id(), value_timestamp = %self.core.value_timestamp(), "leaves");
        self.core.leave(self.clocks.now(), &mut self.store, &mut self.outputs);
        self.perform().await?;
        let farewell = tokio::time::sleep(FAREWELL);
        tokio::pin!(farewell);
        loop {
            tokio::select! {
                Some(batch) = self.inbox.gossip.next() => self.read(batch).await,
                Some(batch) = self.inbox.requests.next() => self.read(batch).await,
                () = &mut farewell => break,
                else => break,
            }
            self.handle_batch().await?;
        }
        let client = self.outbox.publisher.client().clone();
        let last = async {
            let _ = service.stop().await;
            let _ = client.flush().await;
            let _ = client.drain().await;
        };
        // Nothing is lost where the broker is gone: what was acknowledged is held by others.
        let _ = timeout(DRAIN, last).await;
        Ok(())
    }
}
