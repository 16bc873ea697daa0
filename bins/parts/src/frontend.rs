//! A frontend's core, from a client's bytes to the answer's.

use std::hint::black_box;

use anyhow::{Context, Result, bail, ensure};
use natter_common::clock::{Now, Stamp};
use natter_common::edge::{decode_request, encode_reply};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::label::Label;
use natter_common::messages::{NumberedReply, Presence, Replies, Reply, Requests, Role, Status};
use natter_common::rating::{Rating, Stars};
use natter_common::record::RecordRef;
use natter_common::request::Answer;
use natter_common::subjects::Operation;
use natter_common::timestamp::Timestamp;
use natter_common::wire::{Format, decode, encode};

use crate::measured;

/// How many requests are counted.
pub(crate) const ROUNDS: u64 = 100;

/// A client's MessagePack: `{user_id: 7, movie_id: 1, rating: 4.5}`.
const REQUEST: &[u8] = b"\x83\xa7user_id\x07\xa8movie_id\x01\xa6rating\xcb\x40\x12\x00\x00\x00\x00\x00\x00";

struct Requester {
    core: Frontend,
    now: Now,
    outputs: Vec<Output>,
}

impl Requester {
    fn new() -> Result<Self> {
        let now = Now { monotonic_ms: 1000, wall_ms: 1_800_000_000_000 };
        let config = Config {
            id: ReplicaId::known("f1-abcdefgh")?,
            version: String::new(),
            fault_tolerance: 2,
            strict: false,
            timeout_ms: 2000,
            queue_length_max: 8192,
            seed: 1,
        };
        let mut core = Frontend::new(config, now);
        let mut outputs = Vec::new();
        for replica in ["r1-abcdefgh", "r2-abcdefgh", "r3-abcdefgh"] {
            let id = ReplicaId::known(replica)?;
            let presence =
                Presence { role: Role::Replica, status: Status::Active, ..Presence::of_the_past(id.clone(), false) };
            core.step(now, Input::Presence(Box::new(presence)), &mut outputs);
            let replies = Replies { id, replies: vec![NumberedReply { n: 0, reply: Reply::NotHeld }] };
            core.step(now, Input::Replies(replies), &mut outputs);
        }
        core.serve();
        outputs.clear();
        Ok(Self { core, now, outputs })
    }

    /// One request, from its bytes to those of its answer; `answer` is what replica managers say.
    fn request(
        &mut self,
        n: u64,
        operation: Operation,
        answer: &mut impl FnMut(Output) -> Result<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let request = decode_request(operation, None, REQUEST)?;
        self.core.step(self.now, Input::Request(n, request), &mut self.outputs);
        let asked: Vec<Output> = self.outputs.drain(..).collect();
        for output in asked {
            for replies in answer(output)? {
                self.core.step(self.now, Input::Replies(decode(&replies)?), &mut self.outputs);
            }
        }
        for output in self.outputs.drain(..) {
            if let Output::Answer(client, reply) = output {
                ensure!(client == n && reply.is_ok(), "{reply:?}");
                black_box(encode_reply(&reply, Format::MessagePack)?);
                return Ok(());
            }
        }
        bail!("no answer")
    }
}

fn rating() -> Result<Answer> {
    Ok(Answer::Rating(Rating {
        user_id: UserId::new(7)?,
        movie_id: MovieId::new(1)?,
        title: "Le Voyage dans la Lune (1902)".to_owned(),
        rating: Some(Stars::from_half_stars(9)?),
        timestamp: Some(1_800_000_000),
        update_id: None,
    }))
}

fn replies(replica: &ReplicaId, n: u64, reply: Reply) -> Result<Vec<u8>> {
    Ok(encode(&Replies { id: replica.clone(), replies: vec![NumberedReply { n, reply }] })?)
}

fn run(operation: Operation, mut answer: impl FnMut(Output) -> Result<Vec<Vec<u8>>>) -> Result<()> {
    let mut requester = Requester::new()?;
    for n in 0..10 {
        requester.request(n, operation, &mut answer)?;
    }
    let mut done = Ok(());
    measured(&mut || done = (10..10 + ROUNDS).try_for_each(|n| requester.request(n, operation, &mut answer)));
    done
}

/// A read; that the one who is asked encodes its answer is counted too, as there is nobody else.
pub(crate) fn read() -> Result<()> {
    let seen: Timestamp = ["r1-abcdefgh", "r2-abcdefgh", "r3-abcdefgh"]
        .into_iter()
        .map(|id| Ok((ReplicaId::known(id)?, 1_000_000)))
        .collect::<Result<_>>()?;
    let label = Label { replicas: seen, clock: Stamp::new(1_800_000_000_000, 0) };
    let value = rating()?;
    run(Operation::Read, |output| match output {
        Output::Query(replica, request) => {
            let n = request.n;
            black_box(encode(&Requests { requests: vec![request] })?);
            let reply = Reply::Answered { value: value.clone(), label: label.clone() };
            Ok(vec![replies(&replica, n, reply)?])
        }
        _ => Ok(Vec::new()),
    })
}

/// An update, accepted by one and confirmed by another.
pub(crate) fn update() -> Result<()> {
    let value = rating()?;
    let mut accepted: Option<RecordRef> = None;
    let mut seq = 0;
    run(Operation::Create, |output| match output {
        Output::Update(replica, request) => {
            let n = request.n;
            black_box(encode(&Requests { requests: vec![request] })?);
            seq += 1;
            let record = RecordRef { i: replica.clone(), seq };
            accepted = Some(record.clone());
            let clock = Stamp::new(1_800_000_000_000, 0);
            Ok(vec![replies(&replica, n, Reply::Accepted { value: value.clone(), records: vec![record], clock })?])
        }
        Output::Confirm(replica, request) => {
            let n = request.n;
            black_box(encode(&Requests { requests: vec![request] })?);
            let records = vec![accepted.clone().context("confirmed before it was accepted")?];
            let clock = Stamp::new(1_800_000_000_000, 0);
            Ok(vec![replies(&replica, n, Reply::Held { records, clock })?])
        }
        _ => Ok(Vec::new()),
    })
}
