//! How requests get to a frontend and answers back.

use std::future::Future;
use std::time::Duration;

use async_nats::{Client, Request, RequestErrorKind};
use bytes::Bytes;
use natter_common::subjects::{Operation, Subjects};
use tokio::time::timeout;

/// What a frontend sent back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `Nats-Service-Error-Code` and `Nats-Service-Error`, for an error.
    pub error: Option<(String, String)>,
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
    /// The broker takes no message of this size. Nothing changed.
    TooLarge,
}

/// Carries a request to some frontend. The broker is one, tests have another.
pub trait Transport {
    /// One attempt, which ends after `limit` at the latest.
    fn request(
        &self,
        operation: Operation,
        payload: Bytes,
        limit: Duration,
    ) -> impl Future<Output = Result<Response, TransportError>>;

    /// Prefix and broker that requests go to, for people.
    fn place(&self) -> String;
}

/// Requests over NATS: whichever frontend the broker picks.
#[derive(Clone, Debug)]
pub struct NatsTransport {
    client: Client,
    subjects: Subjects,
    place: String,
}

impl NatsTransport {
    /// Over a connection to `servers`, to the frontends under one prefix.
    pub fn new(client: Client, subjects: Subjects, servers: &str) -> Self {
        let place = format!("the prefix \"{}\" at {servers}", subjects.prefix());
        Self { client, subjects, place }
    }
}

impl Transport for NatsTransport {
    async fn request(&self, operation: Operation, payload: Bytes, limit: Duration) -> Result<Response, TransportError> {
        // The request's own timeout doesn't cover the wait for a lost connection, ours does.
        let request = Request::new().payload(payload).timeout(None);
        let message = match timeout(limit, self.client.send_request(self.subjects.frontend(operation), request)).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => TransportError::NoFrontend,
                    RequestErrorKind::MaxPayloadExceeded => TransportError::TooLarge,
                    _ => {
                        tracing::debug!(%error, "request failed");
                        TransportError::NoAnswer
                    }
                });
            }
            Err(_) => return Err(TransportError::NoAnswer),
        };
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(|value| value.to_string());
        let error = match (header("Nats-Service-Error-Code"), header("Nats-Service-Error")) {
            (None, None) => None,
            (code, text) => Some((code.unwrap_or_default(), text.unwrap_or_default())),
        };
        Ok(Response { error, body: message.payload })
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}
