//! The replica manager's protocol core: a deterministic state machine with no socket, clock, random source or SQL.
//!
//! It follows Ladin, Liskov, Shrira & Ghemawat, "Providing High Availability Using Lazy Replication" (1992), for causal
//! operations, and Coulouris et al., *Distributed Systems*, §18.4:
//!
//! - **accept** (`accept`): an update whose `prev` the value covers, and which the value allows, becomes a record with
//!   the next sequence number; it goes into the update log, the executed-operation table and the next gossip message.
//! - **hold**: records of others come by gossip or by pull; those of one origin without a gap are held, and confirmed
//!   to the frontends that wait for that (`gossip`).
//! - **apply** (`apply`): a held record is applied when enough replica managers hold it and everything it depends on is
//!   applied. The greater (stamp, id) stays, so the order of concurrent updates doesn't matter.
//! - **query** (`query`): answered from the value as soon as that covers the query's `prev`.
//! - **catch up** (`pull`, `catch_up`): what others were heard to hold and gossip didn't bring is pulled from them.
//! - **identity** (`identity`): the name of the cluster, to which sessions belong.
//! - **status** (`status`): ACTIVE, OVERLOADED, OFFLINE or JOINING.
//!
//! **Departures** from the paper. A replica manager's own updates are applied in the order of its sequence numbers, and
//! the value timestamp is exactly the set of applied records, so that equal value timestamps mean equal ratings. No
//! replica shows a record before enough hold it; the paper's replicas answer from what one of them accepted. Validation
//! against the value happens at the acceptor only. Records carry the acceptor's number and not a vector timestamp of
//! their own: that is `prev` with the acceptor's entry set to the number.

mod accept;
mod ages;
mod apply;
mod catch_up;
mod commits;
pub mod durable;
pub mod executed_operations;
mod former;
mod gossip;
mod housekeeping;
mod identity;
mod io;
mod leaving;
mod loading;
mod lost;
mod pull;
mod query;
mod recover;
mod retire;
mod snapshots;
mod status;
mod step;
pub mod timestamp_table;
pub mod update_log;
pub mod waiting;

pub use durable::{Changes, Saved};
pub use io::{Input, Loudness, Notice, Output, ReplyTo};
pub use recover::RecoverError;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::{Now, Stamp};
use crate::cluster::ClusterNames;
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::messages::{Mode, Reply, Status};
use crate::missed::Missed;
use crate::rating::RatingKey;
use crate::record::RecordRef;
use crate::roster::Roster;
use crate::timestamp::Timestamp;
use crate::value::{Row, Value, ValueError};

use ages::Ages;
use apply::HeldUntil;
use catch_up::Phase;
use commits::Commits;
use durable::{Merging, State};
use executed_operations::ExecutedOperations;
use former::Dead;
use loading::Loading;
use pull::Pulls;
use retire::Retired;
use snapshots::Snapshots;
use status::StatusMachine;
use step::Step;
use timestamp_table::TimestampTable;
use update_log::UpdateLog;
use waiting::{Confirms, Request, Waiting};

/// Configuration of a replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id, used by nobody before.
    pub id: ReplicaId,
    /// The program's version, for presence.
    pub version: String,
    /// The fingerprint of its data set.
    pub dataset: String,
    /// Mode that decides its status.
    pub mode: Mode,
    /// Interval of anti-entropy gossip, in milliseconds.
    pub gossip_interval_ms: u64,
    /// Time after which an absent replica is forgotten, in milliseconds.
    pub forget_after_ms: u64,
    /// Whether it keeps its state on disk: then [`Value::commit_turn`] is given what to save.
    pub durable: bool,
    /// The broker's largest payload, in bytes; [`Input::MessageLimit`] tells of another one.
    pub message_bytes_max: usize,
    /// Seeds the draws of mode `arbitrary`.
    pub seed: u64,
}

