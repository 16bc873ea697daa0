//! The entries of a map: only text names a field, and no key stands twice.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Skip, Strict};

/// Treatment of the keys of a map.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// As names of these fields. Other keys are shown too. A key that is no text is skipped with its value. The visitor
    /// reports a field that stands twice.
    Fields(&'static [&'static str]),
    /// As ids, all of which are text. The visitor, which puts them in order, reports an id that stands twice.
    Ids,
    /// As any values. A key that is no text is shown as nil: then it can be seen that the map has it.
    Any,
}

/// The entries of a map.
pub(super) struct Entries<'de, A> {
    pub(super) inner: A,
    keys: Keys,
    seen: Seen<'de>,
}

/// The keys of a map that were read so far.
#[derive(Default)]
struct Seen<'de> {
    /// The place of the field after the last one: mostly that comes next.
    next_field: usize,
    /// The keys that the visitor does not look after, if there were any.
    others: Option<BTreeSet<Cow<'de, str>>>,
}

impl<'de, A: MapAccess<'de>> Entries<'de, A> {
    #[inline]
    pub(super) fn new(inner: A, keys: Keys) -> Self {
        Self { inner, keys, seen: Seen::default() }
    }

    /// The next key, which is text; others and their values are skipped.
    pub(super) fn next_text(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        self.next_key_seed(Text)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'de, A> {
    type Error = A::Error;
    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, mut seed: S) -> Result<Option<S::Value>, A::Error> {
        loop {
            match self.inner.next_key_seed(Key { seed, keys: self.keys, seen: &mut self.seen })? {
                None => return Ok(None),
                Some(Ok(key)) => return Ok(Some(key)),
                Some(Err(unused)) => {
                    self.inner.next_value_seed(Skip)?;
                    seed = unused;
                }
            }
        }
    }
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Strict(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A key on its way to the seed that reads it. Gives the seed back where the key is to be skipped.
struct Key<'a, 'de, S> {
    seed: S,
    keys: Keys,
    seen: &'a mut Seen<'de>,
}

impl<'de, S: DeserializeSeed<'de>> Key<'_, 'de, S> {
    /// Whether the visitor of the map says itself that this key stands twice.
    #[inline]
    fn is_looked_after(&mut self, text: &str) -> bool {
        match self.keys {
            Keys::Fields(fields) => {
                let next = self.seen.next_field;
                let is_next = fields.get(next).is_some_and(|field| *field == text);
                let place = if is_next { Some(next) } else { place_of(fields, text) };
                if let Some(place) = place {
                    self.seen.next_field = place + 1;
                }
                place.is_some()
            }
            Keys::Ids => true,
            Keys::Any => false,
        }
    }

    #[cold]
    fn check<E: Error>(&mut self, text: Cow<'de, str>) -> Result<(), E> {
        let others = self.seen.others.get_or_insert_default();
        if others.contains(&text) {
            let text: String = text.chars().take(80).collect();
            return Err(E::custom(format_args!("the key {text:?} stands twice in a map")));
        }
        others.insert(text);
        Ok(())
    }

    fn no_text<E: Error>(self) -> Result<Result<S::Value, S>, E> {
        match self.keys {
            Keys::Fields(_) => Ok(Err(self.seed)),
            Keys::Ids => Err(E::custom("a key of a map of ids is no text")),
            Keys::Any => self.seed.deserialize(UnitDeserializer::new()).map(Ok),
        }
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, 'de, S> {
    type Value = Result<S::Value, S>;
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<'_, 'de, S> {
    type Value = Result<S::Value, S>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    #[inline]
    fn visit_borrowed_str<E: Error>(mut self, text: &'de str) -> Result<Self::Value, E> {
        if !self.is_looked_after(text) {
            self.check(Cow::Borrowed(text))?;
        }
        self.seed.deserialize(BorrowedStrDeserializer::new(text)).map(Ok)
    }
    fn visit_str<E: Error>(mut self, text: &str) -> Result<Self::Value, E> {
        if !self.is_looked_after(text) {
            self.check(Cow::Owned(text.to_owned()))?;
        }
        let text: StrDeserializer<'_, E> = text.into_deserializer();
        self.seed.deserialize(text).map(Ok)
    }
    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.visit_borrowed_str(text),
            Err(_) => self.no_text(),
        }
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.visit_str(text),
            Err(_) => self.no_text(),
        }
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        self.no_text()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        self.no_text()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        self.no_text()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        self.no_text()
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.no_text()
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Skip.visit_newtype_struct(deserializer)?;
        self.no_text()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Skip.visit_seq(items)?;
        self.no_text()
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        Skip.visit_map(entries)?;
        self.no_text()
    }
}

#[inline(never)]
fn place_of(fields: &[&str], name: &str) -> Option<usize> {
    fields.iter().position(|field| *field == name)
}

/// A seed for a key as it is.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
