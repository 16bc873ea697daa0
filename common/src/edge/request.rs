//! Requests of clients: decoded field by field, so that an error can name the field, the value and the mend.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FrontendError;
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::label::Label;
use crate::rating::Stars;
use crate::request::{ALL_LIMIT_DEFAULT, ALL_LIMIT_MAX, Query, SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX, Update};
use crate::subjects::Operation;
use crate::wire::Format;

/// How long a title to search for may be, in bytes.
pub const TITLE_BYTES_MAX: usize = 1000;

/// What a client asks, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientRequest {
    /// To modify.
    Update {
        /// What to do.
        request: Update,
        /// The client's id for it, if it gave one.
        id: Option<UpdateId>,
        /// What the session has seen.
        prev: Label,
    },
    /// To read.
    Query {
        /// What to tell.
        request: Query,
        /// What the session has seen.
        prev: Label,
    },
}

/// Decodes a request for `operation`. `subject_user` is the last token of a subject that names the user.
///
/// Fails with [`FrontendError::BadRequest`], naming the field.
pub fn decode_request(
    operation: Operation,
    subject_user: Option<&str>,
    payload: &[u8],
) -> Result<ClientRequest, FrontendError> {
    let fields: Fields = Format::of(payload).decode(payload).map_err(|error| bad(error.to_string()))?;
    let prev = fields.prev()?;
    let user_id = || fields.user(subject_user);
    let movie_id = || fields.movie();
    let update = |request| {
        let id = fields.id()?;
        Ok(ClientRequest::Update { request, id, prev: prev.clone() })
    };
    let query = |request| Ok(ClientRequest::Query { request, prev: prev.clone() });
    match operation {
        Operation::Create => {
            update(Update::Create { user_id: user_id()?, movie_id: movie_id()?, rating: fields.stars()? })
        }
        Operation::Update => {
            update(Update::Update { user_id: user_id()?, movie_id: movie_id()?, rating: fields.stars()? })
        }
        Operation::Delete => update(Update::Delete { user_id: user_id()?, movie_id: movie_id()? }),
        Operation::Read => query(Query::Read { user_id: user_id()?, movie_id: movie_id()? }),
        Operation::All => query(Query::All {
            user_id: user_id()?,
            limit: fields.limit(ALL_LIMIT_DEFAULT, ALL_LIMIT_MAX)?,
            after: fields.after()?,
        }),
        Operation::Average => query(Query::Average { movie_id: movie_id()? }),
        Operation::Search => query(Query::Search {
            title: fields.title()?,
            limit: fields.limit(SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX)?,
        }),
    }
}

fn bad(text: impl Into<String>) -> FrontendError {
    FrontendError::BadRequest(text.into())
}

/// The fields of all requests, whatever their types.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    user_id: Field,
    movie_id: Field,
    rating: Field,
    title: Field,
    limit: Field,
    after: Field,
    id: Field,
    prev: Field,
}

