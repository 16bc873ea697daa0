//! The replicas that a process hears, by their presence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Status};
use natter_common::roster::{MEMBERS_MAX, MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};

/// Silence after which a replica counts as gone.
const GONE_AFTER: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * MISSED_INTERVALS_MAX);

/// The replicas that were heard lately, with their status.
#[derive(Debug, Default)]
pub struct Peers {
    heard: BTreeMap<ReplicaId, (Instant, Status)>,
}

impl Peers {
    /// A replica showed itself.
    pub fn heard(&mut self, presence: &Presence) {
        if presence.status == Status::Left {
            self.heard.remove(&presence.id);
        } else if self.heard.len() < MEMBERS_MAX || self.heard.contains_key(&presence.id) {
            self.heard.insert(presence.id.clone(), (Instant::now(), presence.status));
        }
        for former in &presence.former {
            self.heard.remove(former);
        }
    }

    /// Forgets those that were silent for three presence intervals.
    pub fn forget_the_silent(&mut self) {
        self.heard.retain(|_, (heard, _)| heard.elapsed() <= GONE_AFTER);
    }

    /// The ids of all.
    pub fn ids(&self) -> impl Iterator<Item = &ReplicaId> {
        self.heard.keys()
    }

    /// Number of those with this status.
    pub fn with_status(&self, wanted: Status) -> usize {
        self.heard.values().filter(|(_, status)| *status == wanted).count()
    }

    /// Number of those that serve.
    pub fn serving(&self) -> usize {
        self.with_status(Status::Active) + self.with_status(Status::Overloaded)
    }
}

/// A status, as a label names it.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Overloaded => "overloaded",
        Status::Offline => "offline",
        Status::Joining => "joining",
        Status::Left => "left",
    }
}
