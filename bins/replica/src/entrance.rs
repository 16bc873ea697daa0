//! The frontend half of a replica that answers clients, as the replica's loop drives it.

use std::time::Duration;

use natter_broker::clocks::Clocks;
use natter_broker::metrics::MetricsOptions;
use natter_broker::pulse::TICK;
use natter_broker::role::RoleError;
use natter_common::colocated::{Colocated, Outputs};
use natter_common::frontend::{Frontend, Input, Output};
use natter_common::ids::ReplicaId;
use natter_common::subjects::Subjects;
use natter_frontend::FrontendArgs;
use natter_frontend::half::{Gathered, Half};
use tokio::time::{Instant, interval, sleep};
use tracing::info;

use crate::core::Core;
use crate::metrics::Instruments;
use crate::{ReplicaArgs, ReplicaError};

/// The frontend half.
pub(crate) struct Entrance {
    half: Half,
    /// Inputs of the turn.
    pub(crate) inputs: Vec<Input>,
    /// Time that clients have to get their answers when the process leaves.
    timeout: Duration,
}

impl Entrance {
    /// The frontend half's core. Its id is `f-` and the replica's, so that observers see the two halves of one process.
    ///
    /// # Errors
    ///
    /// The name is too long for that.
    pub(crate) fn core(arguments: &ReplicaArgs, id: &ReplicaId, clocks: &Clocks) -> Result<Frontend, ReplicaError> {
        let id = ReplicaId::new(&format!("f-{id}")).map_err(RoleError::Id)?;
        Ok(natter_frontend::new_core(&as_frontend(arguments), id, clocks))
    }

    /// Connects the frontend half.
    ///
    /// # Errors
    ///
    /// The broker refuses the connection, or something that a frontend needs.
    pub(crate) async fn open(
        arguments: &ReplicaArgs,
        subjects: &Subjects,
        core: &Colocated,
        clocks: &Clocks,
        instruments: Option<&Instruments>,
    ) -> Result<Self, ReplicaError> {
        let presence = core.frontend().presence(clocks.now());
        let mut half = Half::open(&as_frontend(arguments), subjects, &presence).await?;
        if let Some(metrics) = instruments.and_then(|instruments| instruments.frontend.clone()) {
            half.measure(metrics, core.frontend().id());
        }
        Ok(Self { half, inputs: Vec::new(), timeout: arguments.options.timeout })
    }

    /// Waits for what other replicas answered, and for what clients sent, each by itself. Both are cancel safe.
    pub(crate) fn gather(&mut self) -> (impl Future<Output = Gathered>, impl Future<Output = Gathered>) {
        self.half.gather()
    }

    /// Makes inputs of it.
    pub(crate) async fn take_in(
        &mut self,
        gathered: Gathered,
        core: &mut Colocated,
        clocks: &Clocks,
        outputs: &mut Outputs,
    ) {
        match gathered {
            Gathered::Permits => {
                self.half.check_permits(core.frontend_mut(), clocks.now(), &mut self.inputs).await;
            }
            gathered => self.half.take_in(gathered, &mut self.inputs, &mut outputs.frontend),
        }
        self.leave_membership_to_the_replica();
    }

    /// Takes in what has come meanwhile, so that it is handled in the same turn.
    pub(crate) fn take_in_what_waits(&mut self, outputs: &mut Outputs) {
        self.half.take_in_what_waits(&mut self.inputs, &mut outputs.frontend);
        self.leave_membership_to_the_replica();
    }

    /// Both halves share one roster: the core tells the frontend half what the replica half hears of others.
    fn leave_membership_to_the_replica(&mut self) {
        self.inputs.retain(|input| !matches!(input, Input::Presence(_) | Input::Connected | Input::Disconnected));
    }

    /// Whether the last turn left something for the next.
    pub(crate) fn is_more_left(&self) -> bool {
        self.half.is_more_left()
    }

