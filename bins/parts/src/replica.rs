//! A replica manager's core over its store, from bytes to bytes, as its shell drives it.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use natter_common::clock::{Now, Stamp};
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::messages::{
    Acknowledgement, Gossip, Mode, NumberedReply, Presence, QueryRequest, Replicas, Replies, Requests, Role,
    SnapshotPlace, SnapshotRequest, Status, UpdateRequest,
};
use natter_common::rating::Stars;
use natter_common::record::Record;
use natter_common::replica_manager::{Config, Input, Output, ReplicaManager, ReplyTo};
use natter_common::request::{Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::wire::{decode, encode};
use natter_database::{DataSource, Store};

use crate::control::wait_for_counting;
use crate::measured;

/// Number of messages that are counted.
pub(crate) const ROUNDS: u64 = 20;
/// Number of rows in the first chunk of a snapshot.
pub(crate) const CHUNK_ROWS: u64 = 500;

/// Number of updates that are quickly done, even under valgrind.
pub(crate) const QUICK: u64 = 10_000;

/// Users and movies of updates, in turn: a million ratings. The data set has none of these users.
const USERS: u64 = 10_000;
const MOVIES: u64 = 100;
const FIRST_USER: u64 = 1_000_000;
/// An arbitrary moment, in Unix milliseconds.
const WALL_MS: u64 = 1_800_000_000_000;

/// One of three replica managers; the others are what it hears of them.
struct Replica {
    core: ReplicaManager,
    store: Store,
    now: Now,
    outputs: Vec<Output>,
    reply: Arc<str>,
    accepted: u64,
    /// Number of ratings that updates go to, in turn.
    ratings: u64,
}

impl Replica {
    /// Prepares a replica after this many updates, which are applied and gone from the log.
    fn after(updates: u64) -> Result<Self> {
        let mut replica = Self::new(updates.min(USERS * MOVIES))?;
        replica.grow(updates)?;
        Ok(replica)
    }

    fn new(ratings: u64) -> Result<Self> {
        let store = Store::open(&DataSource::at(None)?)?;
        let now = Now { monotonic_ms: 1000, wall_ms: WALL_MS };
        let config = Config {
            id: id("r1-abcdefgh")?,
            version: String::new(),
            dataset: store.fingerprint().to_string(),
            mode: Mode::Active,
            gossip_interval_ms: 500,
            forget_after_ms: 600_000,
            durable: false,
            message_bytes_max: 1 << 20,
            seed: 1,
        };
        let mut core = ReplicaManager::new(config, now);
        core.be_quiet(true);
        let mut replica =
            Self { core, store, now, outputs: Vec::new(), reply: Arc::from("_INBOX.x.1"), accepted: 0, ratings };
        for _ in 0..20 {
            replica.now.monotonic_ms += 100;
            replica.step(Input::Tick { queue_length: 0, listened: true })?;
            for other in ["r2-abcdefgh", "r3-abcdefgh"] {
                let presence = replica.presence(id(other)?);
                replica.step(Input::Presence(Box::new(presence)))?;
            }
        }
        ensure!(replica.core.status() == Status::Active, "it does not serve");
        Ok(replica)
    }

    fn presence(&self, id: ReplicaId) -> Presence {
        Presence {
            role: Role::Replica,
            status: Status::Active,
            dataset: Some(self.store.fingerprint().to_string()),
            ..Presence::of_the_past(id, false)
        }
    }

    fn step(&mut self, input: Input) -> Result<()> {
        self.core.step(self.now, [input], &mut self.store, &mut self.outputs)?;
        Ok(())
    }

    /// A turn, with all that it sends.
    fn turn(&mut self, inputs: Vec<Input>) -> Result<()> {
        self.core.step(self.now, inputs, &mut self.store, &mut self.outputs)?;
        let mut replies = Vec::new();
        for output in self.outputs.drain(..) {
            match output {
                Output::Reply(to, reply) => replies.push(NumberedReply { n: to.n, reply }),
                Output::Gossip(gossip) => drop(black_box(encode(&gossip)?)),
                Output::Acknowledge(_, acknowledgement) => drop(black_box(encode(&acknowledgement)?)),
                Output::Snapshot(_, reply) => drop(black_box(encode(&reply)?)),
                _ => {}
            }
        }
        if !replies.is_empty() {
            black_box(encode(&Replies { id: self.core.id().clone(), replies })?);
        }
        Ok(())
    }

    /// `count` new ratings, or changes of them once all users have rated.
    fn updates(&mut self, count: u64) -> Result<Vec<u8>> {
        let requests = (0..count).map(|_| {
            let n = self.accepted;
            self.accepted += 1;
            let stamp = Stamp::new(WALL_MS, 0).0 + n;
            Ok(UpdateRequest {
                n,
                id: UpdateId::from_stamp(Stamp(stamp), n),
                prev: self.core.value_timestamp().clone(),
                proven: true,
                unheard: Vec::new(),
                request: self.update(n)?,
                stamp: Stamp(stamp),
                copies: 2,
                fresh: true,
                wait_ms: 1500,
            })
        });
        Ok(encode(&Requests { requests: requests.collect::<Result<Vec<_>>>()? })?)
    }

    /// Writes one of the ratings for the first time, or anew once all are there.
    fn update(&self, n: u64) -> Result<Update> {
        let place = n % self.ratings;
        let user_id = UserId::try_from(FIRST_USER + place % USERS)?;
        let movie_id = MovieId::try_from(1 + (place + place / USERS) % MOVIES)?;
        let rating = Stars::from_half_stars(1 + (n % 10) as u8)?;
        Ok(match n < self.ratings {
            true => Update::Create { user_id, movie_id, rating },
            false => Update::Update { user_id, movie_id, rating },
        })
    }

    fn accept(&mut self, updates: &[u8], acknowledgements: &[Vec<u8>]) -> Result<()> {
        let mut inputs = Vec::new();
        for request in decode::<Requests<UpdateRequest>>(updates)?.requests {
            let to = ReplyTo { subject: Arc::clone(&self.reply), n: request.n };
            inputs.push(Input::Update(to, request));
        }
        self.turn(inputs)?;
        let mut inputs = Vec::new();
        for acknowledgement in acknowledgements {
            inputs.push(Input::Acknowledgement(decode::<Acknowledgement>(acknowledgement)?));
        }
        self.turn(inputs)
    }

    /// The others hold all that will be accepted until then.
    fn acknowledgements(&self) -> Result<Vec<Vec<u8>>> {
        let held: Timestamp = [(self.core.id().clone(), self.accepted)].into_iter().collect();
        let message =
            |other| Ok(encode(&Acknowledgement { id: id(other)?, replica_timestamp: Replicas::from(&held) })?);
        ["r2-abcdefgh", "r3-abcdefgh"].into_iter().map(message).collect()
    }

    fn grow(&mut self, updates: u64) -> Result<()> {
        while self.accepted < updates {
            let requests = self.updates(100)?;
            let acknowledgements = self.acknowledgements()?;
            self.accept(&requests, &acknowledgements)?;
            self.now.monotonic_ms += 10;
            self.step(Input::Tick { queue_length: 0, listened: true })?;
            self.outputs.clear();
        }
        Ok(())
    }
}

fn id(text: &str) -> Result<ReplicaId> {
    Ok(ReplicaId::known(text)?)
}

/// Accepted, gossiped, acknowledged and applied: `batch` updates in each message, after `before` others.
pub(crate) fn acceptor(batch: u64, before: u64) -> Result<()> {
    let mut replica = Replica::after(before)?;
    let mut messages = Vec::new();
    for _ in 0..ROUNDS {
        messages.push((replica.updates(batch)?, replica.acknowledgements()?));
    }
    count_from_now_on(before)?;
    let mut done = Ok(());
    measured(&mut || {
        done = messages.iter().try_for_each(|(updates, acknowledgements)| replica.accept(updates, acknowledgements));
    });
    done?;
    let own = replica.core.id();
    ensure!(replica.core.value_timestamp().get(own) == replica.accepted, "not all updates were applied");
    Ok(())
}

/// Waits until valgrind counts, after a setup that took long.
fn count_from_now_on(before: u64) -> Result<()> {
    if before > QUICK { wait_for_counting() } else { Ok(()) }
}

/// Taken in from another's gossip, acknowledged and applied.
pub(crate) fn other(batch: u64) -> Result<()> {
    let mut replica = Replica::after(QUICK)?;
    let origin = id("r2-abcdefgh")?;
    let prev: Timestamp = [(replica.core.id().clone(), QUICK)].into_iter().collect();
    let mut messages = Vec::new();
    let mut seq = 0;
    for _ in 0..ROUNDS {
        let mut records = Vec::new();
        for _ in 0..batch {
            seq += 1;
            let n = QUICK + seq;
            let stamp = Stamp(Stamp::new(WALL_MS, 0).0 + n);
            records.push(Arc::new(Record {
                id: UpdateId::from_stamp(stamp, n),
                i: origin.clone(),
                seq,
                prev: prev.clone(),
                request: Some(replica.update(n)?),
                retires: Timestamp::new(),
                stamp,
                copies: 2,
                deleted: None,
            }));
        }
        let mut held = prev.clone();
        held.set(&origin, seq);
        messages.push(encode(&Gossip {
            id: origin.clone(),
            replica_timestamp: Replicas::from(&held),
            value_timestamp: Replicas::from(&prev),
            digest: natter_common::value::Digest(0),
            records,
        })?);
    }
    let mut done = Ok(());
    measured(&mut || {
        done = messages.iter().try_for_each(|message| {
            let gossip = Input::Gossip(decode(message)?);
            replica.turn(vec![gossip])
        });
    });
    done?;
    ensure!(replica.core.value_timestamp().get(&origin) == seq, "not all records were applied");
    Ok(())
}

/// Half of the ratings are in the data set, half were written since.
pub(crate) fn read(batch: u64, before: u64) -> Result<()> {
    let mut replica = Replica::after(before)?;
    let mut messages = Vec::new();
    let mut n = 0;
    for _ in 0..ROUNDS {
        let mut requests = Vec::new();
        for _ in 0..batch {
            n += 1;
            let user_id = UserId::try_from(if n % 2 == 0 { FIRST_USER + n % USERS } else { 1 + n % 300 })?;
            requests.push(QueryRequest {
                n,
                prev: replica.core.value_timestamp().clone(),
                proven: true,
                unheard: Vec::new(),
                request: Query::Read { user_id, movie_id: MovieId::try_from(1 + n % MOVIES)? },
                wait_ms: 1500,
            });
        }
        messages.push(encode(&Requests { requests })?);
    }
    count_from_now_on(before)?;
    let mut done = Ok(());
    measured(&mut || {
        done = messages.iter().try_for_each(|message| {
            let mut inputs = Vec::new();
            for request in decode::<Requests<QueryRequest>>(message)?.requests {
                let to = ReplyTo { subject: Arc::clone(&replica.reply), n: request.n };
                inputs.push(Input::Query(to, request));
            }
            replica.turn(inputs)
        });
    });
    done
}

/// The first chunk, from the request to its bytes.
pub(crate) fn snapshot() -> Result<()> {
    let mut replica = Replica::after(QUICK)?;
    let request = SnapshotRequest { id: id("r2-abcdefgh")?, snapshot: 0, from: SnapshotPlace::Start };
    let to = ReplyTo { subject: Arc::clone(&replica.reply), n: 0 };
    let mut input = Some(Input::Snapshot(to, request));
    let mut done = Ok(());
    measured(&mut || {
        done = input.take().context("counted twice").and_then(|input| replica.turn(vec![input]));
    });
    done
}
