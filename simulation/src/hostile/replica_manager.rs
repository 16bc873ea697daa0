//! A replica manager that is told nothing true.

use std::sync::Arc;

use natter_common::clock::Now;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Presence, SnapshotPart, SnapshotRequest, Status};
use natter_common::record::Record;
use natter_common::replica_manager::{Config, Input, Notice, Output, ReplicaManager, ReplyTo};
use natter_common::timestamp::{ENTRIES_MAX, Timestamp};
use natter_common::wire;

use super::draw::own;
use super::messages::{DATASET, Messages};
use crate::simulation::disk::{Disk, Sync};
use crate::simulation::process::EPOCH_MS;
use crate::simulation::value::{MemoryValue, Written};

/// Maximum inputs of one turn.
const TURN_INPUTS_MAX: usize = 4;
/// Maximum inputs that are drawn in a life; a turn that has begun is completed.
const INPUTS_MAX: usize = 400;
/// Maximum size of a message made here, in bytes: that of the broker.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Maximum outputs for each input, and for each record or executed update in it, on average over a life.
pub(super) const OUTPUTS_PER_THING_MAX: usize = 40;

/// Counts of a life: they show that it was worthwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Number of updates that it has applied.
    pub applied: usize,
    /// Number of snapshots that it has begun to merge.
    pub merged: usize,
    /// Number of times that it went on from its disk.
    pub recovered: usize,
}

struct Victim {
    manager: ReplicaManager,
    value: MemoryValue,
    disk: Option<Disk>,
    /// The commit that the disk has not ended.
    syncing: Option<Written>,
    /// Whether commits take time.
    is_slow: bool,
    now: Now,
    peers: Peers,
    /// Number of inputs, and of records and executed updates that it was given or accepted.
    things: usize,
    told: Told,
}

/// The other processes, as a replica manager meets them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The replica manager whose log it asked for last.
    pulled: Option<ReplicaId>,
    /// The snapshot that it asked for last.
    fetched: Option<(ReplicaId, SnapshotRequest)>,
}

/// Draws a life of a replica manager, checking after every input.
///
/// # Panics
///
/// If it stops, forgets what a timestamp means, or grows beyond what it was given.
pub fn live(bytes: &[u8]) -> Told {
    let mut messages = Messages::new(bytes, EPOCH_MS);
    let kind = messages.draw.byte();
    let (disk, is_slow) = (kind.is_multiple_of(2).then(|| Disk::new(Sync::Full)), kind.is_multiple_of(4));
    let now = Now { monotonic_ms: 1_000, wall_ms: EPOCH_MS };
    let mut value = MemoryValue::new();
    value.be_slow(is_slow);
    let mut victim = Victim {
        manager: ReplicaManager::new(config(own(), disk.is_some()), now),
        value,
        disk,
        syncing: None,
        is_slow,
        now,
        peers: Peers::default(),
        things: 0,
        told: Told::default(),
    };
    if !messages.draw.once_in(4) {
        // It serves, and two others are there.
        victim.wait(16, 100);
        for name in ["a", "b"] {
            victim.hear(vec![Input::Presence(Box::new(presence(name)))]);
        }
    }
    while !messages.draw.is_over() && victim.told.inputs < INPUTS_MAX {
        match messages.draw.below(24) {
            0 => victim.wait(20, 100),
            1 => victim.wait(3, 1 + (messages.draw.count() >> 1) % (1 << 40)),
            2 => victim.restart(),
            3 => victim.now.wall_ms = messages.draw.count(),
            _ => {
                let inputs = (0..1 + messages.draw.below(TURN_INPUTS_MAX))
                    .map(|_| victim.peers.input(&victim.manager, &mut messages))
                    .collect();
                victim.hear(inputs);
            }
        }
    }
    victim.told
}

/// The presence of a sound replica manager.
pub(super) fn presence(name: &str) -> Presence {
    let dataset = Some(DATASET.to_owned());
    Presence { status: Status::Active, dataset, ..Presence::of_the_past(ReplicaId::new(name).unwrap(), false) }
}

