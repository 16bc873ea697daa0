//! A frontend's core, from a client's bytes to the answer's.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use natter_common::clock::{Now, Stamp};
use natter_common::edge::{Outcome, decode_request, encode_batch_reply, encode_reply};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::{
    ConfirmRequest, NumberedReply, Presence, Replies, Reply, Requests, Role, Status, UpdateRequest,
};
use natter_common::rating::{Rating, Stars};
use natter_common::record::RecordRef;
use natter_common::request::Answer;
use natter_common::subjects::Operation;
use natter_common::timestamp::Timestamp;
use natter_common::wire::{Format, decode, encode};
use serde_json::json;

use crate::measured;

/// Number of messages that are counted.
pub(crate) const ROUNDS: u64 = 20;

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
            core.step(now, [Input::Presence(Box::new(presence))], &mut outputs);
            let replies = Replies { id, replies: vec![NumberedReply { n: 0, reply: Reply::NotHeld }] };
            core.step(now, [Input::Replies(replies)], &mut outputs);
        }
        core.serve();
        outputs.clear();
        Ok(Self { core, now, outputs })
    }

    /// A batch of updates, from its bytes to those of its answer.
    fn batch(
        &mut self,
        n: u64,
        payload: &[u8],
        answer: &mut impl FnMut(Vec<Output>) -> Result<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let request = decode_request(Operation::Batch, None, payload)?;
        self.core.step(self.now, [Input::Request(n, request)], &mut self.outputs);
        let asked = self.outputs.drain(..).collect();
        for replies in answer(asked)? {
            self.core.step(self.now, [Input::Replies(decode(&replies)?)], &mut self.outputs);
        }
        let reply = self.outputs.drain(..).find_map(|output| match output {
            Output::BatchAnswer(client, reply) if client == n => Some(reply),
            _ => None,
        });
        let reply = reply.context("no answer to the batch")?;
        ensure!(reply.outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{reply:?}");
        black_box(encode_batch_reply(&reply, None, Format::MessagePack, 1 << 20)?);
        Ok(())
    }

    /// Requests that came together, from their bytes to those of their answers; `answer` is what replica managers say to
    /// what goes out together.
    fn requests(
        &mut self,
        numbers: Range<u64>,
        operation: Operation,
        answer: &mut impl FnMut(Vec<Output>) -> Result<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let mut inputs = Vec::new();
        for n in numbers.clone() {
            inputs.push(Input::Request(n, decode_request(operation, None, REQUEST)?));
        }
        self.core.step(self.now, inputs, &mut self.outputs);
        let asked = self.outputs.drain(..).collect();
        for replies in answer(asked)? {
            self.core.step(self.now, [Input::Replies(decode(&replies)?)], &mut self.outputs);
        }
        let mut answers = 0;
        for output in self.outputs.drain(..) {
            if let Output::Answer(client, reply) = output {
                ensure!(numbers.contains(&client) && reply.is_ok(), "{reply:?}");
                black_box(encode_reply(&reply, None, Format::MessagePack)?);
                answers += 1;
            }
        }
        ensure!(answers == numbers.end - numbers.start, "{answers} answers");
        Ok(())
    }
}

fn rating() -> Result<Answer> {
    Ok(Answer::Rating(Rating {
        user_id: UserId::new(7)?,
        movie_id: MovieId::new(1)?,
        title: "Le Voyage dans la Lune (1902)".to_owned(),
        rating: Some(Stars::from_half_stars(9)?),
        timestamp: Some(1_800_000_000),
        update_id: Some(UpdateId::from_stamp(Stamp::new(1_800_000_000_000, 0), 1)),
    }))
}

/// One message of replies.
fn replies(replica: &ReplicaId, replies: Vec<NumberedReply>) -> Result<Vec<u8>> {
    Ok(encode(&Replies { id: replica.clone(), replies })?)
}

fn run(operation: Operation, together: u64, mut answer: impl FnMut(Vec<Output>) -> Result<Vec<Vec<u8>>>) -> Result<()> {
    let mut requester = Requester::new()?;
    let mut next = 0;
    let mut requests = |rounds: u64| {
        (0..rounds).try_for_each(|_| {
            let numbers = next..next + together;
            next = numbers.end;
            requester.requests(numbers, operation, &mut answer)
        })
    };
    requests(10)?;
    let mut done = Ok(());
    measured(&mut || done = requests(ROUNDS));
    done
}

