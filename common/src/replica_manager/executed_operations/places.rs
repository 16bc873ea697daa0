//! Where the records of an update id are in the executed-operation table.

use std::collections::VecDeque;

use crate::ids::UpdateId;

/// How many places a block has at most: few enough that one is quickly put between others.
const BLOCK_PLACES: usize = 128;

/// One record of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: UpdateId,
    /// The record's number in the table.
    pub(super) number: u64,
}

/// Places in ascending order of ids; those of one id in the order in which they were put there.
///
/// In blocks, none of which is empty: ids come in about ascending order, so that nearly all are looked for and put at or
/// near the end of the last block, which takes much less than a search of a tree. In any other order it is two searches.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    blocks: VecDeque<Vec<Place>>,
}

/// A position: a block, and one in the block, which may be the one after its last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    block: usize,
    place: usize,
}

impl Places {
    /// Where the first of `id` is, or would be.
    pub(super) fn start_of(&self, id: UpdateId) -> At {
        let block = match self.blocks.back() {
            Some(last) if last.first().is_some_and(|place| place.id < id) => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|block| block.last().is_some_and(|place| place.id < id)),
        };
        let places = self.blocks.get(block).map_or(&[][..], Vec::as_slice);
        let place = match places.last() {
            Some(last) if last.id < id => places.len(),
            _ => places.partition_point(|place| place.id < id),
        };
        At { block, place }
    }

    /// The one at a position, or the first one after it where that is the end of a block.
    pub(super) fn get(&self, at: At) -> Option<&Place> {
        self.blocks.get(at.block)?.get(at.place).or_else(|| self.blocks.get(at.block + 1)?.first())
    }

    /// The position after the one that [`Places::get`] gives for `at`.
    pub(super) fn after(&self, at: At) -> At {
        match self.blocks.get(at.block) {
            Some(block) if at.place >= block.len() => At { block: at.block + 1, place: 1 },
            _ => At { block: at.block, place: at.place + 1 },
        }
    }

    /// Those from a position on.
    pub(super) fn iter_from(&self, mut at: At) -> impl Iterator<Item = &Place> {
        std::iter::from_fn(move || {
            let place = self.get(at)?;
            at = self.after(at);
            Some(place)
        })
    }

    /// Puts one before that at `at`.
    pub(super) fn insert(&mut self, at: At, place: Place) {
        let is_end = at.block + 1 >= self.blocks.len();
        let Some(block) = self.blocks.get_mut(at.block) else {
            self.push_block(place);
            return;
        };
        if block.len() < BLOCK_PLACES {
            block.insert(at.place, place);
        } else if is_end && at.place == block.len() {
            self.push_block(place);
        } else {
            let mut second = Vec::with_capacity(BLOCK_PLACES);
            second.extend(block.drain(BLOCK_PLACES / 2..));
            match at.place.checked_sub(block.len()) {
                Some(position) => second.insert(position, place),
                None => block.insert(at.place, place),
            }
            self.blocks.insert(at.block + 1, second);
        }
    }

    fn push_block(&mut self, place: Place) {
        let mut block = Vec::with_capacity(BLOCK_PLACES);
        block.push(place);
        self.blocks.push_back(block);
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(at) = self.find(place) else { return };
        let Some(block) = self.blocks.get_mut(at.block) else { return };
        block.remove(at.place);
        if block.is_empty() {
            self.blocks.remove(at.block);
        }
    }

    /// Gives one another number.
    pub(super) fn renumber(&mut self, place: Place, number: u64) {
        let Some(at) = self.find(place) else { return };
        if let Some(found) = self.blocks.get_mut(at.block).and_then(|block| block.get_mut(at.place)) {
            found.number = number;
        }
    }

    /// Where `place` itself is, within its block.
    fn find(&self, place: Place) -> Option<At> {
        let mut at = self.start_of(place.id);
        while let Some(found) = self.get(at).filter(|found| found.id == place.id) {
            if self.blocks.get(at.block).is_some_and(|block| at.place >= block.len()) {
                at = At { block: at.block + 1, place: 0 };
            }
            if *found == place {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;

    fn id(n: u64) -> UpdateId {
        UpdateId::from_stamp(Stamp(n), n)
    }

    proptest! {
        /// Few ids, so that those of one id reach over the end of a block, or many, in whatever order.
        #[test]
        fn places_are_those_of_a_sorted_map(
            steps in prop::collection::vec((0u64..400, prop::bool::weighted(0.7)), 0..1500),
            ids in 1u64..400,
        ) {
            let mut places = Places::default();
            let mut model: BTreeMap<(UpdateId, u64), u64> = BTreeMap::new();
            for (turn, (n, is_insert)) in (0u64..).zip(steps) {
                let id = id(n % ids);
                let first = model.range((id, 0)..).next().filter(|((found, _), _)| *found == id);
                let first = first.map(|(key, number)| (*key, *number));
                let start = places.start_of(id);
                let found = places.get(start).filter(|place| place.id == id);
                prop_assert_eq!(found.map(|place| place.number), first.map(|(_, number)| number));
                if is_insert {
                    let mut at = start;
                    while places.get(at).is_some_and(|place| place.id == id) {
                        at = places.after(at);
                    }
                    places.insert(at, Place { id, number: turn });
                    model.insert((id, turn), turn);
                } else if let Some((key, number)) = first {
                    let place = Place { id, number };
                    if turn % 3 == 0 {
                        places.renumber(place, turn);
                        model.insert(key, turn);
                    } else {
                        places.remove(place);
                        model.remove(&key);
                    }
                }
            }
            let expected: Vec<_> = model.iter().map(|((id, _), number)| Place { id: *id, number: *number }).collect();
            let found: Vec<_> = places.iter_from(At::default()).copied().collect();
            prop_assert_eq!(found, expected);
            prop_assert!(places.blocks.iter().all(|block| (1..=BLOCK_PLACES).contains(&block.len())));
        }
    }
}
