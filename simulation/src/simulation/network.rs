//! The network: delays, loss, duplicates and cuts drawn from a seed, or links under a scenario's control.
//!
//! Messages of one sender to one receiver arrive in order, as on one NATS connection, unless reordering is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fastrand::Rng;
use natter_common::ids::ReplicaId;
use natter_common::packing::RequestKind;

use super::message::Message;

/// Sender and receiver.
pub type Link = (ReplicaId, ReplicaId);

/// Delays, losses and duplicates of messages if no scenario interferes.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The least delay, in microseconds.
    pub delay_us_min: u64,
    /// The greatest usual delay, in microseconds.
    pub delay_us_max: u64,
    /// Messages in a thousand that take up to forty times as long.
    pub slow_permille: u32,
    /// Messages in a thousand that are lost.
    pub loss_permille: u32,
    /// Messages in a thousand that arrive twice. NATS never does that. Requests of clients and updates do not: a second
    /// copy of one that was refused would be another request.
    pub duplicate_permille: u32,
    /// Whether messages of one link overtake each other.
    pub reorder: bool,
}

impl Weather {
    /// Every message takes a millisecond.
    pub fn fair() -> Self {
        Self {
            delay_us_min: 1000,
            delay_us_max: 1000,
            slow_permille: 0,
            loss_permille: 0,
            duplicate_permille: 0,
            reorder: false,
        }
    }
}

/// Treatment of the messages of a link by a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Kept until the scenario lets them go.
    Hold,
    /// Lost.
    Drop,
}

/// Number of messages so far, by their fate.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Sent.
    pub sent: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Overtook an earlier one.
    pub overtook: u64,
    /// Lost because the link was cut.
    pub cut: u64,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    /// Delays, losses and duplicates of messages.
    pub weather: Weather,
    /// Links that lose everything.
    pub cut: BTreeSet<Link>,
    /// Number of messages so far, by their fate.
    pub traffic: Traffic,
    /// Messages that a scenario's policies held or lost since the last look.
    pub interfered: Vec<(Link, Message, Policy)>,
    policies: BTreeMap<(Link, &'static str), Policy>,
    held: BTreeMap<Link, VecDeque<Message>>,
    last_arrival_us: BTreeMap<Link, u64>,
}

impl Network {
    /// No cuts.
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            cut: BTreeSet::new(),
            traffic: Traffic::default(),
            interfered: Vec::new(),
            policies: BTreeMap::new(),
            held: BTreeMap::new(),
            last_arrival_us: BTreeMap::new(),
        }
    }

    /// When `message`, sent now, arrives: never, once, or twice.
    pub fn send(&mut self, link: &Link, message: &Message, now_us: u64, generator: &mut Rng) -> Vec<u64> {
        self.traffic.sent += 1;
        if let Some(policy) = self.policies.get(&(link.clone(), message.kind())) {
            self.interfered.push((link.clone(), message.clone(), *policy));
            if *policy == Policy::Hold {
                self.held.entry(link.clone()).or_default().push_back(message.clone());
            }
            return Vec::new();
        }
        if self.cut.contains(link) {
            self.traffic.cut += 1;
            return Vec::new();
        }
        let weather = self.weather.clone();
        if generator.u32(..1000) < weather.loss_permille {
            self.traffic.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(link, now_us, generator)];
        let once = matches!(
            message,
            Message::Ask(..) | Message::Answer(..) | Message::Requests { kind: RequestKind::Update, .. }
        );
        if generator.u32(..1000) < weather.duplicate_permille && !once {
            self.traffic.duplicated += 1;
            arrivals.push(self.arrival(link, now_us, generator));
        }
        arrivals
    }

    fn arrival(&mut self, link: &Link, now_us: u64, generator: &mut Rng) -> u64 {
        let weather = &self.weather;
        let mut delay_us = generator.u64(weather.delay_us_min..=weather.delay_us_max);
        if generator.u32(..1000) < weather.slow_permille {
            delay_us *= generator.u64(2..40);
        }
        let last_us = self.last_arrival_us.entry(link.clone()).or_default();
        let mut arrival_us = now_us + delay_us;
        if arrival_us < *last_us {
            if weather.reorder {
                self.traffic.overtook += 1;
            } else {
                arrival_us = *last_us;
            }
        }
        *last_us = arrival_us.max(*last_us);
        arrival_us
    }

    /// From now on, messages of this kind on this link are held or dropped, or with `None` go their way again.
    pub fn set_policy(&mut self, link: &Link, kind: &'static str, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.policies.insert((link.clone(), kind), policy),
            None => self.policies.remove(&(link.clone(), kind)),
        };
    }

    /// The messages held on a link, all or those of one kind.
    pub fn take_held(&mut self, link: &Link, kind: Option<&str>) -> Vec<Message> {
        let Some(held) = self.held.get_mut(link) else { return Vec::new() };
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            held.drain(..).partition(|message| kind.is_none_or(|kind| message.kind() == kind));
        *held = left;
        taken.into()
    }
}
