//! A frontend and a replica in one process: a third protocol core, which joins the two others in memory.
//!
//! The two halves exchange the same requests and replies as over the broker, so each keeps its guarantees by its own code:
//!
//! - a **query** that the local value covers is answered in the turn in which it arrives, without a second hop;
//! - an **update** is accepted by the local half where that is fit, and becomes visible as everywhere: when enough replicas
//!   hold its record. The local half sees in its timestamp table which replicas hold its records, by their acknowledgements,
//!   gossip and presence, whichever comes first. So the requests to confirm that the frontend half makes are answered from
//!   that table (`held_elsewhere`), and travel only where the table stays silent;
//! - everything else goes over the broker, as between separate processes.
//!
//! Nothing of a turn is handed from the local replica to the frontend before the replica has committed it: the replica
//! half's `step` gives out what it has committed, and only its outputs reach the frontend half. With a disk, that may be in a
//! later turn: the one of [`replica_manager::Input::Committed`].

mod held_elsewhere;

use std::sync::Arc;

use crate::clock::Now;
use crate::frontend::{self, Frontend};
use crate::ids::ReplicaId;
use crate::messages::{NumberedReply, Presence, Replies, Reply, Status};
use crate::replica_manager::{self, ReplicaManager, ReplyTo};
use crate::value::{Value, ValueError};

use held_elsewhere::HeldElsewhere;

/// Most rounds between the halves in one turn. A request takes two or three; more than this would keep the process from
/// everything else.
const ROUNDS_MAX: u32 = 64;

/// Everything that the process asks of its shell: first what the replica asks for, in its order, then what the frontend
/// asks for, in its order.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// By the replica half.
    pub replica: Vec<replica_manager::Output>,
    /// By the frontend half.
    pub frontend: Vec<frontend::Output>,
}

/// A frontend and a replica, joined in memory.
#[derive(Clone, Debug)]
pub struct Colocated {
    frontend: Frontend,
    replica: ReplicaManager,
    /// Reply subject of requests between the halves. Empty, as no subject of the broker is.
    local: Arc<str>,
    held_elsewhere: HeldElsewhere,
    /// Inputs of the two halves that have not been handled yet.
    for_frontend: Vec<frontend::Input>,
    for_replica: Vec<replica_manager::Input>,
}

impl Colocated {
    /// Joins two halves that have just been made.
    pub fn new(mut frontend: Frontend, replica: ReplicaManager) -> Self {
        frontend.prefer(replica.id());
        Self {
            frontend,
            replica,
            local: Arc::from(""),
            held_elsewhere: HeldElsewhere::default(),
            for_frontend: Vec::new(),
            for_replica: Vec::new(),
        }
    }

    /// The frontend half.
    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// The frontend half, to start or to stop serving.
    pub fn frontend_mut(&mut self) -> &mut Frontend {
        &mut self.frontend
    }

    /// The replica half.
    pub fn replica(&self) -> &ReplicaManager {
        &self.replica
    }

    /// The replica half, to leave.
    pub fn replica_mut(&mut self) -> &mut ReplicaManager {
        &mut self.replica
    }

    /// Handles the inputs of one turn to completion, in their order for each half. The frontend half gets clients' requests
    /// and what comes back from other replicas; everything else goes to the replica half, which passes presence, connection
    /// events and time on. Equal histories give equal outputs. Returns whether there was something to save.
    ///
    /// # Errors
    ///
    /// The store failed. The replica half must not be used any more; its `outputs` so far are of turns that were committed.
    pub fn step(
        &mut self,
        now: Now,
        for_frontend: impl IntoIterator<Item = frontend::Input>,
        for_replica: impl IntoIterator<Item = replica_manager::Input>,
        value: &mut dyn Value,
        outputs: &mut Outputs,
    ) -> Result<bool, ValueError> {
        let mut ticks = false;
        for input in for_replica {
            ticks |= matches!(input, replica_manager::Input::Tick { .. });
            self.pass_on(&input);
            self.for_replica.push(input);
        }
        for input in for_frontend {
            // Both halves count the same replicas as there.
            if let frontend::Input::Unreachable(id, _) = &input {
                self.for_replica.push(replica_manager::Input::Unreachable(id.clone()));
            }
            self.for_frontend.push(input);
        }
        let mut is_changed = false;
        for _ in 0..ROUNDS_MAX {
            self.step_frontend(now, outputs);
            if !self.for_replica.is_empty() {
                is_changed |= self.step_replica(now, value, outputs)?;
                let due = std::mem::take(&mut ticks);
                self.confirm_what_is_held_elsewhere(now, due, outputs);
            }
            if self.is_at_rest() {
                break;
            }
        }
        Ok(is_changed)
    }

    /// Whether neither half has anything to tell the other one. Messages left over from a turn are handled in the next
    /// one.
    pub fn is_at_rest(&self) -> bool {
        self.for_frontend.is_empty() && self.for_replica.is_empty()
    }

    /// Passes on to the frontend half what concerns both.
    fn pass_on(&mut self, input: &replica_manager::Input) {
        use frontend::Input as OfFrontend;
        use replica_manager::Input as OfReplica;
        self.for_frontend.push(match input {
            OfReplica::Presence(presence) => OfFrontend::Presence(presence.clone()),
            OfReplica::Connected => OfFrontend::Connected,
            OfReplica::Disconnected => OfFrontend::Disconnected,
            OfReplica::Tick { listened, .. } => OfFrontend::Tick { listened: *listened },
            _ => return,
        });
    }

