//! The index of the executed-operation table: numbers of operations in the order of their ids.

use std::collections::VecDeque;

use super::items::Number;
use crate::ids::UpdateId;

/// Maximum numbers in a block: few enough that one is quickly put between others, enough that a block's key hardly counts.
const BLOCK_NUMBERS: usize = 256;

/// Maximum number of empty blocks kept for reuse, 256 KiB: as many numbers as the queue keeps items for. More are freed.
const FREE_BLOCKS_MAX: usize = 256;

/// Blocks at the end that are looked at one after the other: ids that arrive together differ by a moment.
const RECENT_BLOCKS: usize = 8;

/// Numbers in ascending order of ids; those of one id in the order in which they were put there.
///
/// A number takes a quarter of an id. The ids are read from the queue, by a function that each caller passes.
///
/// In blocks, none of which is empty: ids come in about ascending order, so that nearly all are looked for and put at or
/// near the end of the last block, which takes much less than a search of a tree. In any other order it is two searches.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    blocks: VecDeque<Block>,
    free: Vec<Vec<Number>>,
}

#[derive(Clone, Debug)]
struct Block {
    /// A lower bound: not above the ids of this block, not below those of the block before.
    from: UpdateId,
    numbers: Vec<Number>,
}

/// A position: a block, and one in the block, which may be the one after its last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    block: usize,
    place: usize,
}

impl Places {
    /// Place of the first number of `id`, or the place where it would be.
    pub(super) fn start_of(&self, id: UpdateId, id_of: impl Fn(Number) -> Option<UpdateId>) -> At {
        let Some(block) = self.blocks_before(id).checked_sub(1) else { return At::default() };
        let numbers = self.blocks.get(block).map_or(&[][..], |block| &block.numbers);
        let is_before = |number: &Number| id_of(*number).is_some_and(|found| found < id);
        let place = match (numbers.first(), numbers.last()) {
            (_, Some(last)) if is_before(last) => numbers.len(),
            (Some(first), _) if is_before(first) => numbers.partition_point(is_before),
            _ => 0,
        };
        At { block, place }
    }

    /// The number of blocks that begin below `id`.
    fn blocks_before(&self, id: UpdateId) -> usize {
        let is_before = |block: &Block| block.from < id;
        if self.blocks.back().is_some_and(is_before) {
            return self.blocks.len();
        }
        // The oldest ids are those that are forgotten.
        if !self.blocks.get(1).is_some_and(is_before) {
            return usize::from(self.blocks.front().is_some_and(is_before));
        }
        let recent = self.blocks.iter().rev().take(RECENT_BLOCKS).position(is_before);
        recent.map_or_else(|| self.blocks.partition_point(is_before), |after| self.blocks.len() - after)
    }

    /// The number at a position. At the end of a block, the first number of the next one.
    pub(super) fn get(&self, at: At) -> Option<Number> {
        let block = self.blocks.get(at.block)?;
        let found = block.numbers.get(at.place).or_else(|| self.blocks.get(at.block + 1)?.numbers.first());
        found.copied()
    }

    /// The position after the one that [`Places::get`] gives for `at`.
    pub(super) fn after(&self, at: At) -> At {
        match self.blocks.get(at.block) {
            Some(block) if at.place >= block.numbers.len() => At { block: at.block + 1, place: 1 },
            _ => At { block: at.block, place: at.place + 1 },
        }
    }

    /// The numbers from a position on.
    pub(super) fn iter_from(&self, mut at: At) -> impl Iterator<Item = Number> {
        std::iter::from_fn(move || {
            let number = self.get(at)?;
            at = self.after(at);
            Some(number)
        })
    }

    /// Puts the number of `id` before that at `at`.
    pub(super) fn insert(&mut self, at: At, id: UpdateId, number: Number, id_of: impl Fn(Number) -> Option<UpdateId>) {
        let is_end = at.block + 1 >= self.blocks.len();
        let Some(block) = self.blocks.get_mut(at.block) else {
            self.push_block(id, number);
            return;
        };
        block.from = block.from.min(id);
        if block.numbers.len() < BLOCK_NUMBERS {
            block.numbers.insert(at.place, number);
        } else if is_end && at.place == block.numbers.len() {
            self.push_block(id, number);
        } else {
            let mut second = self.free.pop().unwrap_or_else(new_numbers);
            // At the end, few more come to the first part, and many to the second.
            let kept = if is_end { BLOCK_NUMBERS / 4 * 3 } else { BLOCK_NUMBERS / 2 };
            second.extend(block.numbers.drain(kept..));
            match at.place.checked_sub(block.numbers.len()) {
                Some(position) => second.insert(position, number),
                None => block.numbers.insert(at.place, number),
            }
            let from = second.first().and_then(|first| id_of(*first)).unwrap_or(id);
            self.blocks.insert(at.block + 1, Block { from, numbers: second });
        }
    }

