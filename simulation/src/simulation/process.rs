//! One process of a simulated cluster: a protocol core, its inbox and its clocks.

use std::collections::BTreeMap;

use natter_common::clock::Now;
use natter_common::colocated::Colocated;
use natter_common::frontend::Frontend;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Status};
use natter_common::replica_manager::ReplicaManager;
use natter_common::timestamp::Timestamp;
use natter_common::wire::Format;

use super::cluster::permissions::Permissions;
use super::disk::Disk;
use super::message::Message;
use super::value::{MemoryValue, Written};

/// Unix milliseconds at the beginning of every simulation.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Maximum silence of a process that certainly counts as present, in microseconds: three presence intervals, less some.
const CERTAINLY_PRESENT_US: u64 = 1_400_000;
/// Minimum silence of a process that certainly counts as gone, in microseconds: three presence intervals and some.
const CERTAINLY_GONE_US: u64 = 1_700_000;

/// A process that runs shows itself in this time, in microseconds.
const SHOWS_ITSELF_US: u64 = 500_000;

/// Minimum time for which a process that has just begun listens before it decides what it has to catch up with, in
/// microseconds.
const JUST_BEGUN_US: u64 = 900_000;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Up,
    /// It is stopped, and goes on later; its messages wait.
    Paused {
        /// When it was paused, in microseconds.
        since_us: u64,
    },
    /// It is gone for good.
    Dead {
        /// When it ended, in microseconds.
        since_us: u64,
    },
}

/// Protocol core of a process.
pub enum Core {
    /// A replica manager and its value.
    Replica(Box<ReplicaManager>, MemoryValue),
    /// A frontend.
    Frontend(Box<Frontend>),
    /// A frontend and a replica in one process, and the replica's value.
    Colocated(Box<Colocated>, MemoryValue),
}

/// A client's request at a frontend.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the client.
    pub client: ReplicaId,
    /// The client's own number.
    pub n: u64,
    /// All that the frontend had seen by then, with what its label leaves out.
    pub frontend_prev: Timestamp,
    /// Whether it was a query.
    pub is_query: bool,
    /// The encoding of the request and its reply.
    pub format: Format,
}

/// Presence of a replica, as a process heard it. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When it last heard its presence.
    pub last_us: u64,
    /// When it heard its presence before that, in an earlier turn.
    pub before_us: u64,
    /// When it last heard anything of it.
    pub alive_us: u64,
    /// Since when it has shown itself only as serving; `None` if it does not serve.
    pub serving_since_us: Option<u64>,
    /// Records that it showed to have applied when this process had just begun, or was OFFLINE no more; `None` if it
    /// was not there all the time since.
    pub applied_at_first: Option<Timestamp>,
    /// The same, when it was heard last.
    pub applied_at_last: Timestamp,
    /// Time for which it had run by then, in milliseconds: a message that says less is older, and no news.
    pub uptime_ms: u64,
    /// When it said goodbye, or the broker said that it is gone.
    pub left_us: Option<u64>,
}

impl Heard {
    /// Silence until the turn at `now_us`, in microseconds. A presence message of that turn may come after its tick, so
    /// it ends the silence only afterwards.
    pub fn silent_us(&self, now_us: u64) -> u64 {
        now_us - if self.last_us < now_us { self.last_us } else { self.before_us }
    }
}

/// One process.
pub struct Process {
    /// Its name.
    pub id: ReplicaId,
    /// Protocol core.
    pub core: Core,
    /// Whether it runs.
    pub life: Life,
    /// Time by which its wall clock is ahead, in milliseconds.
    pub skew_ms: i64,
    /// Arrived and not yet handled.
    pub inbox: Vec<(ReplicaId, Message)>,
    /// Whether it is due to look into its inbox.
    pub scheduled: bool,
    /// Disk that survives it, if it is a replica that keeps its state on one.
    pub disk: Option<Disk>,
    /// The commit that the disk has not ended.
    pub syncing: Option<Written>,
    /// Permissions that it lacks.
    pub permissions: Permissions,
    /// It dies after this many outputs of its next batch that has any.
    pub dies_after: Option<usize>,
    /// When it began, in microseconds.
    pub started_us: u64,
    /// When it last woke from a pause.
    pub woken_us: u64,
    /// A frontend's clients, by its own number for them.
    pub callers: BTreeMap<u64, Caller>,
    /// All that a frontend had seen by its clients' last request, whatever its label leaves out.
    pub seen: Timestamp,
    /// A frontend's last number for a client.
    pub last_caller: u64,
    /// Number of messages it got: each has its own reply subject.
    pub subjects: u64,
    /// The last presence of each replica manager that reached it.
    pub heard: BTreeMap<ReplicaId, Heard>,
}

impl Process {
    /// A process that begins now.
    pub fn new(id: ReplicaId, core: Core, skew_ms: i64, now_us: u64) -> Self {
        Self {
            id,
            core,
            life: Life::Up,
            skew_ms,
            inbox: Vec::new(),
            scheduled: false,
            disk: None,
            syncing: None,
            permissions: Permissions::default(),
            dies_after: None,
            started_us: now_us,
            woken_us: 0,
            callers: BTreeMap::new(),
            seen: Timestamp::new(),
            last_caller: 0,
            subjects: 0,
            heard: BTreeMap::new(),
        }
    }

    /// Its clocks.
    pub fn now(&self, now_us: u64) -> Now {
        now(now_us, self.skew_ms)
    }

    /// Whether it is not dead.
    pub fn is_alive(&self) -> bool {
        !matches!(self.life, Life::Dead { .. })
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.life == Life::Up
    }

