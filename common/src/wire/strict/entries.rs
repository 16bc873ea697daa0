//! The entries of a map: only text names a field, and no key stands twice.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{CowStrDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Skip, Strict};

/// Up to so many keys of a map are compared one by one.
const FEW_KEYS: usize = 16;

/// What becomes of keys that are no text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherKeys {
    /// They and their values are skipped: they name no field.
    Skip,
    /// The map is refused: its keys are its content.
    Refuse,
    /// They are shown as nil: whoever looks at the map may see that it has them.
    Show,
}

/// The entries of a map.
pub(super) struct Entries<'de, A> {
    pub(super) inner: A,
    other_keys: OtherKeys,
    seen: Seen<'de>,
}

impl<'de, A: MapAccess<'de>> Entries<'de, A> {
    pub(super) fn new(inner: A, other_keys: OtherKeys) -> Self {
        Self { inner, other_keys, seen: Seen::default() }
    }

    /// The next key; `None` in it where it is no text.
    pub(super) fn next(&mut self) -> Result<Option<Option<Cow<'de, str>>>, A::Error> {
        let key = self.inner.next_key_seed(Key)?;
        if let Some(Some(text)) = &key
            && !self.seen.is_first(text.clone())
        {
            let text: String = text.chars().take(80).collect();
            return Err(A::Error::custom(format_args!("the key {text:?} stands twice in a map")));
        }
        Ok(key)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'de, A> {
    type Error = A::Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        loop {
            return match self.next()? {
                None => Ok(None),
                Some(Some(text)) => {
                    let text: CowStrDeserializer<'_, A::Error> = text.into_deserializer();
                    seed.deserialize(text).map(Some)
                }
                Some(None) => match self.other_keys {
                    OtherKeys::Skip => {
                        self.inner.next_value_seed(Skip)?;
                        continue;
                    }
                    OtherKeys::Refuse => Err(A::Error::custom("a key of a map of ids is no text")),
                    OtherKeys::Show => seed.deserialize(UnitDeserializer::new()).map(Some),
                },
            };
        }
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Strict(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The keys of a map that were read so far.
#[derive(Default)]
struct Seen<'de> {
    few: [&'de str; FEW_KEYS],
    count: usize,
    /// Those that are no part of the message's bytes, and those beyond the first few.
    more: BTreeSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    fn is_first(&mut self, key: Cow<'de, str>) -> bool {
        if self.few[..self.count].iter().any(|seen| *seen == key.as_ref()) {
            return false;
        }
        match key {
            Cow::Borrowed(text) if self.count < FEW_KEYS => {
                self.few[self.count] = text;
                self.count += 1;
                !self.more.contains(text)
            }
            _ => self.more.insert(key),
        }
    }
}

/// A key as it stands: its text, or `None` where it is none.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(std::str::from_utf8(bytes).ok().map(Cow::Borrowed))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(std::str::from_utf8(bytes).ok().map(|text| Cow::Owned(text.to_owned())))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Skip.visit_bool(value).map(|()| None)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Skip.visit_i64(value).map(|()| None)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Skip.visit_u64(value).map(|()| None)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Skip.visit_f64(value).map(|()| None)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Skip.visit_newtype_struct(deserializer).map(|()| None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Skip.visit_seq(items).map(|()| None)
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        Skip.visit_map(entries).map(|()| None)
    }
}
