//! Everything that can happen to a frontend, and everything it asks of its shell.

use std::fmt;
use std::ops::Range;

use crate::cluster::ClusterId;
use crate::edge::{BatchReply, ClientReply, ClientRequest, FrontendError};
use crate::ids::{ReplicaId, UpdateId};
use crate::messages::{ConfirmRequest, Presence, QueryRequest, Replies, UpdateRequest};
use crate::timestamp::Timestamp;

/// Everything that can happen to a frontend. Time passes only with `Tick`.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks; the number is the shell's, to find the way back.
    Request(u64, ClientRequest),
    /// A replica manager answers.
    Replies(Replies),
    /// The broker says that nobody listens where this replica manager should: of the updates that it was asked to accept,
    /// those with these numbers have come to nobody. They went in one message.
    Unreachable(ReplicaId, Range<u64>),
    /// A replica manager shows itself.
    Presence(Box<Presence>),
    /// The connection to the broker is there again.
    Connected,
    /// The connection to the broker is lost.
    Disconnected,
    /// Time passes: every 20 ms or so.
    Tick {
        /// Whether all that replica managers sent so far was handled before: otherwise their silence proves nothing.
        listened: bool,
    },
}

/// Everything a frontend asks of its shell. Outputs to the same replica may travel in one message.
#[derive(Clone, Debug)]
pub enum Output {
    /// To a replica manager: accept.
    Update(ReplicaId, UpdateRequest),
    /// To a replica manager: say when it is held.
    Confirm(ReplicaId, ConfirmRequest),
    /// To a replica manager: tell.
    Query(ReplicaId, QueryRequest),
    /// To the client with this number.
    Answer(u64, Result<ClientReply, FrontendError>),
    /// To the client with this number, who sent a batch.
    BatchAnswer(u64, BatchReply),
    /// For the answer to the client with this number, which comes later: updates that its session has seen, by replica
    /// the number of the last one, are lost. The session must leave them out of its label.
    Lost(u64, Timestamp),
    /// For the answer to the client with this number, which comes next: replicas that its session has seen, each with the
    /// number of its last update, are retired. The session may leave them out of its label, as the answer's label stands for
    /// them.
    Retired(u64, Timestamp),
    /// To everybody.
    Presence(Box<Presence>),
    /// For the log file.
    Notice(Notice),
}

/// Event inside the frontend, for logs and tests.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A replica manager came, or came back.
    ReplicaJoined(ReplicaId),
    /// A replica manager left, fell silent or is not reached.
    ReplicaGone(ReplicaId),
    /// A replica manager was silent for too long; another is asked too.
    Retried {
        /// The silent replica.
        silent: ReplicaId,
    },
    /// A replica manager refused a stamp as too far ahead.
    ClockAhead {
        /// Time by which the clock here is ahead of the one there, in milliseconds.
        ahead_ms: u64,
    },
    /// An update was given another stamp.
    StampedAgain(UpdateId),
    /// The replicas belong to this cluster, which is another one than that of those before.
    AnotherCluster(ClusterId),
    /// Records died with the last replica that held them; nothing waits for them any more.
    Lost {
        /// The replica that accepted them.
        origin: ReplicaId,
        /// The last record that a present replica holds.
        after: u64,
        /// The last record that is lost.
        until: u64,
        /// Whether this frontend has seen it itself, and not only heard of it from a client.
        proven: bool,
    },
}

impl Notice {
    /// For notices that others can cause as often as they like: what kind of notice it is, so that a shell can tell of
    /// each kind in moderation.
    pub fn kind_caused_by_others(&self) -> Option<&'static str> {
        match self {
            Self::ReplicaJoined(_) => Some("replicas that came"),
            Self::ReplicaGone(_) => Some("replicas that went"),
            Self::Lost { proven: false, .. } => Some("lost records that clients name"),
            _ => None,
        }
    }

    /// Whether an operator may act on it.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::ClockAhead { .. } | Self::Lost { .. } | Self::AnotherCluster(_))
    }

    /// Whether it is of interest only to those who follow single requests.
    pub fn is_detail(&self) -> bool {
        matches!(self, Self::Retried { .. } | Self::StampedAgain(_))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplicaJoined(id) => write!(f, "replica {id} is there"),
            Self::ReplicaGone(id) => write!(f, "replica {id} is gone"),
            Self::Retried { silent } => write!(f, "replica {silent} is silent: another one is asked"),
            Self::ClockAhead { ahead_ms } => {
                write!(f, "the clock here is {ahead_ms} ms ahead of a replica's: set it right; updates take longer")
            }
            Self::AnotherCluster(cluster) => write!(
                f,
                "the replicas are those of cluster {cluster}, another one than before: sessions of the one before are \
                 answered STALE, as no replica here will ever hold what they have seen"
            ),
            Self::StampedAgain(id) => write!(f, "update {id} is stamped again"),
            Self::Lost { origin, after, until, proven } => {
                let source = if *proven { "this frontend has" } else { "a session says that it has" };
                let first = after + 1;
                write!(
                    f,
                    "LOST updates {origin}:{first} to {origin}:{until}, which {source} seen: replica {origin} is gone and \
                     no present replica holds them; requests go on without them"
                )
            }
        }
    }
}