pub(super) fn config(id: ReplicaId, durable: bool) -> Config {
    Config {
        id,
        version: "1".to_owned(),
        dataset: DATASET.to_owned(),
        mode: Mode::Measured,
        gossip_interval_ms: 500,
        forget_after_ms: 5_000,
        durable,
        message_bytes_max: MESSAGE_BYTES_MAX,
        seed: 1,
    }
}

impl Victim {
    fn wait(&mut self, ticks: usize, each_ms: u64) {
        for _ in 0..ticks {
            self.now.monotonic_ms += each_ms;
            self.now.wall_ms = self.now.wall_ms.saturating_add(each_ms);
            self.hear(vec![Input::Tick { queue_length: 0, listened: true }]);
        }
    }

    /// The process ends, and another goes on with what it saved.
    fn restart(&mut self) {
        let Some(disk) = &self.disk else { return };
        let (saved, value) = disk.contents();
        self.manager =
            ReplicaManager::recover(config(own(), true), saved, &[], self.now).expect("what it saved fits together");
        self.value = value;
        self.value.be_slow(self.is_slow);
        self.syncing = None;
        self.peers = Peers::default();
        self.told.recovered += 1;
        self.check();
    }

    fn hear(&mut self, mut inputs: Vec<Input>) {
        if self.told.inputs.is_multiple_of(3)
            && let (Some(disk), Some(syncing)) = (&mut self.disk, self.syncing.take())
        {
            disk.commit([syncing]);
            inputs.insert(0, Input::Committed);
        }
        self.told.inputs += inputs.len();
        self.things += inputs.iter().map(|input| 1 + things_in(input)).sum::<usize>();
        let merging = self.manager.is_merging();
        let mut outputs = Vec::new();
        let stepped = self.manager.step(self.now, inputs, &mut self.value, &mut outputs);
        stepped.expect("a value in memory does not fail");
        let mut commits = self.value.take_committed();
        if self.manager.is_committing() && !commits.is_empty() {
            self.syncing = commits.pop();
        }
        if let Some(disk) = &mut self.disk {
            disk.commit(commits);
        }
        self.told.merged += usize::from(!merging && self.manager.is_merging());
        self.told.outputs += outputs.len();
        for output in &outputs {
            self.told.applied += usize::from(self.peers.look_at(output));
        }
        self.check();
        let outputs_max = OUTPUTS_PER_THING_MAX * self.things;
        assert!(self.told.outputs <= outputs_max, "{} outputs", self.told.outputs);
    }

    fn check(&self) {
        check(&self.manager, self.things, self.told.inputs);
    }
}

impl Peers {
    /// Something that `manager` hears: mostly an answer to what it asked for.
    pub(super) fn input(&self, manager: &ReplicaManager, messages: &mut Messages<'_>) -> Input {
        let to = ReplyTo { subject: Arc::from("reply"), n: messages.draw.count() };
        match messages.draw.below(20) {
            0..=3 => Input::Presence(Box::new(messages.presence())),
            4 | 5 => {
                let mut gossip = messages.gossip();
                fit(manager, &mut gossip.records, messages);
                Input::Gossip(gossip)
            }
            6 => Input::Acknowledgement(messages.acknowledgement()),
            7 => Input::Log(to, messages.log_request()),
            8 | 9 => {
                let mut page = messages.log_page();
                if let (Some(asked), false) = (&self.pulled, messages.draw.once_in(4)) {
                    page.id = asked.clone();
                }
                fit(manager, &mut page.records, messages);
                Input::LogPage(page)
            }
            10 if messages.draw.once_in(2) => Input::Unreachable(messages.draw.id()),
            10 => Input::PullFailed(messages.draw.id()),
            11 => Input::Snapshot(to, messages.snapshot_request()),
            12 | 13 => {
                let mut reply = messages.snapshot_reply();
                if let (Some((id, request)), false) = (&self.fetched, messages.draw.once_in(4)) {
                    reply.id = id.clone();
                    if let SnapshotPart::Chunk(chunk) = &mut reply.part {
                        chunk.from = request.from.clone();
                        if request.snapshot != 0 {
                            chunk.snapshot = request.snapshot;
                        }
                    }
                }
                Input::SnapshotReply(reply)
            }
            14 => Input::Merge,
            15 => Input::Update(to, messages.update_request()),
            16 => Input::Query(to, messages.query_request()),
            17 => Input::Confirm(to, messages.confirm_request()),
            18 if messages.draw.once_in(8) => Input::Status(to, messages.status_request().mode),
            18 => Input::Connected,
            _ => {
                let queue_length = if messages.draw.once_in(4) { usize::MAX } else { 0 };
                Input::Tick { queue_length, listened: !messages.draw.once_in(4) }
            }
        }
    }

