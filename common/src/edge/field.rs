//! The fields of clients' requests: whatever stands in them is kept, so that an error can name the field, the value and the
//! mend.

use std::convert::Infallible;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FrontendError;
use crate::clock::Stamp;
use crate::cluster::ClusterId;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::label::Label;
use crate::rating::Stars;
use crate::subjects::Operation;
use crate::timestamp::Timestamp;
use crate::wire::number::{NO_CLOCK_OF_F32, OUT_OF_RANGE, Reason, clock_of_f64, integer_of_f32, integer_of_f64};

/// Operations that a batch may have, for messages.
pub(super) const OPERATIONS: &str = "create, update, delete, read or average";

pub(super) fn bad(text: impl Into<String>) -> FrontendError {
    FrontendError::BadRequest(text.into())
}

/// The user that a subject's last token names.
pub(super) fn subject_user(token: &str) -> Result<UserId, FrontendError> {
    token
        .parse::<u64>()
        .ok()
        .filter(|number| number.to_string() == token)
        .and_then(|number| UserId::try_from(number).ok())
        .ok_or_else(|| {
            bad(format!("the subject's last token {token:?} is not a user id: use an integer from 1 to 4294967295"))
        })
}

/// Any value, so that a mistyped field can be named instead of failing the whole map.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Field {
    /// Left out, or nil.
    #[default]
    Missing,
    Integer(i128),
    Float(f64),
    Float32(f32),
    Text(String),
    /// Its keys are texts, or [`Field::Missing`] where they are none.
    Map(Vec<(Field, Field)>),
    /// Some languages write an empty map so.
    EmptyList,
    Other(&'static str),
}

impl Field {
    /// The integer that a number is, however it is encoded: a float may be exactly one. `Err` is why it is none, if it is
    /// a number.
    fn integer(&self) -> Result<i128, Option<Reason>> {
        match self {
            Self::Integer(number) => Ok(*number),
            Self::Float(number) => integer_of_f64(*number).map(i128::from).map_err(Some),
            Self::Float32(number) => integer_of_f32(*number).map(i128::from).map_err(Some),
            _ => Err(None),
        }
    }

    /// The same of a count or a clock.
    fn unsigned(&self) -> Result<u64, Option<Reason>> {
        u64::try_from(self.integer()?).map_err(|_| Some(OUT_OF_RANGE))
    }

    /// The field `name`, a number that `read` understands. `noun` is what it should be, `mend` what to send.
    pub(super) fn number<T>(
        &self,
        [name, noun, mend]: [&str; 3],
        read: impl FnOnce(i128) -> Option<T>,
    ) -> Result<T, FrontendError> {
        if *self == Self::Missing {
            return Err(missing(name, mend));
        }
        let number = self.integer().map_err(|reason| bad(format!("{name}: {}: {mend}", self.is_no(noun, reason))))?;
        read(number).ok_or_else(|| bad(format!("{name}: {self} is not {noun}: {mend}")))
    }

    /// Says that this is not `noun`, and for a wrong number the reason.
    fn is_no(&self, noun: &str, reason: Option<Reason>) -> String {
        match reason {
            Some(reason) => format!("{self} is not {noun}, for it {reason}"),
            None => format!("{self} is not {noun}"),
        }
    }

    /// As `user_id`, which may be left out where the subject names the user, and must not differ from that.
    pub(super) fn user(&self, of_subject: Option<UserId>) -> Result<UserId, FrontendError> {
        let Some(of_subject) = of_subject else { return self.number_id("user_id") };
        match self.integer() {
            _ if *self == Self::Missing => Ok(of_subject),
            Ok(number) if number == i128::from(of_subject.get()) => Ok(of_subject),
            _ => Err(bad(format!(
                "user_id: {self} differs from user {of_subject} in the subject: leave it out, or send to that user's \
                 subject"
            ))),
        }
    }

    /// As `movie_id`.
    pub(super) fn movie(&self) -> Result<MovieId, FrontendError> {
        self.number_id("movie_id")
    }

