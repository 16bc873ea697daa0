//! A queue of executed operations, each found by its number.

use std::collections::VecDeque;

use super::Known;
use super::block::{BLOCK_ITEMS, Block};
use crate::ids::{ReplicaId, UpdateId};
use crate::record::ExecutedOperation;

/// Maximum number of empty blocks kept for reuse, 2 MiB: what 300,000 updates a second leave between two rounds of
/// housekeeping. More are freed.
const FREE_BLOCKS_MAX: usize = 128;

/// The number of an operation: that of its block, then the position there. Numbers ascend and wrap; those of blocks that
/// are not full are skipped. Enough for all that fits in memory at a time: 4,294,967,296 items take 128 GiB.
pub(super) type Number = u32;

const POSITION_BITS: u32 = BLOCK_ITEMS.ilog2();
const BLOCK_NUMBER_MASK: u32 = u32::MAX >> POSITION_BITS;

const _: () = assert!(BLOCK_ITEMS == 1 << POSITION_BITS, "a number is put together of bits");

/// Operations in the order of their arrival. In blocks, so that a long queue is never copied to grow, and emptied blocks
/// serve again.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    /// Each has an item at least.
    blocks: VecDeque<Block>,
    /// The number of the first block.
    first_block: u32,
    length: usize,
    free: Vec<Block>,
}

impl Items {
    /// The number of operations.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts an operation at the end, and gives its number.
    pub(super) fn push(&mut self, known: &Known<'_>, now_ms: u64) -> Number {
        let position = self.blocks.back_mut().and_then(|block| block.push(known, now_ms));
        let position = position.unwrap_or_else(|| {
            let mut block = self.free.pop().unwrap_or_else(Block::with_room);
            // An empty block takes any operation.
            let position = block.push(known, now_ms).unwrap_or_default();
            self.blocks.push_back(block);
            position
        });
        self.length += 1;
        let block = self.first_block.wrapping_add(self.blocks.len() as u32).wrapping_sub(1);
        (block << POSITION_BITS) | position as u32
    }

    fn block(&self, number: Number) -> Option<(&Block, usize)> {
        let block = (number >> POSITION_BITS).wrapping_sub(self.first_block) & BLOCK_NUMBER_MASK;
        let position = number as usize % BLOCK_ITEMS;
        self.blocks.get(block as usize).map(|block| (block, position))
    }

    /// The id of the operation of this number.
    pub(super) fn id(&self, number: Number) -> Option<UpdateId> {
        self.block(number).and_then(|(block, position)| block.id(position))
    }

    /// The record of this number: its origin and its sequence number.
    pub(super) fn name(&self, number: Number) -> Option<(&ReplicaId, u64)> {
        self.block(number).and_then(|(block, position)| block.name(position))
    }

    /// The operation of this number.
    pub(super) fn get(&self, number: Number) -> Option<ExecutedOperation> {
        self.block(number).and_then(|(block, position)| block.get(position))
    }

    /// The number of the first operation, and when it arrived, in milliseconds.
    pub(super) fn first(&self) -> Option<(Number, u64)> {
        let block = self.blocks.front()?;
        let position = block.first()?;
        Some(((self.first_block << POSITION_BITS) | position as u32, block.since_ms(position)?))
    }

    /// Takes the first operation out.
    pub(super) fn pop(&mut self) {
        let Some(block) = self.blocks.front_mut() else { return };
        block.pop();
        self.length -= 1;
        if block.first().is_some() {
            return;
        }
        self.first_block = self.first_block.wrapping_add(1) & BLOCK_NUMBER_MASK;
        let emptied = self.blocks.pop_front().filter(|_| self.free.len() < FREE_BLOCKS_MAX);
        self.free.extend(emptied.map(|mut block| {
            block.clear();
            block
        }));
    }

    /// The memory that the queue takes beside itself, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().chain(&self.free).map(Block::bytes).sum::<usize>();
        blocks + (self.blocks.capacity() + self.free.capacity()) * size_of::<Block>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;

    fn known(n: u64, origin: &ReplicaId) -> Known<'_> {
        let id = UpdateId::from_stamp(Stamp(n), n);
        Known { id, origin, seq: n, request: None, stamp: Stamp(n), deleted: None }
    }

    /// Begins shortly before block numbers wrap.
    #[test]
    fn operations_are_found_by_their_numbers_as_others_come_and_go() {
        let origin = ReplicaId::new("a").unwrap();
        let mut items = Items { first_block: BLOCK_NUMBER_MASK - 2, ..Items::default() };
        let mut numbers: VecDeque<(Number, u64)> = VecDeque::new();
        let mut next = 0;
        for round in 0..40u64 {
            // In some rounds a block that is not full is too old for the next item.
            let now_ms = round / 9 * 100_000;
            for _ in 0..100 + 2 * round {
                next += 1;
                numbers.push_back((items.push(&known(next, &origin), now_ms), next));
            }
            // In some rounds all go.
            for _ in 0..if round % 7 == 0 { 4_000 } else { 130 } {
                let Some((number, _)) = numbers.pop_front() else { break };
                assert_eq!(items.first().map(|(first, _)| first), Some(number));
                items.pop();
                assert_eq!(items.id(number), None);
            }
            assert_eq!(items.len(), numbers.len());
            for (number, n) in &numbers {
                assert_eq!(items.name(*number), Some((&origin, *n)));
            }
        }
        assert!(items.first_block < 100, "they have wrapped");
        assert_eq!(items.first(), numbers.front().map(|(number, _)| (*number, 400_000)));
    }

    #[test]
    fn emptied_blocks_serve_again_and_few_are_kept() {
        let origin = ReplicaId::new("a").unwrap();
        let mut items = Items::default();
        let mut pass = |blocks: usize| {
            for n in 0..(blocks * BLOCK_ITEMS) as u64 {
                items.push(&known(n, &origin), 0);
            }
            let full = items.bytes();
            while items.first().is_some() {
                items.pop();
            }
            (full, items.free.len())
        };
        let (first, kept) = pass(FREE_BLOCKS_MAX);
        assert_eq!(kept, FREE_BLOCKS_MAX);
        assert!(pass(FREE_BLOCKS_MAX).0 <= first + FREE_BLOCKS_MAX * size_of::<Block>(), "no block is new");
        assert_eq!(pass(3 * FREE_BLOCKS_MAX).1, FREE_BLOCKS_MAX);
    }
}
