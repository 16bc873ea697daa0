//! Extension values: no message has any. Libraries write values with them that MessagePack has no type for, such as times.
//!
//! `msgpackr`, for JavaScript, writes `undefined` as an extension of type 0 with one byte that is 0. It stands where a program
//! left a field out, so it is nil.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// A visitor of the content of an extension value: whether it is `undefined`.
pub(super) struct IsUndefined;

impl<'de> Visitor<'de> for IsUndefined {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an extension value")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<bool, A::Error> {
        let kind: Option<i8> = parts.next_element()?;
        let is_zero = parts.next_element_seed(IsZero)?;
        while parts.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kind == Some(0) && is_zero == Some(true))
    }
}

/// Whether bytes are one that is 0.
struct IsZero;

impl<'de> DeserializeSeed<'de> for IsZero {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for IsZero {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an extension value")
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<bool, E> {
        Ok(bytes == [0])
    }
}

/// Refuses an extension value where a value of one type is expected.
macro_rules! refuse_extensions {
    () => {
        fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<V::Value, D::Error> {
            Err(D::Error::invalid_type(serde::de::Unexpected::Other("an extension value"), &self))
        }
    };
}

pub(super) use refuse_extensions;
