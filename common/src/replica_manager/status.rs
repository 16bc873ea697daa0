//! Status and mode: ACTIVE, OVERLOADED or OFFLINE, what decides it, and how a replica manager shows itself.

use super::loading::Loading;
use super::{Notice, Output, ReplicaManager, ReplyTo, Step};
use crate::clock::Now;
use crate::messages::{Gossip, Mode, Presence, Replicas, Role, Status, StatusReply};
use crate::roster::PRESENCE_INTERVAL_MS;
use crate::value::{Value, ValueError};

/// In mode `measured`, a longer queue means OVERLOADED...
const OVERLOADED_ABOVE: usize = 4096;
/// ... until it is shorter than this.
const OVERLOADED_BELOW: usize = 1024;
/// In mode `arbitrary`, a status lasts so long, drawn anew each time.
const DRAWN_MS: std::ops::Range<u64> = 300..1200;

/// Status of a replica by its mode and load, whether or not it has caught up.
#[derive(Clone, Debug)]
pub(super) struct StatusMachine {
    mode: Mode,
    status: Status,
    draw_due_ms: u64,
    generator: fastrand::Rng,
}

impl StatusMachine {
    pub(super) fn new(mode: Mode, seed: u64, now_ms: u64) -> Self {
        let mut machine =
            Self { mode, status: Status::Active, draw_due_ms: now_ms, generator: fastrand::Rng::with_seed(seed) };
        machine.set_mode(mode, now_ms);
        machine
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    fn set_mode(&mut self, mode: Mode, now_ms: u64) {
        self.mode = mode;
        match mode {
            Mode::Active | Mode::Measured => self.status = Status::Active,
            Mode::Overloaded => self.status = Status::Overloaded,
            Mode::Offline => self.status = Status::Offline,
            Mode::Arbitrary => self.draw(now_ms),
        }
    }

    fn draw(&mut self, now_ms: u64) {
        let statuses = [Status::Active, Status::Overloaded, Status::Offline];
        self.status = statuses[self.generator.usize(..statuses.len())];
        self.draw_due_ms = now_ms + self.generator.u64(DRAWN_MS);
    }

    /// Bits for the id of a record of one's own.
    pub(super) fn draw_bits(&mut self) -> u64 {
        self.generator.u64(..)
    }

    pub(super) fn tick(&mut self, queue_length: usize, now_ms: u64) {
        match (self.mode, self.status) {
            (Mode::Arbitrary, _) if now_ms >= self.draw_due_ms => self.draw(now_ms),
            (Mode::Measured, Status::Active) if queue_length > OVERLOADED_ABOVE => self.status = Status::Overloaded,
            (Mode::Measured, Status::Overloaded) if queue_length < OVERLOADED_BELOW => self.status = Status::Active,
            _ => {}
        }
    }
}

impl ReplicaManager {
    pub(super) fn handle_status(
        &mut self,
        to: ReplyTo,
        mode: Option<Mode>,
        step: &mut Step<'_>,
    ) -> Result<(), ValueError> {
        if let Some(mode) = mode {
            let before = self.status();
            self.status.set_mode(mode, step.now.monotonic_ms);
            self.changed_status(before, step);
            self.advance_phase(step)?;
        }
        let reply = self.status_reply();
        step.outputs.push(Output::Status(to, reply));
        Ok(())
    }

    /// Does what goes with a change of status since `before`.
    pub(super) fn changed_status(&mut self, before: Status, step: &mut Step<'_>) {
        let now_offline = self.status.status() == Status::Offline;
        if before == Status::Offline && !now_offline && !self.phase.is_starting() {
            self.catch_up();
        } else if before != Status::Offline && now_offline {
            self.waiting.clear();
            self.confirms.clear();
        }
        let status = self.status();
        if status != before {
            step.notice(Notice::Status { status, mode: self.status.mode() });
            self.show_presence(step);
        }
    }

    pub(super) fn show_presence(&mut self, step: &mut Step<'_>) {
        self.presence_due_ms = step.now.monotonic_ms + PRESENCE_INTERVAL_MS;
        let presence = self.presence(step.now, step.value);
        step.outputs.push(Output::Presence(Box::new(presence)));
    }

    /// Its presence and anti-entropy gossip now, for a shell that tests whether it may publish them. There is no gossip
    /// while rows of a snapshot are being merged, as no timestamp describes the value then.
    pub fn introduction(&self, now: Now, value: &dyn Value) -> (Presence, Option<Gossip>) {
        let gossip = (!self.is_merging()).then(|| Gossip {
            id: self.config.id.clone(),
            replica_timestamp: Replicas::from(self.committed_timestamp()),
            value_timestamp: Replicas::from(&self.value_timestamp),
            digest: value.digest(),
            records: Vec::new(),
        });
        (self.presence(now, value), gossip)
    }

    pub(super) fn presence(&self, now: Now, value: &dyn Value) -> Presence {
        Presence {
            role: Role::Replica,
            id: self.config.id.clone(),
            status: self.status(),
            mode: Some(self.status.mode()),
            wall_ms: now.wall_ms,
            version: self.config.version.clone(),
            dataset: Some(self.config.dataset.clone()),
            durable: Some(self.config.durable),
            uptime_ms: now.monotonic_ms.saturating_sub(self.started_ms),
            value_timestamp: Some(Replicas::from(&self.value_timestamp)),
            replica_timestamp: Some(Replicas::from(self.committed_timestamp())),
            digest: (!self.is_merging()).then(|| value.digest()),
            log_length: Some(self.log.len() as u64),
            snapshot: self.loading.as_ref().map(Loading::progress),
            clock: Some(self.committed_clock()),
            prev: None,
            cluster: self.cluster.id.clone(),
            aliases: self.cluster.aliases.clone(),
            former: self.former.clone(),
            lost: self.shown_lost(),
        }
    }

    fn status_reply(&self) -> StatusReply {
        StatusReply {
            id: self.config.id.clone(),
            status: self.status(),
            mode: self.status.mode(),
            diverged: self.diverged.keys().cloned().collect(),
            lost: self.lost_records,
        }
    }
}
