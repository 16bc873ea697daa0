//! Permissions that the broker takes away from a process and gives back, and what the shell of the process does
//! meanwhile.
//!
//! The broker drops what may not be published and tells the publisher; it ends a subscription that is not permitted any
//! more and tells the subscriber. A process that lacks something it needs stops serving, keeps its state and tries
//! again. When all is permitted again, it goes on as after a lost connection.

use std::collections::BTreeSet;

use natter_common::ids::ReplicaId;
use natter_common::incoming::Channel;
use natter_common::messages::{Presence, Reply, Status};
use natter_common::packing::ReplyPacker;
use natter_common::replica_manager::Input;
use natter_common::roster::PRESENCE_INTERVAL_MS;

use super::Cluster;
use crate::simulation::message::Message;

/// Time after which a process looks again whether it lacks something, in microseconds.
const RETRY_US: u64 = 2_000_000;
/// Maximum time until a process hears that a message was not permitted, in microseconds.
const TOLD_US_MAX: u64 = 3_000;

/// An action that a process may not perform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// Send gossip.
    Gossip,
    /// Show itself.
    Presence,
    /// Answer requests.
    Answers,
    /// Send requests to this replica manager.
    RequestsTo(ReplicaId),
    /// Hear gossip and acknowledgements.
    HearGossip,
    /// Hear presence.
    HearPresence,
    /// Hear requests.
    HearRequests,
    /// Hear answers to its own requests.
    HearReplies,
}

impl Denied {
    /// Whether a subscription is denied.
    pub fn is_heard(&self) -> bool {
        matches!(self, Self::HearGossip | Self::HearPresence | Self::HearRequests | Self::HearReplies)
    }

    /// Whether the process cannot do its work without.
    fn is_needed(&self) -> bool {
        !matches!(self, Self::RequestsTo(_))
    }

    fn forbids(&self, to: &ReplicaId, message: &Message) -> bool {
        match self {
            Self::Gossip => matches!(message, Message::Gossip(_)),
            Self::Presence => matches!(message, Message::Presence(_)),
            Self::Answers => matches!(
                message,
                Message::Replies(_) | Message::Log(_) | Message::Chunk(_) | Message::Answer(..) | Message::Lost(..)
            ),
            Self::RequestsTo(replica) => message.is_request() && to == replica,
            _ => false,
        }
    }

    fn is_deaf_to(&self, message: &Message) -> bool {
        match self {
            Self::HearGossip => matches!(message, Message::Gossip(_) | Message::Acknowledge(_)),
            Self::HearPresence => matches!(message, Message::Presence(_)),
            Self::HearRequests => message.is_request(),
            Self::HearReplies => {
                matches!(message, Message::Replies(_) | Message::Log(_) | Message::Chunk(_) | Message::Unreachable(..))
            }
            _ => false,
        }
    }
}

/// Permissions that a process lacks, and the state of its shell meanwhile.
#[derive(Debug, Default)]
pub struct Permissions {
    denied: BTreeSet<Denied>,
    /// When it looks again, in microseconds; `None` where it lacks nothing that it knows of.
    retry_us: Option<u64>,
    /// When it shows that it is OFFLINE, in microseconds.
    show_us: u64,
    /// Presence that it showed last.
    shown: Option<Box<Presence>>,
}

impl Permissions {
    /// Whether it has stopped serving because it lacks something.
    pub fn has_stopped(&self) -> bool {
        self.retry_us.is_some()
    }

    /// It shows itself.
    pub fn shows(&mut self, presence: &Presence) {
        self.shown = Some(Box::new(presence.clone()));
    }

    /// Whether it may send `message` to `to`.
    pub fn may_send(&self, to: &ReplicaId, message: &Message) -> bool {
        !self.denied.iter().any(|denied| denied.forbids(to, message))
    }

    /// Whether it hears `message`.
    pub fn hears(&self, message: &Message) -> bool {
        !self.denied.iter().any(|denied| denied.is_deaf_to(message))
    }
}

impl Cluster {
    /// Takes a permission away.
    pub fn deny(&mut self, id: &ReplicaId, denied: Denied) {
        self.note(|| format!("{id} is denied: {denied:?}"));
        if denied.is_heard() {
            self.deliver(0, (id.clone(), id.clone()), Message::Denied);
        }
        self.process_mut(id).permissions.denied.insert(denied);
    }

