//! One message as the page shows it.

use serde::Serialize;

/// Maximum updates that one event lists. A message can carry thousands; the page shows how many more there are.
pub(super) const ITEMS_MAX: usize = 6;
/// Maximum entries of a timestamp in a text of the page.
const ENTRIES_MAX: usize = 12;

/// Kind of a message. A reply has the kind of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client's request to a frontend.
    Request,
    /// A frontend asks a replica to accept an update.
    Accept,
    /// A frontend asks a replica to confirm an update.
    Confirm,
    /// A frontend asks a replica a question.
    Query,
    /// Records or timestamps of a replica, to all replicas.
    Gossip,
    /// A replica tells an origin what it holds.
    Acknowledgement,
    /// A replica asks another one for records.
    Pull,
    /// A replica asks another one for a snapshot.
    Snapshot,
    /// An operator asks for a replica's status or sets it.
    Status,
    /// A step within a process that has both roles.
    Inner,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Number of the event, in the order of arrival.
    pub seq: u64,
    /// Time of arrival, in Unix milliseconds.
    pub at: f64,
    /// Kind of the message.
    pub kind: Kind,
    /// Whether it is a reply.
    pub reply: bool,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// One line of text.
    pub what: String,
    /// Whether the receiver refused or failed.
    pub failed: bool,
    /// Updates that it carries or is about, the first ones.
    pub items: Vec<Item>,
    /// Number of updates beyond `items`.
    pub more: usize,
    /// Number of the request's event, for a reply.
    pub asked: Option<u64>,
}

/// An update in a message, and what the message says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Item {
    /// Update id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<String>,
    /// Operation and rating.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// Timestamp that the update depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// Timestamp that the answer reflects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Name of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Stamp of the update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
}

/// A message before it has a number.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) kind: Kind,
    pub(super) reply: bool,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) what: String,
    pub(super) failed: bool,
    pub(super) items: Vec<Item>,
    pub(super) more: usize,
    pub(super) asked: Option<u64>,
}

impl Draft {
    /// A message from one process to others.
    pub(super) fn new(kind: Kind, from: String, to: Vec<String>, what: String) -> Self {
        Self { kind, reply: false, from, to, what, failed: false, items: Vec::new(), more: 0, asked: None }
    }

    /// The reply to the event with this number.
    pub(super) fn answering(mut self, asked: u64) -> Self {
        self.reply = true;
        self.asked = Some(asked);
        self
    }

    /// Lists an update, or counts it where the list is full.
    pub(super) fn list(&mut self, item: impl FnOnce() -> Item) {
        if self.items.len() < ITEMS_MAX { self.items.push(item()) } else { self.more += 1 }
    }
}

/// A timestamp as the page shows it: `r1-abc:4 r2-def:1`.
pub(super) fn shown(timestamp: &natter_common::timestamp::Timestamp) -> String {
    let listed = timestamp.listed(ENTRIES_MAX).replace(',', " ");
    match timestamp.len().saturating_sub(ENTRIES_MAX) {
        0 if listed.is_empty() => "nothing".to_owned(),
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// `1 record`, `3 records`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    natter_common::counted::counted(count, thing)
}
