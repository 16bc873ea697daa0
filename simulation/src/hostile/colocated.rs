//! A replica manager and a frontend in one process, both of which are told nothing true.

use std::collections::BTreeSet;

use natter_common::clock::Now;
use natter_common::colocated::{Colocated, Outputs};
use natter_common::frontend::{self, Frontend};
use natter_common::ids::ReplicaId;
use natter_common::replica_manager::{self, ReplicaManager};
use natter_common::timestamp::Timestamp;

use super::draw::own;
use super::frontend::{Answered, Others, QUEUE_LENGTH_MAX, TIMEOUT_MS};
use super::messages::Messages;
use super::replica_manager::{Peers, check, presence, things_in};
use crate::simulation::disk::{Disk, Sync};
use crate::simulation::failing::FailingValue;
use crate::simulation::process::EPOCH_MS;
use crate::simulation::value::{MemoryValue, Written};

/// Maximum inputs of one turn.
const TURN_INPUTS_MAX: usize = 6;
/// Maximum inputs of a life.
const INPUTS_MAX: usize = 400;
/// Maximum outputs for each input, and for each thing that an input brought, on average. A thing may move both halves.
const OUTPUTS_PER_THING_MAX: usize =
    super::frontend::OUTPUTS_PER_THING_MAX + super::replica_manager::OUTPUTS_PER_THING_MAX;

/// Counts of a life: they show that it was worthwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Inputs of both halves.
    pub inputs: usize,
    /// Outputs of both halves.
    pub outputs: usize,
    /// Clients that were answered with a value.
    pub answered: usize,
    /// Clients that were answered with a value in the turn in which they asked, by the replica in the same process.
    pub answered_at_once: usize,
    /// Clients that were answered with an error.
    pub refused: usize,
    /// Updates that the replica manager has applied.
    pub applied: usize,
    /// Snapshots that the replica manager has begun to merge.
    pub merged: usize,
    /// New processes that went on from the disk.
    pub recovered: usize,
    /// Commits that failed.
    pub failed: usize,
    /// Frontends that went on with another replica manager in the same process.
    pub replaced: usize,
}

struct Victim {
    core: Colocated,
    value: MemoryValue,
    disk: Option<Disk>,
    /// The commit that the disk has not ended.
    syncing: Option<Written>,
    /// Whether commits take time.
    is_slow: bool,
    now: Now,
    peers: Peers,
    others: Others,
    /// Clients that wait for their answer.
    waiting: BTreeSet<u64>,
    /// Replica managers that this process had in turn.
    lives: usize,
    /// Records and executed updates that the replica manager was given, or accepted.
    things: usize,
    /// The same, with the replies that the frontend was given.
    all_things: usize,
    told: Told,
}

/// Draws a life of a process with both halves, checking after every turn; in the end every client that asked must have
/// had one answer.
///
/// # Panics
///
/// If it stops, forgets a client, forgets what a timestamp means, tells what it has not committed, or grows beyond what
/// it was given.
pub fn live(bytes: &[u8]) -> Told {
    let mut messages = Messages::new(bytes, EPOCH_MS);
    let now = Now { monotonic_ms: 1_000, wall_ms: EPOCH_MS };
    let kind = messages.draw.byte();
    let (disk, is_slow) = (kind.is_multiple_of(2).then(|| Disk::new(Sync::Full)), kind.is_multiple_of(4));
    let mut value = MemoryValue::new();
    value.be_slow(is_slow);
    let manager = ReplicaManager::new(super::replica_manager::config(own(), disk.is_some()), now);
    let mut victim = Victim {
        core: Colocated::new(new_frontend(&mut messages, now), manager),
        value,
        disk,
        syncing: None,
        is_slow,
        now,
        peers: Peers::default(),
        others: Others::default(),
        waiting: BTreeSet::new(),
        lives: 1,
        things: 0,
        all_things: 0,
        told: Told::default(),
    };
    if !messages.draw.once_in(4) {
        // It serves, and two others are there.
        victim.wait(16, 100);
        let presences = ["a", "b"].map(|name| replica_manager::Input::Presence(Box::new(presence(name))));
        victim.hear(Vec::new(), presences.into(), None);
    }
    while !messages.draw.is_over() && victim.told.inputs < INPUTS_MAX {
        match messages.draw.below(28) {
            0 => victim.wait(20, 100),
            1 => victim.wait(3, 1 + (messages.draw.count() >> 1) % (1 << 40)),
            2 => victim.restart(&mut messages),
            3 => victim.now.wall_ms = messages.draw.count(),
            4 => {
                let commits = messages.draw.below(3);
                victim.hear_turn(&mut messages, Some(commits));
            }
            5 => {
                let is_serving = messages.draw.byte().is_multiple_of(2);
                let frontend = victim.core.frontend_mut();
                if is_serving { frontend.serve() } else { frontend.stop_serving() }
            }
            6 if messages.draw.once_in(16) => victim.leave(),
            _ => victim.hear_turn(&mut messages, None),
        }
    }
    victim.wait(3, TIMEOUT_MS);
    assert!(victim.waiting.is_empty(), "these have no answer: {:?}", victim.waiting);
    victim.told
}

