//! Causal order: a record is applied only after all that it depends on, its origin's earlier records among it
//! (guarantee 2).

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::record::Record;
use natter_common::timestamp::Timestamp;

use super::ledger::Ledger;
use super::{Violation, check};

/// Records that each replica has applied.
#[derive(Clone, Debug, Default)]
pub struct CausalOrder {
    applied: BTreeMap<ReplicaId, Timestamp>,
}

impl CausalOrder {
    /// A replica manager applied a record and says that this is its value timestamp now.
    pub fn applied(
        &mut self,
        ledger: &Ledger,
        id: &ReplicaId,
        record: &Record,
        now: &Timestamp,
    ) -> Result<(), Violation> {
        let applied = self.applied.entry(id.clone()).or_default();
        let in_order =
            ledger.expanded(applied).get(&record.i) + 1 == record.seq && ledger.covers(applied, &record.prev);
        check(in_order, "causal order", || {
            format!("{id} applied {} with prev {} when it had applied {applied}", record.name(), record.prev)
        })?;
        applied.set(&record.i, record.seq);
        let exact = ledger.expanded(applied) == ledger.expanded(now);
        check(exact, "the value timestamp is the set of applied records", || {
            format!("{id} applied {applied} and shows {now}")
        })
    }

    /// A replica manager has taken a snapshot, or begins another life with what it saved.
    pub fn has(&mut self, id: &ReplicaId, timestamp: &Timestamp) {
        self.applied.entry(id.clone()).or_default().merge(timestamp);
    }
}
