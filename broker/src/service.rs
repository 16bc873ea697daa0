//! A NATS micro service: the answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, and the counts of its endpoints.
//!
//! Source: the NATS architecture decision record 32, "Service API". The requests themselves come in by plain
//! subscriptions. async-nats' own service module counts a request only where the reply leaves through it and carries no
//! body beside an error, lists endpoints in random order, and clones its connection for each request.

mod answers;
mod contract;
mod endpoint;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use natter_common::ids::ReplicaId;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::live::Live;
use crate::service::answers::Verb;
pub use crate::service::endpoint::{Endpoint, Request};

/// Description of a service.
#[derive(Clone, Debug)]
pub struct Description {
    /// The kind of service, which all instances share: `frontend` or `replica`.
    pub name: &'static str,
    /// The instance: our own id.
    pub id: ReplicaId,
    /// One sentence for people.
    pub description: &'static str,
    /// A semantic version.
    pub version: &'static str,
    /// Further facts, by name.
    pub metadata: BTreeMap<&'static str, String>,
}

/// A running service. It answers until it is stopped or dropped.
#[derive(Debug)]
pub struct Service {
    client: Client,
    state: Arc<State>,
    answering: JoinHandle<()>,
}

/// State from which the answers are made.
#[derive(Debug)]
struct State {
    description: Description,
    started: SystemTime,
    /// In the order in which they were added.
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    /// The `data` of each endpoint in STATS.
    live: Live,
}

impl Service {
    /// Starts to answer. The service has no endpoints yet.
    ///
    /// # Errors
    ///
    /// The connection is closed, or takes no subscriptions.
    pub async fn start(client: &Client, description: Description, live: Live) -> Result<Self, SubscribeError> {
        let state = Arc::new(State { description, started: SystemTime::now(), endpoints: Mutex::default(), live });
        let mut questions = Vec::new();
        for verb in Verb::ALL {
            for subject in verb.subjects(&state.description) {
                let messages = client.subscribe(subject).await?;
                questions.push(messages.map(move |message| (verb, message)).boxed());
            }
        }
        let answering = tokio::spawn(answer(client.clone(), Arc::clone(&state), select_all(questions)));
        Ok(Self { client: client.clone(), state, answering })
    }

    /// Subscribes to `subject`, in `queue_group` where requests are shared out among processes, as the endpoint `name`. An
    /// endpoint that is added again keeps its place and its counts.
    ///
    /// # Errors
    ///
    /// The connection is closed, or takes no subscriptions.
    pub async fn serve(
        &self,
        name: &str,
        subject: String,
        queue_group: Option<&'static str>,
    ) -> Result<(Arc<Endpoint>, Subscriber), SubscribeError> {
        let messages = match queue_group {
            Some(group) => self.client.queue_subscribe(subject.clone(), group.to_owned()).await?,
            None => self.client.subscribe(subject.clone()).await?,
        };
        let mut endpoints = self.state.endpoints();
        let endpoint = match endpoints.iter().find(|endpoint| endpoint.name() == name) {
            Some(endpoint) => Arc::clone(endpoint),
            None => {
                let endpoint = Arc::new(Endpoint::new(name.to_owned(), subject, queue_group));
                endpoints.push(Arc::clone(&endpoint));
                endpoint
            }
        };
        Ok((endpoint, messages))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl State {
    fn endpoints(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    client: Client,
    state: Arc<State>,
    mut questions: SelectAll<futures_util::stream::BoxStream<'static, (Verb, Message)>>,
) {
    while let Some((verb, question)) = questions.next().await {
        let Some(reply) = question.reply else { continue };
        let answer = state.answer(verb);
        if let Err(error) = client.publish(reply, Bytes::from(answer)).await {
            debug!(%error, "a question about the service is not answered");
        }
    }
}
