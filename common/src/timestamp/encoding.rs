//! Timestamps in messages: a map of replica ids to counts.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ENTRIES_MAX, Entry, Timestamp};
use crate::ids::{ID_SHAPE, ReplicaId};

/// Beyond this many entries a length that a message declares is not believed before they are there.
const RESERVED_ENTRIES_MAX: usize = 64;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

thread_local! {
    /// The timestamp read last. The next one is mostly equal, as in a message with many records: then both share their
    /// entries, and comparing and merging them is fast.
    static LAST_READ: RefCell<Timestamp> = const { RefCell::new(Timestamp::new()) };
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of replica ids to counts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Timestamp, A::Error> {
                let last = LAST_READ.with_borrow(Timestamp::clone);
                let known = last.entries();
                // As long as all are those of `last`, only their number is kept.
                let (mut entries, mut count) = (Vec::new(), 0);
                while let Some(entry) = next_entry(&mut map, known.get(count))? {
                    if !entries.is_empty() || known.get(count) != Some(&entry) {
                        if entries.is_empty() {
                            entries.reserve(map.size_hint().unwrap_or(0).min(RESERVED_ENTRIES_MAX) + count + 1);
                            entries.extend_from_slice(&known[..count]);
                        }
                        entries.push(entry);
                    }
                    count += 1;
                }
                if entries.is_empty() {
                    if count == known.len() {
                        return Ok(last);
                    }
                    entries.extend_from_slice(&known[..count]);
                }
                let timestamp = Timestamp::of_distinct(entries)
                    .map_err(|id| A::Error::custom(format_args!("the key {:?} stands twice in a map", id.as_str())))?;
                if (1..=ENTRIES_MAX).contains(&timestamp.len()) {
                    LAST_READ.set(timestamp.clone());
                }
                Ok(timestamp)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The next entry, whose id is likely that of `expected`.
fn next_entry<'de, A: MapAccess<'de>>(map: &mut A, expected: Option<&Entry>) -> Result<Option<Entry>, A::Error> {
    struct Id<'a>(Option<&'a ReplicaId>);
    impl<'de> DeserializeSeed<'de> for Id<'_> {
        type Value = ReplicaId;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ReplicaId, D::Error> {
            deserializer.deserialize_str(self)
        }
    }
    impl Visitor<'_> for Id<'_> {
        type Value = ReplicaId;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(ID_SHAPE)
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReplicaId, E> {
            match self.0 {
                Some(id) if id.as_str() == text => Ok(id.clone()),
                _ => ReplicaId::known(text).map_err(E::custom),
            }
        }
    }
    match map.next_key_seed(Id(expected.map(|(id, _)| id)))? {
        Some(id) => Ok(Some((id, map.next_value()?))),
        None => Ok(None),
    }
}
