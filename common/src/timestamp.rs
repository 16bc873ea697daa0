//! Vector timestamps: which updates of which replica manager.

mod encoding;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::ids::ReplicaId;

/// No replica manager accepts more updates than this; what says so is made up. Every reader of JSON, and SQLite, holds such
/// a count exactly, and one more can be added to it.
pub const COUNT_MAX: u64 = 1 << 53;

/// No timestamp has more entries than this; what has is made up.
pub const ENTRIES_MAX: usize = 10_000;

/// Up to so many entries are put in one by one.
const FEW_ENTRIES: usize = 64;

/// Among so many, an id is first looked for by the address of its text.
const LOOKED_AT_MAX: usize = 16;

/// Counts the updates that each replica manager has accepted from frontends (Ladin et al. 1992, §2; Coulouris §18.4).
///
/// Shape: replica id to count; a missing entry is 0, so that replica managers can join at any time.
/// Order: partial, written by hand (a derived one is lexicographic): `a <= b` when every entry is;
/// `partial_cmp` gives `None` for concurrent timestamps.
///
/// Copies share their entries until one of them changes: nearly every request, record and reply carries one, and nearly
/// all of those are the same. Compared and merged entry by entry in the order of ids.
#[derive(Clone, Default)]
pub struct Timestamp(Option<Arc<Vec<Entry>>>);

/// In ascending order of ids, each id once, no count 0.
type Entry = (ReplicaId, u64);

impl Timestamp {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Of entries in whatever order. Fails with an id that stands in several.
    fn of_distinct(mut entries: Vec<Entry>) -> Result<Self, ReplicaId> {
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(pair[0].0.clone());
            }
        }
        Ok(Self::of(entries))
    }

    /// Of entries in whatever order; of several for one id the last counts.
    fn of(mut entries: Vec<Entry>) -> Self {
        let is_in_order = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_in_order {
            entries.reverse();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|next, kept| next.0 == kept.0);
        }
        entries.retain(|(_, count)| *count > 0);
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |entries| entries)
    }

    fn position(&self, replica: &ReplicaId) -> Result<usize, usize> {
        position_of(replica, self.entries())
    }

    /// Number of updates of `replica` that are covered.
    pub fn get(&self, replica: &ReplicaId) -> u64 {
        self.position(replica).map_or(0, |position| self.entries()[position].1)
    }

    /// Covers the first `count` updates of `replica`, and no more.
    pub fn set(&mut self, replica: &ReplicaId, count: u64) {
        match (self.position(replica), count) {
            (Ok(position), _) if self.entries()[position].1 == count => {}
            (Err(_), 0) => {}
            (Ok(position), 0) => {
                Arc::make_mut(self.0.get_or_insert_default()).remove(position);
                self.0.take_if(|entries| entries.is_empty());
            }
            (Ok(position), _) => Arc::make_mut(self.0.get_or_insert_default())[position].1 = count,
            (Err(position), _) => {
                Arc::make_mut(self.0.get_or_insert_default()).insert(position, (replica.clone(), count));
            }
        }
    }

    /// Covers the first `count` updates of `replica` at least.
    pub fn raise(&mut self, replica: &ReplicaId, count: u64) {
        if count > self.get(replica) {
            self.set(replica, count);
        }
    }

    /// Whether both are one and the same, without a look at the entries.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Takes the entry-wise maximum, so that `self` covers everything `other` covers.
    pub fn merge(&mut self, other: &Self) {
        if self.0.is_none() {
            self.0.clone_from(&other.0);
        } else if other.len() > FEW_ENTRIES {
            // Each entry that is put between others moves all that follow it.
            *self = Self::of(
                self.iter().chain(other.iter()).map(|(id, count)| (id.clone(), count.max(self.get(id)))).collect(),
            );
        } else if other.covers(self) {
            self.0.clone_from(&other.0);
        } else {
            self.raise_all(other.entries());
        }
    }

    /// Takes the entry-wise maximum with entries in the order of ids.
    fn raise_all(&mut self, others: &[Entry]) {
        let mut position = 0;
        for (replica, count) in others {
            // Both are in the order of ids: what was passed is not needed again.
            let later = self.entries().get(position..).unwrap_or_default();
            position += later.iter().take_while(|(id, _)| id < replica).count();
            match self.entries().get(position) {
                Some((id, held)) if id == replica => {
                    if held < count {
                        Arc::make_mut(self.0.get_or_insert_default())[position].1 = *count;
                    }
                }
                _ => Arc::make_mut(self.0.get_or_insert_default()).insert(position, (replica.clone(), *count)),
            }
            position += 1;
        }
    }

    /// The same with what somebody else says, again and again: if that becomes more than a timestamp can have, what was said
    /// before counts no more, so that nobody's word grows without bound.
    pub fn merge_said(&mut self, said: &Self) {
        self.merge(said);
        if self.len() > ENTRIES_MAX {
            self.clone_from(said);
        }
    }

    /// Whether it is of a size that a real one has.
    pub fn is_plausible(&self) -> bool {
        self.len() <= ENTRIES_MAX && self.entries().iter().all(|(_, count)| *count <= COUNT_MAX)
    }

    /// Whether every update that `other` covers is covered: `other <= self`.
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_shared_with(other) {
            return true;
        }
        let mut ours = self.entries().iter();
        other.entries().iter().all(|(replica, count)| {
            // Both are in the order of ids: what was passed is not needed again.
            ours.find(|(id, _)| id >= replica).is_some_and(|(id, held)| id == replica && held >= count)
        })
    }

    /// The entry-wise minimum: what both cover.
    pub fn common(&self, other: &Self) -> Self {
        if self.is_shared_with(other) {
            return self.clone();
        }
        self.iter().map(|(replica, count)| (replica.clone(), count.min(other.get(replica)))).collect()
    }

    /// The first entries, at most so many, as headers have them: `<id>:<count>`, separated by commas.
    pub fn listed(&self, entries_max: usize) -> String {
        let entries = self.iter().take(entries_max).map(|(replica, count)| format!("{replica}:{count}"));
        entries.collect::<Vec<_>>().join(",")
    }

    /// Reads what [`Timestamp::listed`] writes. An entry that is none is left out.
    pub fn of_list(text: &str) -> Self {
        let entries = text.split(',').filter_map(|entry| {
            let (replica, count) = entry.trim().split_once(':')?;
            Some((ReplicaId::new(replica).ok()?, count.parse().ok()?))
        });
        entries.collect()
    }

    /// Leaves out the replicas in `retired`, as far as no later updates of them are covered.
    pub fn leave_out(&mut self, retired: &Self) {
        for (replica, count) in retired.iter() {
            if self.get(replica) <= count {
                self.set(replica, 0);
            }
        }
    }

    /// The entries that are not 0, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, u64)> {
        self.entries().iter().map(|(replica, count)| (replica, *count))
    }

    /// Number of entries that are not 0.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Position of `id` among `entries` in ascending order of ids, or the position to insert it at.
