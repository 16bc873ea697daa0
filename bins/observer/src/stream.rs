//! The data of the page: to every browser the same server-sent events.

use std::fmt::Write;

use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::{mpsc, oneshot, watch};

use crate::launcher::LauncherState;
use crate::model::{Event, Micros, Model, View};
use crate::observer::Shared;

/// Events that wait for a browser. A browser that is further behind is dropped; it connects again by itself.
const WAITING_MAX: usize = 64;
/// Maximum messages that browsers get in one tick, so that pages stay fluent. The page says how many were left out.
const MESSAGES_MAX: usize = 60;
/// Messages that a new browser gets at once.
const BACKLOG_MAX: usize = 1_500;

/// The place of a new browser: what it needs first, and everything after that.
pub(crate) struct Place {
    pub(crate) first: Shared,
    pub(crate) rest: broadcast::Receiver<Shared>,
}

/// A browser that wants to join.
pub(crate) type Newcomer = oneshot::Sender<Place>;

/// Facts that do not change.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) prefix: String,
    pub(crate) control: bool,
}

/// Everything that goes to browsers.
pub(crate) struct Stream {
    setting: Setting,
    pub(crate) joining: mpsc::Receiver<Newcomer>,
    sender: broadcast::Sender<Shared>,
    launcher: Option<watch::Receiver<LauncherState>>,
    pub(crate) is_connected: bool,
    pub(crate) sampled: Vec<&'static str>,
    pub(crate) hidden: Vec<String>,
    /// Messages that were lost as the observer was too slow.
    pub(crate) dropped: u64,
    /// Number of the last event that was looked at.
    sent: u64,
}

#[derive(Serialize)]
struct Whole<'a> {
    now: f64,
    connected: bool,
    sampled: &'a [&'static str],
    hidden: &'a [String],
    dropped: u64,
    launcher: Option<LauncherState>,
    view: View,
}

#[derive(Serialize)]
struct Messages<'a> {
    events: Vec<&'a Event>,
    /// Number of messages that were left out here.
    left_out: usize,
    corrections: Vec<(u64, String)>,
}

impl Stream {
    /// A stream to no browser yet. `launcher` is the state of the launcher that started this observer, if one did.
    pub(crate) fn new(
        setting: Setting,
        joining: mpsc::Receiver<Newcomer>,
        launcher: Option<watch::Receiver<LauncherState>>,
    ) -> Self {
        let (sender, _) = broadcast::channel(WAITING_MAX);
        Self {
            setting,
            joining,
            sender,
            launcher,
            is_connected: false,
            sampled: Vec::new(),
            hidden: Vec::new(),
            dropped: 0,
            sent: 0,
        }
    }

    /// Gives a browser its place.
    pub(crate) fn join(&self, newcomer: Newcomer, model: &Model, now: Micros) {
        let backlog: Vec<_> = model.events_after(0).filter(|event| event.seq <= self.sent).collect();
        let skipped = backlog.len().saturating_sub(BACKLOG_MAX);
        let messages = Messages { events: backlog[skipped..].to_vec(), left_out: 0, corrections: Vec::new() };
        let first = [
            event_text("setting", &self.setting),
            event_text("messages", &messages),
            event_text("view", &self.whole(model, now)),
        ];
        // A browser that is gone meanwhile needs no place.
        let _ = newcomer.send(Place { first: first.concat().into(), rest: self.sender.subscribe() });
    }

    /// Sends the messages since the last time.
    pub(crate) fn send_events(&mut self, model: &mut Model) {
        let corrections = model.take_corrections();
        let after = self.sent;
        self.sent = model.last_seq();
        if self.sender.receiver_count() == 0 {
            return;
        }
        let all: Vec<_> = model.events_after(after).collect();
        if all.is_empty() && corrections.is_empty() {
            return;
        }
        let count = all.len();
        let events = thinned(all);
        let left_out = count - events.len();
        self.send(event_text("messages", &Messages { events, left_out, corrections }));
    }

    /// Sends the view of the whole.
    pub(crate) fn send_view(&self, model: &Model, now: Micros) {
        if self.sender.receiver_count() > 0 {
            self.send(event_text("view", &self.whole(model, now)));
        }
    }

    fn whole(&self, model: &Model, now: Micros) -> Whole<'_> {
        Whole {
            now: now as f64 / 1000.0,
            connected: self.is_connected,
            sampled: &self.sampled,
            hidden: &self.hidden,
            dropped: self.dropped,
            launcher: self.launcher.as_ref().map(|state| state.borrow().clone()),
            view: model.view(now),
        }
    }

    fn send(&self, text: String) {
        // Without browsers there is nothing to send.
        let _ = self.sender.send(text.into());
    }
}

/// Leaves messages out where there are too many: requests with their replies, and each kind by its share.
fn thinned(events: Vec<&Event>) -> Vec<&Event> {
    if events.len() <= MESSAGES_MAX {
        return events;
    }
    let mut of_kind: Vec<(crate::model::Kind, usize)> = Vec::new();
    for event in &events {
        match of_kind.iter_mut().find(|(kind, _)| *kind == event.kind) {
            Some((_, count)) => *count += 1,
            None => of_kind.push((event.kind, 1)),
        }
    }
    let room = MESSAGES_MAX / of_kind.len().max(1);
    let mut taken: Vec<(crate::model::Kind, usize)> = Vec::new();
    let keep = |event: &&Event| {
        let index = match taken.iter().position(|(kind, _)| *kind == event.kind) {
            Some(index) => index,
            None => {
                taken.push((event.kind, 0));
                taken.len() - 1
            }
        };
        taken[index].1 += 1;
        // The first ones of a tick stay together, so that requests keep their replies.
        taken[index].1 <= room
    };
    events.into_iter().filter(keep).collect()
}

/// A server-sent event. JSON has no line breaks of its own.
fn event_text(name: &str, data: &impl Serialize) -> String {
    let mut text = String::new();
    // Maps of these types have text as keys, and writing to a string cannot fail.
    if let Ok(json) = serde_json::to_string(data) {
        let _ = write!(text, "event: {name}\ndata: {json}\n\n");
    }
    text
}
