//! The frontend's half of a process: everything around its protocol core but the loop that drives it.
//!
//! A process that is only a frontend drives it in `shell`. A replica that answers clients drives it beside its own half.

mod serving;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures_util::FutureExt;
use natter_broker::access::Events;
use natter_broker::connection::ConnectionEvent;
use natter_broker::moderation::Moderation;
use natter_broker::publisher::Publisher;
use natter_broker::role::RoleError;
use natter_broker::service::Service;
use natter_common::clock::Now;
use natter_common::frontend::{Frontend, Input, Output};
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Status};
use natter_common::subjects::Subjects;
use tokio::task::unconstrained;
use tokio::time::timeout;
use tracing::{Level, enabled, warn};

use crate::attendance::Attendance;
use crate::clients::{Arrival, Clients};
use crate::inbox::{Delivery, Inbox};
use crate::line::{self, Line};
use crate::metrics::{Facts, FrontendMetrics, OF_CLIENTS, OF_REPLICAS};
use crate::outbox::Outbox;
use crate::permits::Permits;
use crate::{FrontendArgs, steps, witness};

/// Maximum time for the last answers that leave by the connection that clients come in by.
const DRAIN: Duration = Duration::from_secs(2);

/// A frontend without its core.
pub struct Half {
    inbox: Inbox,
    events: Events,
    outbox: Outbox,
    clients: Clients,
    service: Service,
    attendance: Attendance,
    /// The connection that clients come in by. Apart from the one to the replicas, so that it can be drained while answers
    /// are still on their way.
    entrance: Client,
    entrance_events: Events,
    /// Whether requests of clients can still come in.
    is_open: bool,
    is_leaving: bool,
    subjects: Subjects,
    permits: Permits,
    moderation: Moderation,
    metrics: Option<Arc<FrontendMetrics>>,
    /// Maximum number of requests that may wait.
    queue_length_max: usize,
}

/// Next work of the loop.
pub enum Gathered {
    /// Something happened to the connection to the replicas.
    Event(ConnectionEvent),
    /// Something happened to the connection that clients come in by.
    EntranceEvent(ConnectionEvent),
    /// Replicas sent these.
    Replicas(FromReplicas),
    /// Clients sent these.
    Clients(FromClients),
    /// Permissions have to be checked, with [`Half::check_permits`].
    Permits,
    /// No client will ever send anything more.
    ClientsEnd,
    /// No replica will ever send anything more.
    ReplicasEnd,
}

/// Messages of replicas that are handled together.
pub struct FromReplicas(Vec<Delivery>);

/// Requests of clients that are handled together.
pub struct FromClients(Vec<Arrival>);

impl Half {
    /// Connects, and waits until the broker is known to hear it and to permit everything. `presence` is how the frontend
    /// shows itself first.
    ///
    /// # Errors
    ///
    /// The broker refuses the connection, or something that a frontend needs.
    pub async fn open(arguments: &FrontendArgs, subjects: &Subjects, presence: &Presence) -> Result<Self, RoleError> {
        let id = presence.id.clone();
        let Line { client, inbox, replies, events, entrance, entrance_events, service, live, siblings, pair } =
            Line::open(arguments, subjects, presence).await?;
        let names = (line::name(&id), line::entrance_name(&id));
        let attendance = Attendance::start(siblings, pair, (names.0, &client), (names.1, &entrance));
        Ok(Self {
            inbox,
            events,
            outbox: Outbox::new(Publisher::new(client), subjects.clone(), id, replies, live),
            clients: Clients::new(entrance.clone()),
            service,
            attendance,
            entrance,
            entrance_events,
            is_open: true,
            is_leaving: false,
            subjects: subjects.clone(),
            permits: Permits::default(),
            moderation: Moderation::default(),
            metrics: None,
            queue_length_max: arguments.options.queue_length as usize,
        })
    }

    /// Counts in `metrics` from now on, as the frontend with this id.
    pub fn measure(&mut self, metrics: Arc<FrontendMetrics>, id: &ReplicaId) {
        metrics.identify(id);
        self.clients.measure(Arc::clone(&metrics));
        self.metrics = Some(metrics);
    }

