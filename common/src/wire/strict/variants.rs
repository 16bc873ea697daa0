//! Variants of an enum: named by text, and by nothing else.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, Unexpected, VariantAccess,
    Visitor,
};

use super::{Entries, Keys, List, Map, Skip, Strict, refuse_extensions};

/// A variant: its name, or a map from its name to what it holds. Other keys of the map are unknown, and ignored.
pub(super) struct Variants<V> {
    pub(super) visitor: V,
    pub(super) variants: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Variants<V> {
    type Value = V::Value;
    /// A visitor without words of its own would name a type of this program.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = (&self.visitor as &dyn Expected).to_string();
        if words.starts_with("enum ") {
            return write!(f, "one of {}", self.variants.join(", "));
        }
        f.write_str(&words)
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        self.visitor.visit_enum(Variant { name: Cow::Borrowed(name), content: NoContent(PhantomData) })
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(name) => self.visit_str(name),
            Err(_) => Err(E::invalid_type(Unexpected::Bytes(bytes), &self)),
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { visitor, variants } = self;
        let mut entries = Entries::new(entries, Keys::Fields(variants));
        let mut value = None;
        let mut visitor = Some(visitor);
        while let Some(name) = entries.next_text()? {
            let name = Some(name).filter(|name| variants.contains(&name.as_ref()));
            match (name, visitor.take()) {
                (Some(name), Some(visitor)) => {
                    value = Some(visitor.visit_enum(Variant { name, content: Content(&mut entries.inner) })?);
                }
                (Some(name), None) => {
                    return Err(A::Error::custom(format_args!("{name} is a second name in one map")));
                }
                (None, kept) => {
                    visitor = kept;
                    entries.inner.next_value_seed(Skip)?;
                }
            }
        }
        value.ok_or_else(|| A::Error::custom(format_args!("a map has none of the names {}", variants.join(", "))))
    }
    refuse_extensions!();
}

struct Variant<'de, C> {
    name: Cow<'de, str>,
    content: C,
}

impl<'de, C: VariantAccess<'de>> EnumAccess<'de> for Variant<'_, C> {
    type Error = C::Error;
    type Variant = C;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, C), C::Error> {
        let name: StrDeserializer<'_, C::Error> = self.name.as_ref().into_deserializer();
        Ok((seed.deserialize(name)?, self.content))
    }
}

/// A variant that is told by its name alone.
struct NoContent<E>(PhantomData<E>);

impl<'de, E: Error> VariantAccess<'de> for NoContent<E> {
    type Error = E;
    fn unit_variant(self) -> Result<(), E> {
        Ok(())
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, E> {
        Err(E::custom("this name needs a value: send a map of the name to that"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, E> {
        Err(E::custom("this name needs a list: send a map of the name to that"))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, E> {
        Err(E::custom("this name needs a map: send a map of the name to that"))
    }
}

/// Content of a variant.
struct Content<'a, A>(&'a mut A);

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Content<'_, A> {
    type Error = A::Error;
    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::custom("this name stands alone, and not in a map"))
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(TupleContent(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(StructContent(fields, visitor))
    }
}

struct TupleContent<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for TupleContent<V> {
    type Value = V::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(List(self.0))
    }
}

struct StructContent<V>(&'static [&'static str], V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for StructContent<V> {
    type Value = V::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(Map { visitor: self.1, keys: Keys::Fields(self.0) })
    }
}
