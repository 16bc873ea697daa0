//! The loop: everything that waits is handled in one batch, and what goes to one replica manager goes in one message.

use std::future::Future;
use std::time::Duration;

use async_nats::Client;
use async_nats::service::Service;
use futures_util::FutureExt;
use natter_broker::access;
use natter_broker::clocks::Clocks;
use natter_broker::connection::ConnectionEvent;
use natter_broker::moderation::Moderation;
use natter_broker::publisher::Publisher;
use natter_broker::pulse::{Pulse, TICK};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::subjects::Subjects;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, timeout};
use tracing::{Level, enabled, info, warn};

use crate::clients::{Arrival, Clients};
use crate::inbox::{Delivery, Inbox};
use crate::line::{self, Line};
use crate::outbox::Outbox;
use crate::{FrontendArgs, FrontendError, steps};

/// How long the last messages may take.
const DRAIN: Duration = Duration::from_secs(2);

/// A frontend with everything around it.
struct Shell {
    core: Frontend,
    clocks: Clocks,
    inbox: Inbox,
    events: UnboundedReceiver<ConnectionEvent>,
    outbox: Outbox,
    /// The service, from the moment on when there is somebody to ask.
    clients: Option<Clients>,
    service: Service,
    /// The connection that clients come in by. Apart from the one to the replica managers, so that it can be drained
    /// while answers are still on their way.
    entrance: Client,
    entrance_events: UnboundedReceiver<ConnectionEvent>,
    subjects: Subjects,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    moderation: Moderation,
}

/// Runs a frontend until `shutdown`.
pub async fn run(arguments: FrontendArgs, shutdown: impl Future<Output = ()>) -> Result<(), FrontendError> {
    let id = arguments.new_id()?;
    let subjects = Subjects::new(&arguments.broker.prefix)
        .ok_or_else(|| FrontendError::Prefix(arguments.broker.prefix.clone()))?;
    let clocks = Clocks::start();
    let config = Config {
        id: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fault_tolerance: arguments.fault_tolerance,
        strict: arguments.strict,
        timeout_ms: arguments.timeout.as_millis() as u64,
        queue_length_max: arguments.queue_length as usize,
        seed: fastrand::u64(..),
    };
    let core = Frontend::new(config, clocks.now());
    tokio::pin!(shutdown);
    let presence = core.presence(clocks.now());
    let line = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        line = Line::open(&arguments, &subjects, &presence) => line?,
    };
    let Line { client, inbox, replies, events, entrance, entrance_events, service, live } = line;
    let shell = Shell {
        core,
        clocks,
        inbox,
        events,
        outbox: Outbox::new(Publisher::new(client), subjects.clone(), id, replies, live),
        clients: None,
        service,
        entrance,
        entrance_events,
        subjects,
        inputs: Vec::new(),
        outputs: Vec::new(),
        moderation: Moderation::default(),
    };
    shell.serve(shutdown, arguments.timeout).await
}

