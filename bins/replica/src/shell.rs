//! The loop: everything that waits is handled in one turn. Messages that tell of a durable store leave when the disk
//! has the commit. The loop goes on meanwhile, and the changes until then are the next commit.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::OptionFuture;
use natter_broker::access::{Events, RETRY};
use natter_broker::clocks::Clocks;
use natter_broker::connection::{ConnectionEvent, Denial};
use natter_broker::moderation::Moderation;
use natter_broker::pulse::Pulse;
use natter_broker::service::Service;
use natter_common::colocated::Outputs;
use natter_common::messages::{Presence, Status};
use natter_common::replica_manager::Input;
use natter_common::value::ValueError;
use natter_database::Store;
use tokio::task::{JoinHandle, spawn_blocking, unconstrained, yield_now};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::core::Core;
use crate::entrance::Entrance;
use crate::inbox::{self, Inbox};
use crate::line::{Line, is_dispensable};
use crate::metrics::Timed;
use crate::outbox::{Outbox, Refusal};
use crate::suspended::Suspended;
use crate::{ReplicaError, steps};

/// Maximum time for handing over the records that only this replica holds.
const HAND_OVER: Duration = Duration::from_secs(2);
/// Time for which requests that were in flight are still answered after LEFT.
const FAREWELL: Duration = Duration::from_millis(300);

/// Interval at which old unanswered requests are dropped and the files of the store are checked, in ticks.
const SECOND_TICKS: u64 = 50;
/// Time without a write after which the store is idle, in ticks.
const IDLE_TICKS: u64 = 250;

/// Reason for the end of a life.
pub(crate) enum End {
    /// It said goodbye.
    Left,
    /// The broker refused something that it needs.
    Denied(Box<Suspended>),
    /// Its store failed: what it had in mind is worth nothing any more.
    StoreFailed(Box<Remains>),
}

