//! The frontend's loop: everything that waits is handled in one turn.

use std::time::Duration;

use natter_broker::clocks::Clocks;
use natter_broker::metrics::{Exposition, MetricsError};
use natter_broker::pulse::{Pulse, TICK};
use natter_broker::role::{self, RoleError};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::ids::ReplicaId;
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::info;

use crate::half::{Gathered, Half};
use crate::{FrontendArgs, FrontendMetrics};

/// A frontend with everything around it.
struct Shell {
    core: Frontend,
    clocks: Clocks,
    half: Half,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

/// A new core, as the command line says.
pub fn new_core(arguments: &FrontendArgs, id: ReplicaId, clocks: &Clocks) -> Frontend {
    let config = Config {
        id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fault_tolerance: arguments.options.fault_tolerance,
        strict: arguments.options.strict,
        timeout_ms: arguments.options.timeout.as_millis() as u64,
        queue_length_max: arguments.options.queue_length as usize,
        seed: fastrand::u64(..),
    };
    Frontend::new(config, clocks.now())
}

/// Runs a frontend until `shutdown`.
///
/// # Errors
///
/// The broker cannot be reached as the command line says, or refuses something that a frontend needs at its start. The
/// address for metrics is in use.
pub async fn run(arguments: FrontendArgs, shutdown: impl Future<Output = ()>) -> Result<(), RoleError> {
    let id = arguments.new_id()?;
    let subjects = role::subjects(&arguments.broker)?;
    let exposition = Exposition::start(&arguments.metrics)?;
    let metrics = exposition.as_ref().map(FrontendMetrics::define).transpose().map_err(MetricsError::from)?;
    let clocks = Clocks::start();
    let core = new_core(&arguments, id, &clocks);
    tokio::pin!(shutdown);
    let presence = core.presence(clocks.now());
    let mut half = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        half = Half::open(&arguments, &subjects, &presence) => half?,
    };
    if let Some(metrics) = metrics {
        half.measure(metrics, core.id());
    }
    let shell = Shell { core, clocks, half, inputs: Vec::new(), outputs: Vec::new() };
    shell.run(shutdown, arguments.options.timeout).await
}

impl Shell {
    async fn run(mut self, shutdown: impl Future<Output = ()>, farewell: Duration) -> Result<(), RoleError> {
        tokio::pin!(shutdown);
        let mut pulse = Pulse::start();
        loop {
            let (of_replicas, of_clients) = self.half.gather();
            // In this order: when it ticks, nothing that replicas sent waits to be read.
            let gathered = tokio::select! {
                biased;
                () = &mut shutdown => break,
                gathered = of_replicas => Some(gathered),
                () = pulse.tick() => None,
                gathered = of_clients => Some(gathered),
            };
            let has_ticked = gathered.is_none();
            let has_read = matches!(gathered, Some(Gathered::Replicas(_)));
            match gathered {
                None => self.inputs.push(Input::Tick { listened: true }),
                Some(Gathered::ReplicasEnd | Gathered::ClientsEnd) => break,
                Some(Gathered::Permits) => {
                    let now = self.clocks.now();
                    tokio::select! {
                        biased;
                        () = &mut shutdown => break,
                        () = self.half.check_permits(&mut self.core, now, &mut self.inputs) => {}
                    }
                }
                Some(gathered) => self.half.take_in(gathered, &mut self.inputs, &mut self.outputs),
            }
            self.half.take_in_what_waits(&mut self.inputs, &mut self.outputs);
            if has_read && pulse.is_overdue() {
                self.inputs.push(Input::Tick { listened: false });
            }
            self.handle_turn().await;
            if has_ticked {
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    attended = self.half.attend(&mut self.core, self.clocks.now()) => attended?,
                }
            }
            if self.half.is_more_left() {
                yield_now().await;
            }
        }
        self.leave(pulse, farewell).await;
        Ok(())
    }

    async fn handle_turn(&mut self) {
        self.half.log_inputs(self.core.id(), &self.inputs);
        self.half.step(&mut self.core, self.clocks.now(), &mut self.inputs, &mut self.outputs);
        self.half.perform(&self.core, &mut self.outputs).await;
    }

    /// LEFT first, then no more requests, then the answers to those that came, then the last messages.
    async fn leave(mut self, mut pulse: Pulse, farewell: Duration) {
        info!(frontend = %self.core.id(), prev = %self.core.prev(), "leaves");
        self.half.stop_showing("leaves");
        self.core.leave(self.clocks.now(), &mut self.outputs);
        self.handle_turn().await;
        self.half.close_entrance().await;
        let deadline = Instant::now() + farewell + TICK;
        while (self.half.is_open() || self.core.pending() > 0) && Instant::now() < deadline {
            let (of_replicas, of_clients) = self.half.gather();
            tokio::select! {
                gathered = of_clients => self.half.take_in(gathered, &mut self.inputs, &mut self.outputs),
                gathered = of_replicas => match gathered {
                    Gathered::ReplicasEnd => break,
                    gathered => self.half.take_in(gathered, &mut self.inputs, &mut self.outputs),
                },
                () = pulse.tick() => self.inputs.push(Input::Tick { listened: true }),
            }
            self.handle_turn().await;
        }
        self.half.end().await;
    }
}