fn new_frontend(messages: &mut Messages<'_>, now: Now) -> Frontend {
    let id = ReplicaId::new("f-own").unwrap();
    let mut frontend = Frontend::new(super::frontend::config(id, messages), now);
    frontend.serve();
    frontend
}

impl Victim {
    /// Hears some inputs in one turn. With `commits`, the store fails after so many of its commits.
    fn hear_turn(&mut self, messages: &mut Messages<'_>, commits: Option<usize>) {
        let (mut for_frontend, mut for_replica) = (Vec::new(), Vec::new());
        for _ in 0..=messages.draw.below(TURN_INPUTS_MAX) {
            if messages.draw.byte().is_multiple_of(2) {
                for_frontend.push(self.others.input(messages));
            } else {
                for_replica.push(self.peers.input(self.core.replica(), messages));
            }
        }
        if !self.hear(for_frontend, for_replica, commits) {
            self.told.failed += 1;
            if messages.draw.byte().is_multiple_of(2) { self.replace() } else { self.restart(messages) }
        }
    }

    fn wait(&mut self, ticks: usize, each_ms: u64) {
        for _ in 0..ticks {
            self.now.monotonic_ms += each_ms;
            self.now.wall_ms = self.now.wall_ms.saturating_add(each_ms);
            self.hear(Vec::new(), vec![replica_manager::Input::Tick { queue_length: 0, listened: true }], None);
        }
    }

    /// Handles a turn. Returns whether the store committed all of it.
    fn hear(
        &mut self,
        for_frontend: Vec<frontend::Input>,
        mut for_replica: Vec<replica_manager::Input>,
        commits: Option<usize>,
    ) -> bool {
        if self.told.inputs.is_multiple_of(3)
            && let (Some(disk), Some(syncing)) = (&mut self.disk, self.syncing.take())
        {
            disk.commit([syncing]);
            for_replica.insert(0, replica_manager::Input::Committed);
        }
        self.told.inputs += for_frontend.len() + for_replica.len();
        let mut asked = BTreeSet::new();
        for input in &for_frontend {
            self.all_things += 1;
            match input {
                frontend::Input::Request(client, _) => drop(asked.insert(*client)),
                frontend::Input::Replies(replies) => self.all_things += replies.replies.len(),
                _ => {}
            }
        }
        let things: usize = for_replica.iter().map(|input| 1 + things_in(input)).sum();
        // Each request of a client may have the local replica accept an update, or wait.
        self.things += things + for_frontend.len();
        self.all_things += things;
        self.waiting.extend(&asked);
        let merging = self.core.replica().is_merging();
        let mut outputs = Outputs::default();
        let is_committed = match commits {
            None => {
                let stepped = self.core.step(self.now, for_frontend, for_replica, &mut self.value, &mut outputs);
                stepped.expect("a value in memory does not fail");
                true
            }
            Some(commits) => {
                let mut value = FailingValue::new(self.value.clone(), commits);
                let stepped = self.core.step(self.now, for_frontend, for_replica, &mut value, &mut outputs);
                self.value = if stepped.is_ok() { value.into_value() } else { value.into_committed() };
                stepped.is_ok()
            }
        };
        let mut commits = self.value.take_committed();
        if self.core.replica().is_committing() && !commits.is_empty() {
            self.syncing = commits.pop();
        }
        if let Some(disk) = &mut self.disk {
            disk.commit(commits);
        }
        self.look_at(outputs, &asked);
        if is_committed {
            assert!(self.core.is_at_rest(), "the halves come to rest in each turn");
            self.told.merged += usize::from(!merging && self.core.replica().is_merging());
            self.check();
        }
        is_committed
    }

