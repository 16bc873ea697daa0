//! Other programs on the broker: some listen to everything, some answer in a replica manager's place or beside it, some
//! send old messages again. None of them makes up a valid message: that would be an enemy.

use std::collections::BTreeMap;

use fastrand::Rng;
use natter_common::ids::ReplicaId;
use natter_common::incoming::Channel;
use natter_common::wire::encode;

use super::message::Message;
use super::wire::Payload;

/// Maximum recorded messages of one sender on one channel.
const RECORDED_MAX: usize = 8;
/// Answer of a JetStream stream to a message that it captures.
const ACKNOWLEDGED: &[u8] = br#"{"stream":"AUDIT","seq":12}"#;
/// An error as another service may answer.
const ERROR: &[u8] = br#"{"error":{"code":503,"description":"no suitable peers"}}"#;

/// The subjects that a bystander deals with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// None.
    #[default]
    Nothing,
    /// All of the cluster.
    All,
    /// Subjects of one process.
    Of(ReplicaId),
}

impl Reach {
    fn includes(&self, id: &ReplicaId) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Of(one) => one == id,
        }
    }
}

/// The bystanders that there are now, and what they did.
#[derive(Debug)]
pub struct Bystanders {
    /// Subjects with a silent subscriber: the broker never says that nobody listens there.
    pub silent: Reach,
    /// Subjects whose requests a bystander answers, right or wrong.
    pub answers: Reach,
    /// Whether the one that answers takes some requests away from the process that they are for.
    pub takes_requests: bool,
    /// Whether one sends old presence and gossip again, and bytes that are none.
    pub repeats: bool,
    /// Messages without a receiver that met with silence.
    pub silences: u64,
    /// Answers in a replica manager's place or beside it.
    pub answered: u64,
    /// Old answers that were given again, among these.
    pub answered_again: u64,
    /// Presence and gossip sent again.
    pub repeated: u64,
    /// Messages on subjects of presence and gossip that cannot be decoded.
    pub undecodable: u64,
    /// Whether it is recorded what processes send.
    records: bool,
    recorded: BTreeMap<(ReplicaId, Channel), Vec<Payload>>,
    generator: Rng,
}

/// Bytes that a bystander sends.
type Said = (ReplicaId, Channel, Payload);

impl Bystanders {
    /// No bystander yet. With `records`, messages of processes are recorded for bystanders that may come.
    pub fn new(seed: u64, records: bool) -> Self {
        Self {
            silent: Reach::Nothing,
            answers: Reach::Nothing,
            takes_requests: false,
            repeats: false,
            silences: 0,
            answered: 0,
            answered_again: 0,
            repeated: 0,
            undecodable: 0,
            records,
            recorded: BTreeMap::new(),
            generator: Rng::with_seed(seed),
        }
    }

    /// Whether one listens at the subjects of `id`, which is gone.
    pub fn hide_absence_of(&mut self, id: &ReplicaId) -> bool {
        let hides = self.silent.includes(id) || self.answers.includes(id);
        self.silences += u64::from(hides);
        hides
    }

    /// A process sends a message.
    pub fn record(&mut self, from: &ReplicaId, message: &Message) {
        if !self.records {
            return;
        }
        let (channel, payload) = match message {
            Message::Replies(replies) => (Channel::Replies, encode(replies)),
            Message::Log(page) => (Channel::LogPage, encode(page)),
            Message::Chunk(chunk) => (Channel::Snapshot, encode(chunk)),
            Message::Gossip(gossip) => (Channel::Gossip, encode(gossip)),
            Message::Presence(presence) => (Channel::Presence, encode(presence)),
            _ => return,
        };
        let payload = Payload::new(payload.expect("a message can be encoded"));
        let recorded = self.recorded.entry((from.clone(), channel)).or_default();
        if recorded.len() < RECORDED_MAX {
            recorded.push(payload);
        } else {
            let place = self.generator.usize(..RECORDED_MAX);
            recorded[place] = payload;
        }
    }

    /// Forgets what was recorded.
    pub fn forget(&mut self) {
        self.recorded.clear();
    }

    fn garbage(&mut self) -> Payload {
        let length = self.generator.usize(..40);
        Payload::new((0..length).map(|_| self.generator.u8(..)).collect())
    }

    /// A message that is cut short, so that it cannot be decoded.
    fn cut_short(&mut self, payload: &Payload) -> Payload {
        let bytes = payload.bytes();
        Payload::new(bytes[..self.generator.usize(..bytes.len())].to_vec())
    }

    fn old(&mut self, of: &ReplicaId, channel: Channel) -> Option<Payload> {
        let recorded = self.recorded.get(&(of.clone(), channel))?;
        self.generator.choice(recorded).cloned()
    }

    /// A request goes to `to`. Gives what a bystander answers, after how many microseconds, and whether it takes the
    /// request away.
    pub fn answer(&mut self, to: &ReplicaId, message: &Message) -> Option<(Option<Said>, u64, bool)> {
        if !self.answers.includes(to) || self.generator.u32(..4) == 0 {
            return None;
        }
        let channel = match message {
            Message::Requests { .. } => Channel::Replies,
            Message::Pull(_) => Channel::LogPage,
            Message::Snapshot(_) => Channel::Snapshot,
            _ => return None,
        };
        let takes = self.takes_requests && self.generator.bool();
        let old = self.old(to, channel);
        let payload = match (self.generator.u32(..6), old) {
            (0, _) => None,
            (1, _) => Some(self.garbage()),
            (2, _) => Some(Payload::new(ACKNOWLEDGED.to_vec())),
            (3, _) => Some(Payload::new(if self.generator.bool() { ERROR.to_vec() } else { Vec::new() })),
            (4, Some(old)) => Some(self.cut_short(&old)),
            (_, Some(old)) => {
                self.answered_again += 1;
                Some(old)
            }
            (_, None) => Some(self.garbage()),
        };
        self.answered += 1;
        // Before the right answer, or after it.
        let delay_us = if self.generator.bool() { 50 } else { self.generator.u64(1_000..60_000) };
        Some((payload.map(|payload| (to.clone(), channel, payload)), delay_us, takes))
    }

    /// Presence or gossip goes out. Gives what a bystander sends on such subjects then.
    pub fn repeat(&mut self) -> Option<Said> {
        if !self.repeats || self.generator.u32(..3) > 0 {
            return None;
        }
        let is_told = |(_, channel): &&(ReplicaId, Channel)| matches!(channel, Channel::Presence | Channel::Gossip);
        let places: Vec<_> = self.recorded.keys().filter(is_told).cloned().collect();
        let (of, channel) = self.generator.choice(places)?;
        let old = self.old(&of, channel)?;
        let payload = match self.generator.u32(..8) {
            0 => self.garbage(),
            1 => self.cut_short(&old),
            _ => {
                self.repeated += 1;
                return Some((of, channel, old));
            }
        };
        self.undecodable += 1;
        Some((of, channel, payload))
    }
}
