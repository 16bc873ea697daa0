//! Batches as bytes, and back.

use natter_common::cluster::ClusterId;
use natter_common::counted::counted;
use natter_common::edge::{BatchReplyOf, OutcomeOf};
use natter_common::ids::UpdateId;
use natter_common::rating::Rating;
use natter_common::wire::{self, WireError};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::item::{Item, Outcome, Stage};
use crate::error::{ClientError, ErrorName};

#[derive(Serialize)]
struct Batch<'a> {
    answers: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterId>,
    operations: Operations<'a>,
}

struct Operations<'a>(&'a [Item]);

#[derive(Serialize)]
struct Operation {
    op: &'static str,
    user_id: u32,
    movie_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UpdateId>,
}

impl Serialize for Operations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            let (op, id) = match item.stage {
                Stage::Create => ("create", Some(item.ids[0])),
                Stage::Read => ("read", None),
                Stage::Update => ("update", Some(item.ids[1])),
            };
            let (user_id, movie_id) = (item.row.key.user_id.get(), item.row.key.movie_id.get());
            let rating = id.map(|_| item.row.stars.as_f64());
            list.serialize_element(&Operation { op, user_id, movie_id, rating, id })?;
        }
        list.end()
    }
}

/// A batch of these, in MessagePack, for this cluster and no other.
pub(super) fn encode(items: &[Item], cluster: Option<&ClusterId>) -> Result<Vec<u8>, WireError> {
    wire::encode(&Batch { answers: "brief", cluster, operations: Operations(items) })
}

/// The outcomes in a reply to a batch of `operations` operations. The error is a sentence that describes the problem.
pub(super) fn decode(body: &[u8], operations: usize) -> Result<Vec<Outcome>, String> {
    let reply: BatchReplyOf<Rating> = wire::decode(body).map_err(|error| error.to_string())?;
    if reply.outcomes.len() != operations {
        return Err(format!("{} for {}", counted(reply.outcomes.len(), "outcome"), counted(operations, "operation")));
    }
    Ok(reply.outcomes.into_iter().map(outcome).collect())
}

fn outcome(outcome: OutcomeOf<Rating>) -> Outcome {
    match outcome {
        OutcomeOf { error: Some(error), .. } => {
            let text = error.text.unwrap_or_else(|| "the frontend gave no reason".to_owned());
            Outcome::Failed(ClientError::new(error.code, ErrorName::parse(&error.name), text))
        }
        OutcomeOf { value: Some(rating), .. } => Outcome::Read(rating),
        OutcomeOf { .. } => Outcome::Done,
    }
}
