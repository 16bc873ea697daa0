//! The one shape of all that `--json` prints, as docs/PROTOCOL.md documents it.
//!
//! One object a line: a result has `value`, and the answer to a request has `label` and `replicas` beside it. An error is a
//! [`Failure`].

use natter_common::edge::ReplyOf;
use natter_common::ids::ReplicaId;
use natter_common::label::Label;
use serde::Serialize;

use crate::failure::Failure;

/// The answer to a request.
#[derive(Serialize)]
pub(crate) struct Answer<'a, V> {
    value: &'a V,
    label: &'a Label,
    replicas: &'a [ReplicaId],
}

impl<'a, V> From<&'a ReplyOf<V>> for Answer<'a, V> {
    fn from(reply: &'a ReplyOf<V>) -> Self {
        Self { value: &reply.value, label: &reply.label, replicas: &reply.replicas }
    }
}

/// A result that is no answer to a request.
#[derive(Serialize)]
pub(crate) struct Found<V> {
    value: V,
}

/// The line of a result that is no answer to a request.
///
/// # Errors
///
/// Where the value can't be written as JSON.
pub(crate) fn line<V: Serialize>(value: V) -> Result<String, Failure> {
    serde_json::to_string(&Found { value }).map_err(|error| Failure::file(error.to_string()))
}
