//! The edge: what clients send to frontends and what they get back. The rest of the contract is between ourselves.

mod batch;
mod error;
mod field;
mod operation;
mod plain_reply;
mod plain_request;
mod request;

pub use batch::{
    Answers, BatchReply, BatchReplyOf, ClientBatch, OPERATIONS_MAX, OperationError, Outcome, OutcomeOf,
    encode_batch_reply,
};
pub use error::FrontendError;
pub use operation::{SingleOperation, TITLE_BYTES_MAX};
pub use request::{ClientRequest, decode_request};

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::cluster::ClusterId;
use crate::fit::shorten;
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::rating::{Average, Movies, Rating, Ratings};
use crate::request::Answer;
use crate::wire::{Format, WireError};

/// A frontend's answer to a client. [`encode_reply`] adds the identity of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientReply {
    /// Result of the query, or the rating that the update wrote or deleted.
    pub value: Answer,
    /// To be merged into the session's `prev`.
    pub label: Label,
    /// The replica managers that served it; for an update, those that hold it.
    pub replicas: Vec<ReplicaId>,
}

/// A reply as it is sent: `{value, label, replicas, cluster}`.
struct SentReply<'a> {
    reply: &'a ClientReply,
    cluster: Option<&'a ClusterId>,
}

impl Serialize for SentReply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { reply: ClientReply { value, label, replicas }, cluster } = self;
        let mut reply = serializer.serialize_struct("ClientReply", 3 + usize::from(cluster.is_some()))?;
        reply.serialize_field("value", &Untagged(value))?;
        reply.serialize_field("label", label)?;
        reply.serialize_field("replicas", replicas)?;
        if let Some(cluster) = cluster {
            reply.serialize_field("cluster", cluster)?;
        }
        reply.end()
    }
}

/// A value without its kind, which the request tells.
struct Untagged<'a>(&'a Answer);

impl Serialize for Untagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Answer::Rating(value) => value.serialize(serializer),
            Answer::Ratings(value) => value.serialize(serializer),
            Answer::Average(value) => value.serialize(serializer),
            Answer::Movies(value) => value.serialize(serializer),
        }
    }
}

/// A reply as a client reads it, whose request tells which value to expect.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReplyOf<T> {
    /// Result of the query.
    pub value: T,
    /// To be merged into the session's `prev`.
    pub label: Label,
    /// The replica managers that served it.
    pub replicas: Vec<ReplicaId>,
    /// The identity of the cluster that answered.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
}

/// The reply to READ and to updates.
pub type RatingReply = ReplyOf<Rating>;
/// The reply to ALL.
pub type RatingsReply = ReplyOf<Ratings>;
/// The reply to AVERAGE.
pub type AverageReply = ReplyOf<Average>;
/// The reply to SEARCH.
pub type MoviesReply = ReplyOf<Movies>;

/// The body of an error that tells something of the ratings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// To be merged like any label.
    pub label: Label,
    /// The identity of the cluster that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
}

/// An answer as bytes: the body, and for an error what goes into its headers.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedReply {
    /// The payload.
    pub body: Vec<u8>,
    /// `Nats-Service-Error-Code` and `Nats-Service-Error`.
    pub error: Option<(u16, String)>,
    /// `Natter-Cluster`, of errors: their body may be empty.
    pub cluster: Option<ClusterId>,
}

impl EncodedReply {
    /// An answer that is no error.
    fn of(body: Vec<u8>) -> Self {
        Self { body, error: None, cluster: None }
    }
}

/// Encodes an answer as [`encode_reply`] does, so that its body has `bytes_max` bytes at most. A list that is too long is
/// cut; another answer that is too long becomes [`FrontendError::ReplyTooLarge`].
///
/// # Errors
///
/// A serializer failed, which no answer makes it do.
pub fn encode_reply_within(
    answer: &Result<ClientReply, FrontendError>,
    cluster: Option<&ClusterId>,
    format: Format,
    bytes_max: usize,
) -> Result<EncodedReply, WireError> {
    let encoded = encode_reply(answer, cluster, format)?;
    let excess = encoded.body.len().saturating_sub(bytes_max);
    if excess == 0 {
        return Ok(encoded);
    }
    match answer {
        Ok(reply) => {
            let mut reply = reply.clone();
            let is_done = shorten(&mut reply.value, format, excess);
            encode_reply(&if is_done { Ok(reply) } else { Err(FrontendError::ReplyTooLarge) }, cluster, format)
        }
        // The error can be understood without its body.
        Err(_) => Ok(EncodedReply { body: Vec::new(), ..encoded }),
    }
}

/// Encodes the answer of a frontend of `cluster` in the encoding of its request.
///
/// # Errors
///
/// A serializer failed, which no answer makes it do.
pub fn encode_reply(
    answer: &Result<ClientReply, FrontendError>,
    cluster: Option<&ClusterId>,
    format: Format,
) -> Result<EncodedReply, WireError> {
    Ok(match answer {
        Ok(reply) => {
            let is_plain = format == Format::MessagePack;
            let plain = if is_plain { plain_reply::encode_plain_reply(reply, cluster) } else { None };
            EncodedReply::of(plain.map_or_else(|| format.encode(&SentReply { reply, cluster }), Ok)?)
        }
        Err(error) => EncodedReply {
            body: match error.label() {
                Some(label) => format.encode(&ErrorBody { label: label.clone(), cluster: cluster.cloned() })?,
                None => Vec::new(),
            },
            error: Some((error.code(), error.to_string())),
            cluster: cluster.cloned(),
        },
    })
}