/// The parts that are left of a life whose store failed.
pub(crate) struct Remains {
    /// The error of the store.
    pub(crate) failure: ReplicaError,
    /// The presence that was shown last, when all of it was committed.
    pub(crate) presence: Presence,
    /// The inbox with the messages that still come in, and the outbox.
    pub(crate) line: Line,
    /// The frontend half on its way out, where there is one.
    pub(crate) frontend: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Why a batch is the last one.
enum Stop {
    Failed(ValueError),
    Told(Refusal),
    Denied(Denial),
    /// The frontend half does not get a place in the queue group.
    Entrance(ReplicaError),
}

impl From<ValueError> for Stop {
    fn from(failure: ValueError) -> Self {
        Self::Failed(failure)
    }
}

/// A replica with everything around it.
pub(crate) struct Shell {
    core: Core,
    /// Its frontend half, where it answers clients.
    entrance: Option<Entrance>,
    store: Store,
    /// The wait for the disk, on another thread, while a commit is under way.
    sync: Option<JoinHandle<Result<(), ValueError>>>,
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
    /// Time of the last write to the store, in ticks.
    written_ticks: u64,
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
            store,
            sync: None,
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
            written_ticks: 0,
            queue_length: 0,
        }
    }

    /// Serves until `shutdown`, and then says goodbye.
    pub(crate) async fn serve(mut self, shutdown: impl Future<Output = ()>) -> Result<End, ReplicaError> {
        let served = self.serve_until(shutdown).await;
        let left = match served {
            Ok(()) => self.leave().await,
            // The store changes hands only between two commits.
            Err(stop @ (Stop::Denied(_) | Stop::Entrance(_))) => Err(self.end_commit().await.err().unwrap_or(stop)),
            Err(stop) => Err(stop),
        };
        match left {
            Ok(()) => {
                self.end().await?;
                Ok(End::Left)
            }
            Err(Stop::Denied(denial)) => {
                let Self { core, entrance, store, clocks, inbox, outbox, service, events, inputs, .. } = self;
                let line = Line { inbox, outbox, service, events };
                Ok(End::Denied(Box::new(Suspended { core, entrance, store, clocks, line, inputs, denial })))
            }
            Err(Stop::Entrance(error)) => {
                self.end().await?;
                Err(error)
            }
            Err(Stop::Told(Refusal(reason))) => Err(ReplicaError::Stopped(reason)),
            Err(Stop::Failed(failure)) => match (self.store.is_durable(), self.outbox.last_presence()) {
                // The other process goes on: this one must not open the directory again.
                _ if self.store.taken_over().is_some() => Err(failure.into()),
                // The store is closed, so that it can be opened again.
                (true, Some(presence)) => {
                    let Self { core, entrance, clocks, inbox, outbox, outputs, service, events, .. } = self;
                    let frontend = match (core, entrance) {
                        (Core::Colocated(core), Some(entrance)) => {
                            let leaving = entrance.leave_without_replica(*core, clocks, outputs.frontend);
                            Some(Box::pin(leaving) as Pin<Box<dyn Future<Output = ()>>>)
                        }
                        _ => None,
                    };
                    let line = Line { inbox, outbox, service, events };
                    Ok(End::StoreFailed(Box::new(Remains { failure: failure.into(), presence, line, frontend })))
                }
                _ => Err(failure.into()),
            },
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
            self.handle_batch().await?;
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
        let is_merging = self.core.replica().is_merging() && self.sync.is_none();
        let synced = OptionFuture::from(self.sync.as_mut());
        let (of_others, of_clients) = self.entrance.as_mut().map(Entrance::gather).unzip();
        let (of_others, of_clients) = (OptionFuture::from(of_others), OptionFuture::from(of_clients));
        // In this order: when it ticks, nothing that other replicas sent waits to be read.
        let gathered = tokio::select! {
            biased;
            Some(event) = self.events.recv() => Gathered::Event(event),
            Some(synced) = synced => Gathered::Synced(outcome(synced)),
            batch = self.inbox.gossip.next() => batch.map_or(Gathered::End, Gathered::Gossip),
            Some(gathered) = of_others => Gathered::Entrance(gathered),
            () = self.pulse.tick() => Gathered::Tick,
            batch = self.inbox.requests.next() => batch.map_or(Gathered::End, Gathered::Requests),
            Some(gathered) = of_clients => Gathered::Entrance(gathered),
            // The connection has its turn between two steps.
            () = yield_now(), if is_merging => Gathered::TimeToMerge,
        };
        if matches!(gathered, Gathered::Synced(_)) {
            self.sync = None;
        }
        gathered
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

    /// The commit that was under way is on the disk, if `synced` says so.
    fn take_in_commit(&mut self, synced: Result<(), ValueError>) -> Result<(), Stop> {
        synced?;
        self.store.after_commit()?;
        self.inputs.push(Input::Committed);
        Ok(())
    }

    /// Waits for the commit that is under way, if one is. The core hears of it in its next turn.
    async fn end_commit(&mut self) -> Result<(), Stop> {
        match self.sync.take() {
            Some(sync) => {
                let synced = outcome(sync.await);
                self.take_in_commit(synced)
            }
            None => Ok(()),
        }
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
    async fn handle_batch(&mut self) -> Result<(), Stop> {
        self.look_after()?;
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
                let mut store = Timed::new(&mut self.store, &metrics.store);
                self.core.step(now, of_clients, &mut self.inputs, &mut store, &mut self.outputs)?
            }
            None => self.core.step(now, of_clients, &mut self.inputs, &mut self.store, &mut self.outputs)?,
        };
        if is_changed {
            self.written_ticks = self.ticks;
        }
        if self.sync.is_none() && self.core.replica().is_committing() {
            let metrics = self.outbox.metrics.clone();
            self.sync = self.store.log_sync().map(|log| {
                spawn_blocking(move || {
                    let begun = Instant::now();
                    let synced = log.wait();
                    if let Some(metrics) = metrics {
                        metrics.store.sync.observe(begun.elapsed().as_secs_f64());
                    }
                    synced
                })
            });
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
            feed.take_in(self.core.replica(), &self.outputs.replica, &self.store);
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

    /// Does the work of every second and of idle times, between turns.
    fn look_after(&mut self) -> Result<(), Stop> {
        if self.ticks.is_multiple_of(SECOND_TICKS) {
            self.inbox.sweep();
            self.store.check_files()?;
        }
        if self.ticks == self.written_ticks + IDLE_TICKS && self.sync.is_none() {
            self.store.checkpoint_if_idle()?;
        }
        Ok(())
    }

    /// The frontend half leaves first, with the answers to what came. Then what only this one holds is handed over, then
    /// LEFT, then what was on its way.
    async fn leave(&mut self) -> Result<(), Stop> {
        if let Some(metrics) = &self.outbox.metrics {
            metrics.wait("leaves");
        }
        if let (Core::Colocated(core), Some(entrance)) = (&mut self.core, &mut self.entrance) {
            let deadline = entrance.begin_leaving(core, &self.clocks).await;
            let is_empty = |shell: &Self| shell.entrance.as_ref().is_none_or(|entrance| entrance.is_empty(&shell.core));
            self.go_on(deadline - Instant::now(), is_empty).await?;
        }
        if let Some(entrance) = self.entrance.take() {
            entrance.end().await;
        }
        let replica = self.core.replica_mut();
        info!(replica = %replica.id(), value_timestamp = %replica.value_timestamp(), "leaves");
        replica.begin_leaving();
        self.go_on(HAND_OVER, |shell| shell.core.replica().is_handed_over()).await?;
        let replica = self.core.replica_mut();
        if replica.not_handed_over() > 0 {
            let (records, durable) = (replica.not_handed_over(), self.store.is_durable());
            let fate = if durable { "they stay in its data directory" } else { "they are lost" };
            warn!(replica = %replica.id(), records, "leaves with updates that no other replica is known to hold: {fate}");
        }
        replica.leave(self.clocks.now(), &mut self.store, &mut self.outputs.replica);
        self.perform().await?;
        self.go_on(FAREWELL, |_| false).await
    }

    /// The last messages, and the last of the store.
    async fn end(mut self) -> Result<(), ReplicaError> {
        drop(self.service);
        self.outbox.close().await;
        if let Some(sync) = self.sync.take() {
            outcome(sync.await)?;
        }
        self.store.close_cleanly()?;
        Ok(())
    }

    /// Goes on handling what comes in, for at most `time`, until `is_done`.
    async fn go_on(&mut self, time: Duration, is_done: impl Fn(&Self) -> bool) -> Result<(), Stop> {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        while !is_done(self) {
            let gathered = tokio::select! {
                gathered = self.gather() => gathered,
                () = &mut end => break,
            };
            if !self.take_in(gathered).await? {
                break;
            }
            self.handle_batch().await?;
        }
        Ok(())
    }
}

/// The outcome of a wait for the disk.
fn outcome(synced: Result<Result<(), ValueError>, tokio::task::JoinError>) -> Result<(), ValueError> {
    match synced {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(ValueError { doing: "waiting for the disk", reason: error.to_string() }),
        },
    }
}
