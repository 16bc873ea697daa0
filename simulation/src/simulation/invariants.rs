//! Invariants that must hold after every event, one file for each.

pub mod catching_up;
pub mod causal_order;
pub mod clocks;
pub mod convergence;
pub mod durability;
pub mod exactly_once;
pub mod ledger;
pub mod sessions;
pub mod timestamps;
pub mod truncation;

use std::fmt;

use natter_common::clock::STAMP_AHEAD_MS_MAX;
use natter_common::edge::FrontendError;
use natter_common::ids::ReplicaId;
use natter_common::messages::Role;
use natter_common::record::RecordRef;
use natter_common::replica_manager::Notice;
use natter_common::timestamp::Timestamp;

use super::client::Operation;
use super::cluster::Cluster;
use super::message::ClientAnswer;
use super::process::Caller;
use catching_up::CatchingUp;
use causal_order::CausalOrder;
use clocks::Clocks;
use convergence::Convergence;
use durability::Durability;
use exactly_once::ExactlyOnce;
use ledger::Ledger;
use sessions::Sessions;
use timestamps::Timestamps;
use truncation::Truncation;

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// Description of the case.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// The refusal of a label for its clock.
const AHEAD: &str = "more than a minute ahead";

/// Whether a label is refused for a clock of which nothing is left: the record with that stamp was held, and not
/// applied, by a replica manager that is gone.
fn is_clock_lost(cluster: &Cluster, operation: &Operation, answer: &ClientAnswer) -> bool {
    let Err(FrontendError::BadRequest(text)) = answer else { return false };
    let is_near = |id: &ReplicaId| {
        let clock = cluster.manager(id).clock();
        operation.prev.clock.milliseconds() <= clock.milliseconds() + STAMP_AHEAD_MS_MAX
    };
    text.contains(AHEAD) && !cluster.alive(Role::Replica).iter().any(is_near)
}

/// Gives a [`Violation`] of `invariant` where `holds` is false.
pub fn check(holds: bool, invariant: &'static str, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, text: text() }) }
}

/// All invariants, with what they remember.
#[derive(Debug, Default)]
pub struct Invariants {
    /// Every record ever accepted.
    pub ledger: Ledger,
    /// Acknowledged records, with the check that enough replicas hold them.
    pub durability: Durability,
    /// Latest time of any wall clock: the limit of stamps.
    pub clocks: Clocks,
    timestamps: Timestamps,
    causal_order: CausalOrder,
    catching_up: CatchingUp,
    convergence: Convergence,
    exactly_once: ExactlyOnce,
    sessions: Sessions,
    truncation: Truncation,
}

impl Invariants {
    /// A process handled a batch.
    pub fn stepped(
        &mut self,
        cluster: &Cluster,
        id: &ReplicaId,
        notices: &[Notice],
        answers: &[(Caller, ClientAnswer)],
    ) -> Result<(), Violation> {
        let process = cluster.process(id);
        self.clocks.shows(process.now(cluster.now_us()).wall_ms);
        if let Some((manager, value)) = process.replica() {
            for notice in notices {
                match notice {
                    Notice::Accepted(record) => {
                        self.clocks.accepted(record)?;
                        self.ledger.accepted(record)?;
                    }
                    Notice::Applied { record, stands, value_timestamp } => {
                        self.causal_order.applied(&self.ledger, id, record, value_timestamp)?;
                        self.exactly_once.applied(&self.ledger, id, record, *stands)?;
                        self.durability.applied(&self.ledger, cluster, process, record)?;
                    }
                    Notice::SnapshotLoaded { value_timestamp, .. } => self.causal_order.has(id, value_timestamp),
                    Notice::Lost { origin, after, until } => {
                        self.durability.given_up(&self.ledger, cluster, id, origin, *after)?;
                        self.ledger.lost(origin, *until);
                    }
                    Notice::Diverged { .. } => check(false, "convergence", || format!("{id} {notice}"))?,
                    Notice::Dropped { .. } => check(false, "honest records are taken in", || format!("{id} {notice}"))?,
                    _ => {}
                }
            }
            self.timestamps.stepped(&self.ledger, cluster, id, manager)?;
            let took_snapshot =
                manager.is_merging() || notices.iter().any(|notice| matches!(notice, Notice::SnapshotLoaded { .. }));
            self.truncation.stepped(&self.ledger, cluster, process, manager, took_snapshot)?;
            self.catching_up.stepped(&self.ledger, process, manager, cluster.now_us())?;
            let changed = |notice: &Notice| matches!(notice, Notice::Applied { .. } | Notice::SnapshotLoaded { .. });
            if !manager.is_merging() && notices.iter().any(changed) {
                self.convergence.applied(&self.ledger, id, manager, value)?;
            }
        }
        for (caller, answer) in answers {
            self.note_lost(cluster, &caller.frontend_prev);
            self.durability.answers(&self.ledger, cluster, process, caller, answer)?;
        }
        Ok(())
    }

    /// A replica manager begins another life with what it saved.
    pub fn reborn(&mut self, cluster: &Cluster, id: &ReplicaId) {
        self.causal_order.has(id, cluster.manager(id).value_timestamp());
        self.timestamps.reborn(id, cluster.manager(id));
    }

    /// All replica managers end, and others begin with nothing: what was promised is void.
    pub fn begin_anew(&mut self, cluster: &Cluster) {
        self.durability.begin_anew(cluster);
        self.exactly_once = ExactlyOnce::default();
    }

    /// A session's operation has an answer.
    pub fn answered(
        &mut self,
        cluster: &Cluster,
        operation: &Operation,
        answer: &ClientAnswer,
    ) -> Result<(), Violation> {
        self.note_lost(cluster, &operation.seen);
        let Self { ledger, durability, sessions, .. } = self;
        let is_lost = |id| {
            let mut records = ledger.records_of(id).map(|record| record.name());
            records.all(|name| durability.holder(ledger, cluster, &name).is_none())
        };
        if !is_clock_lost(cluster, operation, answer) {
            sessions.answered(ledger, operation, answer, &is_lost)?;
        }
        if let Ok(reply) = answer {
            self.exactly_once.answered(&self.ledger, operation, reply)?;
        }
        Ok(())
    }

    /// Notes records of `prev` that no replica holds any more: they cannot be asked for.
    fn note_lost(&mut self, cluster: &Cluster, prev: &Timestamp) {
        for (i, seq) in prev.iter() {
            if self.durability.holder(&self.ledger, cluster, &RecordRef { i: i.clone(), seq }).is_none() {
                self.ledger.lost(i, seq);
            }
        }
    }

    /// A session takes this for the end of its operation, whether it has tried it once or often.
    pub fn ended(&mut self, operation: &Operation, answer: &ClientAnswer) {
        self.exactly_once.ended(operation, answer);
    }

    /// Whether all replica managers serve and are equal.
    pub fn is_at_rest(&self, cluster: &Cluster) -> bool {
        self.convergence.at_end(&self.ledger, cluster).is_ok()
    }

    /// Everything is well again and has been for a while.
    pub fn at_end(&self, cluster: &Cluster, nothing_may_be_lost: bool) -> Result<(), Violation> {
        self.convergence.at_end(&self.ledger, cluster)?;
        self.durability.at_end(&self.ledger, cluster, nothing_may_be_lost)?;
        self.exactly_once.at_end(&self.ledger, cluster)
    }
}
