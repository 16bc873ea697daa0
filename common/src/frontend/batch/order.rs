//! Order of a batch: the earlier operation that each operation waits for.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Stamp;
use crate::edge::{FrontendError, SingleOperation};
use crate::ids::{MovieId, UpdateId};
use crate::request::Query;

/// Lower bound of an update's stamp, beside `prev.clock`: a stamp above it wins over the earlier updates of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// Nothing: its id carries a stamp above theirs. So it has the same one whenever the batch is sent again.
    Carried,
    /// All that was stamped at this frontend so far, and this.
    All(Stamp),
}

/// For each operation that waits: the place of the one it waits for, the last before it on the same rating. An average
/// counts as being on all ratings of its movie. `carried_stamp` reads an id.
pub(super) fn order(
    operations: &[Result<SingleOperation, FrontendError>],
    carried_stamp: impl Fn(UpdateId) -> Option<Stamp>,
) -> BTreeMap<usize, (usize, Floor)> {
    let understood =
        || operations.iter().enumerate().filter_map(|(place, operation)| Some((place, operation.as_ref().ok()?)));
    let averaged: BTreeSet<MovieId> = understood()
        .filter_map(|(_, operation)| match operation {
            SingleOperation::Query(Query::Average { movie_id }) => Some(*movie_id),
            _ => None,
        })
        .collect();
    let is_averaged = |movie_id: &MovieId| !averaged.is_empty() && averaged.contains(movie_id);
    let mut places: Vec<(u32, u32, usize)> = understood()
        .filter_map(|(place, operation)| {
            let (user_id, movie_id) = match operation {
                SingleOperation::Update { request, .. } => (request.key().user_id.get(), request.key().movie_id),
                SingleOperation::Query(Query::Read { user_id, movie_id }) => (user_id.get(), *movie_id),
                SingleOperation::Query(Query::Average { movie_id }) => (0, *movie_id),
                SingleOperation::Query(Query::All { .. } | Query::Search { .. }) => return None,
            };
            Some((movie_id.get(), if is_averaged(&movie_id) { 0 } else { user_id }, place))
        })
        .collect();
    places.sort_unstable();
    let mut waits = BTreeMap::new();
    for chain in places.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|chain| chain.len() > 1) {
        let mut carried = Some(Stamp::ZERO);
        let mut highest = Stamp::ZERO;
        let mut before = None;
        for &(_, _, place) in chain {
            let mut floor = Floor::Carried;
            if let Ok(SingleOperation::Update { id, .. }) = &operations[place] {
                let stamp = id.and_then(&carried_stamp);
                carried = stamp.filter(|stamp| carried.is_some_and(|before| *stamp > before));
                if carried.is_none() {
                    floor = Floor::All(highest);
                }
                highest = highest.max(stamp.unwrap_or_default());
            }
            if let Some(before) = before {
                waits.insert(place, (before, floor));
            }
            before = Some(place);
        }
    }
    waits
}
