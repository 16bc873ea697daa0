//! The rules that hold for every message, at every depth, in both encodings, kept in one place: whatever is decoded is
//! decoded through [`Strict`].
//!
//! - A field is named by text. A key that is no text is an unknown field and ignored: libraries take integers for the
//!   positions of fields.
//! - No key stands twice in a map, not even an unknown one.
//! - Bytes that are UTF-8 are text, as keys and as values.
//! - A list is never a map: libraries take its items for the fields in their order. An empty list is an empty map, for some
//!   languages write that so.
//! - The name of a variant is text.
//! - Numbers count by their value ([`super::number`]).
//! - An extension value is no value of any message, but for one that means nil ([`extension`]).
//!
//! Types that are decoded must not ask for a value of any type and look at it later (`serde(flatten)`, `untagged`, `tag`):
//! what is kept in between is not judged by these rules.

mod entries;
mod extension;
mod skip;
mod variants;

use std::fmt;

use serde::de::value::{MapDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::number::{integer_of_f32, integer_of_f64};
use entries::{Entries, Keys};
use extension::{IsUndefined, refuse_extensions};
use skip::Skip;
use variants::Variants;

/// A deserializer, or a seed of one, that keeps the rules.
pub(super) struct Strict<T>(pub(super) T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Value(visitor))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct identifier
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_bool(Value(visitor))
    }
    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_f32(Value(visitor))
    }
    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_f64(Value(visitor))
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_i8(Integer(visitor))
    }
    #[inline]
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_i16(Integer(visitor))
    }
    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_i32(Integer(visitor))
    }
    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_i64(Integer(visitor))
    }
    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_u8(Integer(visitor))
    }
    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_u16(Integer(visitor))
    }
    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_u32(Integer(visitor))
    }
    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_u64(Integer(visitor))
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Value(visitor))
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(List(visitor))
    }
    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(List(visitor))
    }
    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(List(visitor))
    }

    /// A map whose keys are ids. The visitor must refuse one that stands twice.
    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Map { visitor, keys: Keys::Ids })
    }
    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Map { visitor, keys: Keys::Fields(fields) })
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Variants { visitor, variants })
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Skip)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

/// Hands values on as they are.
macro_rules! forward {
    ($($name:ident $type:ty),* $(,)?) => {
        $(
            #[inline]
            fn $name<E: Error>(self, value: $type) -> Result<Self::Value, E> {
                self.0.$name(value)
            }
        )*
    };
}

/// A value of any type.
struct Value<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Value<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    forward! {
        visit_bool bool, visit_i8 i8, visit_i16 i16, visit_i32 i32, visit_i64 i64, visit_u8 u8, visit_u16 u16,
        visit_u32 u32, visit_u64 u64, visit_f32 f32, visit_f64 f64, visit_str &str, visit_borrowed_str &'de str,
        visit_string String,
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.visit_str(text),
            Err(_) => self.0.visit_bytes(bytes),
        }
    }
    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<V::Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.visit_borrowed_str(text),
            Err(_) => self.0.visit_borrowed_bytes(bytes),
        }
    }
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }
    /// An extension value.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        match deserializer.deserialize_any(IsUndefined)? {
            true => self.0.visit_unit(),
            false => self.0.visit_newtype_struct(UnitDeserializer::new()),
        }
    }
    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Items(items))
    }
    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Entries::new(entries, Keys::Any))
    }
}

/// An integer, in whichever type of number.
struct Integer<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Integer<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    forward! {
        visit_i8 i8, visit_i16 i16, visit_i32 i32, visit_i64 i64, visit_u8 u8, visit_u16 u16, visit_u32 u32, visit_u64 u64,
    }
    fn visit_f32<E: Error>(self, number: f32) -> Result<V::Value, E> {
        self.0.visit_i64(integer_of_f32(number).map_err(|reason| E::custom(format_args!("{number:?} {reason}")))?)
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<V::Value, E> {
        self.0.visit_i64(integer_of_f64(number).map_err(|reason| E::custom(format_args!("{number:?} {reason}")))?)
    }
    refuse_extensions!();
}

/// A list, or a row of what has no names.
struct List<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for List<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Items(items))
    }
    refuse_extensions!();
}

struct Items<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<A> {
    type Error = A::Error;
    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

/// A map, or an empty list in its place.
struct Map<V> {
    visitor: V,
    keys: Keys,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Map<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }
    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V::Value, A::Error> {
        if items.next_element_seed(Skip)?.is_some() {
            return Err(A::Error::invalid_type(Unexpected::Other("a list"), &"a map"));
        }
        let no_entries = std::iter::empty::<(&str, ())>();
        self.visitor.visit_map(MapDeserializer::new(no_entries))
    }
    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Entries::new(entries, self.keys))
    }
    refuse_extensions!();
}