    fn push_block(&mut self, id: UpdateId, number: Number) {
        let mut numbers = self.free.pop().unwrap_or_else(new_numbers);
        numbers.push(number);
        self.blocks.push_back(Block { from: id, numbers });
    }

    /// Takes the number of `id` out.
    pub(super) fn remove(&mut self, id: UpdateId, number: Number, id_of: impl Fn(Number) -> Option<UpdateId>) {
        let Some(at) = self.find(id, number, id_of) else { return };
        let Some(block) = self.blocks.get_mut(at.block) else { return };
        block.numbers.remove(at.place);
        if block.numbers.is_empty() {
            self.remove_block(at.block);
        } else {
            self.join(at.block);
        }
    }

    /// Moves the numbers of the block after `at` into the block at `at` where both together fill less than half a block:
    /// so that few numbers that stay for long do not keep many blocks.
    fn join(&mut self, at: usize) {
        let [Some(one), Some(other)] = [at, at + 1].map(|at| self.blocks.get(at).map(|block| block.numbers.len()))
        else {
            return;
        };
        if one + other >= BLOCK_NUMBERS / 2 {
            return;
        }
        let moved = self.blocks.get_mut(at + 1).map(|block| std::mem::take(&mut block.numbers));
        let (Some(mut moved), Some(block)) = (moved, self.blocks.get_mut(at)) else { return };
        block.numbers.append(&mut moved);
        self.blocks.remove(at + 1);
        self.keep(moved);
    }

    fn remove_block(&mut self, at: usize) {
        if let Some(block) = self.blocks.remove(at) {
            self.keep(block.numbers);
        }
    }

    /// Keeps empty memory for reuse.
    fn keep(&mut self, numbers: Vec<Number>) {
        if self.free.len() < FREE_BLOCKS_MAX {
            self.free.push(numbers);
        }
    }

    /// Gives an operation of `id` the number `new` in place of `old`.
    pub(super) fn renumber(
        &mut self,
        id: UpdateId,
        old: Number,
        new: Number,
        id_of: impl Fn(Number) -> Option<UpdateId>,
    ) {
        let Some(at) = self.find(id, old, id_of) else { return };
        if let Some(found) = self.blocks.get_mut(at.block).and_then(|block| block.numbers.get_mut(at.place)) {
            *found = new;
        }
    }

    /// Place of this very number of `id`, within its block.
    fn find(&self, id: UpdateId, number: Number, id_of: impl Fn(Number) -> Option<UpdateId>) -> Option<At> {
        let mut at = self.start_of(id, &id_of);
        while let Some(found) = self.get(at) {
            if self.blocks.get(at.block).is_some_and(|block| at.place >= block.numbers.len()) {
                at = At { block: at.block + 1, place: 0 };
            }
            if found == number {
                return Some(at);
            }
            if id_of(found) != Some(id) {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The memory that the index takes beside itself, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.blocks.iter().map(|block| &block.numbers).chain(&self.free);
        let in_blocks = numbers.map(|numbers| numbers.capacity() * size_of::<Number>()).sum::<usize>();
        in_blocks + self.blocks.capacity() * size_of::<Block>() + self.free.capacity() * size_of::<Vec<Number>>()
    }
}

fn new_numbers() -> Vec<Number> {
    Vec::with_capacity(BLOCK_NUMBERS)
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
            steps in prop::collection::vec((0u64..400, prop::bool::weighted(0.7)), 0..3000),
            ids in 1u64..400,
        ) {
            let mut places = Places::default();
            let mut model: BTreeMap<(UpdateId, usize), Number> = BTreeMap::new();
            let mut id_of_number: Vec<UpdateId> = Vec::new();
            for (turn, (n, is_insert)) in steps.into_iter().enumerate() {
                let id = id(n % ids);
                // The number of this turn, if it takes one.
                id_of_number.push(id);
                let id_of = |number: Number| id_of_number.get(number as usize).copied();
                let first = model.range((id, 0)..).next().filter(|((found, _), _)| *found == id);
                let first = first.map(|(key, number)| (*key, *number));
                let start = places.start_of(id, id_of);
                let found = places.get(start).filter(|number| id_of(*number) == Some(id));
                prop_assert_eq!(found, first.map(|(_, number)| number));
                let new = turn as Number;
                if is_insert {
                    let mut at = start;
                    while places.get(at).is_some_and(|number| id_of(number) == Some(id)) {
                        at = places.after(at);
                    }
                    places.insert(at, id, new, id_of);
                    model.insert((id, turn), new);
                } else if let Some((key, number)) = first {
                    if turn % 3 == 0 {
                        places.renumber(id, number, new, id_of);
                        model.insert(key, new);
                    } else {
                        places.remove(id, number, id_of);
                        model.remove(&key);
                    }
                }
            }
            let expected: Vec<Number> = model.into_values().collect();
            let found: Vec<_> = places.iter_from(At::default()).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(places.blocks.iter().all(|block| (1..=BLOCK_NUMBERS).contains(&block.numbers.len())));
        }
    }
}
