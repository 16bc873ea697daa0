//! Events of the last minute.

use std::collections::VecDeque;

use super::event::{Draft, Event};
use super::{Micros, SECOND};

/// Age at which events are forgotten.
const KEPT: Micros = 60 * SECOND;
/// Maximum events that are kept, so that memory is bounded. The oldest ones are forgotten early beyond that.
const EVENTS_MAX: usize = 6_000;

/// Events in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct History {
    events: VecDeque<Event>,
    last_seq: u64,
    corrections: Vec<(u64, String)>,
}

impl History {
    /// Adds a message and returns its number.
    pub(super) fn add(&mut self, draft: Draft, now: Micros) -> u64 {
        self.last_seq += 1;
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        let Draft { kind, reply, from, to, what, failed, items, more, asked } = draft;
        let (seq, at) = (self.last_seq, now as f64 / 1000.0);
        self.events.push_back(Event { seq, at, kind, reply, from, to, what, failed, items, more, asked });
        seq
    }

    /// Names the receiver of a message that was not known when the message was seen.
    pub(super) fn correct(&mut self, seq: u64, to: &str) {
        let position = self.events.binary_search_by_key(&seq, |event| event.seq);
        let Some(event) = position.ok().and_then(|position| self.events.get_mut(position)) else { return };
        if event.to.iter().all(|known| known != to) {
            event.to = vec![to.to_owned()];
            self.corrections.push((seq, to.to_owned()));
        }
    }

    pub(super) fn take_corrections(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.corrections)
    }

    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        let begin = self.events.partition_point(|event| event.seq <= seq);
        self.events.range(begin..)
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn expire(&mut self, now: Micros) {
        let oldest = now.saturating_sub(KEPT) as f64 / 1000.0;
        while self.events.front().is_some_and(|event| event.at < oldest) {
            self.events.pop_front();
        }
    }
}
