//! Records in gossip and in pages of a log, as they are written.

use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::rows::{Alike, IdHalves, NEITHER, Rows, SHARED_ENTRIES_MAX, UpdateFields};
use crate::clock::Stamp;
use crate::ids::{ReplicaId, UpdateId};
use crate::record::{Deleted, Record};
use crate::request::Update;
use crate::timestamp::Timestamp;

/// About how many bytes a record takes by itself, beside its `prev`, and an entry of that.
const RECORD_BYTES: usize = 240;
const PREV_ENTRY_BYTES: usize = 48;

/// A record, or what several of one origin share, whose numbers are `seq` and those that follow.
#[derive(Deserialize)]
pub struct RecordItem {
    id: Option<UpdateId>,
    i: ReplicaId,
    seq: u64,
    prev: Timestamp,
    request: Option<Update>,
    #[serde(default)]
    retires: Timestamp,
    stamp: Option<Stamp>,
    copies: u32,
    deleted: Option<Deleted>,
    rows: Option<Vec<(IdHalves, Stamp, UpdateFields)>>,
}

/// Whether all that it has fits into a row.
fn is_plain(record: &Record) -> bool {
    record.request.is_some() && record.retires.is_empty() && record.deleted.is_none()
}

impl Alike for Arc<Record> {
    type Item = RecordItem;

    fn bytes_alone(&self) -> usize {
        RECORD_BYTES + PREV_ENTRY_BYTES * self.prev.len()
    }

    fn goes_with(&self, next: &Self) -> bool {
        self.seq.checked_add(1) == Some(next.seq)
            && self.copies == next.copies
            && self.i == next.i
            && is_plain(self)
            && is_plain(next)
            && self.prev.len() <= SHARED_ENTRIES_MAX
            && self.prev == next.prev
    }

    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, _, ..] = alike else { return alike.first().serialize(serializer) };
        let mut item = serializer.serialize_struct("Records", 5)?;
        item.serialize_field("i", &first.i)?;
        item.serialize_field("seq", &first.seq)?;
        item.serialize_field("prev", &first.prev)?;
        item.serialize_field("copies", &first.copies)?;
        let row = |one: &Self| {
            one.request.as_ref().map(|request| (IdHalves::from(one.id), one.stamp, UpdateFields::from(request)))
        };
        item.serialize_field("rows", &Rows(alike, row))?;
        item.end()
    }

    fn read(item: RecordItem, list: &mut Vec<Self>) -> Result<(), &'static str> {
        let RecordItem { id, i, seq, prev, request, retires, stamp, copies, deleted, rows } = item;
        match (id, stamp, rows) {
            (Some(id), Some(stamp), None) => {
                list.push(Arc::new(Record { id, i, seq, prev, request, retires, stamp, copies, deleted }));
            }
            (None, None, Some(rows))
                if request.is_none() && retires.is_empty() && deleted.is_none() && prev.len() <= SHARED_ENTRIES_MAX =>
            {
                list.reserve(rows.len());
                for (seq, (id, stamp, fields)) in (seq..=u64::MAX).zip(rows) {
                    let (id, i, prev, request) = (id.into(), i.clone(), prev.clone(), Some(fields.update()?));
                    let (retires, deleted) = (Timestamp::new(), None);
                    list.push(Arc::new(Record { id, i, seq, prev, request, retires, stamp, copies, deleted }));
                }
            }
            _ => return Err(NEITHER),
        }
        Ok(())
    }
}
