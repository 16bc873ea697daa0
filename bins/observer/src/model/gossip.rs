//! Gossip: records and timestamps of a replica.

use natter_common::messages::{Gossip, Role};
use natter_common::record::Record;

use super::event::{Draft, Item, Kind, counted, shown};
use super::updates::described;
use super::{Micros, Model, Unreadable, decode};

impl Model {
    pub(super) fn hear_gossip(&mut self, id: &str, payload: &[u8], now: Micros) -> Result<(), Unreadable> {
        let gossip: Gossip = decode(payload)?;
        if gossip.id.as_str() != id {
            return Err("the id of gossip is not that of its subject".into());
        }
        let Gossip { id, replica_timestamp, value_timestamp, digest, records } = gossip;
        let has_both_roles = self.processes.has_both_roles(&id);
        if has_both_roles {
            self.note_inner_step(id.as_str(), &records, now);
        }
        for record in &records {
            self.note_record(record, now);
        }
        let others = self.processes.present(Role::Replica).filter(|other| **other != id);
        let to: Vec<_> = others.map(ToString::to_string).collect();
        let what = match &records[..] {
            [] => format!("holds {}", shown(&replica_timestamp.replicas)),
            [only] => format!("record {}", only.name()),
            several => counted(several.len(), "record"),
        };
        let mut draft = Draft::new(Kind::Gossip, id.to_string(), to, what);
        for record in &records {
            draft.list(|| item_of(record));
        }
        self.history.add(draft, now);
        let (held, applied) = (&replica_timestamp.replicas, &value_timestamp.replicas);
        self.progress.shows(&id, Some(held), Some(applied), Some(digest), now);
        Ok(())
    }

    /// Remembers a record.
    pub(super) fn note_record(&mut self, record: &Record, now: Micros) {
        if let Some(request) = &record.request {
            self.updates.asked(record.id, request, Some(record.stamp), now);
        }
        self.updates.recorded(record.id, &record.name(), now);
    }

    /// In a process with both roles the request to accept does not travel: it is shown where gossip tells of the record.
    fn note_inner_step(&mut self, process: &str, records: &[std::sync::Arc<Record>], now: Micros) {
        let inner: Vec<_> = records.iter().filter(|record| self.updates.is_inner(record.id)).collect();
        if inner.is_empty() {
            return;
        }
        let what = format!("its frontend half asks, its replica half accepts {}", counted(inner.len(), "update"));
        let mut draft = Draft::new(Kind::Inner, process.to_owned(), vec![process.to_owned()], what);
        for record in &inner {
            draft.list(|| item_of(record));
        }
        let ids: Vec<_> = inner.iter().map(|record| record.id).collect();
        self.history.add(draft, now);
        for id in ids {
            if let Some((seq, reply)) = self.updates.claimed(Some(id), None, None) {
                self.history.correct(seq, process);
                self.pending.resolve(&reply, process);
            }
        }
    }
}

/// A record in a message.
pub(super) fn item_of(record: &Record) -> Item {
    Item {
        update: Some(record.id.to_string()),
        what: match &record.request {
            Some(request) => described(request),
            None => format!("retires {}", shown(&record.retires)),
        },
        prev: Some(shown(&record.prev)),
        record: Some(record.name().to_string()),
        stamp: Some(record.stamp.0.to_string()),
        ..Item::default()
    }
}
