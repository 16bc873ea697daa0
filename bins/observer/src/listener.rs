//! The connection to the broker: subscriptions that follow the model, each read by a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;

use crate::model::Wanted;
use crate::sampling::{Change, Sampling};

/// Messages that wait for the model. Beyond that they wait in the subscriptions.
const WAITING_MAX: usize = 1024;

/// A message, and the subscription that brought it.
pub(crate) type Delivery = (Wanted, Message);

/// A subscription.
#[derive(Debug)]
struct Subscribed {
    subject: String,
    /// The task that reads it; `None` while a sample waits for its next period.
    reader: Option<Reader>,
}

/// Ends the subscription when it is dropped.
#[derive(Debug)]
struct Reader(AbortHandle);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All subscriptions.
pub(crate) struct Listener {
    client: Client,
    subscribed: BTreeMap<Wanted, Subscribed>,
    pub(crate) sampling: Sampling,
    sender: Sender<Delivery>,
    receiver: Receiver<Delivery>,
    /// Subjects that the broker does not permit.
    hidden: BTreeSet<String>,
}

impl Listener {
    pub(crate) fn new(client: Client) -> Self {
        let (sender, receiver) = channel(WAITING_MAX);
        let subscribed = BTreeMap::new();
        Self { client, subscribed, sampling: Sampling::default(), sender, receiver, hidden: BTreeSet::new() }
    }

    /// Subject of all replies: the inboxes of clients and other roles begin as this connection's own does.
    pub(crate) fn all_replies(&self) -> String {
        let inbox = self.client.new_inbox();
        inbox.rsplit_once('.').map_or_else(|| "_INBOX.>".to_owned(), |(prefix, _)| format!("{prefix}.>"))
    }

    /// The next message. `None` never comes, as this side keeps a sender.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await
    }

    /// A message that waits already.
    pub(crate) fn try_next(&mut self) -> Option<Delivery> {
        self.receiver.try_recv().ok()
    }

    /// Makes the subscriptions those that are wanted.
    pub(crate) async fn follow(&mut self, wanted: Vec<(Wanted, String)>) -> Result<(), async_nats::SubscribeError> {
        let unwanted: Vec<_> =
            self.subscribed.keys().filter(|key| wanted.iter().all(|(kept, _)| kept != *key)).cloned().collect();
        for key in unwanted {
            self.subscribed.remove(&key);
            self.sampling.ends(&key);
        }
        for (key, subject) in wanted {
            if !self.subscribed.contains_key(&key) {
                let reader = self.read(&key, &subject, None).await?;
                self.sampling.begins(&key, Instant::now());
                self.subscribed.insert(key, Subscribed { subject, reader: Some(reader) });
            }
        }
        Ok(())
    }

    /// Counts a message, and subscribes to less where there are too many.
    pub(crate) fn count(&mut self, key: &Wanted) {
        if self.sampling.count(key, Instant::now()) == Some(Change::Pause)
            && let Some(subscribed) = self.subscribed.get_mut(key)
        {
            subscribed.reader = None;
        }
    }

    /// Begins a new period of sampling.
    pub(crate) async fn next_period(&mut self) -> Result<(), async_nats::SubscribeError> {
        for (key, change) in self.sampling.next_period(Instant::now()) {
            let Some(subject) = self.subscribed.get(&key).map(|subscribed| subscribed.subject.clone()) else {
                continue;
            };
            let limit = if let Change::Sample(limit) = change { Some(limit) } else { None };
            // The old one ends first: two would bring each message twice.
            if let Some(subscribed) = self.subscribed.get_mut(&key) {
                subscribed.reader = None;
            }
            let reader = self.read(&key, &subject, limit).await?;
            if let Some(subscribed) = self.subscribed.get_mut(&key) {
                subscribed.reader = Some(reader);
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        key: &Wanted,
        subject: &str,
        limit: Option<u64>,
    ) -> Result<Reader, async_nats::SubscribeError> {
        let mut messages = self.client.subscribe(subject.to_owned()).await?;
        if let Some(limit) = limit {
            // An error means that the connection ended for good, which the loop hears of by itself.
            let _ = messages.unsubscribe_after(limit).await;
        }
        let task = tokio::spawn(pass_on(messages, key.clone(), self.sender.clone()));
        Ok(Reader(task.abort_handle()))
    }

    /// The broker refused a subscription.
    pub(crate) fn refused(&mut self, subject: String) {
        self.hidden.insert(subject);
    }

    /// Permissions may be others after a reconnect.
    pub(crate) fn forget_refusals(&mut self) {
        self.hidden.clear();
    }

    /// Subjects that the broker does not permit.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &String> {
        self.hidden.iter()
    }
}

async fn pass_on(mut messages: Subscriber, key: Wanted, sender: Sender<Delivery>) {
    while let Some(message) = messages.next().await {
        if sender.send((key.clone(), message)).await.is_err() {
            return;
        }
    }
}
