//! A replica manager on the bench.

use std::sync::Arc;

use natter_common::clock::{Now, Stamp};
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::messages::{
    ConfirmRequest, Gossip, Mode, Presence, QueryRequest, Replicas, Reply, Status, UpdateRequest,
};
use natter_common::rating::Stars;
use natter_common::record::Record;
use natter_common::replica_manager::{Config, Input, Notice, Output, ReplicaManager, ReplyTo};
use natter_common::request::{Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::value::{Digest, Value};
use natter_simulation::simulation::value::MemoryValue;

/// Unix milliseconds at the beginning.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;
/// Interval of gossip, in milliseconds.
pub(crate) const GOSSIP_INTERVAL_MS: u64 = 700;

pub(crate) fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

pub(crate) fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

pub(crate) fn replicas(entries: &[(&str, u64)]) -> Replicas {
    Replicas { replicas: timestamp(entries) }
}

pub(crate) fn to(n: u64) -> ReplyTo {
    ReplyTo { subject: Arc::from("reply"), n }
}

pub(crate) fn config() -> Config {
    Config {
        id: id("own"),
        version: "1".to_owned(),
        dataset: "films".to_owned(),
        mode: Mode::Measured,
        gossip_interval_ms: GOSSIP_INTERVAL_MS,
        forget_after_ms: 600_000,
        durable: false,
        message_bytes_max: 1 << 20,
        seed: 1,
    }
}

/// An update of the rating of `movie` by user 7.
pub(crate) fn create(movie: u32) -> Update {
    let rating = Stars::from_half_stars(8).unwrap();
    Update::Create { user_id: UserId::new(7).unwrap(), movie_id: MovieId::new(movie).unwrap(), rating }
}

pub(crate) fn delete(movie: u32) -> Update {
    Update::Delete { user_id: UserId::new(7).unwrap(), movie_id: MovieId::new(movie).unwrap() }
}

/// The id of update `n`, and its stamp.
pub(crate) fn named(n: u64) -> (UpdateId, Stamp) {
    let stamp = Stamp::new(WALL_MS, n as u16);
    (UpdateId::from_stamp(stamp, n), stamp)
}

pub(crate) fn update(n: u64, request: Update) -> UpdateRequest {
    let (id, stamp) = named(n);
    UpdateRequest {
        n,
        id,
        prev: Timestamp::new(),
        proven: false,
        unheard: Vec::new(),
        request,
        stamp,
        copies: 1,
        fresh: true,
        wait_ms: 500,
    }
}

pub(crate) fn read(n: u64, prev: &[(&str, u64)]) -> QueryRequest {
    let request = Query::Read { user_id: UserId::new(7).unwrap(), movie_id: MovieId::new(2).unwrap() };
    QueryRequest { n, prev: timestamp(prev), proven: false, unheard: Vec::new(), request, wait_ms: 500 }
}

pub(crate) fn confirm(n: u64, wait_ms: u64) -> ConfirmRequest {
    ConfirmRequest { n, id: named(n).0, acceptor: None, wait_ms }
}

/// A record of update `n` that `origin` accepted.
pub(crate) fn record(origin: &str, seq: u64, n: u64, request: Update) -> Record {
    let (update_id, stamp) = named(n);
    Record {
        id: update_id,
        i: id(origin),
        seq,
        prev: Timestamp::new(),
        request: Some(request),
        retires: Timestamp::new(),
        stamp,
        copies: 2,
        deleted: None,
    }
}

/// Presence of `name`.
pub(crate) fn presence(name: &str, status: Status, applied: &[(&str, u64)]) -> Presence {
    Presence {
        status,
        dataset: Some("films".to_owned()),
        replica_timestamp: Some(replicas(applied)),
        value_timestamp: Some(replicas(applied)),
        ..Presence::of_the_past(id(name), false)
    }
}

/// One replica manager, its value and its clocks.
pub(crate) struct Bench {
    pub(crate) manager: ReplicaManager,
    pub(crate) value: MemoryValue,
    pub(crate) now: Now,
}

impl Bench {
    /// Just started.
    pub(crate) fn new(config: Config) -> Self {
        let now = Now { monotonic_ms: 0, wall_ms: WALL_MS };
        Self { manager: ReplicaManager::new(config, now), value: MemoryValue::new(), now }
    }

    /// Serves, with nobody else there.
    pub(crate) fn serving() -> Self {
        let mut bench = Self::new(config());
        bench.pass(1_600);
        assert_eq!(bench.manager.status(), Status::Active);
        bench
    }

    /// Serves, and these show themselves.
    pub(crate) fn serving_beside(names: &[&str]) -> Self {
        let mut bench = Self::serving();
        for name in names {
            bench.hear(Input::Presence(Box::new(presence(name, Status::Active, &[]))));
        }
        bench
    }

    pub(crate) fn hear(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.manager.step(self.now, [input], &mut self.value, &mut outputs).unwrap();
        outputs
    }

    /// Time passes, with a tick every 20 ms.
    pub(crate) fn pass(&mut self, for_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for _ in 0..for_ms / 20 {
            self.now.monotonic_ms += 20;
            self.now.wall_ms += 20;
            outputs.extend(self.hear(Input::Tick { queue_length: 0, listened: true }));
        }
        outputs
    }

    /// The same, and these show themselves all the while.
    pub(crate) fn pass_beside(&mut self, names: &[&str], for_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for _ in 0..for_ms / 100 {
            for name in names {
                let shown = self.manager.timestamp_table().get(&id(name)).cloned().unwrap_or_default();
                let presence = Presence {
                    replica_timestamp: Some(Replicas { replicas: shown.replica_timestamp }),
                    value_timestamp: Some(Replicas { replicas: shown.value_timestamp }),
                    ..presence(name, Status::Active, &[])
                };
                outputs.extend(self.hear(Input::Presence(Box::new(presence))));
            }
            outputs.extend(self.pass(100));
        }
        outputs
    }

    pub(crate) fn update(&mut self, request: UpdateRequest) -> Vec<Output> {
        self.hear(Input::Update(to(request.n), request))
    }

    pub(crate) fn query(&mut self, request: QueryRequest) -> Vec<Output> {
        self.hear(Input::Query(to(request.n), request))
    }

    /// Gossip of `name`, which holds what it sends and has applied as much.
    pub(crate) fn gossip(&mut self, name: &str, holds: &[(&str, u64)], records: Vec<Record>) -> Vec<Output> {
        let digest = self.value.digest();
        let records = records.into_iter().map(Arc::new).collect();
        let replica_timestamp = replicas(holds);
        self.hear(Input::Gossip(Gossip {
            id: id(name),
            value_timestamp: Replicas::default(),
            replica_timestamp,
            digest: Digest(digest.0),
            records,
        }))
    }

    pub(crate) fn notices(outputs: &[Output]) -> Vec<String> {
        let notice = |output: &Output| match output {
            Output::Notice(notice) => Some(notice.to_string()),
            _ => None,
        };
        outputs.iter().filter_map(notice).collect()
    }
}

/// The replies among `outputs`, with the numbers of their requests.
pub(crate) fn numbered(outputs: &[Output]) -> Vec<(u64, Reply)> {
    let reply = |output: &Output| match output {
        Output::Reply(to, reply) => Some((to.n, reply.clone())),
        _ => None,
    };
    outputs.iter().filter_map(reply).collect()
}

/// The only reply among `outputs`.
pub(crate) fn reply(outputs: &[Output]) -> Reply {
    let replies = numbered(outputs);
    assert_eq!(replies.len(), 1, "{outputs:?}");
    replies.into_iter().next().unwrap().1
}

pub(crate) fn gossips(outputs: &[Output]) -> Vec<Gossip> {
    let gossip = |output: &Output| match output {
        Output::Gossip(gossip) => Some(gossip.clone()),
        _ => None,
    };
    outputs.iter().filter_map(gossip).collect()
}

pub(crate) fn presences(outputs: &[Output]) -> Vec<Presence> {
    let presence = |output: &Output| match output {
        Output::Presence(presence) => Some(Presence::clone(presence)),
        _ => None,
    };
    outputs.iter().filter_map(presence).collect()
}

/// Replicas whose logs were asked for.
pub(crate) fn pulls(outputs: &[Output]) -> Vec<String> {
    let pull = |output: &Output| match output {
        Output::Pull(peer, _) => Some(peer.to_string()),
        _ => None,
    };
    outputs.iter().filter_map(pull).collect()
}

pub(crate) fn dropped(outputs: &[Output]) -> Vec<(String, usize)> {
    let dropped = |output: &Output| match output {
        Output::Notice(Notice::Dropped { reason, count, .. }) => Some(((*reason).to_owned(), *count)),
        _ => None,
    };
    outputs.iter().filter_map(dropped).collect()
}
