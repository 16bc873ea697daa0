//! Reasons why a verb was not performed, in words for people.

use natter_common::messages::Role;

use super::verb::VerbError;
use crate::arguments::MEMBERS_MAX;
use crate::error::ClusterError;
use crate::roles;

/// Why a verb was not performed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The text is no verb.
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// The verb needs a name.
    #[error("`{verb}` needs a name: write one of {names}")]
    NoName {
        /// The verb.
        verb: &'static str,
        /// All names.
        names: String,
    },
    /// No process has this name.
    #[error("no process is named \"{name}\": write one of {names}")]
    UnknownName {
        /// The name.
        name: String,
        /// All names.
        names: String,
    },
    /// Several processes have names that begin like this.
    #[error("\"{name}\" may mean several processes: write one of {names}")]
    Ambiguous {
        /// The name.
        name: String,
        /// Names of those processes.
        names: String,
    },
    /// The process has ended.
    #[error("{what} does not run: `restart {name}` starts it again")]
    NotRunning {
        /// The process.
        what: String,
        /// Its name.
        name: String,
    },
    /// The process is paused.
    #[error("{0} is paused: resume it first")]
    Paused(String),
    /// The process is not paused.
    #[error("{0} is not paused")]
    NotPaused(String),
    /// Only replicas have a mode.
    #[error("{0} has no mode: only the mode of a replica can be set")]
    NoMode(String),
    /// The process has not shown itself yet.
    #[error("{0} has not shown itself yet: try again in a moment")]
    NotSeen(String),
    /// The process does not answer.
    #[error("{what} does not answer: {reason}")]
    NoAnswer {
        /// The process.
        what: String,
        /// Reason.
        reason: String,
    },
    /// There is no link that could be cut.
    #[error("there is one site only, and so no link between sites: start the cluster with --sites 2")]
    OneSite,
    /// The link is cut already.
    #[error("the link between the sites is cut already: `heal` lets it work again")]
    AlreadyCut,
    /// The link is not cut.
    #[error("the link between the sites is not cut")]
    NotCut,
    /// As many processes of this role run as the launcher starts.
    #[error("{MEMBERS_MAX} processes of the role {} are the most that one launcher starts", roles::word(*.0))]
    TooMany(Role),
    /// A process could not be started.
    #[error(transparent)]
    Start(#[from] ClusterError),
    /// The launcher is ending.
    #[error("the cluster is ending")]
    Ending,
}