    /// As `rating`.
    pub(super) fn stars(&self) -> Result<Stars, FrontendError> {
        let stars = match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Float32(number) => Some(f64::from(*number)),
            Self::Missing => return Err(missing("rating", SCALE)),
            _ => None,
        };
        stars
            .and_then(|stars| Stars::try_from(stars).ok())
            .ok_or_else(|| bad(format!("rating: {self} is not on the scale: {SCALE}")))
    }

    /// As `prev`. A label that is given but not understood is refused: what it names would be lost to the session.
    pub(super) fn label(&self) -> Result<Label, FrontendError> {
        let entries = match self {
            Self::Missing | Self::EmptyList => return Ok(Label::new()),
            Self::Map(entries) => entries,
            other => return Err(no_label(format!("{other} is not a label"))),
        };
        let (mut label, mut is_label) = (Label::new(), entries.is_empty());
        for (key, value) in entries {
            match key {
                Self::Text(name) if name == "replicas" => label.replicas = value.counts()?,
                Self::Text(name) if name == "clock" => label.clock = value.clock()?,
                _ => continue,
            }
            is_label = true;
        }
        if is_label {
            Ok(label)
        } else {
            Err(no_label("a map without `replicas` and `clock` is not a label".to_owned()))
        }
    }

    /// As a label's `replicas`.
    fn counts(&self) -> Result<Timestamp, FrontendError> {
        match self {
            Self::Missing | Self::EmptyList => Ok(Timestamp::new()),
            Self::Map(counts) => counts.iter().map(Self::entry).collect(),
            other => Err(no_label(format!("replicas: {other} is not a map of counts"))),
        }
    }

    /// As a label's `clock`.
    fn clock(&self) -> Result<Stamp, FrontendError> {
        let clock = match self {
            Self::Missing => return Ok(Stamp::ZERO),
            Self::Float(number) => clock_of_f64(*number).map_err(Some),
            Self::Float32(_) => Err(Some(NO_CLOCK_OF_F32)),
            other => other.unsigned(),
        };
        clock.map(Stamp).map_err(|reason| no_label(format!("clock: {}", self.is_no("a clock", reason))))
    }

    /// As `cluster`.
    pub(super) fn cluster(&self) -> Result<Option<ClusterId>, FrontendError> {
        let cluster = match self {
            Self::Missing => return Ok(None),
            Self::Text(text) => ClusterId::known(text).ok(),
            _ => None,
        };
        cluster.map(Some).ok_or_else(|| {
            bad(format!("cluster: {self} is not a cluster's identity: send the `cluster` of the last reply"))
        })
    }

    /// An entry of a label's timestamp.
    fn entry((id, count): &(Self, Self)) -> Result<(ReplicaId, u64), FrontendError> {
        let known = match id {
            Self::Text(text) => ReplicaId::new(text).ok(),
            Self::Missing => return Err(no_label("replicas: a key that is not a text is not a replica id".to_owned())),
            _ => None,
        };
        let known = known.ok_or_else(|| no_label(format!("{id} is not a replica id")))?;
        match count.unsigned() {
            Ok(count) => Ok((known, count)),
            Err(reason) => Err(no_label(format!("{known}: {}", count.is_no("a count", reason)))),
        }
    }

    fn number_id<T: TryFrom<u64>>(&self, name: &str) -> Result<T, FrontendError> {
        let words = [name, "an id", "send an integer from 1 to 4294967295"];
        self.number(words, |number| u64::try_from(number).ok().and_then(|number| T::try_from(number).ok()))
    }
}

/// Advice for a wrong rating.
const SCALE: &str = "send 0.5, 1.0, 1.5, ... 5.0";

pub(super) fn missing(name: &str, mend: &str) -> FrontendError {
    bad(format!("{name} is missing: {mend}"))
}

fn no_label(what: String) -> FrontendError {
    bad(format!("prev: {what}: send the label of the last reply, {{replicas: {{<id>: n}}, clock: n}}"))
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nothing"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Float32(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(80).collect::<String>()),
            Self::Map(_) => f.write_str("a map"),
            Self::EmptyList => f.write_str("a list"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let no_meaning = |_: &str| None::<Infallible>;
        deserializer.deserialize_any(TextOr(no_meaning)).map(|Err(field)| field)
    }
}

/// `id`: parsed where it stands, as most requests have one and it is the longest of their fields.
#[derive(Debug, Default)]
pub(super) enum IdField {
    /// Left out, or nil.
    #[default]
    Missing,
    Id(UpdateId),
    Other(Field),
}

impl IdField {
    pub(super) fn id(&self) -> Result<Option<UpdateId>, FrontendError> {
        match self {
            Self::Missing => Ok(None),
            Self::Id(id) => Ok(Some(*id)),
            Self::Other(field) => Err(bad(format!("id: {field} is not a UUID: send one as text, best a version 7"))),
        }
    }
}

impl<'de> Deserialize<'de> for IdField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| if text.len() <= 64 { text.parse().ok().map(Self::Id) } else { None };
        Ok(match deserializer.deserialize_any(TextOr(parse))? {
            Ok(id) => id,
            Err(Field::Missing) => Self::Missing,
            Err(other) => Self::Other(other),
        })
    }
}

/// `op`: the name of an operation.
#[derive(Debug, Default)]
pub(super) struct OperationField(Option<Operation>, Field);

impl OperationField {
    pub(super) fn operation(&self) -> Result<Operation, FrontendError> {
        self.0.ok_or_else(|| match &self.1 {
            Field::Missing => missing("op", &format!("send {OPERATIONS}")),
            other => bad(format!("op: {other} is not an operation: send {OPERATIONS}")),
        })
    }
}

impl<'de> Deserialize<'de> for OperationField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = |name: &str| Operation::ALL.into_iter().find(|operation| operation.name() == name);
        Ok(match deserializer.deserialize_any(TextOr(named))? {
            Ok(operation) => Self(Some(operation), Field::Missing),
            Err(other) => Self(None, other),
        })
    }
}

/// Visitor that reads a text by the function `0`, and keeps any other value as it is.
struct TextOr<F>(F);

impl<'de, T, F: Fn(&str) -> Option<T>> Visitor<'de> for TextOr<F> {
    type Value = Result<T, Field>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(Field::Other("a boolean")))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Err(Field::Integer(number.into())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Err(Field::Integer(number.into())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Err(Field::Float(number)))
    }
    fn visit_f32<E>(self, number: f32) -> Result<Self::Value, E> {
        Ok(Err(Field::Float32(number)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0)(text).ok_or_else(|| Field::Text(text.to_owned())))
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Err(Field::Other("bytes")))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(Field::Missing))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Err(Field::Other("an extension value")))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        if items.next_element::<IgnoredAny>()?.is_none() {
            return Ok(Err(Field::EmptyList));
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Field::Other("a list")))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Err(Field::Map(map)))
    }
}
