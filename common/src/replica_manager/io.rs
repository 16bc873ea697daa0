//! Everything that can happen to a replica manager, and everything it asks of its shell.

use std::fmt;
use std::sync::Arc;

use crate::cluster::ClusterId;
use crate::ids::ReplicaId;
use crate::messages::{
    Acknowledgement, ConfirmRequest, Gossip, LogPage, LogRequest, Mode, Presence, QueryRequest, Reply, SnapshotReply,
    SnapshotRequest, Status, StatusReply, UpdateRequest,
};
use crate::record::{Record, RecordRef};
use crate::timestamp::Timestamp;
use crate::value::Digest;

/// Address of an answer: a reply subject and the number of the request. The core only hands it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo {
    /// The reply subject.
    pub subject: Arc<str>,
    /// The request's number.
    pub n: u64,
}

/// Everything that can happen to a replica manager. Time passes only with `Tick`.
#[derive(Clone, Debug)]
pub enum Input {
    /// A frontend asks to accept an update.
    Update(ReplyTo, UpdateRequest),
    /// A frontend asks a question.
    Query(ReplyTo, QueryRequest),
    /// A frontend asks to say when an update is held.
    Confirm(ReplyTo, ConfirmRequest),
    /// A replica manager lacks records.
    Log(ReplyTo, LogRequest),
    /// A replica manager gossips.
    Gossip(Gossip),
    /// A replica manager took in what was gossiped here.
    Acknowledgement(Acknowledgement),
    /// The answer to a pull.
    LogPage(LogPage),
    /// A pull, or a request for a chunk, reached nobody.
    PullFailed(ReplicaId),
    /// The broker says that nobody listens at this replica manager: until it shows itself again, it does not count as one
    /// that holds anything. Comes from the frontend half of a replica that answers clients.
    Unreachable(ReplicaId),
    /// A replica manager wants a chunk of the snapshot.
    Snapshot(ReplyTo, SnapshotRequest),
    /// A chunk of somebody's snapshot, or that there is none.
    SnapshotReply(SnapshotReply),
    /// There is time for [`super::ReplicaManager::is_merging`].
    Merge,
    /// The disk has confirmed the commit that was under way ([`super::ReplicaManager::is_committing`]).
    Committed,
    /// A replica manager shows itself.
    Presence(Box<Presence>),
    /// A client asks for the status, or sets the mode first.
    Status(ReplyTo, Option<Mode>),
    /// The largest message that the broker takes on the present connection, in bytes.
    MessageLimit(usize),
    /// The connection to the broker is there again.
    Connected,
    /// The connection to the broker is lost.
    Disconnected,
    /// Time passes: every 20 ms or so.
    Tick {
        /// Number of requests that wait to be handled.
        queue_length: usize,
        /// Whether all that the others sent so far was handled before: otherwise their silence proves nothing.
        listened: bool,
    },
}

/// Everything a replica manager asks of its shell, in the order in which it must happen. Nothing in it tells of what is not
/// committed.
#[derive(Clone, Debug)]
pub enum Output {
    /// To a frontend.
    Reply(ReplyTo, Reply),
    /// Answer to a request for the status.
    Status(ReplyTo, StatusReply),
    /// To a replica manager that lacked records.
    Log(ReplyTo, LogPage),
    /// To all replica managers.
    Gossip(Gossip),
    /// To the origin of records.
    Acknowledge(ReplicaId, Acknowledgement),
    /// Ask this replica manager for records.
    Pull(ReplicaId, LogRequest),
    /// To a replica manager that needs the snapshot.
    Snapshot(ReplyTo, SnapshotReply),
    /// Ask this replica manager for a chunk of its snapshot.
    FetchSnapshot(ReplicaId, SnapshotRequest),
    /// To everybody.
    Presence(Box<Presence>),
    /// For the log file, or to be counted.
    Notice(Notice),
    /// This replica manager must not run here; the text says why. The shell ends the process.
    Stop(String),
}

