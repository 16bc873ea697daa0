//! The loop: everything that waits is handled in one batch, and what goes to one replica manager goes in one message.

use std::future::Future;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::service::Service;
use async_nats::{Client, Subscriber};
use futures_util::stream::ReadyChunks;
use futures_util::{FutureExt, StreamExt};
use natter_broker::access::{self, AccessError, Events, RETRY, RETRY_LIMIT};
use natter_broker::clocks::Clocks;
use natter_broker::connection::{ConnectionEvent, Denial};
use natter_broker::moderation::Moderation;
use natter_broker::publisher::{Publisher, within};
use natter_broker::pulse::{Pulse, TICK};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::messages::Status;
use natter_common::subjects::Subjects;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, timeout};
use tracing::{Level, enabled, info, warn};

use crate::attendance::Attendance;
use crate::clients::{Arrival, Clients};
use crate::inbox::{Delivery, Inbox};
use crate::line::{self, Line};
use crate::outbox::Outbox;
use crate::permits::Permits;
use crate::sides::{Change, Side};
use crate::{FrontendArgs, FrontendError, steps, witness};

/// How long the last messages may take.
const DRAIN: Duration = Duration::from_secs(2);
/// Time for a command to a connection. It waits where the connection is lost and much is to be sent.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum presence messages of the second connection that are read together. The rest waits for the next turn.
const OVERHEARD_MAX: usize = 1024;

/// A frontend with everything around it.
struct Shell {
    core: Frontend,
    clocks: Clocks,
    inbox: Inbox,
    events: Events,
    outbox: Outbox,
    clients: Clients,
    service: Service,
    attendance: Attendance,
    /// The connection that clients come in by. Apart from the one to the replica managers, so that it can be drained
    /// while answers are still on their way.
    entrance: Client,
    entrance_events: Events,
    /// Presence of replicas on that connection.
    overheard: ReadyChunks<Subscriber>,
    subjects: Subjects,
    permits: Permits,
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
    let Line { client, inbox, replies, events, entrance, entrance_events, service, overheard, live, siblings } = line;
    let attendance = Attendance::start(siblings, (line::name(&id), &client), (line::entrance_name(&id), &entrance));
    let shell = Shell {
        core,
        clocks,
        inbox,
        events,
        outbox: Outbox::new(Publisher::new(client), subjects.clone(), id, replies, live),
        clients: Clients::new(entrance.clone()),
        service,
        attendance,
        entrance,
        entrance_events,
        overheard: overheard.ready_chunks(OVERHEARD_MAX),
        subjects,
        permits: Permits::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        moderation: Moderation::default(),
    };
    shell.run(shutdown, arguments.timeout).await
}

