//! The frontend's protocol core: a deterministic state machine with no socket, clock or random source.
//!
//! A frontend stands between clients and replica managers (Ladin et al. 1992, §3.2; Coulouris §18.4):
//!
//! - it sends `prev` with every request: what the client's session has seen, and what it has seen itself; its own
//!   `prev` learns only from the labels of replica managers, never from a client;
//! - a **query** goes to one replica manager, and to another when that is silent (`query`);
//! - an **update** goes to one replica manager to be accepted and, at the same time, to others that confirm when they
//!   hold it; when enough hold the same record, the client has its answer (`update`);
//! - a **batch** of these is taken apart into single ones, whose answers are joined (`batch`);
//! - an update that may be a retry is first looked up at all replica managers;
//! - who is asked: those that are ACTIVE before those that are OVERLOADED, those that are known to have seen `prev`
//!   first, by turns (`directory`).
//!
//! **Departures** from the paper. An update is stamped here, by a hybrid logical clock above everything that the
//! session has seen, so that concurrent updates resolve everywhere alike. An update is acknowledged when
//! `FAULT_TOLERANCE` replica managers hold it, and not when one has accepted it.

mod attempts;
mod batch;
mod clocks;
mod directory;
mod io;
mod losses;
mod pending;
mod pending_update;
mod query;
mod retired;
mod step;
mod update;
mod verdict;

pub use io::{Input, Notice, Output};

use std::collections::BTreeMap;

use crate::clock::{HybridLogicalClock, Now, Stamp};
use crate::cluster::{ClusterId, ClusterNames};
use crate::edge::{ClientRequest, FrontendError};
use crate::ids::{ReplicaId, UpdateId};
use crate::label::Label;
use crate::messages::{ConfirmRequest, Presence, Replies, Role, Status};
use crate::roster::PRESENCE_INTERVAL_MS;
use crate::sequence::Sequence;
use crate::timestamp::Timestamp;

use batch::Batches;
use clocks::ClockVerdict;
use directory::Directory;
use losses::Losses;
use pending::{Attempt, Kind, Outcome, Pending};
use retired::Retired;
use step::Step;

/// Configuration of a frontend.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id.
    pub id: ReplicaId,
    /// The program's version, for presence.
    pub version: String,
    /// Number of replicas that must hold an update before it is acknowledged: `FAULT_TOLERANCE`, at least 1.
    pub fault_tolerance: u32,
    /// Whether a smaller number never suffices, even if fewer replicas are up.
    pub strict: bool,
    /// A client has its answer within this time, in milliseconds.
    pub timeout_ms: u64,
    /// Maximum requests that may wait here.
    pub queue_length_max: usize,
    /// Seeds the random bits of update ids.
    pub seed: u64,
}

/// One frontend.
#[derive(Clone, Debug)]
pub struct Frontend {
    config: Config,
    started_ms: u64,
    /// Label of everything this frontend has seen in labels of replicas.
    prev: Label,
    clock: HybridLogicalClock,
    generator: fastrand::Rng,
    directory: Directory,
    /// Requests that have no answer yet, by token.
    pending: Sequence<Pending>,
    /// Tokens of pending requests by wake-up time, in milliseconds. Entries of requests that are answered, or wake up
    /// later, are skipped.
    timers: BTreeMap<u64, Vec<u64>>,
    attempts: Sequence<Attempt>,
    batches: Batches,
    losses: Losses,
    retired: Retired,
    /// Names of the previous cluster, and the timestamp seen there.
    left_behind: Option<(ClusterNames, Timestamp)>,
    presence_due_ms: u64,
    stage: Stage,
}

/// The stages of a frontend's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No client can reach it yet.
    Starting,
    Serving,
    Left,
}

/// The number of attempts whose reply is welcome, but awaited by no request.
const NOT_AWAITED: u64 = 0;
/// Silence of a replica after which messages to it count as lost, in milliseconds: it shows itself twice within this time.
const CUT_OFF_MS: u64 = 2 * PRESENCE_INTERVAL_MS + PRESENCE_INTERVAL_MS / 2;
/// First numbers of attempts. Each frontend draws its own, so that an old reply to another frontend, which some program on
/// the broker sends again, answers no attempt of this one.
const FIRST_ATTEMPTS: std::ops::Range<u64> = 1 << 32..1 << 62;

