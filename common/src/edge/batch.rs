//! Batches: several operations of one client in one message, each with its own outcome, and one reply.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::field::{Field, bad};
use super::operation::{Fields, SingleOperation};
use super::{ClientReply, EncodedReply, FrontendError, Untagged, encode_reply};
use crate::cluster::ClusterId;
use crate::ids::{ReplicaId, UserId};
use crate::label::Label;
use crate::wire::{Format, WireError};

/// Maximum operations in a batch.
pub const OPERATIONS_MAX: usize = 8192;
/// Maximum length of an outcome without value and text in either encoding, in bytes, its separator included.
const BARE_BYTES_MAX: usize = 64;

/// Several operations of one session, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientBatch {
    /// Each as it was understood, or why it was not. At most [`OPERATIONS_MAX`].
    pub operations: Vec<Result<SingleOperation, FrontendError>>,
    /// Label of the session, as the client sent it.
    pub prev: Label,
    /// The cluster in which the session has seen it, if the client says so.
    pub cluster: Option<ClusterId>,
    /// Parts of the outcomes that the client asks for.
    pub answers: Answers,
}

/// Parts that the outcomes in a batch's reply have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// All that the single replies would have.
    #[default]
    Full,
    /// Nothing for an update that was done.
    Brief,
}

/// Outcome of one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The update was done; that is all the client wants to hear.
    Done,
    /// The update was done, and this is the reply.
    Written(ClientReply),
    /// The reply to a query.
    Read(ClientReply),
    /// Not done, or not known to be.
    Failed(FrontendError),
}

/// A frontend's answer to a batch: `{outcomes, label, replicas, copies}`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchReply {
    /// One for each operation, in the order of the operations.
    pub outcomes: Vec<Outcome>,
    /// To be merged into the session's `prev`: what all outcomes together tell of the ratings.
    pub label: Label,
    /// The replica managers that served any of it.
    pub replicas: Vec<ReplicaId>,
    /// Of the updates that were done, the least number of replica managers that held one; `None` where none was done.
    pub copies: Option<usize>,
}

/// Decodes a batch whatever its fields are, to say what is wrong with one.
pub(super) fn decode_batch_by_field(of_subject: Option<UserId>, payload: &[u8]) -> Result<ClientBatch, FrontendError> {
    let fields = Format::of(payload).decode_as(BatchSeed { of_subject }, payload);
    let BatchFields { operations, prev, cluster, answers } = fields.map_err(|error| bad(error.to_string()))?;
    let operations = operations.ok_or_else(|| bad(format!("operations is missing: {LIST}")))?;
    let prev = prev.unwrap_or_default().label()?;
    let cluster = cluster.unwrap_or_default().cluster()?;
    let answers = match answers.unwrap_or_default() {
        Field::Missing => Answers::default(),
        Field::Text(text) if text == "full" => Answers::Full,
        Field::Text(text) if text == "brief" => Answers::Brief,
        other => return Err(bad(format!("answers: {other} is not a kind of answers: send \"full\" or \"brief\""))),
    };
    Ok(ClientBatch { operations, prev, cluster, answers })
}

const LIST: &str = "send a list of operations, [{op: \"create\", user_id: 42, ...}, ...]";

/// The fields of a batch; the operations are checked while they are read, so that none is copied.
#[derive(Default)]
struct BatchFields {
    operations: Option<Vec<Result<SingleOperation, FrontendError>>>,
    prev: Option<Field>,
    cluster: Option<Field>,
    answers: Option<Field>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Operations,
    Prev,
    Cluster,
    Answers,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy)]
struct BatchSeed {
    of_subject: Option<UserId>,
}

impl<'de> DeserializeSeed<'de> for BatchSeed {
    type Value = BatchFields;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<BatchFields, D::Error> {
        deserializer.deserialize_struct("Batch", &["operations", "prev", "cluster", "answers"], self)
    }
}

impl<'de> Visitor<'de> for BatchSeed {
    type Value = BatchFields;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<BatchFields, A::Error> {
        let mut fields = BatchFields::default();
        while let Some(key) = entries.next_key()? {
            let is_news = match key {
                Key::Operations => fields.operations.replace(entries.next_value_seed(ListSeed(self))?).is_none(),
                Key::Prev => fields.prev.replace(entries.next_value()?).is_none(),
                Key::Cluster => fields.cluster.replace(entries.next_value()?).is_none(),
                Key::Answers => fields.answers.replace(entries.next_value()?).is_none(),
                Key::Unknown => entries.next_value::<IgnoredAny>().map(|_| true)?,
            };
            if !is_news {
                return Err(A::Error::custom("a field is there twice"));
            }
        }
        Ok(fields)
    }
}

struct ListSeed(BatchSeed);

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = Vec<Result<SingleOperation, FrontendError>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = Vec<Result<SingleOperation, FrontendError>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "under `operations`: {LIST}")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // The length is only a claim of the sender: it reserves no more than a valid batch needs.
        let mut operations = Vec::with_capacity(items.size_hint().unwrap_or(0).min(OPERATIONS_MAX));
        while let Some(fields) = items.next_element::<Fields>()? {
            if operations.len() == OPERATIONS_MAX {
                return Err(A::Error::custom(format!("more than {OPERATIONS_MAX} operations: send several batches")));
            }
            operations.push(fields.operation_of_batch(self.0.of_subject));
        }
        Ok(operations)
    }
}