    /// Its loop does not turn from now on, for this reason: probes are told so.
    pub fn stop_showing(&self, reason: &str) {
        if let Some(metrics) = &self.metrics {
            metrics.wait(reason);
        }
    }

    /// Shows metrics and health, at a tick.
    fn show(&self, core: &Frontend) {
        let Some(metrics) = &self.metrics else { return };
        let publisher = &self.outbox.publisher;
        let facts = Facts {
            missing: self.permits.missing().map(str::to_owned),
            places: self.clients.places(),
            has_served: self.attendance.has_served(),
            pending: core.pending(),
            queue_length_max: self.queue_length_max,
            unsent: publisher.dropped(),
            malformed: self.inbox.malformed() + self.clients.malformed(),
        };
        metrics.show(publisher.client(), &self.entrance, facts);
    }

    /// Waits for what replicas sent, and for what clients sent, each by itself: a tick goes between the two, so that nothing
    /// that replicas sent waits to be read when it comes. Both are cancel safe.
    pub fn gather(&mut self) -> (impl Future<Output = Gathered>, impl Future<Output = Gathered>) {
        let Self { events, entrance_events, inbox, permits, clients, is_open, is_leaving, .. } = self;
        let of_replicas = async move {
            tokio::select! {
                biased;
                Some(event) = events.recv() => Gathered::Event(event),
                Some(event) = entrance_events.recv() => Gathered::EntranceEvent(event),
                batch = inbox.next() => batch.map_or(Gathered::ReplicasEnd, |batch| Gathered::Replicas(FromReplicas(batch))),
            }
        };
        let of_clients = async move {
            tokio::select! {
                biased;
                () = permits.until_due(), if !*is_leaving => Gathered::Permits,
                batch = clients.next(), if *is_open => {
                    batch.map_or(Gathered::ClientsEnd, |batch| Gathered::Clients(FromClients(batch)))
                }
                // A frontend that leaves has closed all of these, and still waits for replicas.
                else => pending().await,
            }
        };
        (of_replicas, of_clients)
    }

    /// Makes inputs of it, and answers to requests that cannot be read.
    pub fn take_in(&mut self, gathered: Gathered, inputs: &mut Vec<Input>, outputs: &mut Vec<Output>) {
        match gathered {
            Gathered::Event(event) => self.hear(event, inputs),
            Gathered::EntranceEvent(event) => self.hear_of_entrance(event),
            Gathered::Replicas(FromReplicas(batch)) => self.read_replicas(batch, inputs),
            Gathered::Clients(FromClients(batch)) => self.read_clients(batch, inputs, outputs),
            Gathered::ClientsEnd => self.is_open = false,
            Gathered::Permits | Gathered::ReplicasEnd => {}
        }
    }

    /// Takes in what has come meanwhile, so that it is handled in the same turn.
    pub fn take_in_what_waits(&mut self, inputs: &mut Vec<Input>, outputs: &mut Vec<Output>) {
        if let Some(batch) = self.inbox.next().now_or_never().flatten() {
            self.read_replicas(batch, inputs);
        }
        if self.is_open
            && let Some(batch) = self.clients.next().now_or_never().flatten()
        {
            self.read_clients(batch, inputs, outputs);
        }
    }

    /// Whether the last turn left something for the next.
    pub fn is_more_left(&self) -> bool {
        self.inbox.is_more_left() || self.clients.is_more_left()
    }

    fn read_clients(&mut self, batch: Vec<Arrival>, inputs: &mut Vec<Input>, outputs: &mut Vec<Output>) {
        for arrival in batch {
            match self.clients.read(arrival) {
                (client, Ok(request)) => inputs.push(Input::Request(client, request)),
                (client, Err(error)) => outputs.push(Output::Answer(client, Err(error))),
            }
        }
    }

    fn read_replicas(&mut self, batch: Vec<Delivery>, inputs: &mut Vec<Input>) {
        for delivery in batch {
            self.inbox.read(delivery, &mut self.outbox.witness, inputs);
            if let Some(Input::Presence(presence)) = inputs.last() {
                if presence.status != Status::Left {
                    self.attendance.heard_replica();
                }
                if let Some(metrics) = &self.metrics {
                    metrics.hear(presence);
                }
            }
        }
    }

