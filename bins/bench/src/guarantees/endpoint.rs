//! A connection to one node.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::load::workload::error_in_headers;

/// Time between two attempts to connect again.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
/// Maximum time for the first connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// A client that is connected to one node and no other.
pub(super) struct Endpoint {
    client: Client,
    is_connected: watch::Receiver<bool>,
}

impl Endpoint {
    /// Connects.
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let (sender, is_connected) = watch::channel(true);
        let options = ConnectOptions::new()
            .name("bench-guarantees")
            .connection_timeout(CONNECTED_WITHIN)
            .request_timeout(None)
            .ignore_discovered_servers()
            .max_reconnects(None)
            .reconnect_delay_callback(|_| RECONNECT_AFTER)
            .event_callback(move |event| {
                match event {
                    Event::Connected => _ = sender.send_replace(true),
                    Event::Disconnected | Event::Closed => _ = sender.send_replace(false),
                    _ => {}
                }
                std::future::ready(())
            });
        let client = options.connect(url).await.with_context(|| format!("no broker at {url}"))?;
        Ok(Self { client, is_connected })
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the node is connected, as far as the client knows.
    pub(super) fn is_connected(&self) -> bool {
        *self.is_connected.borrow()
    }

    /// Sends a request and waits for its reply, but no longer than `within`, and not on a connection that is lost.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        within: Duration,
    ) -> Result<Message, String> {
        if !self.is_connected() {
            return Err("not connected".to_owned());
        }
        let mut is_connected = self.is_connected.clone();
        let asked = timeout(within, self.client.request_with_headers(subject, headers, payload));
        tokio::select! {
            answered = asked => match answered {
                Ok(Ok(message)) => Ok(message),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} ms", within.as_millis())),
            },
            _ = is_connected.wait_for(|is_connected| !is_connected) => Err("the connection was lost".to_owned()),
        }
    }

    /// As [`Endpoint::request`]; an error that the reply's headers tell is an error here.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        within: Duration,
    ) -> Result<Message, String> {
        let message = self.request(subject, headers, payload, within).await?;
        match error_in_headers(&message) {
            Some(error) => Err(error),
            None => Ok(message),
        }
    }
}