    /// Takes part in the queue group while it can serve.
    ///
    /// # Errors
    ///
    /// The broker refuses a place in the queue group.
    pub(crate) async fn attend(&mut self, core: &mut Colocated, clocks: &Clocks) -> Result<(), ReplicaError> {
        Ok(self.half.attend(core.frontend_mut(), clocks.now()).await?)
    }

    /// Performs what the frontend half asks for.
    pub(crate) async fn perform(&mut self, core: &Colocated, outputs: &mut Outputs) {
        self.half.perform(core.frontend(), &mut outputs.frontend).await;
    }

    /// Logs the inputs of a turn.
    pub(crate) fn log_inputs(&self, core: &Colocated) {
        self.half.log_inputs(core.frontend().id(), &self.inputs);
    }

    /// Takes no more requests until [`Entrance::attend`] finds that it can serve.
    pub(crate) async fn stop_serving(&mut self, core: &mut Colocated, clocks: &Clocks) {
        self.half.stop_showing("takes no requests while the broker refuses something that its replica needs");
        self.half.stop_serving(core.frontend_mut());
        let presence = core.frontend().presence(clocks.now());
        let mut outputs = vec![Output::Presence(Box::new(presence))];
        self.half.perform(core.frontend(), &mut outputs).await;
    }

    /// Says LEFT, and takes no more requests but those that are on their way. Returns until when these are answered.
    pub(crate) async fn begin_leaving(&mut self, core: &mut Colocated, clocks: &Clocks) -> Instant {
        info!(frontend = %core.frontend().id(), prev = %core.frontend().prev(), "leaves");
        self.half.stop_showing("leaves");
        let mut outputs = Outputs::default();
        core.frontend_mut().leave(clocks.now(), &mut outputs.frontend);
        self.perform(core, &mut outputs).await;
        self.half.close_entrance().await;
        Instant::now() + self.timeout + TICK
    }

    /// Leaves after the store of the local replica failed. Other replicas answer what clients still wait for, also what was
    /// pending at the local one. `outputs` is what the frontend half has asked for in the turn that failed: answers among it
    /// rest on what was committed.
    pub(crate) async fn leave_without_replica(mut self, core: Colocated, clocks: Clocks, mut outputs: Vec<Output>) {
        self.half.stop_showing("leaves: its replica cannot save any more");
        let mut core = core.into_frontend(clocks.now(), &mut outputs);
        info!(frontend = %core.id(), prev = %core.prev(), "leaves: its replica cannot save any more");
        core.step(clocks.now(), self.inputs.drain(..), &mut outputs);
        core.leave(clocks.now(), &mut outputs);
        self.half.perform(&core, &mut outputs).await;
        self.half.close_entrance().await;
        let end = sleep(self.timeout + TICK);
        let mut ticks = interval(TICK);
        tokio::pin!(end);
        while self.half.is_open() || core.pending() > 0 {
            let (of_others, of_clients) = self.half.gather();
            let gathered = tokio::select! {
                biased;
                () = &mut end => break,
                gathered = of_others => Some(gathered),
                _ = ticks.tick() => None,
                gathered = of_clients => Some(gathered),
            };
            match gathered {
                None => self.inputs.push(Input::Tick { listened: true }),
                Some(Gathered::ReplicasEnd) => break,
                Some(gathered) => self.half.take_in(gathered, &mut self.inputs, &mut outputs),
            }
            core.step(clocks.now(), self.inputs.drain(..), &mut outputs);
            self.half.perform(&core, &mut outputs).await;
        }
        self.half.end().await;
    }

    /// Whether all requests that came are answered, and no more can come.
    pub(crate) fn is_empty(&self, core: &Core) -> bool {
        let Core::Colocated(core) = core else { return true };
        !self.half.is_open() && core.frontend().pending() == 0
    }

    /// The last messages.
    pub(crate) async fn end(self) {
        self.half.end().await;
    }
}

fn as_frontend(arguments: &ReplicaArgs) -> FrontendArgs {
    FrontendArgs {
        name: arguments.name.clone(),
        options: arguments.options.clone(),
        // The process shows the metrics of both halves at one address.
        metrics: MetricsOptions::default(),
        broker: arguments.broker.clone(),
    }
}