impl Fields {
    fn user(&self, subject_user: Option<&str>) -> Result<UserId, FrontendError> {
        let Some(text) = subject_user else { return number_id("user_id", &self.user_id) };
        let of_subject = text
            .parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == text)
            .and_then(|number| UserId::try_from(number).ok())
            .ok_or_else(|| {
                bad(format!("the subject's last token {text:?} is not a user id: use an integer from 1 to 4294967295"))
            })?;
        match &self.user_id {
            Field::Missing => Ok(of_subject),
            Field::Integer(number) if *number == i128::from(of_subject.get()) => Ok(of_subject),
            other => Err(bad(format!(
                "user_id: {other} differs from user {of_subject} in the subject: leave it out, or send to that user's \
                 subject"
            ))),
        }
    }

    fn movie(&self) -> Result<MovieId, FrontendError> {
        number_id("movie_id", &self.movie_id)
    }

    fn stars(&self) -> Result<Stars, FrontendError> {
        let stars = match self.rating {
            Field::Integer(number) => Some(number as f64),
            Field::Float(number) => Some(number),
            _ => None,
        };
        stars
            .and_then(|stars| Stars::try_from(stars).ok())
            .ok_or_else(|| bad(format!("rating: {} is not on the scale: send 0.5, 1.0, 1.5, ... 5.0", self.rating)))
    }

    fn title(&self) -> Result<String, FrontendError> {
        match &self.title {
            Field::Text(title) if title.len() <= TITLE_BYTES_MAX => Ok(title.clone()),
            Field::Text(_) => Err(bad(format!("title: longer than {TITLE_BYTES_MAX} bytes: send a part of the title"))),
            other => Err(bad(format!("title: {other} is not a text: send a part of the title"))),
        }
    }

    fn limit(&self, default: u32, max: u32) -> Result<u32, FrontendError> {
        match self.limit {
            Field::Missing => Ok(default),
            // More than the most is met by a page of the most, which says where the next begins.
            Field::Integer(number) if number >= 1 => Ok(u32::try_from(number).unwrap_or(max).min(max)),
            _ => Err(bad(format!("limit: {} is not a limit: send an integer from 1 to {max}", self.limit))),
        }
    }

    fn after(&self) -> Result<u32, FrontendError> {
        match self.after {
            Field::Missing => Some(0),
            Field::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        }
        .ok_or_else(|| bad(format!("after: {} is not a movie id: send the `next` of the last page", self.after)))
    }

    fn id(&self) -> Result<Option<UpdateId>, FrontendError> {
        match &self.id {
            Field::Missing => Ok(None),
            Field::Text(text) if text.len() <= 64 => text.parse().map(Some).map_err(|_| ()),
            _ => Err(()),
        }
        .map_err(|()| bad(format!("id: {} is not a UUID: send one as text, best a version 7", self.id)))
    }

    fn prev(&self) -> Result<Label, FrontendError> {
        let not = |what: String| {
            bad(format!("prev: {what}: send the label of the last reply, {{replicas: {{<id>: n}}, clock: n}}"))
        };
        let entries = match &self.prev {
            Field::Missing => return Ok(Label::new()),
            Field::Map(entries) => entries,
            other => return Err(not(format!("{other} is not a label"))),
        };
        let mut label = Label::new();
        for (key, value) in entries {
            match (key, value) {
                (Field::Text(name), Field::Map(counts)) if name == "replicas" => {
                    for (id, count) in counts {
                        let known = match id {
                            Field::Text(text) => ReplicaId::new(text).ok(),
                            _ => None,
                        };
                        let known = known.ok_or_else(|| not(format!("{id} is not a replica id")))?;
                        let count = count.as_u64().ok_or_else(|| not(format!("{count} is not a count")))?;
                        label.replicas.raise(&known, count);
                    }
                }
                (Field::Text(name), Field::Missing) if name == "replicas" || name == "clock" => {}
                (Field::Text(name), other) if name == "replicas" => {
                    return Err(not(format!("replicas: {other} is not a map of counts")));
                }
                (Field::Text(name), clock) if name == "clock" => {
                    label.clock = Stamp(clock.as_u64().ok_or_else(|| not(format!("clock: {clock} is not a clock")))?);
                }
                _ => {}
            }
        }
        Ok(label)
    }
}

fn number_id<T: TryFrom<u64>>(name: &str, field: &Field) -> Result<T, FrontendError> {
    field
        .as_u64()
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| bad(format!("{name}: {field} is not an id: send an integer from 1 to 4294967295")))
}

