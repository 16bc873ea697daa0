//! A frontend that is told nothing true.

use natter_common::clock::Now;
use natter_common::edge::{encode_batch_reply, encode_reply};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::ids::ReplicaId;
use natter_common::wire::{self, Format};

use super::draw::own;
use super::messages::Messages;
use crate::simulation::process::EPOCH_MS;

/// Maximum inputs of one turn.
const TURN_INPUTS_MAX: usize = 4;
/// Maximum inputs that are drawn in a life; a turn that has begun is completed.
const INPUTS_MAX: usize = 400;
/// Maximum requests that may wait at the frontend.
pub(super) const QUEUE_LENGTH_MAX: usize = 16;
/// Maximum size of a reply, in bytes.
const REPLY_BYTES_MAX: usize = 2_000;
/// Time within which a client has its answer, in milliseconds.
pub(super) const TIMEOUT_MS: u64 = 2_000;
/// Maximum outputs for each input and each reply in it, on average over a life.
pub(super) const OUTPUTS_PER_THING_MAX: usize = 200;

/// Counts of a life: they show that it was worthwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of requests of clients.
    pub asked: usize,
    /// Number of requests answered with a value.
    pub answered: usize,
    /// Number of requests answered with an error.
    pub refused: usize,
}

struct Victim {
    frontend: Frontend,
    now: Now,
    things: usize,
    outputs: usize,
    told: Told,
    others: Others,
}

/// Clients and replica managers, as a frontend meets them.
#[derive(Debug, Default)]
pub(super) struct Others {
    last_client: u64,
    /// Requests to replica managers, with their numbers.
    asked: Vec<(ReplicaId, u64)>,
}

/// Answer of a frontend to a client.
pub(super) enum Answered {
    /// The client of this number has a value, or several.
    With(u64),
    /// The client of this number is told why not.
    Refused(u64),
}

/// Draws a life of a frontend, checking after every input; in the end every client that asked must have had one answer.
///
/// # Panics
///
/// If it stops, forgets a client, or grows beyond its limits.
pub fn live(bytes: &[u8]) -> Told {
    let mut messages = Messages::new(bytes, EPOCH_MS);
    let now = Now { monotonic_ms: 1_000, wall_ms: EPOCH_MS };
    let config = config(own(), &mut messages);
    let mut frontend = Frontend::new(config, now);
    frontend.serve();
    let mut victim = Victim { frontend, now, things: 0, outputs: 0, told: Told::default(), others: Others::default() };
    while !messages.draw.is_over() && victim.told.inputs < INPUTS_MAX {
        match messages.draw.below(16) {
            0 => victim.wait(20, 100),
            1 => victim.wait(3, 1 + (messages.draw.count() >> 1) % (1 << 40)),
            2 => victim.now.wall_ms = messages.draw.count(),
            _ => {
                let inputs =
                    (0..1 + messages.draw.below(TURN_INPUTS_MAX)).map(|_| victim.others.input(&mut messages)).collect();
                victim.hear(inputs);
            }
        }
    }
    victim.wait(3, TIMEOUT_MS);
    let told = victim.told;
    assert_eq!(told.asked, told.answered + told.refused, "somebody has no answer, or two");
    told
}

/// Configuration of the frontend.
pub(super) fn config(id: ReplicaId, messages: &mut Messages<'_>) -> Config {
    Config {
        id,
        version: "1".to_owned(),
        fault_tolerance: 1 + u32::from(messages.draw.byte() % 3),
        strict: messages.draw.once_in(4),
        timeout_ms: TIMEOUT_MS,
        queue_length_max: QUEUE_LENGTH_MAX,
        seed: 1,
    }
}

impl Others {
    /// The frontend ended: what it asked for is asked no more.
    pub(super) fn forget_requests(&mut self) {
        self.asked.clear();
    }

    /// Something that a frontend hears: mostly an answer to what it asked for.
    pub(super) fn input(&mut self, messages: &mut Messages<'_>) -> Input {
        match messages.draw.below(16) {
            0..=4 => {
                self.last_client += 1;
                Input::Request(self.last_client, messages.client_request())
            }
            5..=7 => Input::Presence(Box::new(messages.presence())),
            8..=11 => {
                let mut replies = messages.replies();
                // Mostly from a replica that was asked, with the numbers of its requests.
                if let (Some((asked, _)), false) = (self.asked.last(), messages.draw.once_in(8)) {
                    replies.id = asked.clone();
                    let numbers = self.asked.iter().rev().filter(|(id, _)| *id == replies.id).map(|(_, n)| *n);
                    for (reply, n) in replies.replies.iter_mut().zip(numbers) {
                        reply.n = n;
                    }
                    self.asked.pop();
                }
                Input::Replies(replies)
            }
            12 => Input::Unreachable(messages.draw.id(), 0..messages.draw.below(100) as u64),
            13 if messages.draw.once_in(4) => Input::Disconnected,
            13 => Input::Connected,
            _ => Input::Tick { listened: !messages.draw.once_in(4) },
        }
    }

    /// Takes notice of what a frontend asks for: what is told to others can be written.
    pub(super) fn look_at(&mut self, output: Output) -> Option<Answered> {
        match output {
            Output::Update(id, request) => {
                drop(wire::encode(&request).unwrap());
                self.asked.push((id, request.n));
            }
            Output::Confirm(id, request) => {
                drop(wire::encode(&request).unwrap());
                self.asked.push((id, request.n));
            }
            Output::Query(id, request) => {
                drop(wire::encode(&request).unwrap());
                self.asked.push((id, request.n));
            }
            Output::Presence(presence) => drop(wire::encode(&presence).unwrap()),
            Output::Notice(notice) => assert!(!notice.to_string().is_empty()),
            Output::Lost(_, lost) | Output::Retired(_, lost) => drop(wire::encode(&lost).unwrap()),
            Output::BatchAnswer(client, reply) => {
                for format in [Format::MessagePack, Format::Json] {
                    drop(encode_batch_reply(&reply, None, format, REPLY_BYTES_MAX).unwrap());
                }
                return Some(Answered::With(client));
            }
            Output::Answer(client, answer) => {
                for format in [Format::MessagePack, Format::Json] {
                    drop(encode_reply(&answer, None, format).unwrap());
                }
                return Some(if answer.is_ok() { Answered::With(client) } else { Answered::Refused(client) });
            }
        }
        None
    }
}

impl Victim {
    fn wait(&mut self, ticks: usize, each_ms: u64) {
        for _ in 0..ticks {
            self.now.monotonic_ms += each_ms;
            self.now.wall_ms = self.now.wall_ms.saturating_add(each_ms);
            self.hear(vec![Input::Tick { listened: true }]);
        }
    }

    fn hear(&mut self, inputs: Vec<Input>) {
        self.told.inputs += inputs.len();
        for input in &inputs {
            self.told.asked += usize::from(matches!(input, Input::Request(..)));
            self.things += 1 + if let Input::Replies(replies) = input { replies.replies.len() } else { 0 };
        }
        let mut outputs = Vec::new();
        self.frontend.step(self.now, inputs, &mut outputs);
        self.outputs += outputs.len();
        for output in outputs {
            match self.others.look_at(output) {
                Some(Answered::With(_)) => self.told.answered += 1,
                Some(Answered::Refused(_)) => self.told.refused += 1,
                None => {}
            }
        }
        assert!(self.frontend.pending() <= QUEUE_LENGTH_MAX);
        assert!(self.outputs <= OUTPUTS_PER_THING_MAX * self.things, "{} outputs", self.outputs);
        assert!(!self.frontend.to_string().is_empty());
    }
}
