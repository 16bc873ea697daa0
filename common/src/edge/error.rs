//! Errors that a frontend answers to clients.

use crate::cluster::ClusterId;
use crate::counted::counted;
use crate::ids::{ReplicaId, UpdateId};
use crate::label::Label;
use crate::messages::Refusal;

/// Error that a client gets in place of a value. `Display` is the text of the `Nats-Service-Error` header.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FrontendError {
    /// The request doesn't follow the contract. Nothing changed.
    #[error("BAD_REQUEST: {0}")]
    BadRequest(String),
    /// The value doesn't allow it. Nothing changed.
    #[error("{}: {text}", .refusal.name())]
    Refused {
        /// Rule that refuses the request.
        refusal: Refusal,
        /// Description of the error, with advice what to do.
        text: String,
        /// Label that the refusal rests on.
        label: Label,
    },
    /// Every replica manager is OFFLINE or gone. Nothing changed.
    #[error("UNAVAILABLE: all replicas are OFFLINE or gone: try again when one is back")]
    Unavailable,
    /// The frontend's own queue is full. Nothing changed.
    #[error("OVERLOADED: {} in the queue of this frontend, which is full: try again later", counted(*waiting, "request"))]
    Overloaded {
        /// Number of requests that wait.
        waiting: usize,
    },
    /// Strict frontends: fewer replica managers hold the update than asked for. It may take effect.
    #[error(
        "NOT_ENOUGH_REPLICAS: {holders} of {asked} replicas hold update {id}; it may still take effect: retry it with \
         the same id"
    )]
    NotEnoughReplicas {
        /// The update's id.
        id: UpdateId,
        /// Number of replicas that hold the update.
        holders: usize,
        /// Number of replicas that must hold it.
        asked: u32,
    },
    /// No reachable replica manager holds all that the session has seen. Nothing changed.
    #[error(
        "STALE: within {timeout_ms} ms no reachable replica held all that this session has seen: try again, or start a \
         new session without `prev`"
    )]
    Stale {
        /// Time waited, in milliseconds.
        timeout_ms: u64,
    },
    /// The session belongs to another cluster. Nothing changed.
    #[error(
        "STALE: this session belongs to cluster {theirs}, and this frontend to cluster {ours}, which is another one: start \
         a new session without `prev` and `cluster`, or ask a frontend of cluster {theirs}"
    )]
    OtherCluster {
        /// The session's.
        theirs: ClusterId,
        /// The frontend's.
        ours: ClusterId,
    },
    /// No answer in time to a query.
    #[error("TIMEOUT: no replica answered within {timeout_ms} ms: try again")]
    QueryTimeout {
        /// Time waited, in milliseconds.
        timeout_ms: u64,
    },
    /// No answer in time to an update, which may still take effect.
    #[error("TIMEOUT: no answer within {timeout_ms} ms; update {id} may still take effect: retry it with the same id")]
    UpdateTimeout {
        /// The update's id.
        id: UpdateId,
        /// Time waited, in milliseconds.
        timeout_ms: u64,
    },
    /// A replica refuses the update, but another one, which is gone, may have accepted it and come back with it.
    #[error(
        "TIMEOUT: no certain answer within {timeout_ms} ms; update {id} is refused ({}), but replica {gone}, which was \
         asked before, is gone and may come back with it: retry it with the same id", .refusal.name()
    )]
    RefusalUncertain {
        /// The update's id.
        id: UpdateId,
        /// Rule that refuses the update.
        refusal: Refusal,
        /// The replica that may have accepted it.
        gone: ReplicaId,
        /// Time waited, in milliseconds.
        timeout_ms: u64,
    },
    /// The broker does not permit this frontend what a query needs. Nothing changed.
    #[error("UNAVAILABLE: {missing}; nothing changed: ask again, another frontend may answer")]
    QueryNotPermitted {
        /// The sentence that lists what is not permitted.
        missing: String,
    },
    /// The broker does not permit this frontend what an update needs, which was perhaps sent before.
    #[error("TIMEOUT: {missing}; {} may still take effect: retry it with the same id", named(.id.as_ref()))]
    UpdateNotPermitted {
        /// The sentence that lists what is not permitted.
        missing: String,
        /// The update's id, if the client gave one.
        id: Option<UpdateId>,
    },
    /// In a batch: operations on the same rating that came before took all the time. Nothing changed.
    #[error(
        "TIMEOUT: it was not begun within {timeout_ms} ms, as operations on the same rating come before it in the batch; \
         nothing changed: send it again"
    )]
    NotBegun {
        /// Time waited, in milliseconds.
        timeout_ms: u64,
    },
    /// The answer does not fit in the reply. An update may have taken effect.
    #[error(
        "REPLY_TOO_LARGE: the answer does not fit in one message of this broker: ask for less at a time, and send updates \
         with the same ids"
    )]
    ReplyTooLarge,
}