    /// Gives a permission back.
    pub fn permit(&mut self, id: &ReplicaId, denied: &Denied) {
        self.note(|| format!("{id} is permitted again: {denied:?}"));
        self.process_mut(id).permissions.denied.remove(denied);
    }

    /// Gives all permissions back.
    pub fn permit_all(&mut self) {
        for process in self.processes.values_mut() {
            process.permissions.denied.clear();
        }
    }

    /// Whether the broker refuses a message, and tells its sender.
    pub(super) fn refuses(&mut self, from: &ReplicaId, to: &ReplicaId, message: &Message) -> bool {
        let Some(process) = self.processes.get(from).filter(|process| !process.permissions.may_send(to, message))
        else {
            return false;
        };
        let is_told = !process.permissions.has_stopped()
            && process.permissions.denied.iter().any(|denied| denied.is_needed() && denied.forbids(to, message));
        self.denied_messages += 1;
        self.note(|| format!("{from} -> {to}: {message} (denied)"));
        if is_told {
            let delay_us = self.generator.u64(..TOLD_US_MAX);
            self.deliver(delay_us, (from.clone(), from.clone()), Message::Denied);
        }
        true
    }

    /// Handles a turn's messages in the shell of a process that lacks a permission. Gives the messages that are for the
    /// core, and whether the core first goes on as after a lost connection.
    pub(super) fn mind_permissions(
        &mut self,
        id: &ReplicaId,
        inbox: Vec<(ReplicaId, Message)>,
    ) -> (Vec<(ReplicaId, Message)>, bool) {
        let now_us = self.now_us();
        let permissions = &mut self.process_mut(id).permissions;
        let is_told = inbox.iter().any(|(_, message)| matches!(message, Message::Denied));
        let mut inbox: Vec<_> = inbox.into_iter().filter(|(_, message)| !matches!(message, Message::Denied)).collect();
        if is_told && permissions.retry_us.is_none() && !permissions.denied.is_empty() {
            permissions.retry_us = Some(now_us + RETRY_US);
            permissions.show_us = now_us;
            self.note(|| format!("{id} stops serving: it lacks a permission"));
        }
        let permissions = &mut self.process_mut(id).permissions;
        let Some(retry_us) = permissions.retry_us else { return (inbox, false) };
        let ticks = inbox.iter().any(|(_, message)| matches!(message, Message::Tick));
        if ticks && now_us >= retry_us {
            if !permissions.denied.iter().any(Denied::is_needed) {
                permissions.retry_us = None;
                self.process_mut(id).woken_us = now_us;
                self.permitted_again += 1;
                self.note(|| format!("{id} serves again"));
                return (inbox, true);
            }
            permissions.retry_us = Some(now_us + RETRY_US);
        }
        if self.process(id).replica().is_none() {
            return (inbox, false);
        }
        // The core stands still. Its messages to itself, and those of an operator, wait; so do those to a frontend in
        // the same process.
        let is_colocated = self.process(id).frontend().is_some();
        let waits = |message: &Message| match message {
            Message::Foreign(_, channel, _) => *channel == Channel::Replies,
            Message::Merge | Message::Committed | Message::SetMode(_) | Message::Ask(..) | Message::Replies(_) => true,
            Message::Unreachable(..) => is_colocated,
            _ => false,
        };
        let (later, now): (Vec<_>, Vec<_>) = inbox.drain(..).partition(|(_, message)| waits(message));
        self.process_mut(id).inbox.splice(0..0, later);
        let mut replies = ReplyPacker::default();
        for (from, message) in &now {
            for input in message.requests(from.as_str()) {
                if let Input::Update(to, _) | Input::Query(to, _) | Input::Confirm(to, _) = input {
                    replies.push(to, Reply::NotServing);
                }
            }
        }
        for (subject, replies) in replies.take(id, self.settings.message_bytes_max) {
            if let Ok(to) = ReplicaId::new(&subject) {
                self.send(id, &to, Message::Replies(replies));
            }
        }
        let permissions = &mut self.process_mut(id).permissions;
        if ticks && now_us >= permissions.show_us {
            permissions.show_us = now_us + PRESENCE_INTERVAL_MS * 1000;
            if let Some(mut presence) = permissions.shown.clone() {
                presence.status = Status::Offline;
                presence.digest = None;
                presence.uptime_ms += PRESENCE_INTERVAL_MS;
                permissions.shown = Some(presence.clone());
                self.broadcast(id, false, &Message::Presence(presence));
            }
        }
        (Vec::new(), false)
    }
}
