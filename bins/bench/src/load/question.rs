//! Asking a replica manager what it shows.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::{Client, Subject};
use bytes::Bytes;
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::messages::{QueryRequest, Replies, Reply, Requests};
use natter_common::request::Query;
use natter_common::subjects::Subjects;
use natter_common::timestamp::Timestamp;
use natter_common::wire::Format;

use super::workload::error_in_headers;

/// Maximum time for an answer of a replica.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// A query that asks a replica manager what it shows, and changes nothing.
pub(super) struct Question {
    subject: Subject,
    payload: Bytes,
}

impl Question {
    /// Prepares the question to this replica.
    pub(super) fn to(subjects: &Subjects, replica: &ReplicaId) -> Result<Self> {
        let query = QueryRequest {
            n: 1,
            prev: Timestamp::new(),
            proven: false,
            unheard: Vec::new(),
            request: Query::Read { user_id: UserId::try_from(1_u64)?, movie_id: MovieId::new(1)? },
            wait_ms: 1000,
        };
        let payload = Format::MessagePack.encode(&Requests { requests: vec![query] })?.into();
        Ok(Self { subject: subjects.replica(replica, "query").into(), payload })
    }

    /// The value timestamp in the answer.
    pub(super) async fn ask(&self, client: &Client) -> Result<Timestamp> {
        let asked = client.request(self.subject.clone(), self.payload.clone());
        let message = tokio::time::timeout(ANSWER_PATIENCE, asked).await.context("no answer")??;
        if let Some(error) = error_in_headers(&message) {
            bail!("{error}");
        }
        let replies: Replies = Format::MessagePack.decode(&message.payload)?;
        match replies.replies.into_iter().next().map(|numbered| numbered.reply) {
            Some(Reply::Answered { label, .. } | Reply::Refused { label, .. }) => Ok(label.replicas),
            other => bail!("no answer, but {other:?}"),
        }
    }
}