/// Event inside the replica, for logs and tests.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An update was accepted and put into the log.
    Accepted(Arc<Record>),
    /// A record of another origin is held now.
    Held(Arc<Record>),
    /// A record was applied.
    Applied {
        /// The record.
        record: Arc<Record>,
        /// Whether it stands: otherwise one with a greater stamp does already.
        stands: bool,
        /// The value timestamp after it.
        value_timestamp: Timestamp,
    },
    /// A request waits for what is missing here.
    Waiting {
        /// The first of what is missing.
        missing: RecordRef,
    },
    /// Records were asked for.
    Pulled {
        /// The replica that was asked.
        from: ReplicaId,
    },
    /// The status or the mode is another one.
    Status {
        /// The status.
        status: Status,
        /// The mode.
        mode: Mode,
    },
    /// It has caught up with what the others showed, and serves.
    CaughtUp {
        /// Timestamp that it had to reach.
        target: Timestamp,
    },
    /// Another replica manager came, or came back.
    PeerJoined(ReplicaId),
    /// Another replica manager left or fell silent.
    PeerGone(ReplicaId),
    /// Another replica manager has begun another life under a new id, with all that it had saved.
    PeerRestarted {
        /// Its id now.
        id: ReplicaId,
        /// Its former id.
        former: ReplicaId,
    },
    /// No replica present knew the cluster's identity, so this one has drawn it.
    ClusterFounded {
        /// The identity.
        id: ClusterId,
    },
    /// Replicas of two clusters have met, which are one from now on.
    ClustersMet {
        /// The identity, the smaller of the two.
        id: ClusterId,
        /// The other one, which stays an alias.
        alias: ClusterId,
    },
    /// Another replica manager started from another data set; nothing of it is taken in.
    ForeignDataset {
        /// Id of the other replica.
        peer: ReplicaId,
        /// The fingerprint of its data set.
        dataset: String,
    },
    /// Records of one message were not taken in.
    Dropped {
        /// The first of them.
        record: RecordRef,
        /// Reason why the first one was dropped.
        reason: &'static str,
        /// Number of dropped records.
        count: usize,
    },
    /// The logs of the others do not reach back to what is held here: a snapshot is loaded.
    SnapshotBegins {
        /// Id of the replica that gives it.
        from: ReplicaId,
    },
    /// A snapshot is being loaded.
    SnapshotProgress {
        /// Number of rows that have come.
        rows: u64,
        /// About how many there are.
        of: u64,
    },
    /// The snapshot is to be had no more, and begun anew.
    SnapshotBroken {
        /// Id of the replica that gave it.
        from: ReplicaId,
        /// Reason why it broke off.
        reason: String,
    },
    /// A snapshot is loaded.
    SnapshotLoaded {
        /// Number of its ratings and deletion markers.
        rows: u64,
        /// Timestamp of the updates that the snapshot reflects.
        value_timestamp: Timestamp,
    },
    /// A replica manager is gone for good and leaves the timestamps.
    Retired {
        /// Id of the retired replica.
        id: ReplicaId,
        /// The number of its last update, which everybody has applied.
        count: u64,
    },
    /// More replica managers died than `FAULT_TOLERANCE` covers: nobody waits for these records any more.
    Lost {
        /// The replica that accepted them.
        origin: ReplicaId,
        /// The records after this number...
        after: u64,
        /// ... up to this one.
        until: u64,
    },
    /// The same, but only a session says that the records existed.
    ClaimedLost {
        /// The replica that is said to have accepted them.
        origin: ReplicaId,
        /// The last record that a present replica holds, or that a replica showed to hold.
        after: u64,
        /// The last record that the session names.
        until: u64,
    },
    /// After an exchange of snapshots the ratings are equal again.
    Reconciled {
        /// The other replica manager.
        peer: ReplicaId,
    },
    /// Equal value timestamps, different ratings: a bug in Natter, or a store that lost something.
    Diverged {
        /// The other replica manager.
        peer: ReplicaId,
        /// The value timestamp that both show.
        value_timestamp: Timestamp,
        /// The digest here.
        ours: Digest,
        /// The digest there.
        theirs: Digest,
    },
}

/// Loudness of a notice: its level in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// A bug, or lost data.
    Error,
    /// Something that an operator may act on.
    Warning,
    /// The life of the process and of its peers.
    Info,
    /// A step of the protocol.
    Debug,
}