/// One replica manager.
#[derive(Clone, Debug)]
pub struct ReplicaManager {
    config: Config,
    started_ms: u64,
    value_timestamp: Timestamp,
    log: UpdateLog,
    executed: ExecutedOperations,
    table: TimestampTable,
    roster: Roster,
    cluster: ClusterNames,
    /// Started from another data set, and when they were last seen; nothing of them is taken in.
    foreign: BTreeMap<ReplicaId, u64>,
    /// Showed an equal value timestamp and another digest.
    /// With the time at which a snapshot of theirs is taken again, and the pause after that.
    diverged: BTreeMap<ReplicaId, (u64, u64)>,
    /// The greatest stamp of the records held here.
    clock: Stamp,
    /// Records that enough replica managers hold, as labels prove.
    proven: Timestamp,
    /// Own records that are not yet applied, the greatest of each key: validation looks at them too.
    accepted: BTreeMap<RatingKey, (u64, Row)>,
    held_until: HeldUntil,
    /// Dependencies of the last record accepted here, with this replica's own entry and without it.
    depended: (Timestamp, Timestamp),
    waiting: Waiting,
    confirms: Confirms,
    pulls: Pulls,
    status: StatusMachine,
    phase: Phase,
    /// The last own record that was gossiped.
    gossiped: u64,
    gossip_due_ms: u64,
    presence_due_ms: u64,
    /// Replicas that sent records, or whose records were taken in, since the last acknowledgement.
    unacknowledged: BTreeSet<ReplicaId>,
    /// Whether all others must hear of the records taken in: one of them asked for more than two copies.
    acknowledge_to_all: bool,
    /// The snapshots that are being given.
    snapshots: Snapshots,
    /// The snapshot that is being taken.
    loading: Option<Loading>,
    /// The snapshot that was taken and is being merged into the value.
    merging: Option<Merging>,
    /// Replica managers that keep their state in memory: when they are gone, they are gone for good.
    mortal: BTreeSet<ReplicaId>,
    retired: Retired,
    /// Held records that retire, and are not applied yet, with the time since when.
    retirements: BTreeMap<RecordRef, (Timestamp, u64)>,
    retire_due_ms: u64,
    /// Origins retired since the waiting requests were last searched for requests that wait for their updates.
    just_retired: Timestamp,
    /// Changes that must be saved.
    changes: Changes,
    commits: Commits,
    /// State that was saved last.
    saved: State,
    /// Ages of the updates in a directory.
    ages: Ages,
    /// Replicas that are gone for good, by all that is known here.
    dead: Dead,
    /// The ids of earlier lives of this replica.
    former: Vec<ReplicaId>,
    /// Whether it has the state of an earlier life: then it knows of whoever is away for a moment only.
    is_recovered: bool,
    /// Records of those who are gone that a `prev` names and nobody shows.
    missed: Missed,
    /// Whether somebody may come back with what is missing.
    is_somebody_awaited: bool,
    /// Numbers of the last records, by origin, that a request or record went on without, as they are lost.
    lost: Timestamp,
    /// For each origin in `lost`, the number of the last record that is not lost.
    lost_after: Timestamp,
    /// The same of records that only sessions name; for the log alone.
    claimed_lost: Timestamp,
    lost_records: u64,
    house_due_ms: u64,
    leaving: bool,
    left: bool,
    /// Whether nobody wants to hear of each step.
    quiet: bool,
}

impl ReplicaManager {
    /// A replica manager with an empty log, about to join.
    pub fn new(config: Config, now: Now) -> Self {
        let now_ms = now.monotonic_ms;
        Self {
            started_ms: now_ms,
            value_timestamp: Timestamp::new(),
            log: UpdateLog::default(),
            executed: ExecutedOperations::default(),
            table: TimestampTable::default(),
            roster: Roster::new(config.forget_after_ms, now_ms),
            cluster: ClusterNames::default(),
            foreign: BTreeMap::new(),
            diverged: BTreeMap::new(),
            clock: Stamp::ZERO,
            proven: Timestamp::new(),
            accepted: BTreeMap::new(),
            held_until: HeldUntil::default(),
            depended: (Timestamp::new(), Timestamp::new()),
            waiting: Waiting::default(),
            confirms: Confirms::default(),
            pulls: Pulls::default(),
            status: StatusMachine::new(config.mode, config.seed, now_ms),
            phase: Phase::Starting { since_ms: now_ms },
            gossiped: 0,
            gossip_due_ms: now_ms,
            presence_due_ms: now_ms,
            unacknowledged: BTreeSet::new(),
            acknowledge_to_all: false,
            snapshots: Snapshots::default(),
            loading: None,
            merging: None,
            mortal: BTreeSet::new(),
            retired: Retired::default(),
            retirements: BTreeMap::new(),
            retire_due_ms: now_ms,
            just_retired: Timestamp::new(),
            changes: Changes::default(),
            commits: Commits::default(),
            saved: State::default(),
            ages: Ages::recovered(0, Vec::new(), now),
            dead: Dead::default(),
            former: Vec::new(),
            is_recovered: false,
            missed: Missed::default(),
            is_somebody_awaited: true,
            lost: Timestamp::new(),
            lost_after: Timestamp::new(),
            claimed_lost: Timestamp::new(),
            lost_records: 0,
            house_due_ms: now_ms,
            leaving: false,
            left: false,
            quiet: false,
            config,
        }
    }