    /// Its core and value, if it is a replica manager.
    pub fn replica(&self) -> Option<(&ReplicaManager, &MemoryValue)> {
        match &self.core {
            Core::Replica(manager, value) => Some((manager, value)),
            Core::Colocated(core, value) => Some((core.replica(), value)),
            Core::Frontend(_) => None,
        }
    }

    /// Whether commits of a replica manager take time.
    pub fn be_slow(&mut self, is_slow: bool) {
        if let Core::Replica(_, value) | Core::Colocated(_, value) = &mut self.core {
            value.be_slow(is_slow);
        }
    }

    /// Its core, if it is a frontend.
    pub fn frontend(&self) -> Option<&Frontend> {
        match &self.core {
            Core::Replica(..) => None,
            Core::Frontend(frontend) => Some(frontend),
            Core::Colocated(core, _) => Some(core.frontend()),
        }
    }

    /// Takes notice of a presence message.
    pub fn hears(&mut self, presence: &Presence, now_us: u64) {
        let (id, status) = (&presence.id, presence.status);
        // A goodbye of a process that was never heard is not noted.
        if status == Status::Left && !self.heard.contains_key(id) {
            return;
        }
        if let Some(heard) = self.heard.get_mut(id).filter(|heard| presence.uptime_ms <= heard.uptime_ms) {
            // The same moment again is no sign of life.
            if presence.uptime_ms == heard.uptime_ms && !matches!(status, Status::Active | Status::Overloaded) {
                heard.serving_since_us = None;
                heard.left_us = heard.left_us.or((status == Status::Left).then_some(now_us));
            }
            if presence.uptime_ms == heard.uptime_ms {
                self.hears_of_earlier_lives(presence, now_us);
            }
            return;
        }
        let serves = matches!(status, Status::Active | Status::Overloaded);
        let is_new = now_us - self.started_us < JUST_BEGUN_US;
        let before = self.heard.get(id).filter(|heard| now_us - heard.last_us < CERTAINLY_PRESENT_US);
        let since_us = before.and_then(|heard| heard.serving_since_us).unwrap_or(now_us);
        let applied = presence.value_timestamp.clone().unwrap_or_default().replicas;
        let earlier = |heard: &Heard| if heard.last_us < now_us { heard.last_us } else { heard.before_us };
        let heard = Heard {
            last_us: now_us,
            before_us: self.heard.get(id).map_or(now_us, earlier),
            alive_us: now_us,
            serving_since_us: serves.then_some(since_us),
            applied_at_first: match before {
                // Replicas that are OFFLINE are not there.
                _ if status == Status::Offline => None,
                Some(heard) => heard.applied_at_first.clone(),
                None => is_new.then(|| applied.clone()),
            },
            applied_at_last: applied,
            uptime_ms: presence.uptime_ms,
            left_us: (status == Status::Left).then_some(now_us),
        };
        self.heard.insert(id.clone(), heard);
        self.hears_of_earlier_lives(presence, now_us);
    }

    /// Gives up waiting for a replica's earlier lives, except one that shows itself. It does not matter which process
    /// brings the message.
    fn hears_of_earlier_lives(&mut self, presence: &Presence, now_us: u64) {
        for former in presence.former.iter().filter(|_| presence.status != Status::Left) {
            if let Some(heard) = self.heard.get_mut(former)
                && now_us - heard.last_us > SHOWS_ITSELF_US
            {
                heard.serving_since_us = None;
                heard.left_us.get_or_insert(now_us);
            }
        }
    }

    /// While it is OFFLINE, whatever it hears next may be the first that counts.
    pub fn is_about_to_hear(&mut self, now_us: u64) {
        if self.replica().is_some_and(|(manager, _)| manager.status() == Status::Offline) {
            for heard in self.heard.values_mut() {
                let is_there = now_us - heard.last_us < CERTAINLY_PRESENT_US && heard.serving_since_us.is_some();
                heard.applied_at_first = is_there.then(|| heard.applied_at_last.clone());
            }
        }
    }

    /// Whether it must know by now that this replica manager is gone: it said so, or the broker did, or it was silent
    /// for longer than presence allows while this process listened.
    pub fn knows_that_is_gone(&self, id: &ReplicaId, now_us: u64) -> bool {
        let listening_since_us = self.woken_us.max(self.started_us);
        *id != self.id
            && self.heard.get(id).is_some_and(|heard| {
                heard.left_us.is_some_and(|left_us| left_us < now_us)
                    || now_us - heard.alive_us.max(listening_since_us) > CERTAINLY_GONE_US
            })
    }

    /// Replicas that it must have believed to be up before it began its latest batch: it heard their presence so
    /// recently that it cannot have given them up.
    pub fn certain_of(&self, now_us: u64) -> impl Iterator<Item = (&ReplicaId, &Heard)> {
        self.heard.iter().filter(move |(_, heard)| {
            now_us - heard.last_us < CERTAINLY_PRESENT_US
                && heard.serving_since_us.is_some_and(|since_us| since_us < now_us)
        })
    }

    /// Number of these, without this process.
    pub fn certainly_up(&self, now_us: u64) -> usize {
        self.certain_of(now_us).count()
    }
}

/// The clocks of a machine whose wall clock is `skew_ms` ahead.
pub fn now(now_us: u64, skew_ms: i64) -> Now {
    let monotonic_ms = now_us / 1000;
    Now { monotonic_ms, wall_ms: (EPOCH_MS + monotonic_ms).saturating_add_signed(skew_ms) }
}