/// Encodes the reply to a batch in the encoding of its request, so that it takes `bytes_max` bytes at most.
///
/// In a longer reply, outcomes are cut from the first one on that does not fit: an error loses its text, an update that
/// was done loses its value. A read is then not answered ([`FrontendError::ReplyTooLarge`]).
///
/// # Errors
///
/// A serializer failed, which no reply makes it do.
pub fn encode_batch_reply(
    reply: &BatchReply,
    cluster: Option<&ClusterId>,
    format: Format,
    bytes_max: usize,
) -> Result<EncodedReply, WireError> {
    let mut shown: Vec<Shown<'_>> = reply.outcomes.iter().map(Shown::of).collect();
    let mut body = format.encode(&Encoded { outcomes: &shown, reply, cluster })?;
    if body.len() > bytes_max {
        let around = format.encode(&Encoded { outcomes: &[], reply, cluster })?.len() + BARE_BYTES_MAX;
        fit(&mut shown, around, format, bytes_max)?;
        body = format.encode(&Encoded { outcomes: &shown, reply, cluster })?;
    }
    if body.len() > bytes_max {
        return encode_reply(&Err(FrontendError::ReplyTooLarge), cluster, format);
    }
    Ok(EncodedReply::of(body))
}

/// Shortens outcomes until all fit, with the `around` bytes of the rest of the reply.
fn fit(shown: &mut [Shown<'_>], around: usize, format: Format, bytes_max: usize) -> Result<(), WireError> {
    let mut left = bytes_max.saturating_sub(around + shown.len() * BARE_BYTES_MAX);
    for outcome in shown {
        let bytes = format.encode(outcome)?.len().saturating_sub(BARE_BYTES_MAX);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => outcome.shorten(),
        }
    }
    Ok(())
}

/// The reply with its outcomes as they are shown.
struct Encoded<'a> {
    outcomes: &'a [Shown<'a>],
    reply: &'a BatchReply,
    cluster: Option<&'a ClusterId>,
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4 + usize::from(self.cluster.is_some())))?;
        map.serialize_entry("outcomes", self.outcomes)?;
        map.serialize_entry("label", &self.reply.label)?;
        map.serialize_entry("replicas", &self.reply.replicas)?;
        map.serialize_entry("copies", &self.reply.copies)?;
        if let Some(cluster) = self.cluster {
            map.serialize_entry("cluster", cluster)?;
        }
        map.end()
    }
}

/// An outcome as it is shown: `{}`, `{value, replicas}` or `{error: {code, name, text}}`.
enum Shown<'a> {
    Done,
    Written(&'a ClientReply),
    Read(&'a ClientReply),
    Error { error: &'a FrontendError, with_text: bool },
}

impl<'a> Shown<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Written(reply) => Self::Written(reply),
            Outcome::Read(reply) => Self::Read(reply),
            Outcome::Failed(error) => Self::Error { error, with_text: true },
        }
    }

    fn shorten(&mut self) {
        *self = match self {
            Self::Done | Self::Written(_) => Self::Done,
            Self::Read(_) => Self::Error { error: &FrontendError::ReplyTooLarge, with_text: false },
            Self::Error { error, .. } => Self::Error { error, with_text: false },
        };
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Done => serializer.serialize_map(Some(0))?.end(),
            Self::Written(reply) | Self::Read(reply) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("value", &Untagged(&reply.value))?;
                map.serialize_entry("replicas", &reply.replicas)?;
                map.end()
            }
            Self::Error { error, with_text } => {
                let text = error.to_string();
                let (name, text) = text.split_once(": ").unwrap_or((&text, ""));
                let text = with_text.then(|| text.to_owned());
                let error = OperationError { code: error.code(), name: name.to_owned(), text };
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("error", &error)?;
                map.end()
            }
        }
    }
}

/// An operation's error, as the headers of a single reply would have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationError {
    /// `Nats-Service-Error-Code`.
    pub code: u16,
    /// Name of the error: the text before the colon in `Nats-Service-Error`.
    pub name: String,
    /// Text after the colon; `None` if it did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Outcome of one operation, as a client reads it: an error, a value, or neither for an update that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeOf<T> {
    /// Result of the query, or the rating that the update wrote or deleted.
    #[serde(default = "nothing", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
    /// The replica managers that served it; for an update, those that hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<ReplicaId>>,
    /// Error because of which the operation was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationError>,
}

fn nothing<T>() -> Option<T> {
    None
}

/// The reply to a batch as a client reads it, all of whose values are of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchReplyOf<T> {
    /// One for each operation, in the order of the operations.
    pub outcomes: Vec<OutcomeOf<T>>,
    /// To be merged into the session's `prev`.
    pub label: Label,
    /// The replica managers that served any of it.
    pub replicas: Vec<ReplicaId>,
    /// Of the updates that were done, the least number of replica managers that held one.
    pub copies: Option<usize>,
    /// The identity of the cluster that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
}

#[cfg(test)]
mod tests;
