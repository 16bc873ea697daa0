//! Transport of requests to a frontend and of answers back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, Message};
use bytes::Bytes;
use natter_broker::ask::{AskError, WrongAnswer, ask_with_copies, denials};
use natter_broker::connection::{ConnectionEvent, Denial};
use natter_common::cluster::ClusterId;
use natter_common::ids::UserId;
use natter_common::subjects::{Operation, Subjects};
use natter_common::timestamp::Timestamp;
use natter_common::wire;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::broadcast;
use tokio::sync::mpsc::UnboundedReceiver;

/// The answer of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `Nats-Service-Error-Code` and `Nats-Service-Error`, for an error.
    pub error: Option<(String, String)>,
    /// `Natter-Cluster`, of an error.
    pub cluster: Option<ClusterId>,
    /// `Natter-Lost`: updates of the session that are lost, by replica the number of the last one.
    pub lost: Timestamp,
    /// `Natter-Retired`: replicas that the session's label may leave out when it has the label of this answer.
    pub retired: Timestamp,
    /// The payload.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// Nobody serves the operation: the broker says so, at once. Nothing changed.
    NoFrontend,
    /// Nothing came in time: the connection, the frontend or its answer may be lost. An update may take effect.
    NoAnswer,
    /// Nothing came in time but what something else answered. An update may take effect.
    WrongAnswer(WrongAnswer),
    /// The broker does not permit the request, or to listen for its answer. Nothing changed.
    Denied(Denial),
    /// The broker takes no message of this size. Nothing changed.
    TooLarge,
}

/// Carries a request to some frontend. The broker is one, tests have another.
pub trait Transport {
    /// One attempt, which ends after `limit` at the latest. It may send several copies, of which the first answer counts.
    fn request(
        &self,
        operation: Operation,
        payload: Bytes,
        limit: Duration,
    ) -> impl Future<Output = Result<Response, TransportError>>;

    /// One attempt of a batch. `user_id` is given where all its operations concern that user.
    fn request_batch(
        &self,
        user_id: Option<UserId>,
        payload: Bytes,
        limit: Duration,
    ) -> impl Future<Output = Result<Response, TransportError>> {
        let _ = user_id;
        self.request(Operation::Batch, payload, limit)
    }

    /// Prefix and broker that requests go to, for people.
    fn place(&self) -> String;
}

/// Requests over NATS: whichever frontend the broker picks.
#[derive(Clone, Debug)]
pub struct NatsTransport {
    client: Client,
    subjects: Subjects,
    place: String,
    denials: broadcast::Sender<Denial>,
    user_id: Option<UserId>,
    /// Whether the user's own subjects are used.
    own_subject: Arc<AtomicBool>,
}

impl NatsTransport {
    /// Over a connection to `servers`, to the frontends under one prefix. `events` are the connection's.
    pub fn new(client: Client, subjects: Subjects, servers: &str, events: UnboundedReceiver<ConnectionEvent>) -> Self {
        let place = format!("the prefix \"{}\" at {servers}", subjects.prefix());
        let denials = denials(events);
        Self { client, subjects, place, denials, user_id: None, own_subject: Arc::default() }
    }

    /// Requests that concern a user are all of this one, but for batches that name another. With `own_subject` they go to the user's own subjects; else they do
    /// after the broker has refused the general ones.
    #[must_use]
    pub fn of_user(self, user_id: Option<UserId>, own_subject: bool) -> Self {
        Self { user_id, own_subject: Arc::new(AtomicBool::new(own_subject)), ..self }
    }

    /// One attempt at the general subject, or at the one of `user_id` where that is used.
    async fn request_of_user(
        &self,
        user_id: Option<UserId>,
        operation: Operation,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Response, TransportError> {
        let user_id = user_id.filter(|_| operation.has_user());
        let own = user_id.map(|user_id| self.subjects.frontend_of_user(operation, user_id));
        if let Some(own) = own.as_ref().filter(|_| self.own_subject.load(Ordering::Relaxed)) {
            return self.request_at(operation, own.clone(), payload, limit).await;
        }
        let general = self.subjects.frontend(operation);
        match (self.request_at(operation, general.clone(), payload.clone(), limit).await, own) {
            (Err(TransportError::Denied(denial)), Some(own)) if denial.subject == general => {
                let answer = self.request_at(operation, own, payload, limit).await;
                if !matches!(answer, Err(TransportError::Denied(_))) {
                    self.own_subject.store(true, Ordering::Relaxed);
                }
                answer
            }
            (answer, _) => answer,
        }
    }

    async fn request_at(
        &self,
        operation: Operation,
        subject: String,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Response, TransportError> {
        let denials = Some(self.denials.subscribe());
        let copy_after = if operation == Operation::Batch { COPY_OF_BATCH_AFTER } else { COPY_AFTER };
        let answer = ask_with_copies(&self.client, subject, payload, limit, copy_after, denials, response).await;
        answer.map_err(|error| match error {
            AskError::NoResponders => TransportError::NoFrontend,
            AskError::TooLarge => TransportError::TooLarge,
            AskError::Denied(denial) => TransportError::Denied(denial),
            AskError::NoAnswer { wrong: Some(wrong) } => TransportError::WrongAnswer(wrong),
            AskError::NoAnswer { wrong: None } => TransportError::NoAnswer,
        })
    }
}

/// A message, if a frontend can have sent it.
fn response(message: &Message) -> Result<Response, WrongAnswer> {
    /// All replies of frontends have a label.
    #[derive(Deserialize)]
    struct Labelled {
        #[allow(dead_code, reason = "it is only looked for")]
        label: IgnoredAny,
    }
    let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(|value| value.to_string());
    let error = match (header("Nats-Service-Error-Code"), header("Nats-Service-Error")) {
        (None, None) => {
            wire::decode::<Labelled>(&message.payload).map_err(|error| WrongAnswer::of(message, &error))?;
            None
        }
        (code, text) => Some((code.unwrap_or_default(), text.unwrap_or_default())),
    };
    let cluster = header("Natter-Cluster").and_then(|text| ClusterId::new(&text).ok());
    let listed = |name: &str| header(name).map(|text| Timestamp::of_list(&text)).unwrap_or_default();
    let (lost, retired) = (listed("Natter-Lost"), listed("Natter-Retired"));
    Ok(Response { error, cluster, lost, retired, body: message.payload.clone() })
}

/// Time after which a request without an answer is sent once more, under the same update id.
///
/// A frozen server of the broker's cluster keeps its share of the requests until the other servers notice, which may take
/// minutes. A copy goes to a frontend that the broker draws anew, so that a client waits no longer than for a few draws.
pub(crate) const COPY_AFTER: Duration = Duration::from_millis(300);
/// The same for a batch, which takes longer and costs more.
const COPY_OF_BATCH_AFTER: Duration = Duration::from_secs(1);

impl Transport for NatsTransport {
    async fn request(&self, operation: Operation, payload: Bytes, limit: Duration) -> Result<Response, TransportError> {
        self.request_of_user(self.user_id, operation, payload, limit).await
    }

    async fn request_batch(
        &self,
        user_id: Option<UserId>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Response, TransportError> {
        self.request_of_user(user_id.or(self.user_id), Operation::Batch, payload, limit).await
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}