    /// Takes notice of what a replica manager asks for: nothing that is told to others is too long, or cannot be
    /// written. Returns whether it has applied a record.
    pub(super) fn look_at(&mut self, output: &Output) -> bool {
        let message = match output {
            Output::Reply(_, reply) => wire::encode(reply),
            Output::Status(_, reply) => wire::encode(reply),
            Output::Log(_, page) => wire::encode(page),
            Output::Gossip(gossip) => wire::encode(gossip),
            Output::Acknowledge(_, acknowledgement) => wire::encode(acknowledgement),
            Output::Pull(peer, request) => {
                self.pulled = Some(peer.clone());
                wire::encode(request)
            }
            Output::Snapshot(_, reply) => wire::encode(reply),
            Output::FetchSnapshot(peer, request) => {
                self.fetched = Some((peer.clone(), request.clone()));
                wire::encode(request)
            }
            Output::Presence(presence) => wire::encode(presence),
            Output::Notice(notice) => {
                assert!(!notice.to_string().is_empty());
                return matches!(notice, Notice::Applied { .. });
            }
            Output::Stop(_) => return false,
        };
        let length = message.expect("what it says can be written").len();
        assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes: {output:?}");
        false
    }
}

/// Most records are the next of their origin, and depend on nothing.
fn fit(manager: &ReplicaManager, records: &mut [Arc<Record>], messages: &mut Messages<'_>) {
    for record in records {
        if !messages.draw.once_in(4) {
            let seq = manager.replica_timestamp().get(&record.i) + 1;
            *record = Arc::new(Record { seq, prev: Timestamp::new(), ..record.as_ref().clone() });
        }
    }
}

/// Checks that a replica manager that had `inputs`, with `things` in them, is sound and has not grown beyond that.
pub(super) fn check(manager: &ReplicaManager, things: usize, inputs: usize) {
    let (value, held) = (manager.value_timestamp(), manager.replica_timestamp());
    assert!(held.covers(value), "it has applied {value} and holds {held}");
    assert!(manager.log().len() <= things, "a log of {}", manager.log().len());
    assert!(manager.executed_operations().len() <= things);
    assert!(manager.waiting() <= inputs);
    let said = manager.timestamp_table().iter();
    let entries = said.map(|(_, entry)| entry.replica_timestamp.len().max(entry.value_timestamp.len()));
    assert!(entries.max().unwrap_or(0) <= ENTRIES_MAX, "somebody's word grows without bound");
    assert!(!manager.to_string().is_empty());
}

/// Number of records and executed updates in an input.
pub(super) fn things_in(input: &Input) -> usize {
    match input {
        Input::Gossip(gossip) => gossip.records.len(),
        Input::LogPage(page) => page.records.len() + page.gone.len(),
        Input::SnapshotReply(reply) => match &reply.part {
            SnapshotPart::Chunk(chunk) => chunk.executed.len() + chunk.rows.len() + chunk.retired.replicas.len(),
            SnapshotPart::Unavailable { .. } => 0,
        },
        _ => 0,
    }
}