impl Shell {
    async fn serve(mut self, shutdown: impl Future<Output = ()>, farewell: Duration) -> Result<(), FrontendError> {
        tokio::pin!(shutdown);
        let mut pulse = Pulse::start();
        loop {
            if self.clients.is_none() && self.core.is_ready(self.clocks.now()) {
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    opened = self.open() => opened?,
                }
            }
            // In this order: when it ticks, nothing that replicas sent waits to be read.
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(event) = self.events.recv() => self.hear(event),
                Some(event) = self.entrance_events.recv() => self.hear_of_entrance(event),
                batch = self.inbox.next() => match batch {
                    Some(batch) => self.read_inbox(batch, &mut pulse),
                    None => break,
                },
                () = pulse.tick() => self.inputs.push(Input::Tick { listened: true }),
                arrivals = next_arrivals(&mut self.clients) => match arrivals {
                    Some(arrivals) => self.read(arrivals),
                    None => break,
                },
            }
            self.read_what_waits(&mut pulse);
            self.handle_batch().await;
            if self.inbox.is_more_left() || self.clients.as_ref().is_some_and(Clients::is_more_left) {
                yield_now().await;
            }
        }
        self.leave(pulse, farewell).await;
        Ok(())
    }

    /// Serves clients from now on, and shows it once the broker knows.
    async fn open(&mut self) -> Result<(), FrontendError> {
        let clients = Clients::serve(self.entrance.clone(), &self.service, &self.subjects)
            .await
            .map_err(FrontendError::Subscribe)?;
        let needs = line::entrance_needs(&self.subjects, self.core.id());
        access::check(&self.entrance, &mut self.entrance_events, self.outbox.publisher.client(), &needs).await?;
        self.clients = Some(clients);
        self.core.serve();
        info!(frontend = %self.core.id(), "serves");
        Ok(())
    }

    fn read(&mut self, arrivals: Vec<Arrival>) {
        let Some(clients) = &mut self.clients else { return };
        for arrival in arrivals {
            match clients.read(arrival) {
                (client, Ok(request)) => self.inputs.push(Input::Request(client, request)),
                (client, Err(error)) => self.outputs.push(Output::Answer(client, Err(error))),
            }
        }
    }

    /// Whatever has come meanwhile is handled in the same batch.
    fn read_what_waits(&mut self, pulse: &mut Pulse) {
        if let Some(batch) = self.inbox.next().now_or_never().flatten() {
            self.read_inbox(batch, pulse);
        }
        if let Some(arrivals) = next_arrivals(&mut self.clients).now_or_never().flatten() {
            self.read(arrivals);
        }
    }

    fn read_inbox(&mut self, batch: Vec<Delivery>, pulse: &mut Pulse) {
        for delivery in batch {
            self.inbox.read(delivery, &mut self.inputs);
        }
        if pulse.is_overdue() {
            self.inputs.push(Input::Tick { listened: false });
        }
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
                warn!(dropped, "messages came faster than they were read; what got no answer is asked again");
            }
            ConnectionEvent::Denied(_) => {}
        }
    }

    fn hear_of_entrance(&mut self, event: ConnectionEvent) {
        if let ConnectionEvent::SlowConsumer { dropped } = event {
            warn!(dropped, "requests came faster than they were read and were lost: their clients ask again");
        }
    }

    async fn handle_batch(&mut self) {
        let now = self.clocks.now();
        if enabled!(Level::DEBUG) {
            for input in &self.inputs {
                steps::log_input(self.core.id(), input);
            }
        }
        self.core.step(now, self.inputs.drain(..), &mut self.outputs);
        for output in &self.outputs {
            steps::log_output(self.core.id(), output, &mut self.moderation);
        }
        // It gives way only where the connection takes no more.
        let cluster = self.core.cluster();
        unconstrained(self.outbox.perform(&mut self.outputs, cluster, &mut self.clients)).await;
    }

    /// LEFT first, then no more requests, then the answers to those that came, then the last messages.
    async fn leave(mut self, mut pulse: Pulse, farewell: Duration) {
        info!(frontend = %self.core.id(), prev = %self.core.prev(), "leaves");
        self.core.leave(self.clocks.now(), &mut self.outputs);
        self.handle_batch().await;
        if let Some(clients) = &mut self.clients {
            clients.leave();
        }
        // What was answered by the entrance so far is on its way before it is drained.
        let _ = timeout(DRAIN, self.entrance.flush()).await;
        let _ = timeout(DRAIN, self.entrance.drain()).await;
        let deadline = Instant::now() + farewell + TICK;
        let mut open = self.clients.is_some();
        while (open || self.core.pending() > 0) && Instant::now() < deadline {
            tokio::select! {
                arrivals = next_arrivals(&mut self.clients), if open => match arrivals {
                    Some(arrivals) => self.read(arrivals),
                    None => open = false,
                },
                Some(batch) = self.inbox.next() => self.read_inbox(batch, &mut pulse),
                () = pulse.tick() => self.inputs.push(Input::Tick { listened: true }),
            }
            self.handle_batch().await;
        }
        let client = self.outbox.publisher.client().clone();
        let last = async {
            let _ = self.service.stop().await;
            let _ = client.flush().await;
            let _ = client.drain().await;
        };
        // Nothing is lost where the broker is gone: clients ask again.
        let _ = timeout(DRAIN, last).await;
    }
}

/// The next requests; none before the service is open.
async fn next_arrivals(clients: &mut Option<Clients>) -> Option<Vec<Arrival>> {
    match clients {
        Some(clients) => clients.next().await,
        None => std::future::pending().await,
    }
}
