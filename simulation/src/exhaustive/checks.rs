//! Promises that must hold in every state.

use std::collections::BTreeSet;
use std::fmt;

use natter_common::ids::ReplicaId;
use natter_common::messages::Status;
use natter_common::record::RecordRef;
use natter_common::replica_manager::Notice;
use natter_common::timestamp::Timestamp;
use natter_common::value::Value;

use crate::simulation::client::Operation;
use crate::simulation::invariants::Violation;
use crate::simulation::invariants::causal_order::CausalOrder;
use crate::simulation::invariants::exactly_once::ExactlyOnce;
use crate::simulation::invariants::ledger::Ledger;
use crate::simulation::invariants::sessions::Sessions;
use crate::simulation::message::ClientAnswer;

use super::process::{Replica, Replicas};

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Name of the promise.
    pub promise: &'static str,
    /// Description of the case.
    pub text: String,
}

impl Broken {
    /// `promise` is broken.
    pub fn new(promise: &'static str, text: String) -> Self {
        Self { promise, text }
    }
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Self {
        Self::new(violation.invariant, violation.text)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)
    }
}

/// Memory of one path through the states, for checks that need more than the present state.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    fault_tolerance: usize,
    ledger: Ledger,
    causal_order: CausalOrder,
    exactly_once: ExactlyOnce,
    sessions: Sessions,
    /// Records that an answer named or reflected: one loss, of `fault_tolerance` copies, takes none of them away.
    seen: BTreeSet<RecordRef>,
    /// Records that ended processes held: a frontend may not know yet that they are gone.
    gone: Vec<Timestamp>,
    /// Records on the disks of processes without power.
    kept: Vec<Timestamp>,
    /// Number of processes that end in this turn: they were up when its outputs left.
    ending: usize,
}

impl Checks {
    pub(super) fn new(fault_tolerance: u32) -> Self {
        Self {
            fault_tolerance: fault_tolerance as usize,
            ledger: Ledger::default(),
            causal_order: CausalOrder::default(),
            exactly_once: ExactlyOnce::default(),
            sessions: Sessions::default(),
            seen: BTreeSet::new(),
            gone: Vec::new(),
            kept: Vec::new(),
            ending: 0,
        }
    }

    /// A replica manager handled something.
    pub(super) fn stepped(&mut self, id: &ReplicaId, notices: &[Notice], replicas: &Replicas) -> Result<(), Broken> {
        for notice in notices {
            match notice {
                Notice::Accepted(record) => self.ledger.accepted(record)?,
                Notice::Applied { record, stands, value_timestamp } => {
                    self.causal_order.applied(&self.ledger, id, record, value_timestamp)?;
                    self.exactly_once.applied(&self.ledger, id, record, *stands)?;
                }
                Notice::Diverged { .. } => return Err(Broken::new("convergence", format!("{id} {notice}"))),
                _ => {}
            }
        }
        let Some(replica) = replicas.get(id) else { return Ok(()) };
        let (manager, value) = (replica.manager(), &replica.value);
        if *value.rows() != self.ledger.rows_at(manager.value_timestamp()) {
            return Err(Broken::new("the value is what its timestamp says", format!("{manager}: {:?}", value.rows())));
        }
        Ok(())
    }

    /// A frontend answers: what that names or reflects is held by as many as are asked for, or by all that are there.
    pub(super) fn answers(&mut self, answer: &ClientAnswer, replicas: &Replicas) -> Result<(), Broken> {
        let label = match answer {
            Ok(reply) => &reply.label,
            Err(error) => match error.label() {
                Some(label) => label,
                None => return Ok(()),
            },
        };
        for (i, seq) in label.replicas.iter() {
            let name = RecordRef { i: i.clone(), seq };
            let alive = replicas.values().map(|replica| replica.manager().replica_timestamp());
            let copies = alive.chain(&self.gone).filter(|held| held.get(i) >= seq).count();
            let serves = |replica: &&Replica| matches!(replica.manager().status(), Status::Active | Status::Overloaded);
            let enough = self.fault_tolerance.min(replicas.values().filter(serves).count() + self.ending);
            if copies < enough && self.seen.insert(name.clone()) {
                return Err(Broken::new(
                    "what is answered is held by enough",
                    format!("{name} is held by {copies} of {enough}"),
                ));
            }
            self.seen.insert(name);
        }
        Ok(())
    }

    /// A session hears an answer.
    pub(super) fn answered(&mut self, operation: &Operation, answer: &ClientAnswer) -> Result<(), Broken> {
        self.sessions.answered(&self.ledger, operation, answer, &|_| false)?;
        if let Ok(reply) = answer {
            self.exactly_once.answered(&self.ledger, operation, reply)?;
        }
        self.exactly_once.ended(operation, answer);
        Ok(())
    }

    /// A replica manager ends, which held this much, in memory or on a disk that stays.
    pub(super) fn ends(&mut self, held: Timestamp, stays: bool) {
        if stays {
            self.kept.push(held.clone());
        }
        self.gone.push(held);
        self.ending += 1;
    }

    /// It is gone, and so are its last messages.
    pub(super) fn ended(&mut self, replicas: &Replicas) -> Result<(), Broken> {
        self.ending = 0;
        let held = |name: &RecordRef| {
            let alive = replicas.values().map(|replica| replica.manager().replica_timestamp());
            alive.chain(&self.kept).any(|held| held.get(&name.i) >= name.seq)
        };
        match self.seen.iter().find(|name| !held(name)) {
            Some(lost) => Err(Broken::new("what was answered survives a loss", format!("{lost} is gone"))),
            None => Ok(()),
        }
    }

    /// A replica manager begins another life, under this id.
    pub(super) fn reborn(&mut self, id: &ReplicaId, applied: &Timestamp) {
        self.causal_order.has(id, applied);
    }

    /// In every state.
    pub(super) fn hold(&self, replicas: &Replicas) -> Result<(), Broken> {
        for manager in replicas.values().map(Replica::manager) {
            if !manager.replica_timestamp().covers(manager.value_timestamp()) {
                return Err(Broken::new("value <= replica timestamp", manager.to_string()));
            }
            for (other, entry) in manager.timestamp_table().iter() {
                if let Some(truth) = replicas.get(other).map(Replica::manager)
                    && !(self.ledger.covers(truth.replica_timestamp(), &entry.replica_timestamp)
                        && self.ledger.covers(truth.value_timestamp(), &entry.value_timestamp))
                {
                    return Err(Broken::new("the timestamp table is never ahead", format!("{manager}: {entry:?}")));
                }
            }
        }
        Ok(())
    }

    /// Everything has come to rest.
    pub(super) fn at_end(&self, replicas: &Replicas) -> Result<(), Broken> {
        let mut all = replicas.values();
        let Some(one) = all.next() else { return Ok(()) };
        let first = one.manager();
        for other in all {
            let manager = other.manager();
            let equal = manager.value_timestamp() == first.value_timestamp()
                && manager.replica_timestamp() == manager.value_timestamp()
                && one.value.digest() == other.value.digest();
            if !equal {
                return Err(Broken::new("all are equal in the end", format!("{first}; {manager}")));
            }
        }
        let applied = self.ledger.expanded(first.value_timestamp());
        if let Some(lost) = self.seen.iter().find(|name| applied.get(&name.i) < name.seq) {
            return Err(Broken::new("what was answered is everywhere in the end", format!("{lost} is not")));
        }
        Ok(self.exactly_once.refused_stay_out(&self.ledger, first.id(), first.value_timestamp())?)
    }
}
