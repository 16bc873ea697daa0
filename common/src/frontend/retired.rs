//! Retired ids: replicas that are gone for good leave the labels of this frontend and of its sessions.
//!
//! Replicas leave the id of a retired one out of their timestamps (`retire` in `common/src/replica_manager/`). A label may do
//! the same as soon as it names something that depends on all updates of the id: then no replica without these covers it.
//!
//! - The label of a **query's** answer, or of a refusal, is all that a replica has applied, the record that retires the id
//!   among it.
//! - An **update** whose `prev` names a retired id becomes a record that depends on all that its acceptor has applied. The
//!   acceptor tells the ids; they are left out when the record is acknowledged, and not when it is accepted, as only then
//!   the label names it.
//!
//! A session is told with an answer which ids its label may leave out. An id that is retired is missed by nobody, so that it
//! is not taken for lost with its updates. So a frontend whose label names one that no replica shows any more, and that has
//! nothing to do, asks a replica.

use std::collections::{BTreeMap, VecDeque};

use super::batch::is_member;
use super::{Frontend, Output, Step};
use crate::edge::FrontendError;
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::request::Query;
use crate::timestamp::Timestamp;

/// Maximum retired ids that are remembered for the sake of sessions' old labels. Beyond it the first ones are forgotten:
/// then replicas are asked about them again.
const RETIRED_MAX: usize = 4096;
/// The client number of a frontend's own question. Shells count from 1.
pub(super) const OWN_QUESTION: u64 = 1 << 62;

/// Retired ids, each with the number of its last update that is known here.
#[derive(Clone, Debug, Default)]
pub(super) struct Retired {
    counts: BTreeMap<ReplicaId, u64>,
    /// In the order in which they were noted.
    order: VecDeque<ReplicaId>,
    /// Retired ids that labels of clients name, by client, to be told with the answer.
    untold: BTreeMap<u64, Timestamp>,
    /// Whether a question of this frontend's own has no answer yet.
    pub(super) is_asking: bool,
}

impl Retired {
    fn note(&mut self, id: &ReplicaId, count: u64) {
        if let Some(known) = self.counts.get_mut(id) {
            *known = count.max(*known);
            return;
        }
        self.counts.insert(id.clone(), count);
        self.order.push_back(id.clone());
        if self.order.len() > RETIRED_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.counts.remove(&first);
        }
    }

    /// The retired entries of `timestamp`, each with the number that it names.
    fn of(&self, timestamp: &Timestamp) -> Timestamp {
        let is_retired = |id: &ReplicaId, count: u64| self.counts.get(id).is_some_and(|last| count <= *last);
        timestamp.iter().filter(|(id, count)| is_retired(id, *count)).map(|(id, count)| (id.clone(), count)).collect()
    }

    /// Forgets all retired ids: they are of another cluster.
    pub(super) fn forget_all(&mut self) {
        self.counts.clear();
        self.order.clear();
    }

    /// A replica with this id shows itself after all.
    pub(super) fn forget(&mut self, id: &ReplicaId) {
        if self.counts.remove(id).is_some() {
            self.order.retain(|other| other != id);
        }
    }
}

impl Frontend {
    /// Takes out of a session's label what is known to be retired, and returns it: what is seen here stands for it.
    pub(super) fn take_retired(&self, prev: &mut Timestamp) -> Timestamp {
        if self.retired.counts.is_empty() || self.prev.replicas.covers(prev) {
            return Timestamp::new();
        }
        let retired = self.retired.of(prev);
        prev.leave_out(&retired);
        retired
    }

    /// Learns the label of an answer that reflects all of `prev`: what the label leaves out was retired, and what it has
    /// stands for that.
    pub(super) fn learn(&mut self, client: u64, prev: &Timestamp, label: &Label) {
        self.prev.merge(label);
        if label.replicas.covers(prev) {
            return;
        }
        let retired: Timestamp =
            prev.iter().filter(|(id, _)| label.replicas.get(id) == 0).map(|(id, count)| (id.clone(), count)).collect();
        // Entries that only the session has seen may be made up: they must not matter to other sessions.
        let seen = retired.common(&self.prev.replicas);
        self.leave_out(&seen);
        self.tell_retired(client, &retired);
    }

    /// Leaves retired ids out, for which something stands that is in this frontend's label by now.
    pub(super) fn leave_out(&mut self, retired: &Timestamp) {
        self.prev.replicas.leave_out(retired);
        for (id, count) in retired.iter() {
            self.retired.note(id, count);
        }
        self.directory.leave_out(retired);
    }

    /// Notes what a client is told with its answer.
    pub(super) fn tell_retired(&mut self, client: u64, retired: &Timestamp) {
        let client = if is_member(client) { self.batches.client_of(client) } else { Some(client) };
        if let Some(client) = client.filter(|client| *client != OWN_QUESTION && !retired.is_empty()) {
            self.retired.untold.entry(client).or_default().merge(retired);
        }
    }

    /// Puts what clients have to be told before their answers, which are the outputs from number `from` on. An answer
    /// without a label has nothing that stands for an id.
    pub(super) fn put_retired_before_answers(&mut self, outputs: &mut Vec<Output>, from: usize) {
        let mut place = from;
        while !self.retired.untold.is_empty() && place < outputs.len() {
            let told = match &outputs[place] {
                Output::Answer(client, Ok(reply)) => Some((*client, Some(&reply.label))),
                Output::Answer(client, Err(error)) => Some((*client, FrontendError::label(error))),
                Output::BatchAnswer(client, reply) => Some((*client, Some(&reply.label))),
                _ => None,
            };
            if let Some((client, label)) = told
                && let Some(retired) = self.retired.untold.remove(&client)
                && label.is_some_and(|label| !label.replicas.is_empty())
            {
                outputs.insert(place, Output::Retired(client, retired));
                place += 1;
            }
            place += 1;
        }
    }

    /// Asks a replica where this frontend's label names a replica that is gone, and updates of it that no present one shows:
    /// the label of the answer tells whether it is retired.
    pub(super) fn ask_about_the_gone(&mut self, step: &mut Step<'_>) {
        if !self.retired.is_asking
            && self.directory.has_somebody_up()
            && self.directory.is_somebody_missing(&self.prev.replicas)
        {
            self.retired.is_asking = true;
            let anything = Query::Search { title: String::new(), limit: 1 };
            self.begin_query(OWN_QUESTION, anything, Label::new(), step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_ids_that_are_remembered_stay_few() {
        let id = |n: usize| ReplicaId::new(&format!("r{n}")).unwrap();
        let mut retired = Retired::default();
        for n in 0..3 * RETIRED_MAX {
            retired.note(&id(n), 1);
            retired.note(&id(n), 7);
        }
        assert_eq!((retired.counts.len(), retired.order.len()), (RETIRED_MAX, RETIRED_MAX));
        let last = id(3 * RETIRED_MAX - 1);
        let old: Timestamp = [(id(0), 1), (last.clone(), 7)].into_iter().collect();
        assert_eq!(retired.of(&old).to_string(), format!("{{{last}:7}}"));
        assert!(retired.of(&[(last.clone(), 8)].into_iter().collect()).is_empty(), "an update that is not known");
        retired.forget(&last);
        assert!(retired.of(&old).is_empty() && retired.order.len() == RETIRED_MAX - 1);
    }
}
