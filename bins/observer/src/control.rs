//! `--control`: the page sets the status of a replica, and has the launcher perform verbs.

use std::time::Duration;

use async_nats::Client;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, StatusReply, StatusRequest};
use natter_common::subjects::Subjects;
use natter_common::wire::{Format, encode};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::access::Refused;
use crate::launcher::Launcher;
use crate::model::Model;

/// Time for a replica to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Letters of a token.
const TOKEN_LETTERS: usize = 32;

/// The body of a request of the page.
#[derive(Debug, Deserialize)]
pub(crate) struct SetStatus {
    replica: String,
    mode: Mode,
}

/// The body of a request for a verb of the launcher.
#[derive(Debug, Deserialize)]
pub(crate) struct Perform {
    verb: String,
}

/// A change that a browser asks for, and where its outcome goes.
pub(crate) struct Order {
    replica: ReplicaId,
    mode: Mode,
    outcome: oneshot::Sender<Result<String, String>>,
}

/// The way of orders to the broker, and the token that they need.
#[derive(Clone)]
pub(crate) struct Control {
    token: String,
    orders: mpsc::Sender<Order>,
    launcher: Option<Launcher>,
}

impl Control {
    pub(crate) fn new(orders: mpsc::Sender<Order>, launcher: Option<Launcher>) -> Self {
        // A generator of its own, seeded by the system: ids that other processes see tell nothing of it.
        let mut random = fastrand::Rng::new();
        let token = std::iter::repeat_with(|| random.alphanumeric()).take(TOKEN_LETTERS).collect();
        Self { token, orders, launcher }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Checks the token that a request carries.
    pub(crate) fn check(&self, token: Option<&str>) -> Result<(), Refused> {
        if token == Some(self.token.as_str()) { Ok(()) } else { Err(Refused::Token) }
    }

    /// Has the launcher perform a verb, and says in words what became of it.
    pub(crate) async fn perform(&self, request: Perform) -> Result<String, String> {
        let alone =
            || "no launcher started this observer, so it can only set statuses: use `cluster --observe --control`";
        self.launcher.as_ref().ok_or_else(alone)?.perform(request.verb).await
    }

    /// Has a replica's mode set, and says in words what became of it.
    pub(crate) async fn set(&self, request: SetStatus) -> Result<String, String> {
        let replica = ReplicaId::new(&request.replica).map_err(|error| error.to_string())?;
        let (outcome, answer) = oneshot::channel();
        let stopping = || "the observer is stopping".to_owned();
        self.orders.send(Order { replica, mode: request.mode, outcome }).await.map_err(|_| stopping())?;
        // Longer than a replica may take: without a broker nothing obeys the order.
        let answer = timeout(2 * PATIENCE, answer).await.map_err(|_| "the broker is not reachable".to_owned())?;
        answer.map_err(|_| stopping())?
    }
}

impl Order {
    /// Sends the request. The loop goes on meanwhile.
    pub(crate) fn obey(self, client: &Client, subjects: &Subjects, model: &Model) {
        let Self { replica, mode, outcome } = self;
        if !model.has_replica(&replica) {
            // A browser that is gone needs no outcome, here and below.
            let _ = outcome.send(Err(format!("no replica {replica} shows itself")));
            return;
        }
        let (client, subject) = (client.clone(), subjects.replica(&replica, "status"));
        tokio::spawn(async move {
            let _ = outcome.send(ask(&client, subject, mode).await.map_err(|reason| format!("{replica}: {reason}")));
        });
    }
}

async fn ask(client: &Client, subject: String, mode: Mode) -> Result<String, String> {
    let request = encode(&StatusRequest { mode: Some(mode) }).map_err(|error| error.to_string())?;
    let reply = timeout(PATIENCE, client.request(subject, request.into())).await;
    let reply = reply.map_err(|_| "no answer: the broker may not permit the request".to_owned())?;
    let reply = reply.map_err(|error| error.to_string())?;
    let StatusReply { id, status, mode, .. } =
        Format::of(&reply.payload).decode(&reply.payload).map_err(|error| error.to_string())?;
    Ok(format!("{id} is {status} (mode {mode})"))
}