    /// Its id.
    pub fn id(&self) -> &ReplicaId {
        &self.config.id
    }

    /// Whether [`Notice`]s of single records are left out, which is cheaper where nobody looks at them.
    pub fn be_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Exactly the set of updates applied to the value.
    pub fn value_timestamp(&self) -> &Timestamp {
        &self.value_timestamp
    }

    /// The updates in the log without a gap, applied or not.
    pub fn replica_timestamp(&self) -> &Timestamp {
        self.log.replica_timestamp()
    }

    /// The update log.
    pub fn log(&self) -> &UpdateLog {
        &self.log
    }

    /// The executed-operation table.
    pub fn executed_operations(&self) -> &ExecutedOperations {
        &self.executed
    }

    /// The origins that are gone for good and left out of timestamps, with the number of their last update.
    pub fn retired(&self) -> Timestamp {
        self.retired.after(None).map(|(id, count)| (id.clone(), count)).collect()
    }

    /// The timestamp table.
    pub fn timestamp_table(&self) -> &TimestampTable {
        &self.table
    }

    /// The greatest stamp of the records held here.
    pub fn clock(&self) -> Stamp {
        self.clock
    }

    /// Number of requests that wait for a missing record.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Its status.
    pub fn status(&self) -> Status {
        match self.status.status() {
            _ if self.left => Status::Left,
            Status::Offline => Status::Offline,
            status if self.is_serving() => status,
            _ => Status::Joining,
        }
    }

    /// Whether requests are answered here.
    fn is_serving(&self) -> bool {
        self.phase.is_serving() && !self.is_merging()
    }

    /// Handles the inputs of one turn to completion, in their order: all that has arrived since the last turn. Then it
    /// commits what they changed, and adds one gossip message with all that was accepted. A replica with a disk commits when
    /// the commit before has ended, and gives out by then what tells of it. Equal histories give equal outputs. Returns
    /// whether there was something to save.
    ///
    /// Fails only where the store does; the replica manager must not be used any more then, and no output of the turn
    /// may be performed.
    pub fn step(
        &mut self,
        now: Now,
        inputs: impl IntoIterator<Item = Input>,
        value: &mut dyn Value,
        outputs: &mut Vec<Output>,
    ) -> Result<bool, ValueError> {
        if self.config.durable {
            let mut said = Vec::new();
            for input in inputs {
                if matches!(input, Input::Committed) {
                    self.end_commit(outputs);
                }
                self.handle(now, input, value, &mut said)?;
            }
            return self.end_turn(now, value, said, outputs);
        }
        for input in inputs {
            self.handle(now, input, value, outputs)?;
        }
        value.commit_turn(&Changes::default())?;
        self.flush(now, value, outputs);
        Ok(false)
    }