    /// Lets the frontend half handle what it got. Its requests to the local replica stay in memory.
    fn step_frontend(&mut self, now: Now, outputs: &mut Outputs) {
        use frontend::Output as Asked;
        use replica_manager::Input as OfReplica;
        if self.for_frontend.is_empty() {
            return;
        }
        let mut asked = Vec::new();
        self.frontend.step(now, self.for_frontend.drain(..), &mut asked);
        let own = self.replica.id();
        let is_offline = self.replica.status() == Status::Offline;
        let mut refused = Vec::new();
        for output in asked {
            let (n, input) = match output {
                Asked::Update(replica, request) if replica == *own => {
                    (request.n, OfReplica::Update(self.reply_to(request.n), request))
                }
                Asked::Query(replica, request) if replica == *own => {
                    (request.n, OfReplica::Query(self.reply_to(request.n), request))
                }
                Asked::Confirm(replica, request) if replica == *own => {
                    (request.n, OfReplica::Confirm(self.reply_to(request.n), request))
                }
                Asked::Confirm(replica, request) if request.acceptor.as_ref() == Some(own) => {
                    self.held_elsewhere.expect(replica, request, now.monotonic_ms);
                    continue;
                }
                output => {
                    outputs.frontend.push(output);
                    continue;
                }
            };
            match is_offline {
                // A replica that is OFFLINE drops requests, which would be waited for.
                true => refused.push(NumberedReply { n, reply: Reply::NotServing }),
                false => self.for_replica.push(input),
            }
        }
        self.hear_local(refused);
    }

    fn reply_to(&self, n: u64) -> ReplyTo {
        ReplyTo { subject: Arc::clone(&self.local), n }
    }

    /// Lets the replica half handle what it got, and commit it. Its replies to the frontend half stay in memory.
    fn step_replica(&mut self, now: Now, value: &mut dyn Value, outputs: &mut Outputs) -> Result<bool, ValueError> {
        use replica_manager::Output as Said;
        let mut said = Vec::new();
        let is_changed = self.replica.step(now, self.for_replica.drain(..), value, &mut said)?;
        let mut replies = Vec::new();
        for output in said {
            match output {
                Said::Reply(to, reply) if to.subject.is_empty() => replies.push(NumberedReply { n: to.n, reply }),
                Said::Presence(presence) => {
                    self.hear_own_presence(&presence);
                    outputs.replica.push(Said::Presence(presence));
                }
                output => outputs.replica.push(output),
            }
        }
        self.frontend.replica_holds(self.replica.id(), self.replica.value_timestamp());
        self.hear_local(replies);
        Ok(is_changed)
    }

    fn hear_own_presence(&mut self, presence: &Presence) {
        self.for_frontend.push(frontend::Input::Presence(Box::new(presence.clone())));
    }

    fn hear_local(&mut self, replies: Vec<NumberedReply>) {
        if !replies.is_empty() {
            let id = self.replica.id().clone();
            self.for_frontend.push(frontend::Input::Replies(Replies { id, replies }));
        }
    }

    /// Answers requests to confirm by what the local replica knows of others. With `due`, those that it has known nothing of
    /// for long go over the broker.
    fn confirm_what_is_held_elsewhere(&mut self, now: Now, due: bool, outputs: &mut Outputs) {
        if self.held_elsewhere.is_empty() {
            return;
        }
        let frontend = &self.frontend;
        for (id, replies) in self.held_elsewhere.take_held(&self.replica) {
            self.for_frontend.push(frontend::Input::Replies(Replies { id, replies }));
        }
        if due {
            let overdue = self.held_elsewhere.take_overdue(now.monotonic_ms, |n| frontend.awaits(n));
            outputs.frontend.extend(overdue.map(|(id, request)| frontend::Output::Confirm(id, request)));
        }
    }

    /// Replaces the local replica by `replica`, which has a new id, after a failure of its store. In the next turn
    /// other replicas are asked for what was pending at the old one. Requests to confirm that the old one would have
    /// answered for others are sent now.
    pub fn replace_replica(&mut self, replica: ReplicaManager, outputs: &mut Outputs) {
        let former = self.replica.id().clone();
        self.frontend.prefer(replica.id());
        self.replica = replica;
        self.for_replica.clear();
        for (id, request) in std::mem::take(&mut self.held_elsewhere).into_requests() {
            if self.frontend.awaits(request.n) {
                outputs.frontend.push(frontend::Output::Confirm(id, request));
            }
        }
        self.for_frontend.push(frontend::Input::Unreachable(former, 0..0));
    }

    /// Gives the frontend half alone, after the store of the local replica failed. Requests to confirm that it would
    /// have answered for others are sent now. For requests that are pending at it, others are asked.
    pub fn into_frontend(self, now: Now, outputs: &mut Vec<frontend::Output>) -> Frontend {
        let Self { mut frontend, replica, held_elsewhere, mut for_frontend, .. } = self;
        for_frontend.push(frontend::Input::Unreachable(replica.id().clone(), 0..0));
        frontend.step(now, for_frontend, outputs);
        let travelling = held_elsewhere.into_requests().filter(|(_, request)| frontend.awaits(request.n));
        outputs.extend(travelling.map(|(id, request)| frontend::Output::Confirm(id, request)));
        frontend
    }

    /// Its replica's id.
    pub fn id(&self) -> &ReplicaId {
        self.replica.id()
    }
}
