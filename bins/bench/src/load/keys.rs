//! The ratings that are asked for, and what they should be.

use fastrand::Rng;

/// Maximum neighbours of a key that are searched for one with no open request.
const LOOK_AT_MOST: usize = 256;

/// One rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The user that rates.
    pub(crate) user_id: u32,
    /// The movie that is rated.
    pub(crate) movie_id: u32,
}

/// Ratings by their place in the list. Only one request is open about each, so that it is known what it should say.
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Half stars of each; `None` where they are not known, as after an update without an answer.
    known: Vec<Option<u8>>,
    /// Number of open requests about each.
    open: Vec<u32>,
    /// Whether there were several at the same time, so that what each of them did tells nothing.
    is_shared: Vec<bool>,
}

impl Keys {
    /// Starts with these ratings and their half stars.
    pub(super) fn new(ratings: impl IntoIterator<Item = (Key, u8)>) -> Self {
        let (keys, known): (Vec<Key>, Vec<Option<u8>>) =
            ratings.into_iter().map(|(key, half_stars)| (key, Some(half_stars))).unzip();
        let (open, is_shared) = (vec![0; keys.len()], vec![false; keys.len()]);
        Self { keys, known, open, is_shared }
    }

    /// Takes a random rating with no open request, and counts one as open. If too few are free, takes one that has an
    /// open request already, and gives `false`: its value is not known then.
    pub(super) fn take(&mut self, random: &mut Rng) -> (usize, bool) {
        let first = random.usize(..self.keys.len());
        for step in 0..LOOK_AT_MOST.min(self.keys.len()) {
            let place = (first + step) % self.keys.len();
            if self.open[place] == 0 {
                self.open[place] = 1;
                self.is_shared[place] = false;
                return (place, true);
            }
        }
        self.open[first] += 1;
        self.is_shared[first] = true;
        self.known[first] = None;
        (first, false)
    }

    /// One request less is open about it.
    pub(super) fn give_back(&mut self, place: usize) {
        self.open[place] = self.open[place].saturating_sub(1);
    }

    /// Returns the user and the movie at this place.
    pub(super) fn key(&self, place: usize) -> Key {
        self.keys[place]
    }

    /// Its half stars, where they are known.
    pub(super) fn known(&self, place: usize) -> Option<u8> {
        self.known[place]
    }

    /// Notes its half stars, or that they are not known. Where another request was open about it, they are not known either.
    pub(super) fn note(&mut self, place: usize, half_stars: Option<u8>) {
        self.known[place] = half_stars.filter(|_| !self.is_shared[place]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_open_about_each() {
        let key = |movie_id| (Key { user_id: 1, movie_id }, 8);
        let mut keys = Keys::new([key(1), key(2), key(3)]);
        let mut random = Rng::with_seed(1);
        let mut taken: Vec<usize> = (0..3).map(|_| keys.take(&mut random)).map(|(place, _)| place).collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        let (shared, is_alone) = keys.take(&mut random);
        assert!(!is_alone);
        assert_eq!(keys.known(shared), None, "what two ask about is not known");
        keys.give_back(shared);
        keys.note(shared, Some(3));
        assert_eq!(keys.known(shared), None, "the other one may have written after this one");
        let (again, is_alone) = keys.take(&mut random);
        assert!(!is_alone, "the other one is still open");
        keys.give_back(again);
        for place in 0..3 {
            keys.give_back(place);
        }
        let (place, is_alone) = keys.take(&mut random);
        assert!(is_alone);
        keys.note(place, Some(3));
        assert_eq!(keys.known(place), Some(3));
    }
}