/// Any value, so that a mistyped field can be named instead of failing the whole map.
#[derive(Clone, Debug, Default, PartialEq)]
enum Field {
    /// Left out, or nil.
    #[default]
    Missing,
    Integer(i128),
    Float(f64),
    Text(String),
    Map(Vec<(Field, Field)>),
    Other(&'static str),
}

impl Field {
    fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nothing"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(80).collect::<String>()),
            Self::Map(_) => f.write_str("a map"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other("a boolean"))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        Ok(Field::Integer(number.into()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Integer(number.into()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
        Ok(Field::Float(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<Field, E> {
        Ok(Field::Other("bytes"))
    }
    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Missing)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Field::Other("an extension value"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("a list"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Field::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(operation: Operation, json: &str) -> String {
        decode_request(operation, None, json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_bad_field_is_named_with_its_value_and_the_mend() {
        let cases = [
            (r#"{"movie_id":1,"rating":3}"#, "user_id: nothing is not an id"),
            (r#"{"user_id":0,"movie_id":1,"rating":3}"#, "user_id: 0 is not an id"),
            (r#"{"user_id":4294967296,"movie_id":1,"rating":3}"#, "user_id: 4294967296 is not an id"),
            (r#"{"user_id":-1,"movie_id":1,"rating":3}"#, "user_id: -1"),
            (r#"{"user_id":1.5,"movie_id":1,"rating":3}"#, "user_id: 1.5"),
            (r#"{"user_id":"7","movie_id":1,"rating":3}"#, "user_id: \"7\""),
            (r#"{"user_id":7,"movie_id":[1],"rating":3}"#, "movie_id: a list"),
            (r#"{"user_id":7,"movie_id":1,"rating":4.3}"#, "rating: 4.3 is not on the scale"),
            (r#"{"user_id":7,"movie_id":1,"rating":true}"#, "rating: a boolean is not on the scale"),
            (r#"{"user_id":7,"movie_id":1}"#, "rating: nothing is not on the scale"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"id":"x"}"#, "id: \"x\" is not a UUID"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"id":5}"#, "id: 5 is not a UUID"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":5}"#, "prev: 5 is not a label"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":{"a.b":1}}}"#, "\"a.b\" is not a replica id"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":{"a":-1}}}"#, "-1 is not a count"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":[]}}"#, "a list is not a map of counts"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"clock":1.5}}"#, "clock: 1.5 is not a clock"),
            (r#"{"user_id":7"#, "not a JSON object"),
        ];
        for (json, expected) in cases {
            let text = refusal(Operation::Create, json);
            assert!(text.starts_with("BAD_REQUEST: ") && text.contains(expected), "{json}: {text}");
        }
        assert!(refusal(Operation::All, r#"{"user_id":7,"limit":0}"#).contains("limit: 0 is not a limit"));
        assert!(refusal(Operation::All, r#"{"user_id":7,"after":-3}"#).contains("after: -3 is not a movie id"));
        assert!(refusal(Operation::Search, "{}").contains("title: nothing is not a text"));
    }

    #[test]
    fn ratings_that_are_not_numbers_are_off_the_scale() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut payload = vec![0x83];
            for (name, value) in [("user_id", &[7u8][..]), ("movie_id", &[1]), ("rating", &[0xcb])] {
                payload.push(0xa0 | name.len() as u8);
                payload.extend(name.as_bytes());
                payload.extend(value);
            }
            payload.extend(number.to_be_bytes());
            let error = decode_request(Operation::Create, None, &payload).unwrap_err().to_string();
            assert!(error.contains("is not on the scale"), "{error}");
        }
    }

    #[test]
    fn the_user_of_the_subject_counts_and_another_in_the_payload_is_refused() {
        let read = |subject, json: &str| decode_request(Operation::Read, Some(subject), json.as_bytes());
        let expected = Query::Read { user_id: UserId::new(42).unwrap(), movie_id: MovieId::new(1).unwrap() };
        for json in [r#"{"movie_id":1}"#, r#"{"movie_id":1,"user_id":42}"#] {
            assert_eq!(read("42", json), Ok(ClientRequest::Query { request: expected.clone(), prev: Label::new() }));
        }
        for (subject, json) in [
            ("42", r#"{"movie_id":1,"user_id":43}"#),
            ("042", r#"{"movie_id":1}"#),
            ("+42", r#"{"movie_id":1}"#),
            ("0", r#"{"movie_id":1}"#),
            ("x", r#"{"movie_id":1}"#),
        ] {
            assert!(read(subject, json).is_err(), "{subject} {json}");
        }
    }

    #[test]
    fn a_whole_request_is_understood() {
        let json = r#"{"user_id":7,"movie_id":2,"rating":4,"id":"019a0000-0000-7000-8000-000000000001",
            "prev":{"replicas":{"a":3,"b":0},"clock":9},"unknown":{"x":[1]}}"#;
        let Ok(ClientRequest::Update { request, id, prev }) = decode_request(Operation::Create, None, json.as_bytes())
        else {
            panic!("refused");
        };
        assert_eq!(request.stars().unwrap().as_f64(), 4.0);
        assert!(id.is_some());
        assert_eq!((prev.replicas.to_string(), prev.clock), ("{a:3}".to_owned(), Stamp(9)));
    }
}
