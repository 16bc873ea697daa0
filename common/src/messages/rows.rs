//! Lists whose neighbours are mostly alike: what they share is written once, and what differs in rows.
//!
//! Under load a message carries dozens of requests, replies or records, of which nearly all have the same `prev`, label or
//! origin. One by itself is a map with all its fields. Several in a row that share all but a few are one item: a map of what
//! they share, and `rows` with an array for each.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{MovieId, UpdateId, UserId};
use crate::rating::{Rating, RatingKey, Stars};
use crate::request::{Method, Update};

/// About how many bytes a row takes, beside a title.
const ROW_BYTES: usize = 64;

/// Entry of such a list.
pub trait Alike: Sized {
    /// One item as it is read: one of these by itself, or what several share, and their rows.
    type Item: DeserializeOwned;

    /// Whether `next` may stand in the same item.
    fn goes_with(&self, next: &Self) -> bool;

    /// Writes an item: all of `alike` go with each other.
    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error>;

    /// Appends what the item stands for. Fails with what is wrong where it is neither the one nor the other.
    fn read(item: Self::Item, list: &mut Vec<Self>) -> Result<(), &'static str>;

    /// About how many bytes it takes by itself.
    fn bytes_alone(&self) -> usize;

    /// About how many bytes it takes as a row.
    fn bytes_as_row(&self) -> usize {
        ROW_BYTES
    }

    /// About how many bytes it takes in a list, after `before`.
    fn bytes_after(&self, before: Option<&Self>) -> usize {
        match before {
            Some(before) if before.goes_with(self) => self.bytes_as_row(),
            _ => self.bytes_alone(),
        }
    }
}

/// Error for an item of neither form.
pub(super) const NEITHER: &str = "an item is either one by itself or has rows";

/// Maximum entries of a timestamp that rows share: each row costs as much as all of them, whichever process sends it.
pub(super) const SHARED_ENTRIES_MAX: usize = 64;

/// Writes a list.
pub(super) fn write_list<T: Alike, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    struct Item<'a, T>(&'a [T]);
    impl<T: Alike> Serialize for Item<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            T::write(self.0, serializer)
        }
    }
    let mut items = serializer.serialize_seq(Some(list.chunk_by(T::goes_with).count()))?;
    for alike in list.chunk_by(T::goes_with) {
        items.serialize_element(&Item(alike))?;
    }
    items.end()
}

/// Reads a list.
pub(super) fn read_list<'de, T: Alike, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);
    impl<'de, T: Alike> Visitor<'de> for Items<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                T::read(item, &mut list).map_err(de::Error::custom)?;
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Items(PhantomData))
}

/// Rows as they are written: each of `alike` by `row`.
pub(super) struct Rows<'a, T, F>(pub(super) &'a [T], pub(super) F);

impl<'a, T, R: Serialize, F: Fn(&'a T) -> R> Serialize for Rows<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.len()))?;
        for one in self.0 {
            rows.serialize_element(&(self.1)(one))?;
        }
        rows.end()
    }
}

/// An update id as the two halves of its 128 bits, the upper one first: half as long as its text, and a number in every
/// encoding.
#[derive(Serialize, Deserialize)]
pub(super) struct IdHalves(u64, u64);

impl From<UpdateId> for IdHalves {
    fn from(id: UpdateId) -> Self {
        let (upper, lower) = id.as_uuid().as_u64_pair();
        Self(upper, lower)
    }
}

impl From<IdHalves> for UpdateId {
    fn from(IdHalves(upper, lower): IdHalves) -> Self {
        Self::from_uuid(uuid::Uuid::from_u64_pair(upper, lower))
    }
}

/// An update: method, user, movie and rating, the last nil for a delete.
#[derive(Serialize, Deserialize)]
pub(super) struct UpdateFields(Method, UserId, MovieId, Option<Stars>);

impl From<&Update> for UpdateFields {
    fn from(update: &Update) -> Self {
        let RatingKey { user_id, movie_id } = update.key();
        Self(update.kind(), user_id, movie_id, update.stars())
    }
}

impl UpdateFields {
    /// Fails where the method and the rating don't go together.
    pub(super) fn update(self) -> Result<Update, &'static str> {
        let Self(method, user_id, movie_id, rating) = self;
        match (method, rating) {
            (Method::Create, Some(rating)) => Ok(Update::Create { user_id, movie_id, rating }),
            (Method::Update, Some(rating)) => Ok(Update::Update { user_id, movie_id, rating }),
            (Method::Delete, None) => Ok(Update::Delete { user_id, movie_id }),
            _ => Err("a create and an update have a rating, a delete has none"),
        }
    }
}

/// A rating: its fields in the order of their declaration, the id in halves.
pub(super) struct RatingRow<'a>(pub(super) &'a Rating);

impl Serialize for RatingRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rating { user_id, movie_id, title, rating, timestamp, update_id } = self.0;
        let mut row = serializer.serialize_tuple(6)?;
        row.serialize_element(user_id)?;
        row.serialize_element(movie_id)?;
        row.serialize_element(title)?;
        row.serialize_element(rating)?;
        row.serialize_element(timestamp)?;
        row.serialize_element(&update_id.map(IdHalves::from))?;
        row.end()
    }
}

/// A rating as it is read.
#[derive(Deserialize)]
pub(super) struct RatingFields(UserId, MovieId, String, Option<Stars>, Option<i64>, Option<IdHalves>);

impl From<RatingFields> for Rating {
    fn from(fields: RatingFields) -> Self {
        let RatingFields(user_id, movie_id, title, rating, timestamp, update_id) = fields;
        Self { user_id, movie_id, title, rating, timestamp, update_id: update_id.map(UpdateId::from) }
    }
}