impl Frontend {
    /// A frontend that knows nobody yet.
    pub fn new(config: Config, now: Now) -> Self {
        let now_ms = now.monotonic_ms;
        let first_attempt = fastrand::Rng::with_seed(!config.seed).u64(FIRST_ATTEMPTS);
        Self {
            started_ms: now_ms,
            prev: Label::new(),
            clock: HybridLogicalClock::default(),
            generator: fastrand::Rng::with_seed(config.seed),
            directory: Directory::new(now_ms),
            pending: Sequence::default(),
            timers: BTreeMap::new(),
            attempts: Sequence::from(first_attempt),
            batches: Batches::default(),
            losses: Losses::default(),
            retired: Retired::default(),
            left_behind: None,
            presence_due_ms: now_ms,
            stage: Stage::Starting,
            config,
        }
    }

    /// The identity of its cluster, for the answers of the last turn; `None` before a replica has shown it.
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.directory.cluster().id.as_ref()
    }

    /// Its id.
    pub fn id(&self) -> &ReplicaId {
        &self.config.id
    }

    /// Label of everything this frontend has seen.
    pub fn prev(&self) -> &Label {
        &self.prev
    }

    /// Number of client requests without an answer, each operation of a batch counted.
    pub fn pending(&self) -> usize {
        (self.pending.held() + self.batches.held()).saturating_sub(usize::from(self.retired.is_asking))
    }

    /// Whether there are as many to ask as updates need, or everybody has had the time to show up.
    pub fn is_ready(&self, now: Now) -> bool {
        self.directory.up_count() >= self.config.fault_tolerance as usize
            || !self.directory.is_listening(now.monotonic_ms)
    }

    /// Handles the inputs of one turn to completion, in their order: all that has arrived since the last turn. Equal
    /// histories give equal outputs. Requests of one turn go to the same replica manager where possible, so that they fit
    /// into one message.
    pub fn step(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, outputs: &mut Vec<Output>) {
        if let Some(before) = self.directory.next_turn() {
            self.begin_in_another_cluster(before, outputs);
        }
        if let Some((_, seen)) = self.left_behind.take_if(|(names, _)| self.directory.is_in(names)) {
            self.prev.replicas.merge(&seen);
        }
        for input in inputs {
            self.handle(now, input, outputs);
        }
    }

    fn handle(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>) {
        let from = outputs.len();
        let mut step = Step::new(now, outputs);
        match input {
            Input::Request(client, request) => self.handle_request(client, request, &mut step),
            Input::Replies(replies) => self.hear_replies(replies, &mut step),
            Input::Unreachable(replica, undelivered) => {
                if self.directory.unreachable(&replica) {
                    step.notice(Notice::ReplicaGone(replica.clone()));
                }
                self.fail_attempts_at(&replica, &undelivered, &mut step);
            }
            Input::Presence(presence) => self.hear_presence(*presence, &mut step),
            Input::Connected => {
                self.directory.connected(now.monotonic_ms);
                // The replica in the same process is not asked over the connection.
                let here = self.directory.preferred().cloned();
                self.repeat_attempts_at(|replica| here.as_ref() != Some(replica), &mut step);
            }
            Input::Disconnected => self.directory.disconnected(),
            Input::Tick { listened } => self.tick(listened, &mut step),
        }
        self.join_answers(&mut step);
        self.retired.is_asking &= !step.is_own_question_answered;
        self.put_retired_before_answers(outputs, from);
    }

    /// Begins anew in another cluster: its replicas will never hold the updates seen here before, and every request
    /// would wait for these. This happens when all replicas were started anew with nothing. The timestamp seen before
    /// is kept aside: the two clusters may meet.
    fn begin_in_another_cluster(&mut self, before: ClusterNames, outputs: &mut Vec<Output>) {
        let seen = std::mem::take(&mut self.prev.replicas);
        let left_behind = self.left_behind.replace((before, seen));
        if let Some((_, seen)) = left_behind.filter(|(names, _)| self.directory.is_in(names)) {
            self.prev.replicas = seen;
        }
        self.losses = Losses::default();
        self.retired.forget_all();
        self.directory.forget_seen();
        if let Some(cluster) = self.cluster().cloned() {
            outputs.push(Output::Notice(Notice::AnotherCluster(cluster)));
        }
    }

    /// Asks this replica first, among those that are equally fit: it is in the same process.
    pub fn prefer(&mut self, replica: &ReplicaId) {
        self.directory.prefer(replica);
    }

    /// A replica shows that it has applied this much.
    pub fn replica_holds(&mut self, replica: &ReplicaId, value_timestamp: &Timestamp) {
        self.directory.holds(replica, value_timestamp);
    }

    /// Whether a reply to the request with this number is still of use.
    pub fn awaits(&self, n: u64) -> bool {
        self.attempts.get(n).is_some()
    }

    /// Clients can reach it from now on; its presence says so at the next tick.
    pub fn serve(&mut self) {
        self.stage = Stage::Serving;
        self.presence_due_ms = 0;
    }

    /// Clients cannot reach it any more, for a while; its presence says so at the next tick. Requests that came by now are
    /// still handled.
    pub fn stop_serving(&mut self) {
        self.stage = Stage::Starting;
        self.presence_due_ms = 0;
    }

    /// Says goodbye. Requests that were sent before that became known are still handled.
    pub fn leave(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.stage = Stage::Left;
        outputs.push(Output::Presence(Box::new(self.presence(now))));
    }

    fn handle_request(&mut self, client: u64, request: ClientRequest, step: &mut Step<'_>) {
        if self.pending() >= self.config.queue_length_max {
            return step.answer(client, Err(FrontendError::Overloaded { waiting: self.pending() }));
        }
        if let Err(error) = self.check_cluster(&request) {
            return step.answer(client, Err(error));
        }
        match (self.judge_clock(request.prev(), step.now), request) {
            (Err(error), _) => step.answer(client, Err(error)),
            (Ok(ClockVerdict::Plausible), request) | (Ok(_), request @ ClientRequest::Query { .. }) => {
                self.begin(client, request, step);
            }
            (Ok(ClockVerdict::Ahead), request) => self.lower_clock(client, request, step),
        }
    }

    fn begin(&mut self, client: u64, request: ClientRequest, step: &mut Step<'_>) {
        match request {
            ClientRequest::Query { request, prev, .. } => self.begin_query(client, request, prev, step),
            ClientRequest::Update { request, id, prev, .. } => self.begin_update(client, request, id, prev, step),
            ClientRequest::Batch(batch) => self.begin_batch(client, batch, step),
        }
    }

    /// Refuses a session of another cluster: no replica here will ever have the updates that it has seen.
    fn check_cluster(&self, request: &ClientRequest) -> Result<(), FrontendError> {
        let Some(theirs) = request.cluster() else { return Ok(()) };
        match &self.directory.cluster().id {
            Some(_) if self.directory.cluster().contain(theirs) => Ok(()),
            Some(ours) => Err(FrontendError::OtherCluster { theirs: theirs.clone(), ours: ours.clone() }),
            // No replica was heard that serves, so there is nobody to ask either.
            None if !self.directory.has_somebody_up() => Err(FrontendError::Unavailable),
            // Replicas of an older version show no identity.
            None => Ok(()),
        }
    }

    fn hear_replies(&mut self, replies: Replies, step: &mut Step<'_>) {
        self.directory.replied(&replies.id, replies.replies.iter().map(|numbered| &numbered.reply));
        for numbered in replies.replies {
            if self.attempts.get(numbered.n).is_none_or(|attempt| attempt.replica != replies.id) {
                continue;
            }
            let Some(attempt) = self.attempts.take(numbered.n) else { continue };
            self.conclude(attempt, Outcome::Reply(numbered.reply), step);
        }
    }

    fn hear_presence(&mut self, presence: Presence, step: &mut Step<'_>) {
        let id = presence.id.clone();
        let was_up = self.directory.is_up(&id);
        let silent_ms = self.directory.silent_ms(&id, step.now.monotonic_ms);
        self.retired.forget(&id);
        for former in self.directory.heard(presence, step.now.monotonic_ms) {
            step.notice(Notice::ReplicaGone(former.clone()));
            self.fail_attempts_at(&former, &(0..0), step);
        }
        match (was_up, self.directory.is_up(&id)) {
            (false, true) => {
                step.notice(Notice::ReplicaJoined(id.clone()));
                self.ask_newcomer(step);
            }
            (true, false) => {
                step.notice(Notice::ReplicaGone(id.clone()));
                self.fail_attempts_at(&id, &(0..0), step);
            }
            // Presence was lost on its way, and other messages with it.
            (true, true) if silent_ms > CUT_OFF_MS && self.directory.silent_ms(&id, step.now.monotonic_ms) == 0 => {
                self.repeat_attempts_at(|replica| *replica == id, step);
            }
            _ => {}
        }
        if self.directory.is_unproven(&id) {
            // No replica holds an id that was never used, and says so at once.
            let unused = UpdateId::from_stamp(Stamp::ZERO, self.generator.u64(..));
            let request = ConfirmRequest { n: NOT_AWAITED, id: unused, acceptor: None, wait_ms: 0 };
            step.outputs.push(Output::Confirm(id, request));
        }
    }

    fn tick(&mut self, listened: bool, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        for id in self.directory.tick(now_ms, listened, &self.prev.replicas) {
            step.notice(Notice::ReplicaGone(id.clone()));
            self.fail_attempts_at(&id, &(0..0), step);
        }
        while let Some(entry) = self.timers.first_entry().filter(|entry| *entry.key() <= now_ms) {
            let (due_ms, tokens) = entry.remove_entry();
            for token in tokens {
                self.wake(token, due_ms, step);
            }
        }
        if now_ms >= self.presence_due_ms {
            self.presence_due_ms = now_ms + PRESENCE_INTERVAL_MS;
            self.forget_own(step);
            self.tell_losses(step);
            self.ask_about_the_gone(step);
            let presence = self.presence(step.now);
            step.outputs.push(Output::Presence(Box::new(presence)));
        }
    }

    /// Looks at a request whose time has come, if it has no answer yet and is not to be looked at later.
    fn wake(&mut self, token: u64, due_ms: u64, step: &mut Step<'_>) {
        if self.pending.get(token).is_none_or(|pending| pending.wake_ms() != due_ms) {
            return;
        }
        let Some(mut pending) = self.pending.take(token) else { return };
        let wake_ms = match &mut pending {
            Pending::Query(query) => self.query_timer(query, step),
            Pending::Update(update) => self.update_timer(update, step),
        };
        self.put_back(token, pending, wake_ms);
    }

    /// Keeps a request until `wake_ms`, or forgets it and its attempts.
    fn put_back(&mut self, token: u64, mut pending: Pending, wake_ms: Option<u64>) {
        match wake_ms {
            Some(wake_ms) => {
                if pending.wake_ms() != wake_ms {
                    pending.set_wake_ms(wake_ms);
                    self.timers.entry(wake_ms).or_default().push(token);
                }
                self.pending.put(token, pending);
            }
            None => {
                for n in pending.attempts() {
                    self.attempts.end(*n);
                }
                self.pending.end(token);
            }
        }
    }

    /// By when a request that begins now has its answer.
    fn deadline_ms(&self, step: &Step<'_>) -> u64 {
        step.deadline_ms.unwrap_or(step.now.monotonic_ms + self.config.timeout_ms)
    }

    /// After this time without a reply another replica manager is asked too.
    fn patience_ms(&self) -> u64 {
        (self.config.timeout_ms / 5).clamp(20, 400)
    }

    /// Maximum time that a replica may keep a request waiting so that its answer is still in time, in milliseconds.
    fn wait_ms(&self, deadline_ms: u64, step: &Step<'_>) -> u64 {
        deadline_ms.saturating_sub(step.now.monotonic_ms).saturating_sub(self.config.timeout_ms / 10)
    }

    /// The presence message that this frontend sends now.
    pub fn presence(&self, now: Now) -> Presence {
        Presence {
            role: Role::Frontend,
            id: self.config.id.clone(),
            status: match self.stage {
                Stage::Starting => Status::Joining,
                Stage::Serving if self.pending() >= self.config.queue_length_max => Status::Overloaded,
                Stage::Serving => Status::Active,
                Stage::Left => Status::Left,
            },
            mode: None,
            wall_ms: now.wall_ms,
            version: self.config.version.clone(),
            dataset: None,
            durable: None,
            uptime_ms: now.monotonic_ms.saturating_sub(self.started_ms),
            value_timestamp: None,
            replica_timestamp: None,
            digest: None,
            log_length: None,
            snapshot: None,
            clock: None,
            prev: Some(self.prev.clone()),
            cluster: self.directory.cluster().id.clone(),
            aliases: self.directory.cluster().aliases.clone(),
            former: Vec::new(),
            lost: Vec::new(),
        }
    }
}

impl std::fmt::Display for Frontend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has seen {}, {} requests wait", self.config.id, self.prev, self.pending())
    }
}
