//! The loop: everything that waits is handled in one turn. Messages that tell of a durable store leave when the disk
//! has the commit. The loop goes on meanwhile, and the changes until then are the next commit.

mod ending;

use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::OptionFuture;
use natter_broker::access::{Events, RETRY};
use natter_broker::clocks::Clocks;
use natter_broker::connection::{ConnectionEvent, Denial};
use natter_broker::moderation::Moderation;
use natter_broker::pulse::Pulse;
use natter_broker::service::Service;
use natter_common::colocated::Outputs;
use natter_common::messages::Status;
use natter_common::replica_manager::Input;
use natter_common::value::ValueError;
use natter_database::Store;
use tokio::task::{unconstrained, yield_now};
use tokio::time::Instant;
use tracing::warn;

use crate::core::Core;
use crate::disk::{Disk, SECOND_TICKS};
use crate::entrance::Entrance;
use crate::inbox::{self, Inbox};
use crate::line::{Line, is_dispensable};
use crate::metrics::Timed;
use crate::outbox::Outbox;
use crate::steps;

use ending::Stop;
pub(crate) use ending::{End, Remains};

/// A replica with everything around it.
pub(crate) struct Shell {
    core: Core,
    /// Its frontend half, where it answers clients.
    entrance: Option<Entrance>,
    disk: Disk,
    clocks: Clocks,
    inbox: Inbox,
    outbox: Outbox,
    inputs: Vec<Input>,
    outputs: Outputs,
    service: Service,
    events: Events,
    /// Something needed that the broker refused. It is checked at most once in [`RETRY`], as a refused reply may only have
    /// come too late to be permitted.
    denial: Option<Denial>,
    started: Instant,
    moderation: Moderation,
    pulse: Pulse,
    ticks: u64,
    /// The greatest batch since the last tick: how many messages waited.
    queue_length: usize,
}

/// An event for the loop.
enum Gathered {
    Event(ConnectionEvent),
    Gossip(Vec<inbox::Delivery>),
    Requests(Vec<inbox::Delivery>),
    Tick,
    Entrance(natter_frontend::half::Gathered),
    TimeToMerge,
    /// The disk has the commit that was under way, or failed.
    Synced(Result<(), ValueError>),
    /// Nothing more, ever.
    End,
}

impl Shell {
    pub(crate) fn new(core: Core, entrance: Option<Entrance>, store: Store, clocks: Clocks, line: Line) -> Self {
        let Line { inbox, outbox, service, events } = line;
        Self {
            core,
            entrance,
            disk: Disk::new(store),
            clocks,
            inbox,
            outbox,
            inputs: Vec::new(),
            outputs: Outputs::default(),
            service,
            events,
            denial: None,
            started: Instant::now(),
            moderation: Moderation::default(),
            pulse: Pulse::start(),
            ticks: 0,
            queue_length: 0,
        }
    }