    fn hear(&mut self, event: ConnectionEvent, inputs: &mut Vec<Input>) {
        if let Some(metrics) = &self.metrics {
            metrics.connections.hear(OF_REPLICAS, &event);
        }
        match event {
            ConnectionEvent::Connected => {
                self.attendance.connected();
                self.outbox.witness.reconnected();
                self.outbox.publisher.set_connected(true);
                inputs.push(Input::Connected);
            }
            ConnectionEvent::Disconnected => {
                self.attendance.disconnected();
                self.outbox.publisher.set_connected(false);
                inputs.push(Input::Disconnected);
            }
            ConnectionEvent::SlowConsumer { dropped } => {
                warn!(dropped, "messages came faster than they were read; what got no answer is asked again");
            }
            ConnectionEvent::Denied(denial) if denial.subject == witness::LISTS => self.outbox.witness.falls_mute(),
            ConnectionEvent::Denied(denial) => {
                if !line::is_dispensable(&self.subjects, self.outbox.own(), &denial) {
                    self.permits.doubt(denial, false);
                }
            }
        }
    }

    /// While the connection that clients come in by is lost, answers leave by the other one.
    fn hear_of_entrance(&mut self, event: ConnectionEvent) {
        if let Some(metrics) = &self.metrics {
            metrics.connections.hear(OF_CLIENTS, &event);
        }
        match event {
            ConnectionEvent::Connected => {
                self.attendance.entrance_connected();
                self.clients.answer_elsewhere(false);
            }
            ConnectionEvent::Disconnected => {
                self.attendance.entrance_disconnected();
                self.clients.answer_elsewhere(true);
            }
            ConnectionEvent::SlowConsumer { dropped } => {
                warn!(dropped, "requests came faster than they were read and were lost: their clients ask again");
            }
            ConnectionEvent::Denied(denial) => {
                if !line::is_dispensable_at_the_entrance(&self.subjects, self.outbox.own(), &denial) {
                    self.permits.doubt(denial, true);
                }
            }
        }
    }

    /// Logs the inputs of a turn, at level debug.
    pub fn log_inputs(&self, frontend: &ReplicaId, inputs: &[Input]) {
        if enabled!(Level::DEBUG) {
            inputs.iter().for_each(|input| steps::log_input(frontend, input, &self.clients.traces));
        }
    }

    /// Lets the core handle the inputs of a turn, and notes which requests to replicas belong to a trace.
    pub fn step(&mut self, core: &mut Frontend, now: Now, inputs: &mut Vec<Input>, outputs: &mut Vec<Output>) {
        self.clients.traces.step(core, now, inputs, outputs);
    }

    /// Performs and logs all `outputs` of `core`.
    pub async fn perform(&mut self, core: &Frontend, outputs: &mut Vec<Output>) {
        for output in outputs.iter() {
            steps::log_output(core.id(), output, &self.clients.traces, &mut self.moderation);
        }
        if let Some(metrics) = &self.metrics {
            outputs.iter().for_each(|output| metrics.count_output(output));
        }
        // It gives way only where the connection takes no more.
        unconstrained(self.outbox.perform(outputs, core.cluster(), &mut self.clients)).await;
    }

    /// Takes no more requests but those that are on their way. The core has said LEFT by now.
    pub async fn close_entrance(&mut self) {
        self.is_leaving = true;
        self.attendance.end();
        self.clients.answer_elsewhere(true);
        // Answers given through the entrance so far are sent before it is drained.
        let _ = timeout(DRAIN, self.entrance.flush()).await;
        let _ = timeout(DRAIN, self.entrance.drain()).await;
        self.is_open &= self.clients.places() > 0;
    }

    /// Whether requests of clients can still come in.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The last messages.
    pub async fn end(self) {
        let Self { outbox, service, .. } = self;
        drop(service);
        outbox.publisher.close().await;
    }
}
