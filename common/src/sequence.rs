//! Short-lived values, numbered in the order in which they begin.

use std::collections::VecDeque;

/// Values by number. Numbers are given in ascending order, mostly from 1, and never again; a value is found by its number in a
/// step. Made for what is short-lived: it is as long as the time from the oldest value that is left to the latest.
#[derive(Clone, Debug)]
pub struct Sequence<T> {
    /// The number of the first place.
    first: u64,
    /// `None` where nothing is any more, or its value is taken out for a while.
    places: VecDeque<Option<T>>,
    length: usize,
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { first: 1, places: VecDeque::new(), length: 0 }
    }
}

impl<T> Sequence<T> {
    /// The same, with numbers from `first` on.
    pub fn from(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// The next number, whose place is empty.
    pub fn reserve(&mut self) -> u64 {
        self.places.push_back(None);
        self.first + self.places.len() as u64 - 1
    }

    /// Puts a value into its place. One whose place was given up is dropped.
    pub fn put(&mut self, number: u64, value: T) {
        if let Some(place) = self.place(number) {
            let is_new = place.replace(value).is_none();
            self.length += usize::from(is_new);
        }
    }

    /// The value of this number.
    pub fn get(&self, number: u64) -> Option<&T> {
        let position = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.places.get(position)?.as_ref()
    }

    /// Takes the value out of its place, which it may be put into again.
    pub fn take(&mut self, number: u64) -> Option<T> {
        let value = self.place(number)?.take()?;
        self.length -= 1;
        Some(value)
    }

    /// Gives up the value of this number, and its place. At most one other value may be taken out meanwhile, a later one.
    pub fn end(&mut self, number: u64) {
        self.take(number);
        if number == self.first {
            while let Some(None) = self.places.front() {
                self.places.pop_front();
                self.first += 1;
            }
        }
    }

    /// Number of values.
    pub fn held(&self) -> usize {
        self.length
    }

    /// The values in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    fn place(&mut self, number: u64) -> Option<&mut Option<T>> {
        let position = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.places.get_mut(position)
    }
}
