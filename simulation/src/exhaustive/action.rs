//! Actions that are possible in a state.

use std::fmt;

use natter_common::ids::ReplicaId;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Action {
    /// A session asks what its script says next.
    Ask(usize),
    /// A session asks again, under the same id, as its frontend is gone.
    Retry(usize),
    /// The first message of a link arrives.
    Deliver(ReplicaId, ReplicaId, &'static str),
    /// The first message of each link to a process arrives, all in one turn.
    DeliverTogether(ReplicaId),
    /// The first message of a link is lost.
    Lose(ReplicaId, ReplicaId, &'static str),
    /// The same as that action, but for the store of the process: it fails after so many commits of the turn.
    LosePower(Box<Action>, usize),
    /// A replica manager ends without a word.
    Crash(ReplicaId),
    /// Time passes for all.
    Tick,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(session) => write!(f, "session {session} asks"),
            Self::Retry(session) => write!(f, "session {session} asks again"),
            Self::LosePower(turn, commits) => write!(f, "{turn}; its store fails after {commits} commits"),
            Self::Deliver(from, to, kind) => write!(f, "{from} -> {to}  {kind}"),
            Self::DeliverTogether(to) => write!(f, "all -> {to}  in one turn"),
            Self::Lose(from, to, kind) => write!(f, "{from} -> {to}  {kind}: lost"),
            Self::Crash(id) => write!(f, "{id} crashes"),
            Self::Tick => f.write_str("time passes"),
        }
    }
}
