//! Vector timestamps: which updates of which replica manager.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::ReplicaId;

/// No replica manager accepts more updates than this; what says so is made up. Every reader of JSON, and SQLite, holds such
/// a count exactly, and one more can be added to it.
pub const COUNT_MAX: u64 = 1 << 53;

/// Counts the updates that each replica manager has accepted from frontends (Ladin et al. 1992, §2; Coulouris §18.4).
///
/// Shape: replica id to count; a missing entry is 0, so that replica managers can join at any time.
/// Order: partial, written by hand (a derived one is lexicographic): `a <= b` when every entry is;
/// `partial_cmp` gives `None` for concurrent timestamps.
#[derive(Clone, Default, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(BTreeMap<ReplicaId, u64>);

impl Timestamp {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// How many updates of `replica` are covered.
    pub fn get(&self, replica: &ReplicaId) -> u64 {
        self.0.get(replica).copied().unwrap_or(0)
    }

    /// Covers the first `count` updates of `replica`, and no more.
    pub fn set(&mut self, replica: &ReplicaId, count: u64) {
        if count == 0 {
            self.0.remove(replica);
        } else if let Some(entry) = self.0.get_mut(replica) {
            *entry = count;
        } else {
            self.0.insert(replica.clone(), count);
        }
    }

    /// Covers the first `count` updates of `replica` at least.
    pub fn raise(&mut self, replica: &ReplicaId, count: u64) {
        if count > self.get(replica) {
            self.set(replica, count);
        }
    }

    /// Takes the entry-wise maximum, so that `self` covers everything `other` covers.
    pub fn merge(&mut self, other: &Self) {
        for (replica, count) in &other.0 {
            self.raise(replica, *count);
        }
    }

    /// Whether every update that `other` covers is covered: `other <= self`.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(replica, count)| self.get(replica) >= *count)
    }

    /// The entry-wise minimum: what both cover.
    pub fn common(&self, other: &Self) -> Self {
        self.iter().map(|(replica, count)| (replica.clone(), count.min(other.get(replica)))).collect()
    }

    /// The entries that are not 0, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, u64)> {
        self.0.iter().map(|(replica, count)| (replica, *count))
    }

    /// How many entries are not 0.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|count| *count == 0)
    }
}

impl FromIterator<(ReplicaId, u64)> for Timestamp {
    fn from_iter<T: IntoIterator<Item = (ReplicaId, u64)>>(entries: T) -> Self {
        Self(entries.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (other.covers(self), self.covers(other)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (replica, count)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{replica}:{count}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timestamps() -> impl Strategy<Value = Timestamp> {
        prop::collection::btree_map(0u8..5, 0u64..4, 0..5).prop_map(|entries| {
            let named = |n: u8| ReplicaId::new(&format!("r{n}")).unwrap();
            // Explicit zeros arrive from other programs and mean the same as missing entries.
            Timestamp(entries.into_iter().map(|(n, count)| (named(n), count)).collect())
        })
    }

    fn merged(a: &Timestamp, b: &Timestamp) -> Timestamp {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    #[test]
    fn timestamps_that_each_know_something_else_are_concurrent() {
        let a: Timestamp = [(ReplicaId::new("a").unwrap(), 1)].into_iter().collect();
        let b: Timestamp = [(ReplicaId::new("b").unwrap(), 1)].into_iter().collect();
        assert_eq!(a.partial_cmp(&b), None, "concurrent");
        assert!(!b.covers(&a) && !a.covers(&b) && a != b);
        assert!(Timestamp::new() < a);
    }

    proptest! {
        #[test]
        fn merge_is_commutative(a in timestamps(), b in timestamps()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        }

        #[test]
        fn merge_is_associative(a in timestamps(), b in timestamps(), c in timestamps()) {
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        }

        #[test]
        fn merge_is_idempotent(a in timestamps()) {
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn merge_is_the_least_upper_bound(a in timestamps(), b in timestamps(), c in timestamps()) {
            let merged = merged(&a, &b);
            prop_assert!(a <= merged && b <= merged);
            prop_assert!(!(a <= c && b <= c) || merged <= c);
        }

        #[test]
        fn common_is_the_greatest_lower_bound(a in timestamps(), b in timestamps(), c in timestamps()) {
            let common = a.common(&b);
            prop_assert!(common <= a && common <= b);
            prop_assert!(!(c <= a && c <= b) || c <= common);
        }

        #[test]
        fn order_is_partial(a in timestamps(), b in timestamps(), c in timestamps()) {
            prop_assert!(a <= a);
            prop_assert!(!(a <= b && b <= a) || a == b);
            prop_assert!(!(a <= b && b <= c) || a <= c);
        }

        #[test]
        fn a_missing_entry_is_zero(a in timestamps()) {
            let without_zeros: Timestamp = a.iter().map(|(id, n)| (id.clone(), n)).collect();
            prop_assert_eq!(&without_zeros, &a);
        }
    }
}