/// Reads. The count includes the encoding of the answers, as no replica runs beside the frontend.
pub(crate) fn read(together: u64) -> Result<()> {
    let seen: Timestamp = ["r1-abcdefgh", "r2-abcdefgh", "r3-abcdefgh"]
        .into_iter()
        .map(|id| Ok((ReplicaId::known(id)?, 1_000_000)))
        .collect::<Result<_>>()?;
    let label = Label { replicas: seen, clock: Stamp::new(1_800_000_000_000, 0) };
    let value = rating()?;
    run(Operation::Read, together, |outputs| {
        let (mut asked, mut requests, mut answers) = (None, Vec::new(), Vec::new());
        for output in outputs {
            if let Output::Query(replica, request) = output {
                let reply = Reply::Answered { value: value.clone(), label: label.clone() };
                answers.push(NumberedReply { n: request.n, reply });
                requests.push(request);
                asked = Some(replica);
            }
        }
        black_box(encode(&Requests { requests })?);
        Ok(vec![replies(&asked.context("nobody was asked")?, answers)?])
    })
}

/// Updates, accepted by one and confirmed by another.
pub(crate) fn update(together: u64) -> Result<()> {
    let value = rating()?;
    let mut seq = 0;
    run(Operation::Create, together, |outputs| accept(outputs, &value, &mut seq))
}

/// Number of updates in a batch.
pub(crate) const BATCH: u64 = 1000;

/// A batch of updates on as many ratings, whose client wants to hear of errors only.
pub(crate) fn batch() -> Result<()> {
    let value = rating()?;
    let mut seq = 0;
    let mut accept = |outputs| accept(outputs, &value, &mut seq);
    let mut requester = Requester::new()?;
    let payloads = (0..ROUNDS + 1).map(|round| {
        let operations: Vec<_> = (0..BATCH)
            .map(|place| {
                let id = UpdateId::from_stamp(Stamp::new(1_800_000_000_000, place as u16), round);
                json!({"op": "create", "user_id": 1 + place, "movie_id": 1, "rating": 4.5, "id": id})
            })
            .collect();
        encode(&json!({"operations": operations, "answers": "brief"}))
    });
    let payloads = payloads.collect::<Result<Vec<_>, _>>()?;
    requester.batch(0, &payloads[0], &mut accept)?;
    let mut done = Ok(());
    measured(&mut || {
        done = (1..).zip(&payloads[1..]).try_for_each(|(n, payload)| requester.batch(n, payload, &mut accept));
    });
    done
}

/// Requests to one replica, and its answers.
#[derive(Default)]
struct Asked {
    updates: Vec<UpdateRequest>,
    confirms: Vec<ConfirmRequest>,
    replies: Vec<NumberedReply>,
}

/// Replica managers accept what they are asked to, and confirm what others accepted.
fn accept(outputs: Vec<Output>, value: &Answer, seq: &mut u64) -> Result<Vec<Vec<u8>>> {
    let clock = Stamp::new(1_800_000_000_000, 0);
    let mut all: BTreeMap<ReplicaId, Asked> = BTreeMap::new();
    let mut accepted = None;
    for output in outputs {
        match output {
            Output::Update(replica, request) => {
                *seq += 1;
                let record = RecordRef { i: replica.clone(), seq: *seq };
                accepted = Some(record.clone());
                let asked = all.entry(replica).or_default();
                let retired = Timestamp::new();
                let reply = Reply::Accepted { value: value.clone(), records: vec![record], clock, retired };
                asked.replies.push(NumberedReply { n: request.n, reply });
                asked.updates.push(request);
            }
            // The confirm of an update follows it.
            Output::Confirm(replica, request) => {
                let records = vec![accepted.clone().context("confirmed before it was accepted")?];
                let asked = all.entry(replica).or_default();
                asked.replies.push(NumberedReply { n: request.n, reply: Reply::Held { records, clock } });
                asked.confirms.push(request);
            }
            _ => {}
        }
    }
    all.into_iter()
        .map(|(replica, asked)| {
            black_box(encode(&Requests { requests: asked.updates })?);
            black_box(encode(&Requests { requests: asked.confirms })?);
            replies(&replica, asked.replies)
        })
        .collect()
}
