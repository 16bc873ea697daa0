//! The promises, one file each.
//!
//! Three things are not decided. A glimpse (a refusal, or "nothing there" without the id of a delete, on a key that was
//! deleted at some time) is checked by itself: there must be a write that it may have seen. Whether all glimpses
//! together allow one order of writes is not searched for, which is NP-complete in general. A mean during the run is
//! checked only if every rating that it could rest on is known. Whether an update without an answer took effect is left
//! open if no session saw it.

pub mod averages;
pub mod convergence;
pub mod deletes_stay_dead;
pub mod glimpses;
pub mod lost_updates;
pub mod monotonic_reads;
pub mod monotonic_writes;
pub mod read_your_writes;
mod stale;
pub mod stale_reads;
pub mod thin_air;
pub mod well_formed;
pub mod writes_follow_reads;

use std::fmt;

use super::Verdict;
use super::causality::Causality;
use super::index::Index;

/// Promises of Natter, as far as a client can tell; the simplest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// The history is one: a session does one thing after the other, an id is for one update. A violation is a fault of
    /// the recorder.
    WellFormed,
    /// Every value that is read was written.
    ThinAir,
    /// Refused updates are never seen.
    RefusedUnseen,
    /// A session sees what it wrote.
    ReadYourWrites,
    /// A session never sees older data than before.
    MonotonicReads,
    /// A session that sees a write sees the earlier writes of the same session too.
    MonotonicWrites,
    /// A session that sees a write sees all that the writing session had read before.
    WritesFollowReads,
    /// A session that sees a write sees all that the write follows.
    CausalOrder,
    /// Deleted ratings are not seen by a session that knows that they are gone.
    DeletesStayDead,
    /// Acknowledged updates are there at the end, or something newer.
    NoLostUpdate,
    /// All see the writes of a key in one order.
    Convergence,
    /// A mean is that of the ratings.
    Averages,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WellFormed => "a history of sessions",
            Self::ThinAir => "nothing out of thin air",
            Self::RefusedUnseen => "refused is refused",
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
            Self::CausalOrder => "causal order",
            Self::DeletesStayDead => "deletes stay dead",
            Self::NoLostUpdate => "no lost update",
            Self::Convergence => "one order of writes",
            Self::Averages => "averages are those of the ratings",
        })
    }
}

/// All that needs the causal order.
pub(super) fn causal(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    stale_reads::check(index, causality, verdict);
    monotonic_reads::check(index, verdict);
    glimpses::check(index, causality, verdict);
    deletes_stay_dead::check(index, causality, verdict);
    convergence::check(index, causality, verdict);
    averages::check(index, causality, verdict);
}
