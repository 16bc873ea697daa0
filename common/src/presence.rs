//! Presence of frontends and replicas: their id, status and mode.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::cluster::{ALIASES_MAX, ClusterId};
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::messages::Replicas;
use crate::value::Digest;

/// Status that a process shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Serves.
    Active,
    /// Serves, but has more to do than it can: others are asked first.
    Overloaded,
    /// Behaves as if it were not there.
    Offline,
    /// Not yet serving: it has not caught up with what the others showed.
    Joining,
    /// Has stopped.
    Left,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Overloaded => "OVERLOADED",
            Self::Offline => "OFFLINE",
            Self::Joining => "JOINING",
            Self::Left => "LEFT",
        })
    }
}

/// Mode that decides a replica's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "a mode: active, overloaded, offline, arbitrary or measured")]
pub enum Mode {
    /// Always ACTIVE.
    Active,
    /// Always OVERLOADED.
    Overloaded,
    /// Always OFFLINE.
    Offline,
    /// Drawn at random, again and again.
    Arbitrary,
    /// ACTIVE, or OVERLOADED while its queue is too long.
    #[default]
    Measured,
}

impl Mode {
    /// All modes, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Active, Self::Overloaded, Self::Offline, Self::Arbitrary, Self::Measured];

    /// The mode's name on the wire and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Overloaded => "overloaded",
            Self::Offline => "offline",
            Self::Arbitrary => "arbitrary",
            Self::Measured => "measured",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            format!("{text:?} is not a mode: use one of active, overloaded, offline, arbitrary, measured")
        })
    }
}

/// Sets a mode; with `mode: None`, only asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusRequest {
    /// The new mode.
    pub mode: Option<Mode>,
}

/// The answer to a [`StatusRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Id of the replica that answers.
    pub id: ReplicaId,
    /// Its status now.
    pub status: Status,
    /// Mode that decides the status.
    pub mode: Mode,
    /// Replica managers that showed an equal value timestamp and another digest: a bug. Empty in a sound system.
    #[serde(default)]
    pub diverged: Vec<ReplicaId>,
    /// Number of records that were lost with the last replica that held them, though others depend on them.
    #[serde(default)]
    pub lost: u64,
}

/// Role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A frontend.
    Frontend,
    /// A replica manager.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frontend => "frontend",
            Self::Replica => "replica",
        })
    }
}

/// Presence message of a frontend or replica, sent every presence interval and at once on a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Frontend or replica manager.
    pub role: Role,
    /// Its id.
    pub id: ReplicaId,
    /// Its status.
    pub status: Status,
    /// Mode that decides the status of a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Reading of its wall clock, in Unix milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
    /// The program's version.
    #[serde(default)]
    pub version: String,
    /// The fingerprint of the data set that a replica manager started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Whether a replica manager keeps its state on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
    /// Since its start, in milliseconds.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Timestamp of the records that a replica has applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_timestamp: Option<Replicas>,
    /// Timestamp of the records that a replica holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_timestamp: Option<Replicas>,
    /// Over a replica manager's ratings at `value_timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Number of records in a replica's update log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_length: Option<u64>,
    /// Progress of a replica that loads a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotProgress>,
    /// The greatest stamp of the records that a replica holds; 0 where it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Stamp>,
    /// Label of everything a frontend has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Label>,
    /// The identity of its cluster; `None` before it knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// Other identities that name the same cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<ClusterId>,
    /// Ids that a replica had in earlier lives and that may still be waited for, the last one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<ReplicaId>,
    /// Records that a replica counts as lost, as no replica is left that holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostRecords>,
}

/// Lost records of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecords {
    /// The replica that accepted them.
    pub origin: ReplicaId,
    /// Number of the first one.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
}

/// Progress of a snapshot that is being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotProgress {
    /// Number of rows that have come.
    pub rows: u64,
    /// About how many there are.
    pub of: u64,
}

impl Presence {
    /// Of a replica manager that is known from an earlier life of this process, and was not heard of since.
    pub fn of_the_past(id: ReplicaId, durable: bool) -> Self {
        Self {
            role: Role::Replica,
            id,
            status: Status::Joining,
            mode: None,
            wall_ms: 0,
            version: String::new(),
            dataset: None,
            durable: Some(durable),
            uptime_ms: 0,
            value_timestamp: None,
            replica_timestamp: None,
            digest: None,
            log_length: None,
            snapshot: None,
            clock: None,
            prev: None,
            cluster: None,
            aliases: Vec::new(),
            former: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Maximum length of a text in a presence message, in bytes.
    pub const TEXT_BYTES_MAX: usize = 128;

    /// Maximum former ids in a presence message: those that are retired in time leave it long before. A message with more
    /// is made up.
    pub const FORMER_MAX: usize = 128;

    /// Maximum origins of lost records in a presence message. Further origins are not shown. A message with more is
    /// made up.
    pub const LOST_MAX: usize = 64;

    /// Whether its parts are of a size that a real process shows: what is kept of others must not grow without bound.
    pub fn is_plausible(&self) -> bool {
        let short = |text: &str| text.len() <= Self::TEXT_BYTES_MAX;
        short(&self.version)
            && self.dataset.as_deref().is_none_or(short)
            && self.aliases.len() <= ALIASES_MAX
            && self.former.len() <= Self::FORMER_MAX
            && self.lost.len() <= Self::LOST_MAX
    }

    /// Whether requests may be sent to it.
    pub fn is_serving(&self) -> bool {
        matches!(self.status, Status::Active | Status::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_modes_have_the_names_of_the_wire() {
        for (status, name) in [
            (Status::Active, "ACTIVE"),
            (Status::Overloaded, "OVERLOADED"),
            (Status::Offline, "OFFLINE"),
            (Status::Joining, "JOINING"),
            (Status::Left, "LEFT"),
        ] {
            assert_eq!(status.to_string(), name);
            assert_eq!(serde_json::to_value(status).unwrap(), name);
        }
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        assert!("ACTIVE".parse::<Mode>().unwrap_err().contains("use one of active, overloaded"));
        assert_eq!((Role::Frontend.to_string(), Role::Replica.to_string()), ("frontend".into(), "replica".into()));
    }

    #[test]
    fn who_is_active_or_overloaded_serves() {
        let mut presence = Presence::of_the_past(ReplicaId::new("a").unwrap(), true);
        let mut serves = |status| {
            presence.status = status;
            presence.is_serving()
        };
        assert!(serves(Status::Active) && serves(Status::Overloaded));
        assert!(!serves(Status::Offline) && !serves(Status::Joining) && !serves(Status::Left));
    }

    #[test]
    fn texts_that_no_process_shows_are_not_kept() {
        let of = |version: usize, dataset: usize| Presence {
            version: "v".repeat(version),
            dataset: Some("d".repeat(dataset)),
            ..Presence::of_the_past(ReplicaId::new("a").unwrap(), true)
        };
        assert!(of(Presence::TEXT_BYTES_MAX, Presence::TEXT_BYTES_MAX).is_plausible());
        assert!(!of(Presence::TEXT_BYTES_MAX + 1, 0).is_plausible());
        assert!(!of(0, Presence::TEXT_BYTES_MAX + 1).is_plausible());
        assert!(Presence { dataset: None, ..of(0, 0) }.is_plausible());
    }
}