    /// Takes notice of all that a turn asks for, which must have been committed. `asked` are the clients that asked in
    /// it.
    fn look_at(&mut self, outputs: Outputs, asked: &BTreeSet<u64>) {
        self.told.outputs += outputs.replica.len() + outputs.frontend.len();
        let committed = self.disk.as_ref().map(|disk| disk.contents().0.state.replica_timestamp.replicas);
        for output in &outputs.replica {
            self.told.applied += usize::from(self.peers.look_at(output));
            if let Some(committed) = &committed {
                is_committed(self.core.id(), output, committed);
            }
        }
        for output in outputs.frontend {
            let client = match self.others.look_at(output) {
                Some(Answered::With(client)) => {
                    self.told.answered += 1;
                    self.told.answered_at_once += usize::from(asked.contains(&client));
                    client
                }
                Some(Answered::Refused(client)) => {
                    self.told.refused += 1;
                    client
                }
                None => continue,
            };
            assert!(self.waiting.remove(&client), "{client} is answered, and did not ask or has an answer");
        }
    }

    fn check(&self) {
        check(self.core.replica(), self.things, self.told.inputs);
        let frontend = self.core.frontend();
        assert!(frontend.pending() <= QUEUE_LENGTH_MAX);
        // A batch has several that are pending.
        assert!(self.waiting.len() <= frontend.pending(), "a client waits whose request is not pending");
        assert!(!frontend.to_string().is_empty());
        let outputs_max = OUTPUTS_PER_THING_MAX * self.all_things;
        assert!(self.told.outputs <= outputs_max, "{} outputs", self.told.outputs);
    }

    /// The replica manager of the next life: with what the disk has, or with nothing.
    fn next_manager(&mut self) -> ReplicaManager {
        self.lives += 1;
        let id = ReplicaId::new(&format!("own-{}", self.lives)).unwrap();
        self.peers = Peers::default();
        let Some(disk) = &mut self.disk else {
            self.value = MemoryValue::new();
            return ReplicaManager::new(super::replica_manager::config(id, false), self.now);
        };
        let (saved, value) = disk.contents();
        disk.former = saved.former_of_next(&disk.former, self.core.id());
        self.value = value;
        self.value.be_slow(self.is_slow);
        self.syncing = None;
        self.told.recovered += 1;
        let config = super::replica_manager::config(id, true);
        ReplicaManager::recover(config, saved, &disk.former, self.now).expect("what it saved fits together")
    }

    /// The process ends, and another one begins.
    fn restart(&mut self, messages: &mut Messages<'_>) {
        let manager = self.next_manager();
        self.core = Colocated::new(new_frontend(messages, self.now), manager);
        self.others.forget_requests();
        self.waiting.clear();
        self.check();
    }

    /// The store failed, and the frontend goes on with another replica manager.
    fn replace(&mut self) {
        let manager = self.next_manager();
        let mut outputs = Outputs::default();
        self.core.replace_replica(manager, &mut outputs);
        self.told.replaced += 1;
        self.look_at(outputs, &BTreeSet::new());
    }

    /// Both halves say goodbye, and go on with what is on its way.
    fn leave(&mut self) {
        self.all_things += 1;
        let mut outputs = Outputs::default();
        self.core.frontend_mut().leave(self.now, &mut outputs.frontend);
        self.core.replica_mut().leave(self.now, &mut self.value, &mut outputs.replica);
        self.look_at(outputs, &BTreeSet::new());
    }
}

/// Checks that what others hear of records of `own` is committed.
fn is_committed(own: &ReplicaId, output: &replica_manager::Output, committed: &Timestamp) {
    use replica_manager::Output;
    let told = match output {
        Output::Gossip(gossip) => gossip.replica_timestamp.replicas.get(own),
        Output::Acknowledge(_, acknowledgement) => acknowledgement.replica_timestamp.replicas.get(own),
        Output::Log(_, page) => page.replica_timestamp.replicas.get(own),
        Output::Presence(presence) => presence.replica_timestamp.as_ref().map_or(0, |held| held.replicas.get(own)),
        _ => return,
    };
    assert!(told <= committed.get(own), "number {told} is told, and {} are committed", committed.get(own));
}