    fn handle(
        &mut self,
        now: Now,
        input: Input,
        value: &mut dyn Value,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ValueError> {
        let mut step = Step::new(now, value, outputs, self.quiet);
        let offline = self.status.status() == Status::Offline;
        match input {
            Input::Status(to, mode) => self.handle_status(to, mode, &mut step)?,
            Input::Presence(presence) => self.hear_presence(*presence, &mut step),
            Input::MessageLimit(bytes_max) => self.config.message_bytes_max = bytes_max,
            Input::Connected => self.connected(&mut step),
            Input::Disconnected => self.roster.disconnected(),
            Input::Unreachable(id) => self.roster.unreachable(&id),
            Input::Committed => {}
            Input::Tick { queue_length, listened } => self.tick(queue_length, listened, &mut step)?,
            // A replica that says OFFLINE handles no other input, as if it were off.
            _ if offline => {}
            Input::Update(to, request) => self.handle_request(to, Request::Update(request), &mut step)?,
            Input::Query(to, request) => self.handle_request(to, Request::Query(request), &mut step)?,
            Input::Confirm(to, request) => self.handle_confirm(to, request, &mut step),
            Input::Log(to, request) => self.handle_log_request(to, request, &mut step),
            Input::Snapshot(to, request) => self.handle_snapshot_request(to, request, &mut step)?,
            Input::Gossip(gossip) => self.hear_gossip(gossip, &mut step)?,
            Input::Acknowledgement(acknowledgement) => self.hear_acknowledgement(acknowledgement, &mut step),
            Input::LogPage(page) => self.hear_log_page(page, &mut step)?,
            Input::SnapshotReply(reply) => self.hear_snapshot(reply, &mut step)?,
            Input::Merge => self.merge(&mut step)?,
            Input::PullFailed(peer) => {
                self.pulls.failed(&peer, now.monotonic_ms);
                self.loading_failed(&peer);
            }
        }
        self.settle(&mut step)
    }

    /// Ends a turn: what it has to tell the other replica managers goes out in one message.
    fn flush(&mut self, now: Now, value: &mut dyn Value, outputs: &mut Vec<Output>) {
        let mut step = Step::new(now, value, outputs, self.quiet);
        if self.status.status() != Status::Offline {
            self.gossip_what_is_new(&mut step);
        }
    }

    /// Applies what can be applied and lets those go on who waited for it, until nothing more happens.
    fn settle(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        loop {
            self.apply_ready(step)?;
            let just_retired = std::mem::take(&mut self.just_retired);
            if self.waiting.is_empty() {
                break;
            }
            let mut ready = self.waiting.take_covered(&self.value_timestamp);
            // Updates of origins that left the timestamps are not waited for any more.
            ready.extend(self.waiting.take_covered(&just_retired));
            if ready.is_empty() {
                break;
            }
            for parked in ready {
                self.handle_parked(parked, step)?;
            }
        }
        self.advance_phase(step)
    }

    fn tick(&mut self, queue_length: usize, listened: bool, step: &mut Step<'_>) -> Result<(), ValueError> {
        let now_ms = step.now.monotonic_ms;
        for id in self.roster.tick(now_ms, listened) {
            self.pulls.failed(&id, now_ms);
            step.notice(Notice::PeerGone(id));
        }
        let roster = &self.roster;
        self.table.retain(|id| roster.get(id).is_some());
        self.diverged.retain(|id, _| roster.get(id).is_some_and(|member| member.is_present()));
        let forget_after_ms = self.config.forget_after_ms;
        self.foreign.retain(|_, seen_ms| now_ms.saturating_sub(*seen_ms) <= forget_after_ms);
        let before = self.status();
        self.status.tick(queue_length, now_ms);
        self.changed_status(before, step);
        self.expire(step)?;
        if self.status.status() != Status::Offline {
            self.pull_what_is_missing(step)?;
            self.keep_house(step);
            if now_ms >= self.gossip_due_ms && !self.is_merging() {
                let gossip = self.gossip(Vec::new(), step);
                step.outputs.push(Output::Gossip(gossip));
                self.gossip_due_ms = now_ms + self.config.gossip_interval_ms;
            }
        }
        if now_ms >= self.presence_due_ms {
            self.show_presence(step);
        }
        Ok(())
    }

    fn expire(&mut self, step: &mut Step<'_>) -> Result<(), ValueError> {
        let now_ms = step.now.monotonic_ms;
        for parked in self.waiting.take_expired(now_ms) {
            step.reply(parked.to, Reply::Behind);
        }
        for confirm in self.confirms.take_expired(now_ms) {
            step.reply(confirm.to, Reply::NotHeld);
        }
        Ok(())
    }

    /// The label that the value reflects.
    fn label(&self) -> Label {
        Label { replicas: self.value_timestamp.clone(), clock: self.committed_clock() }
    }
}

impl std::fmt::Display for ReplicaManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, status) = (&self.config.id, self.status());
        write!(f, "{id} ({status}) applied {} holds {}", self.value_timestamp, self.log.replica_timestamp())
    }
}