    async fn serve_until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Stop> {
        tokio::pin!(shutdown);
        loop {
            let gathered = tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                gathered = self.gather() => gathered,
            };
            let has_ticked = matches!(gathered, Gathered::Tick);
            let taken = match gathered {
                // Its end must not get lost.
                Gathered::Synced(_) => self.take_in(gathered).await?,
                _ => tokio::select! {
                    biased;
                    () = &mut shutdown => return Ok(()),
                    taken = self.take_in(gathered) => taken?,
                },
            };
            if !taken {
                return Ok(());
            }
            self.take_in_what_waits().await?;
            self.handle_turn().await?;
            if has_ticked {
                self.show();
            }
            if has_ticked && let (Core::Colocated(core), Some(entrance)) = (&mut self.core, &mut self.entrance) {
                tokio::select! {
                    biased;
                    () = &mut shutdown => return Ok(()),
                    attended = entrance.attend(core, &self.clocks) => attended.map_err(Stop::Entrance)?,
                }
            }
            if self.denial.is_some()
                && self.started.elapsed() >= RETRY
                && let Some(denial) = self.denial.take()
            {
                return Err(Stop::Denied(denial));
            }
            let is_more_left = self.entrance.as_ref().is_some_and(Entrance::is_more_left);
            if is_more_left || self.inbox.gossip.is_more_left() || self.inbox.requests.is_more_left() {
                yield_now().await;
            }
        }
    }

    /// Takes in all that has come meanwhile, for the same turn.
    async fn take_in_what_waits(&mut self) -> Result<(), Stop> {
        if let Some(batch) = self.inbox.gossip.next().now_or_never().flatten() {
            self.take_in(Gathered::Gossip(batch)).await?;
        }
        if let Some(batch) = self.inbox.requests.next().now_or_never().flatten() {
            self.take_in(Gathered::Requests(batch)).await?;
        }
        if let Some(entrance) = &mut self.entrance {
            entrance.take_in_what_waits(&mut self.outputs);
        }
        Ok(())
    }

    /// Waits for something to do. Cancel safe.
    async fn gather(&mut self) -> Gathered {
        let is_merging = self.core.replica().is_merging() && !self.disk.is_committing();
        let (of_others, of_clients) = self.entrance.as_mut().map(Entrance::gather).unzip();
        let (of_others, of_clients) = (OptionFuture::from(of_others), OptionFuture::from(of_clients));
        // In this order: when it ticks, nothing that other replicas sent waits to be read.
        tokio::select! {
            biased;
            Some(event) = self.events.recv() => Gathered::Event(event),
            synced = self.disk.synced() => Gathered::Synced(synced),
            batch = self.inbox.gossip.next() => batch.map_or(Gathered::End, Gathered::Gossip),
            Some(gathered) = of_others => Gathered::Entrance(gathered),
            () = self.pulse.tick() => Gathered::Tick,
            batch = self.inbox.requests.next() => batch.map_or(Gathered::End, Gathered::Requests),
            Some(gathered) = of_clients => Gathered::Entrance(gathered),
            // The connection has its turn between two steps.
            () = yield_now(), if is_merging => Gathered::TimeToMerge,
        }
    }

    /// Makes inputs of it. `false` where nothing more will ever come.
    async fn take_in(&mut self, gathered: Gathered) -> Result<bool, Stop> {
        match gathered {
            Gathered::Gossip(batch) => {
                self.read(batch).await;
                if self.pulse.is_overdue() {
                    self.tick(false);
                }
            }
            Gathered::Tick => {
                self.tick(true);
                self.ticks += 1;
            }
            Gathered::Requests(batch) => {
                self.queue_length = self.queue_length.max(batch.len());
                self.read(batch).await;
            }
            Gathered::Event(event) => self.hear(&event),
            Gathered::Entrance(natter_frontend::half::Gathered::ReplicasEnd) => return Ok(false),
            Gathered::Entrance(gathered) => {
                if let (Core::Colocated(core), Some(entrance)) = (&mut self.core, &mut self.entrance) {
                    entrance.take_in(gathered, core, &self.clocks, &mut self.outputs).await;
                }
            }
            Gathered::TimeToMerge => self.inputs.push(Input::Merge),
            Gathered::Synced(synced) => self.take_in_commit(synced)?,
            Gathered::End => return Ok(false),
        }
        Ok(true)
    }

    /// The commit that was under way is on the disk, if `synced` says so. The core hears of it in its next turn.
    fn take_in_commit(&mut self, synced: Result<(), ValueError>) -> Result<(), Stop> {
        synced?;
        self.disk.store.after_commit()?;
        self.inputs.push(Input::Committed);
        Ok(())
    }

    async fn read(&mut self, batch: Vec<inbox::Delivery>) {
        self.inbox.is_offline = self.core.replica().status() == Status::Offline;
        for delivery in batch {
            self.inbox.read(delivery, &mut self.inputs).await;
        }
    }

    fn tick(&mut self, listened: bool) {
        self.inputs.push(Input::Tick { queue_length: std::mem::take(&mut self.queue_length), listened });
    }

    fn hear(&mut self, event: &ConnectionEvent) {
        self.outbox.hear(event);
        match event {
            ConnectionEvent::Connected => {
                // Another broker, or the same one with a new configuration, may take other sizes.
                self.inputs.push(Input::MessageLimit(self.outbox.max_payload()));
                self.inputs.push(Input::Connected);
            }
            ConnectionEvent::Disconnected => self.inputs.push(Input::Disconnected),
            ConnectionEvent::SlowConsumer { dropped } => {
                warn!(dropped, "messages came faster than they were read; gossip that was lost is pulled");
            }
            ConnectionEvent::Denied(denial)
                if is_dispensable(self.outbox.subjects(), self.core.replica().id(), denial) => {}
            ConnectionEvent::Denied(denial) => {
                self.denial.get_or_insert_with(|| denial.clone());
            }
        }
    }

    /// Handles these inputs before anything else.
    pub(crate) fn begin_with(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.inputs.extend(inputs);
    }

    /// Shows metrics and health, at a tick.
    fn show(&self) {
        if let Some(metrics) = &self.outbox.metrics {
            let (dropped, malformed) = (self.outbox.dropped(), self.inbox.malformed.total());
            metrics.show(self.core.replica(), self.ticks, self.outbox.client(), dropped, malformed);
        }
    }

    /// Handles all inputs in one turn. The core gives out what may be told.
    async fn handle_turn(&mut self) -> Result<(), Stop> {
        if self.ticks.is_multiple_of(SECOND_TICKS) {
            self.inbox.sweep();
        }
        self.disk.look_after(self.ticks)?;
        let now = self.clocks.now();
        steps::log_inputs(self.core.replica(), &self.inputs, &self.inbox.traces);
        if let (Core::Colocated(core), Some(entrance)) = (&self.core, &self.entrance) {
            entrance.log_inputs(core);
        }
        let mut nothing = Vec::new();
        let of_clients = self.entrance.as_mut().map_or(&mut nothing, |entrance| &mut entrance.inputs);
        let metrics = self.outbox.metrics.as_deref();
        if let Some(metrics) = metrics {
            self.inputs.iter().for_each(|input| metrics.count_input(self.core.replica().id(), input));
        }
        let is_changed = match metrics {
            Some(metrics) => {
                let mut store = Timed::new(&mut self.disk.store, &metrics.store);
                self.core.step(now, of_clients, &mut self.inputs, &mut store, &mut self.outputs)?
            }
            None => self.core.step(now, of_clients, &mut self.inputs, &mut self.disk.store, &mut self.outputs)?,
        };
        if is_changed {
            self.disk.note_write(self.ticks);
        }
        if self.core.replica().is_committing() && !self.disk.is_committing() {
            self.disk.begin_commit(self.outbox.metrics.clone());
        }
        self.perform().await
    }

    async fn perform(&mut self) -> Result<(), Stop> {
        for output in &self.outputs.replica {
            steps::log_output(self.core.replica().id(), output, &mut self.moderation);
        }
        if let Some(metrics) = &self.outbox.metrics {
            self.outputs.replica.iter().for_each(|output| metrics.count_output(output));
        }
        if let Some(feed) = &mut self.outbox.feed {
            feed.take_in(self.core.replica(), &self.outputs.replica, &self.disk.store);
        }
        // It gives way only where the connection takes no more.
        unconstrained(self.outbox.perform(&mut self.outputs.replica, &mut self.inbox)).await.map_err(Stop::Told)?;
        match (&self.core, &mut self.entrance) {
            (Core::Colocated(core), Some(entrance)) => entrance.perform(core, &mut self.outputs).await,
            // The frontend half has left.
            _ => self.outputs.frontend.clear(),
        }
        self.outbox.publish_changes(self.core.replica()).await;
        Ok(())
    }
}