impl FrontendError {
    /// The `Nats-Service-Error-Code`.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Refused { refusal: Refusal::MovieNotFound | Refusal::RatingNotFound, .. } => 404,
            Self::Refused { refusal: Refusal::RatingExists, .. } => 409,
            Self::ReplyTooLarge => 413,
            Self::Unavailable
            | Self::Overloaded { .. }
            | Self::NotEnoughReplicas { .. }
            | Self::QueryNotPermitted { .. } => 503,
            Self::Stale { .. }
            | Self::OtherCluster { .. }
            | Self::QueryTimeout { .. }
            | Self::UpdateTimeout { .. }
            | Self::UpdateNotPermitted { .. }
            | Self::RefusalUncertain { .. }
            | Self::NotBegun { .. } => 504,
        }
    }

    /// Label of the ratings that the error tells of, if it does.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Self::Refused { label, .. } => Some(label),
            _ => None,
        }
    }
}

/// `update 0190…`, or `the update` for one without an id of the client's.
fn named(id: Option<&UpdateId>) -> String {
    id.map_or_else(|| "the update".to_owned(), |id| format!("update {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;

    #[test]
    fn errors_have_the_codes_and_names_of_the_contract() {
        let id = UpdateId::from_stamp(Stamp::ZERO, 0);
        let cluster = |text| ClusterId::new(text).unwrap();
        let refused = |refusal| FrontendError::Refused { refusal, text: "why".to_owned(), label: Label::new() };
        for (error, code, name) in [
            (FrontendError::BadRequest("why".to_owned()), 400, "BAD_REQUEST: why"),
            (refused(Refusal::MovieNotFound), 404, "MOVIE_NOT_FOUND: why"),
            (refused(Refusal::RatingNotFound), 404, "RATING_NOT_FOUND: why"),
            (refused(Refusal::RatingExists), 409, "RATING_EXISTS: why"),
            (FrontendError::ReplyTooLarge, 413, "REPLY_TOO_LARGE: "),
            (FrontendError::Unavailable, 503, "UNAVAILABLE: "),
            (FrontendError::Overloaded { waiting: 7 }, 503, "OVERLOADED: 7 requests"),
            (FrontendError::NotEnoughReplicas { id, holders: 1, asked: 2 }, 503, "NOT_ENOUGH_REPLICAS: 1 of 2"),
            (FrontendError::Stale { timeout_ms: 7 }, 504, "STALE: within 7 ms"),
            (
                FrontendError::OtherCluster { theirs: cluster("a"), ours: cluster("b") },
                504,
                "STALE: this session belongs to cluster a, and this frontend to cluster b",
            ),
            (FrontendError::QueryTimeout { timeout_ms: 7 }, 504, "TIMEOUT: no replica answered within 7 ms"),
            (FrontendError::NotBegun { timeout_ms: 7 }, 504, "TIMEOUT: it was not begun within 7 ms"),
            (FrontendError::QueryNotPermitted { missing: "why".to_owned() }, 503, "UNAVAILABLE: why; nothing changed"),
            (
                FrontendError::UpdateNotPermitted { missing: "why".to_owned(), id: Some(id) },
                504,
                "TIMEOUT: why; update 0000",
            ),
            (
                FrontendError::UpdateNotPermitted { missing: "why".to_owned(), id: None },
                504,
                "TIMEOUT: why; the update",
            ),
            (FrontendError::UpdateTimeout { id, timeout_ms: 7 }, 504, "TIMEOUT: no answer within 7 ms; update 0000"),
            (
                FrontendError::RefusalUncertain {
                    id,
                    refusal: Refusal::RatingExists,
                    gone: ReplicaId::new("r1").unwrap(),
                    timeout_ms: 7,
                },
                504,
                "TIMEOUT: no certain answer within 7 ms; update 0000",
            ),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().starts_with(name), "{error}");
            assert_eq!(error.label().is_some(), code == 404 || code == 409, "{error}");
        }
    }
}
