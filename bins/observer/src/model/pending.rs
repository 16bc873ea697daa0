//! Requests that wait for replies, by reply subject.

use std::collections::{HashMap, VecDeque};

use natter_common::ids::UpdateId;

use super::event::Kind;
use super::{Micros, SECOND};

/// Maximum requests that are remembered. Replies to older ones are not shown.
const ENTRIES_MAX: usize = 8_192;
/// Time for which a request is remembered.
const KEPT: Micros = 10 * SECOND;

/// A request that was seen.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Number of its event.
    pub(super) seq: u64,
    pub(super) kind: Kind,
    pub(super) from: String,
    /// Receiver, where it is known.
    pub(super) to: Option<String>,
    pub(super) at: Micros,
    /// Updates by the numbers of the requests in the message.
    pub(super) updates: Vec<(u64, UpdateId)>,
    /// Number of operations, for a client's request.
    pub(super) operations: usize,
    /// One line of text.
    pub(super) what: String,
}

/// Requests by reply subject.
#[derive(Debug, Default)]
pub(super) struct Pending {
    asked: HashMap<String, Asked>,
    order: VecDeque<(Micros, String)>,
}

impl Pending {
    pub(super) fn add(&mut self, reply: &str, asked: Asked) {
        if self.order.len() >= ENTRIES_MAX {
            self.forget_first();
        }
        self.order.push_back((asked.at, reply.to_owned()));
        self.asked.insert(reply.to_owned(), asked);
    }

    pub(super) fn of(&self, subject: &str) -> Option<&Asked> {
        self.asked.get(subject)
    }

    /// Names the receiver of a request.
    pub(super) fn resolve(&mut self, reply: &str, to: &str) {
        if let Some(asked) = self.asked.get_mut(reply) {
            asked.to = Some(to.to_owned());
        }
    }

    pub(super) fn remove(&mut self, subject: &str) {
        self.asked.remove(subject);
    }

    pub(super) fn expire(&mut self, now: Micros) {
        while self.order.front().is_some_and(|(at, _)| at + KEPT < now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((at, subject)) = self.order.pop_front() else { return };
        // A later request may have the same reply subject.
        if self.asked.get(&subject).is_some_and(|asked| asked.at == at) {
            self.asked.remove(&subject);
        }
    }
}