impl Notice {
    /// For notices that others can cause as often as they like: what kind of notice it is, so that a shell can tell of
    /// each kind in moderation.
    pub fn kind_caused_by_others(&self) -> Option<&'static str> {
        match self {
            Self::Dropped { .. } => Some("dropped records"),
            Self::ForeignDataset { .. } => Some("replicas with another data set"),
            Self::Diverged { .. } => Some("replicas that diverged"),
            Self::PeerJoined(_) => Some("replicas that came"),
            Self::PeerGone(_) => Some("replicas that went"),
            Self::PeerRestarted { .. } => Some("replicas that restarted"),
            Self::ClaimedLost { .. } => Some("lost records that sessions name"),
            Self::ClustersMet { .. } => Some("clusters that met"),
            _ => None,
        }
    }

    /// Loudness of this notice.
    pub fn loudness(&self) -> Loudness {
        match self {
            Self::Diverged { .. } | Self::Lost { .. } | Self::ClaimedLost { .. } => Loudness::Error,
            Self::Dropped { .. } | Self::ForeignDataset { .. } | Self::ClustersMet { .. } | Self::Reconciled { .. } => {
                Loudness::Warning
            }
            Self::Status { .. }
            | Self::CaughtUp { .. }
            | Self::ClusterFounded { .. }
            | Self::PeerJoined(_)
            | Self::PeerGone(_)
            | Self::PeerRestarted { .. }
            | Self::SnapshotBegins { .. }
            | Self::SnapshotProgress { .. }
            | Self::SnapshotBroken { .. }
            | Self::SnapshotLoaded { .. }
            | Self::Retired { .. } => Loudness::Info,
            Self::Accepted(_) | Self::Held(_) | Self::Applied { .. } | Self::Waiting { .. } | Self::Pulled { .. } => {
                Loudness::Debug
            }
        }
    }
}

fn update(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{} ", record.name())?;
    match &record.request {
        Some(request) => {
            write!(f, "{} {}", request.method(), request.key())?;
            if let Some(stars) = request.stars() {
                write!(f, " rating={stars}")?;
            }
        }
        None => write!(f, "RETIRE {}", record.retires)?,
    }
    write!(f, " update_id={} prev={} stamp={}", record.id, record.prev, record.stamp)
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(record) => {
                f.write_str("accepted ")?;
                update(record, f)
            }
            Self::Held(record) => {
                f.write_str("holds ")?;
                update(record, f)
            }
            Self::Applied { record, stands, value_timestamp } => {
                let effect = if *stands { "stands" } else { "a greater stamp stands" };
                write!(f, "applied {} ({effect}) value_timestamp={value_timestamp}", record.name())
            }
            Self::Waiting { missing } => write!(f, "a request waits for {missing}"),
            Self::Pulled { from } => write!(f, "pulls records from {from}"),
            Self::Status { status, mode } => write!(f, "is {status} (mode {mode})"),
            Self::CaughtUp { target } => write!(f, "has caught up with {target} and serves"),
            Self::PeerJoined(peer) => write!(f, "replica {peer} is there"),
            Self::PeerGone(peer) => write!(f, "replica {peer} is gone"),
            Self::PeerRestarted { id, former } => write!(f, "replica {id} was {former} before its last start"),
            Self::ClusterFounded { id } => write!(f, "found no replica that knows the cluster: this is cluster {id}"),
            Self::ClustersMet { id, alias } => write!(
                f,
                "cluster {alias} and cluster {id} have met on the same subjects and are one from now on: its identity is \
                 {id}, and sessions of cluster {alias} go on"
            ),
            Self::ForeignDataset { peer, dataset } => write!(
                f,
                "replica {peer} started from another data set ({dataset}) and is ignored: start it with the same \
                 --database, or under another --prefix"
            ),
            Self::Dropped { record, reason, count } => write!(f, "dropped {record} ({count} of its message): {reason}"),
            Self::SnapshotBegins { from } => write!(f, "loads the snapshot of {from}"),
            Self::SnapshotProgress { rows, of } => write!(f, "has {rows} of about {of} rows of the snapshot"),
            Self::SnapshotBroken { from, reason } => write!(f, "begins the snapshot anew: {from} says: {reason}"),
            Self::SnapshotLoaded { rows, value_timestamp } => {
                write!(f, "has loaded a snapshot of {rows} rows at {value_timestamp}")
            }
            Self::Retired { id, count } => write!(f, "replica {id} is gone for good with {count} updates, all known"),
            Self::Lost { origin, after, until } => write!(
                f,
                "LOST records {origin}:{} to {origin}:{until}: {origin} is gone and nobody holds them; more replicas \
                 died than --fault-tolerance covers, and sessions that saw these updates go on without them",
                after + 1
            ),
            Self::ClaimedLost { origin, after, until } => write!(
                f,
                "LOST records {origin}:{} to {origin}:{until}, which a session says that it has seen: {origin} is gone and no \
                 replica here ever showed to hold them; sessions that saw these updates go on without them",
                after + 1
            ),
            Self::Reconciled { peer } => write!(f, "has the same ratings as replica {peer} again"),
            Self::Diverged { peer, value_timestamp, ours, theirs } => write!(
                f,
                "DIVERGED from replica {peer}: both have applied {value_timestamp}, but the digest here is {ours} and \
                 there {theirs}; both take the other's ratings, the greater stamp stays; please report this, with the logs of both"
            ),
        }
    }
}
