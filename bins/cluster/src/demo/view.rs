//! The cluster as one broker shows it: what its processes show of themselves, and the messages between them.

use std::time::Duration;

use natter_broker::connection::{self, ConnectionEvent, ConnectionSettings, Patience};
use natter_broker::options::BrokerOptions;
use natter_client::session::UpdateId;
use natter_client::watch::listen::{Happening, Listener, Scope, Shown};
use natter_client::watch::message::{Heard, What};
use natter_client::watch::names::Names;
use natter_client::watch::status::{Board, ReplicaRow, Snapshot};
use natter_client::watch::trace::Recording;
use natter_common::messages::Role;
use natter_common::record::Record;
use natter_common::subjects::Subjects;
use natter_common::timestamp::Timestamp;
use tokio::sync::mpsc::unbounded_channel;

use super::failure::DemoError;

/// Maximum time to connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener at one broker.
pub(super) struct View {
    listener: Listener,
    board: Board,
    /// Messages so far, without heartbeats.
    heard: Vec<Heard>,
    /// Messages with heartbeats, while they are recorded.
    pub(super) recording: Option<Recording>,
}

impl View {
    /// Begins to listen.
    pub(super) async fn open(options: &BrokerOptions, scope: Scope) -> Result<Self, DemoError> {
        let subjects = Subjects::new(&options.prefix)
            .ok_or_else(|| DemoError::Script(format!("\"{}\" is not a prefix", options.prefix)))?;
        let patience = Patience::GiveUpAfter(PATIENCE);
        let settings = ConnectionSettings { name: "demo".to_owned(), no_echo: false, patience };
        let (sender, events) = unbounded_channel();
        let client = connection::connect(options, &settings, Some(sender)).await?;
        let listener = Listener::start(client, subjects, scope, events).await.map_err(|_| DemoError::Closed)?;
        Ok(Self { listener, board: Board::new(&options.prefix), heard: Vec::new(), recording: None })
    }

    /// Waits for what happens next, and takes it in. Cancel safe.
    pub(super) async fn listen(&mut self) -> Result<(), DemoError> {
        match self.listener.next().await {
            None => Err(DemoError::Closed),
            Some(Happening::Connection(ConnectionEvent::SlowConsumer { dropped })) => Err(DemoError::Dropped(dropped)),
            Some(Happening::Heard(messages)) => {
                self.board.hear(&messages);
                self.heard.extend(messages.iter().filter(|heard| !heard.is_heartbeat()).cloned());
                if let Some(recording) = &mut self.recording {
                    recording.hear(messages);
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// The state of the processes that show themselves.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.board.snapshot(self.listener.shown())
    }

    /// Messages so far.
    pub(super) fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Short names of the processes.
    pub(super) fn names(&self) -> &Names {
        self.board.names()
    }

    /// The connection.
    pub(super) fn client(&self) -> &async_nats::Client {
        self.listener.client()
    }

    /// Subjects of the cluster.
    pub(super) fn subjects(&self) -> &Subjects {
        self.listener.subjects()
    }

    /// Whether this many processes have shown themselves twice, so that all subscriptions are in place.
    pub(super) fn is_complete(&self, processes: usize) -> bool {
        self.listener.shown().count() >= processes && self.listener.shown().all(|shown| shown.times >= 2)
    }

    /// Begins to record messages.
    pub(super) fn start_recording(&mut self) {
        let mut recording = Recording::default();
        let serving = self.listener.shown().filter(|shown| shown.presence.is_serving());
        let is_replica = |shown: &&Shown| shown.presence.role == Role::Replica;
        recording.replicas = serving.filter(is_replica).map(|shown| shown.presence.id.clone()).collect();
        recording.begin();
        self.recording = Some(recording);
    }
}

/// The record of an update that a label names, where gossip has brought it. After a retry an update may have several.
pub(super) fn record_of(heard: &[Heard], id: UpdateId, label: &Timestamp) -> Option<Record> {
    let is_it = |record: &Record| record.id == id && label.get(&record.i) >= record.seq;
    heard.iter().find_map(|heard| match &heard.what {
        What::Gossip(gossip) => gossip.records.iter().find(|record| is_it(record)).map(|record| (**record).clone()),
        _ => None,
    })
}

/// The row of a replica by its short name.
pub(super) fn row<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s ReplicaRow> {
    let is_it = |row: &&ReplicaRow| row.id.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    snapshot.replicas.iter().find(is_it)
}

/// Whether a replica has applied all of `timestamp`.
pub(super) fn has_applied(snapshot: &Snapshot, name: &str, timestamp: &Timestamp) -> bool {
    row(snapshot, name).is_some_and(|row| row.value_timestamp.covers(timestamp))
}
