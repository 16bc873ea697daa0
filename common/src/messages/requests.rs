//! Requests of one kind in one message, as they are written.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::rows::{Alike, IdHalves, NEITHER, Rows, SHARED_ENTRIES_MAX, UpdateFields};
use super::{ConfirmRequest, QueryRequest, UpdateRequest};
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::request::{Query, Update};
use crate::timestamp::Timestamp;

/// About how many bytes a request takes by itself, beside its `prev`, and an entry of that.
const REQUEST_BYTES: usize = 250;
const PREV_ENTRY_BYTES: usize = 40;

/// A request to accept an update, or what several share.
#[derive(Deserialize)]
pub struct UpdateItem {
    n: Option<u64>,
    id: Option<UpdateId>,
    prev: Timestamp,
    #[serde(default)]
    proven: bool,
    #[serde(default)]
    unheard: Vec<ReplicaId>,
    request: Option<Update>,
    stamp: Option<Stamp>,
    copies: u32,
    fresh: bool,
    wait_ms: u64,
    rows: Option<Vec<(u64, IdHalves, Stamp, UpdateFields)>>,
}

impl Alike for UpdateRequest {
    type Item = UpdateItem;

    fn bytes_alone(&self) -> usize {
        REQUEST_BYTES + PREV_ENTRY_BYTES * self.prev.len()
    }

    fn goes_with(&self, next: &Self) -> bool {
        self.unheard.is_empty()
            && next.unheard.is_empty()
            && (self.proven, self.copies, self.fresh, self.wait_ms)
                == (next.proven, next.copies, next.fresh, next.wait_ms)
            && self.prev.len() <= SHARED_ENTRIES_MAX
            && self.prev == next.prev
    }

    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, _, ..] = alike else { return alike.first().serialize(serializer) };
        let mut item = serializer.serialize_struct("UpdateRequests", 6)?;
        item.serialize_field("prev", &first.prev)?;
        item.serialize_field("proven", &first.proven)?;
        item.serialize_field("copies", &first.copies)?;
        item.serialize_field("fresh", &first.fresh)?;
        item.serialize_field("wait_ms", &first.wait_ms)?;
        let row = |one: &Self| (one.n, IdHalves::from(one.id), one.stamp, UpdateFields::from(&one.request));
        item.serialize_field("rows", &Rows(alike, row))?;
        item.end()
    }

    fn read(item: UpdateItem, list: &mut Vec<Self>) -> Result<(), &'static str> {
        let UpdateItem { prev, proven, unheard, copies, fresh, wait_ms, .. } = item;
        match (item.n, item.id, item.request, item.stamp, item.rows) {
            (Some(n), Some(id), Some(request), Some(stamp), None) => {
                list.push(Self { n, id, prev, proven, unheard, request, stamp, copies, fresh, wait_ms });
            }
            (None, None, None, None, Some(rows)) if unheard.is_empty() && prev.len() <= SHARED_ENTRIES_MAX => {
                list.reserve(rows.len());
                for (n, id, stamp, fields) in rows {
                    let (id, prev, unheard, request) = (id.into(), prev.clone(), Vec::new(), fields.update()?);
                    list.push(Self { n, id, prev, proven, unheard, request, stamp, copies, fresh, wait_ms });
                }
            }
            _ => return Err(NEITHER),
        }
        Ok(())
    }
}

/// A question, or what several reads share.
#[derive(Deserialize)]
pub struct QueryItem {
    n: Option<u64>,
    prev: Timestamp,
    #[serde(default)]
    proven: bool,
    #[serde(default)]
    unheard: Vec<ReplicaId>,
    request: Option<Query>,
    wait_ms: u64,
    rows: Option<Vec<(u64, UserId, MovieId)>>,
}

/// Reads one rating's key out of a query of a single rating; `None` for any other query.
fn read_of(request: &Query) -> Option<(UserId, MovieId)> {
    match *request {
        Query::Read { user_id, movie_id } => Some((user_id, movie_id)),
        _ => None,
    }
}

impl Alike for QueryRequest {
    type Item = QueryItem;

    fn bytes_alone(&self) -> usize {
        let title = match &self.request {
            Query::Search { title, .. } => title.len(),
            _ => 0,
        };
        REQUEST_BYTES + title + PREV_ENTRY_BYTES * self.prev.len()
    }

    fn goes_with(&self, next: &Self) -> bool {
        read_of(&self.request).is_some()
            && read_of(&next.request).is_some()
            && self.unheard.is_empty()
            && next.unheard.is_empty()
            && (self.proven, self.wait_ms) == (next.proven, next.wait_ms)
            && self.prev.len() <= SHARED_ENTRIES_MAX
            && self.prev == next.prev
    }

    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, _, ..] = alike else { return alike.first().serialize(serializer) };
        let mut item = serializer.serialize_struct("Reads", 4)?;
        item.serialize_field("prev", &first.prev)?;
        item.serialize_field("proven", &first.proven)?;
        item.serialize_field("wait_ms", &first.wait_ms)?;
        let row = |one: &Self| read_of(&one.request).map(|(user_id, movie_id)| (one.n, user_id, movie_id));
        item.serialize_field("rows", &Rows(alike, row))?;
        item.end()
    }

    fn read(item: QueryItem, list: &mut Vec<Self>) -> Result<(), &'static str> {
        let QueryItem { prev, proven, unheard, wait_ms, .. } = item;
        match (item.n, item.request, item.rows) {
            (Some(n), Some(request), None) => list.push(Self { n, prev, proven, unheard, request, wait_ms }),
            (None, None, Some(rows)) if unheard.is_empty() && prev.len() <= SHARED_ENTRIES_MAX => {
                list.extend(rows.into_iter().map(|(n, user_id, movie_id)| {
                    let request = Query::Read { user_id, movie_id };
                    Self { n, prev: prev.clone(), proven, unheard: Vec::new(), request, wait_ms }
                }));
            }
            _ => return Err(NEITHER),
        }
        Ok(())
    }
}

/// A request to confirm an update, or what several share.
#[derive(Deserialize)]
pub struct ConfirmItem {
    n: Option<u64>,
    id: Option<UpdateId>,
    #[serde(default)]
    acceptor: Option<ReplicaId>,
    wait_ms: u64,
    rows: Option<Vec<(u64, IdHalves)>>,
}

impl Alike for ConfirmRequest {
    type Item = ConfirmItem;

    fn bytes_alone(&self) -> usize {
        REQUEST_BYTES
    }

    fn goes_with(&self, next: &Self) -> bool {
        self.wait_ms == next.wait_ms && self.acceptor == next.acceptor
    }

    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, _, ..] = alike else { return alike.first().serialize(serializer) };
        let mut item = serializer.serialize_struct("ConfirmRequests", 3)?;
        item.serialize_field("acceptor", &first.acceptor)?;
        item.serialize_field("wait_ms", &first.wait_ms)?;
        item.serialize_field("rows", &Rows(alike, |one: &Self| (one.n, IdHalves::from(one.id))))?;
        item.end()
    }

    fn read(item: ConfirmItem, list: &mut Vec<Self>) -> Result<(), &'static str> {
        let ConfirmItem { acceptor, wait_ms, .. } = item;
        match (item.n, item.id, item.rows) {
            (Some(n), Some(id), None) => list.push(Self { n, id, acceptor, wait_ms }),
            (None, None, Some(rows)) => {
                let confirm = |(n, id): (u64, IdHalves)| Self { n, id: id.into(), acceptor: acceptor.clone(), wait_ms };
                list.extend(rows.into_iter().map(confirm));
            }
            _ => return Err(NEITHER),
        }
        Ok(())
    }
}
