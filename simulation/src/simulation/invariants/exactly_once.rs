//! Exactly once (guarantee 5): once another update took the place of an update's effect, it never comes back; retries
//! get the first answer again; and what was refused never takes effect.

use std::collections::{BTreeMap, BTreeSet};

use natter_common::edge::{ClientReply, FrontendError};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::Role;
use natter_common::rating::RatingKey;
use natter_common::record::Record;
use natter_common::request::Answer;
use natter_common::timestamp::Timestamp;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::client::{Asked, Operation};
use crate::simulation::cluster::Cluster;
use crate::simulation::message::ClientAnswer;

/// The updates whose effects stood for a key: the one that does, and those before it.
type Standing = (UpdateId, BTreeSet<UpdateId>);

/// Updates that took effect, by replica and key, and answers, by update id.
#[derive(Clone, Debug, Default)]
pub struct ExactlyOnce {
    standing: BTreeMap<(ReplicaId, RatingKey), Standing>,
    answers: BTreeMap<UpdateId, Answer>,
    refused: BTreeMap<UpdateId, String>,
}

impl ExactlyOnce {
    /// A replica manager applied a record.
    pub fn applied(&mut self, ledger: &Ledger, id: &ReplicaId, record: &Record, stands: bool) -> Result<(), Violation> {
        let Some((key, _)) = record.row().filter(|_| stands) else { return Ok(()) };
        let place = (id.clone(), key);
        let (standing, before) = self.standing.entry(place).or_insert((record.id, BTreeSet::new()));
        let is_again = before.contains(&record.id) && !ledger.is_stamped_twice(record.id);
        check(!is_again, "an update takes effect once", || {
            format!(
                "at {id}, {} of {} takes the place of {standing} and had its effect before",
                record.name(),
                record.id
            )
        })?;
        if *standing != record.id {
            before.insert(*standing);
            *standing = record.id;
        }
        Ok(())
    }

    /// An update was answered.
    pub fn answered(&mut self, ledger: &Ledger, operation: &Operation, reply: &ClientReply) -> Result<(), Violation> {
        let Asked::Update(update) = &operation.asked else { return Ok(()) };
        for record in ledger.named(&reply.label.replicas) {
            let right = record.request == Some(*update) && operation.id.is_none_or(|id| id == record.id);
            check(right, "the label names the update", || format!("{operation:?} got {record:?}"))?;
            let first = self.answers.entry(record.id).or_insert(reply.value.clone());
            check(*first == reply.value, "a retry gets the first answer", || {
                format!("{} got {first:?} and {:?}", record.id, reply.value)
            })?;
        }
        Ok(())
    }

    /// An operation is over for its session.
    pub fn ended(&mut self, operation: &Operation, answer: &ClientAnswer) {
        // An attempt without an answer may still be on its way, whatever becomes of a later one.
        if let (Some(id), 1, Err(error @ FrontendError::Refused { .. })) = (operation.id, operation.tries, answer) {
            self.refused.insert(id, format!("{error} at {operation:?}"));
        }
    }

    /// Everything has been well for a while.
    pub fn at_end(&self, ledger: &Ledger, cluster: &Cluster) -> Result<(), Violation> {
        let alive = cluster.alive(Role::Replica);
        alive.iter().try_for_each(|id| self.refused_stay_out(ledger, id, cluster.manager(id).value_timestamp()))
    }

    /// `id` has applied this much, in the end.
    pub fn refused_stay_out(&self, ledger: &Ledger, id: &ReplicaId, applied: &Timestamp) -> Result<(), Violation> {
        for record in ledger.covered(applied) {
            let refused = self.refused.get(&record.id);
            check(refused.is_none(), "what was refused has no effect", || {
                format!("{id} applied {}: {refused:?}", record.name())
            })?;
        }
        Ok(())
    }
}