pub(crate) fn position_of<T>(id: &ReplicaId, entries: &[(ReplicaId, T)]) -> Result<usize, usize> {
    // Ids that come again and again share their text: found without a look at it.
    let is_same = |(other, _): &(ReplicaId, T)| std::ptr::eq(other.as_str(), id.as_str());
    if entries.len() <= LOOKED_AT_MAX
        && let Some(position) = entries.iter().position(is_same)
    {
        return Ok(position);
    }
    entries.binary_search_by(|(other, _)| other.cmp(id))
}

impl FromIterator<(ReplicaId, u64)> for Timestamp {
    fn from_iter<T: IntoIterator<Item = (ReplicaId, u64)>>(entries: T) -> Self {
        Self::of(entries.into_iter().collect())
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.entries() == other.entries()
    }
}

impl Eq for Timestamp {}

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
            let entries: serde_json::Map<_, _> =
                entries.into_iter().map(|(n, count)| (format!("r{n}"), count.into())).collect();
            // Explicit zeros arrive from other programs and mean the same as missing entries.
            serde_json::from_value(entries.into()).unwrap()
        })
    }

    fn many() -> impl Strategy<Value = Timestamp> {
        prop::collection::vec((0u32..400, 0u64..4), 0..200).prop_map(|entries| {
            entries.into_iter().map(|(n, count)| (ReplicaId::new(&format!("r{n}")).unwrap(), count)).collect()
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

    #[test]
    fn of_several_counts_for_one_id_in_whatever_order_the_last_counts() {
        let id = |text| ReplicaId::new(text).unwrap();
        let entries = [(id("b"), 2), (id("a"), 1), (id("c"), 9), (id("b"), 5), (id("c"), 0)];
        let timestamp: Timestamp = entries.into_iter().collect();
        assert_eq!(timestamp.to_string(), "{a:1, b:5}");
    }

    #[test]
    fn a_list_in_a_header_is_read_and_leaves_out_no_later_updates() {
        let listed = Timestamp::of_list("a:3, b:5,c:,nonsense,d e:1,f:-1,g:7");
        assert_eq!(listed.to_string(), "{a:3, b:5, g:7}");
        assert_eq!((listed.listed(2), Timestamp::of_list(&listed.listed(9))), ("a:3,b:5".to_owned(), listed.clone()));
        let mut label = Timestamp::of_list("a:3,b:6,c:1");
        label.leave_out(&listed);
        assert_eq!(label.to_string(), "{b:6, c:1}");
    }

    #[test]
    fn what_is_read_again_shares_its_entries() {
        let read = |text| serde_json::from_str::<Timestamp>(text).unwrap();
        let first = read(r#"{"a": 1, "b": 2}"#);
        assert!(read(r#"{"a": 1, "b": 2}"#).is_shared_with(&first));
        for other in [r#"{"a": 1}"#, r#"{"a": 1, "b": 3}"#, r#"{"b": 2, "a": 2}"#, r#"{"a": 1, "b": 2, "c": 3}"#] {
            assert_ne!(read(other), first);
        }
        assert_eq!(read(r#"{"b": 2, "a": 1, "c": 0}"#), first);
        assert!(serde_json::from_str::<Timestamp>(r#"{"not an id": 1}"#).is_err());
    }

    #[test]
    fn a_copy_does_not_change_with_what_it_was_copied_from() {
        let id = ReplicaId::new("a").unwrap();
        let mut timestamp: Timestamp = [(id.clone(), 1)].into_iter().collect();
        let copy = timestamp.clone();
        timestamp.raise(&id, 2);
        assert_eq!((copy.get(&id), timestamp.get(&id)), (1, 2));
        timestamp.set(&id, 0);
        assert!(timestamp.is_empty() && timestamp == Timestamp::new());
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
        fn what_is_read_does_not_depend_on_what_was_read_before(a in many(), b in many(), of in 0usize..200) {
            // Mostly alike.
            let some = a.iter().take(of).chain(b.iter().take(3)).map(|(id, count)| (id.clone(), count)).collect();
            for timestamp in [&a, &some, &a, &b, &some, &some] {
                let text = serde_json::to_string(timestamp).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Timestamp>(&text).unwrap(), timestamp);
            }
        }

        #[test]
        fn many_entries_are_merged_as_few_are(a in many(), b in many()) {
            let mut one_by_one = a.clone();
            for (id, count) in b.iter() {
                one_by_one.raise(id, count);
            }
            prop_assert_eq!(merged(&a, &b), one_by_one);
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