impl Shell {
    async fn run(mut self, shutdown: impl Future<Output = ()>, farewell: Duration) -> Result<(), FrontendError> {
        tokio::pin!(shutdown);
        let mut pulse = Pulse::start();
        loop {
            let mut has_ticked = false;
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
                () = pulse.tick() => {
                    has_ticked = true;
                    self.inputs.push(Input::Tick { listened: true });
                }
                () = self.permits.until_due() => {
                    let checked = tokio::select! {
                        biased;
                        () = &mut shutdown => break,
                        checked = timeout(RETRY_LIMIT, self.check_permits()) => checked,
                    };
                    self.judge(checked.unwrap_or(Err(AccessError::Silent { role: "frontend" }.into())));
                }
                Some(presence) = self.overheard.next() => for message in presence {
                    self.attendance.overheard_replica(Subjects::last_token(&message.subject));
                },
                arrivals = self.clients.next() => match arrivals {
                    Some(arrivals) => self.read(arrivals),
                    None => break,
                },
            }
            self.read_what_waits(&mut pulse);
            self.handle_batch().await;
            if has_ticked {
                self.outbox.ask_about_the_silent().await;
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    attended = self.attend() => attended?,
                }
            }
            if self.inbox.is_more_left() || self.clients.is_more_left() {
                yield_now().await;
            }
        }
        self.leave(pulse, farewell).await;
        Ok(())
    }

    /// Checks what the broker permits, and subscribes anew what it took away.
    async fn check_permits(&mut self) -> Result<(), FrontendError> {
        let client = self.outbox.publisher.client().clone();
        let has_lost = self.permits.lost_subscriptions();
        if has_lost {
            let inbox = Inbox::subscribe(&client, &self.subjects, self.outbox.replies()).await;
            self.inbox = inbox.map_err(|error| FrontendError::Subscribe(error.into()))?;
        }
        let mut needs = line::needs(&self.subjects, &self.core.presence(self.clocks.now()));
        self.permits.add_refused(&mut needs);
        access::check(&client, &mut self.events, &self.entrance, &needs).await?;
        if has_lost {
            // What replicas sent meanwhile was not heard.
            self.inputs.extend([Input::Disconnected, Input::Connected]);
            if self.clients.places() > 0 {
                self.clients.renew_place(&self.service, &self.subjects).await.map_err(FrontendError::Subscribe)?;
            }
        }
        Ok(())
    }

    fn judge(&mut self, checked: Result<(), FrontendError>) {
        match checked {
            Ok(()) => {
                if self.permits.are_complete() {
                    info!(frontend = %self.core.id(), "the broker permits everything again: goes on");
                }
            }
            Err(FrontendError::Access(error)) if error.is_refusal() => self.suspend(&error),
            // The broker did not answer: nothing is known of its permissions.
            Err(_) => self.permits.remain_unknown(),
        }
    }

    /// Takes no more requests until the broker permits everything that a frontend needs.
    fn suspend(&mut self, error: &AccessError) {
        if self.permits.lack(error.to_string()) {
            let every_s = RETRY.as_secs();
            warn!(frontend = %self.core.id(), "stops serving, keeps its state and tries again every {every_s} s: {error}");
        }
        self.clients.keep_places(0);
        self.core.stop_serving();
    }

    /// Takes part in the queue group while replicas are heard, and only then: requests that are handed to a frontend which
    /// hears none are lost to the others.
    async fn attend(&mut self) -> Result<(), FrontendError> {
        let now = Instant::now();
        self.attendance.tick(now);
        if !self.permits.suffice() {
            return Ok(());
        }
        if self.attendance.takes_a_hop(now) {
            warn!(frontend = %self.core.id(), "hears no replica: tries another server of the broker");
            let _ = within(COMMAND_TIMEOUT, self.outbox.publisher.client().force_reconnect()).await;
        }
        if let Some(change) = self.attendance.leaves_a_side(now) {
            let (what, which) = match change {
                Change::Hop(Side::Replicas) => ("the connection to the replicas tries another server", [true, false]),
                Change::Hop(Side::Entrance) => ("the connection of clients tries another server", [false, true]),
                Change::Exchange => ("its two connections exchange their servers", [true; 2]),
            };
            warn!(frontend = %self.core.id(), "hears different replicas at two servers of the broker: {what}");
            for (_, client) in which.iter().zip([self.outbox.publisher.client(), &self.entrance]).filter(|(is, _)| **is)
            {
                let _ = within(COMMAND_TIMEOUT, client.force_reconnect()).await;
            }
        }
        match (self.clients.places(), self.attendance.places(now)) {
            (taken, 0) => {
                let is_ready = self.core.is_ready(self.clocks.now());
                if taken > 0 {
                    self.clients.keep_places(0);
                    self.core.stop_serving();
                }
                if (taken > 0 || is_ready) && self.attendance.says_deaf() {
                    warn!(frontend = %self.core.id(), "hears no replica: takes no requests until it does");
                }
            }
            (0, _) if self.attendance.has_served() => {
                self.take_places(1).await?;
                self.serve();
            }
            (0, _) if self.core.is_ready(self.clocks.now()) => self.open().await?,
            (0, _) => {}
            (taken, wanted) if taken < wanted => self.take_places(wanted).await?,
            (_, wanted) => self.clients.keep_places(wanted),
        }
        Ok(())
    }

    async fn take_places(&mut self, places: usize) -> Result<(), FrontendError> {
        while self.clients.places() < places && self.entrance.connection_state() == State::Connected {
            match within(COMMAND_TIMEOUT, self.clients.take_place(&self.service, &self.subjects)).await {
                Ok(taken) => taken.map_err(FrontendError::Subscribe)?,
                Err(_) => break, // the connection takes nothing now: tried again at the next tick
            }
        }
        Ok(())
    }

    /// Serves clients for the first time, once the broker is known to hear it.
    async fn open(&mut self) -> Result<(), FrontendError> {
        self.clients.take_place(&self.service, &self.subjects).await.map_err(FrontendError::Subscribe)?;
        let needs = line::entrance_needs(&self.subjects, self.core.id());
        access::check(&self.entrance, &mut self.entrance_events, self.outbox.publisher.client(), &needs).await?;
        self.serve();
        Ok(())
    }

    fn serve(&mut self) {
        if self.clients.places() == 0 {
            return; // its connection takes nothing now: tried again at the next tick
        }
        self.core.serve();
        let again = if self.attendance.serves() { " again" } else { "" };
        info!(frontend = %self.core.id(), "serves{again}");
    }

    fn read(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            match self.clients.read(arrival) {
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
        if let Some(arrivals) = self.clients.next().now_or_never().flatten() {
            self.read(arrivals);
        }
    }

    fn read_inbox(&mut self, batch: Vec<Delivery>, pulse: &mut Pulse) {
        for delivery in batch {
            self.inbox.read(delivery, &mut self.outbox.witness, &mut self.inputs);
            if let Some(Input::Presence(presence)) = self.inputs.last()
                && presence.status != Status::Left
            {
                self.attendance.heard_replica(presence.id.as_str());
            }
        }
        if pulse.is_overdue() {
            self.inputs.push(Input::Tick { listened: false });
        }
    }

    fn hear(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Connected => {
                self.attendance.connected();
                self.outbox.witness.reconnected();
                self.outbox.publisher.set_connected(true);
                self.inputs.push(Input::Connected);
            }
            ConnectionEvent::Disconnected => {
                self.attendance.disconnected();
                self.outbox.publisher.set_connected(false);
                self.inputs.push(Input::Disconnected);
            }
            ConnectionEvent::SlowConsumer { dropped } => {
                warn!(dropped, "messages came faster than they were read; what got no answer is asked again");
            }
            ConnectionEvent::Denied(denial) if denial.subject == witness::LISTS => self.outbox.witness.falls_mute(),
            ConnectionEvent::Denied(denial) => {
                if !line::is_dispensable(&self.subjects, &denial) {
                    self.permits.doubt(denial, false);
                }
            }
        }
    }

    /// While the connection that clients come in by is lost, answers leave by the other one.
    fn hear_of_entrance(&mut self, event: ConnectionEvent) {
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
            ConnectionEvent::Denied(Denial { subject, .. }) if subject.starts_with("$SRV.") => {}
            ConnectionEvent::Denied(denial) => self.permits.doubt(denial, true),
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
        self.clients.answer_elsewhere(true);
        // What was answered by the entrance so far is on its way before it is drained.
        let _ = timeout(DRAIN, self.entrance.flush()).await;
        let _ = timeout(DRAIN, self.entrance.drain()).await;
        let deadline = Instant::now() + farewell + TICK;
        let mut open = self.clients.places() > 0;
        while (open || self.core.pending() > 0) && Instant::now() < deadline {
            tokio::select! {
                arrivals = self.clients.next(), if open => match arrivals {
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
