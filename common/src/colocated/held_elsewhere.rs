//! Requests to confirm that the local replica answers for others, as it knows what they hold of its records.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::ids::ReplicaId;
use crate::messages::{ConfirmRequest, NumberedReply, Reply};
use crate::record::RecordRef;
use crate::replica_manager::ReplicaManager;

/// Time after which a request to confirm goes over the broker after all, in milliseconds. The other replica may have missed
/// the gossip; the request makes it pull the record. An acknowledgement normally takes a fraction of this.
const OVERDUE_MS: u64 = 40;

/// A request to another replica that did not travel.
#[derive(Clone, Debug)]
struct Expected {
    replica: ReplicaId,
    request: ConfirmRequest,
    since_ms: u64,
}

/// Requests to confirm records of the local replica.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldElsewhere {
    /// Requests to confirm updates that the local replica has not accepted yet.
    unnamed: Vec<Expected>,
    /// The other requests, by the replica that is asked, then by the number of the record and of the request.
    named: BTreeMap<ReplicaId, BTreeMap<(u64, u64), Expected>>,
    /// Number of the local replica's last record when `unnamed` was looked through.
    looked_at: Option<u64>,
}

impl HeldElsewhere {
    /// Keeps a request.
    pub(super) fn expect(&mut self, replica: ReplicaId, request: ConfirmRequest, now_ms: u64) {
        self.unnamed.push(Expected { replica, request, since_ms: now_ms });
        self.looked_at = None;
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.unnamed.is_empty() && self.named.is_empty()
    }

    /// Takes out the requests whose record the replica that is asked holds, as `local` knows by now, with the replies that
    /// it would give.
    pub(super) fn take_held(&mut self, local: &ReplicaManager) -> Vec<(ReplicaId, Vec<NumberedReply>)> {
        self.name(local);
        let mut held = Vec::new();
        for (replica, expected) in &mut self.named {
            let Some(known) = local.timestamp_table().get(replica) else { continue };
            let until = known.replica_timestamp.get(local.id());
            let mut replies = Vec::new();
            while let Some(first) = expected.first_entry().filter(|first| first.key().0 <= until) {
                let (seq, n) = *first.key();
                first.remove();
                let records = vec![RecordRef { i: local.id().clone(), seq }];
                replies.push(NumberedReply { n, reply: Reply::Held { records, clock: local.clock() } });
            }
            if !replies.is_empty() {
                held.push((replica.clone(), replies));
            }
        }
        self.named.retain(|_, expected| !expected.is_empty());
        held
    }

    /// Finds the records of updates that `local` has accepted since the last time.
    fn name(&mut self, local: &ReplicaManager) {
        let last = local.replica_timestamp().get(local.id());
        if self.looked_at.replace(last) == Some(last) {
            return;
        }
        let named = &mut self.named;
        self.unnamed.retain(|expected| {
            let names = local.executed_operations().names(&expected.request.id);
            let Some(record) = names.into_iter().find(|record| record.i == *local.id()) else { return true };
            let place = (record.seq, expected.request.n);
            match named.entry(expected.replica.clone()) {
                Entry::Occupied(mut of_replica) => drop(of_replica.get_mut().insert(place, expected.clone())),
                Entry::Vacant(of_replica) => drop(of_replica.insert(BTreeMap::new()).insert(place, expected.clone())),
            }
            false
        });
    }

    /// All requests that are left.
    pub(super) fn into_requests(self) -> impl Iterator<Item = (ReplicaId, ConfirmRequest)> {
        let named = self.named.into_values().flat_map(BTreeMap::into_values);
        self.unnamed.into_iter().chain(named).map(|expected| (expected.replica, expected.request))
    }

    /// Takes out the requests that have waited for long, and gives those of them that are still awaited.
    pub(super) fn take_overdue(
        &mut self,
        now_ms: u64,
        is_awaited: impl Fn(u64) -> bool,
    ) -> impl Iterator<Item = (ReplicaId, ConfirmRequest)> {
        let is_overdue = |expected: &Expected| now_ms.saturating_sub(expected.since_ms) >= OVERDUE_MS;
        let mut overdue = Vec::new();
        self.unnamed.retain(|expected| {
            let stays = !is_overdue(expected);
            if !stays {
                overdue.push(expected.clone());
            }
            stays
        });
        for expected in self.named.values_mut() {
            expected.retain(|_, expected| {
                let stays = !is_overdue(expected);
                if !stays {
                    overdue.push(expected.clone());
                }
                stays
            });
        }
        self.named.retain(|_, expected| !expected.is_empty());
        overdue.retain(|expected| is_awaited(expected.request.n));
        overdue.into_iter().map(|expected| (expected.replica, expected.request))
    }
}
