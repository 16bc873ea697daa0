//! A queue whose items are found by their number.

use std::collections::VecDeque;

/// How many items a block has.
const BLOCK_ITEMS: u64 = 256;

/// Items numbered in the order in which they came, from 0. In blocks, so that a long queue is never copied to grow, and
/// gives its memory back.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// Of [`BLOCK_ITEMS`] each, but for what left the first one and what is yet to come into the last one.
    blocks: VecDeque<VecDeque<T>>,
    /// The number of the first item.
    first: u64,
    /// The number of the next one to come.
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { blocks: VecDeque::new(), first: 0, next: 0 }
    }
}

impl<T> Queue<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.next - self.first).unwrap_or(usize::MAX)
    }

    /// The number that the next item will have.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// The item of this number, if it is there.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let block = (number / BLOCK_ITEMS).checked_sub(self.first / BLOCK_ITEMS)?;
        let left = if block == 0 { self.first % BLOCK_ITEMS } else { 0 };
        let position = (number % BLOCK_ITEMS).checked_sub(left)?;
        self.blocks.get(usize::try_from(block).ok()?)?.get(position as usize)
    }

    /// Puts one at the end.
    pub(super) fn push(&mut self, item: T) {
        if self.next.is_multiple_of(BLOCK_ITEMS) {
            self.blocks.push_back(VecDeque::with_capacity(BLOCK_ITEMS as usize));
        }
        if let Some(block) = self.blocks.back_mut() {
            block.push_back(item);
            self.next += 1;
        }
    }

    /// Takes the first one out, if it is such a one. Its number comes with it.
    pub(super) fn pop_if(&mut self, is_such: impl FnOnce(&T) -> bool) -> Option<(u64, T)> {
        let block = self.blocks.front_mut()?;
        block.front().filter(|item| is_such(item))?;
        let item = block.pop_front()?;
        let number = self.first;
        self.first += 1;
        if self.first.is_multiple_of(BLOCK_ITEMS) {
            self.blocks.pop_front();
        }
        Some((number, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_by_their_numbers_as_others_come_and_go() {
        let mut queue = Queue::default();
        for round in 0..40u64 {
            for _ in 0..50 + round {
                queue.push(queue.next_number());
            }
            // In some rounds all go.
            for _ in 0..if round % 7 == 0 { 1000 } else { 60 } {
                if let Some((number, item)) = queue.pop_if(|_| true) {
                    assert_eq!(number, item);
                    assert_eq!(queue.get(number), None);
                }
            }
            assert_eq!(queue.pop_if(|_| false), None);
            let numbers = queue.next_number() - queue.len() as u64..queue.next_number();
            assert!(numbers.clone().all(|number| queue.get(number) == Some(&number)));
            assert_eq!((queue.get(numbers.end), queue.blocks.len() as u64), (None, blocks(&numbers)));
        }
    }

    fn blocks(numbers: &std::ops::Range<u64>) -> u64 {
        numbers.end.div_ceil(BLOCK_ITEMS) - numbers.start / BLOCK_ITEMS
    }
}
