//! The reasons why a scene fails, in words for people.

use std::io;
use std::time::Duration;

use natter_broker::ask::AskError;
use natter_broker::connection::ConnectError;
use natter_client::session::{BeginError, SessionError};

use crate::error::ClusterError;

/// The reason why a scene failed. All that it started is stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// The cluster did not start.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no connection to the broker of the scene.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A session does not begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// A client's request was not done.
    #[error("{what}: {source}")]
    Request {
        /// The request, in words.
        what: &'static str,
        /// The answer.
        source: Box<SessionError>,
    },
    /// A replica gave no answer to a direct question.
    #[error("replica {name} does not answer {what}: {source}")]
    Replica {
        /// Name of the replica.
        name: String,
        /// The question, in words.
        what: &'static str,
        /// The reason.
        source: AskError,
    },
    /// The observation does not fit the expectation.
    #[error("step {step} expected: {expected} It observed: {observed}")]
    Unexpected {
        /// Number of the step.
        step: usize,
        /// The expectation that the step stated.
        expected: String,
        /// The observation.
        observed: String,
    },
    /// An event did not happen.
    #[error("step {step} waited {} s for this, which did not happen: {event}; last seen: {last}", waited.as_secs())]
    NotSeen {
        /// Number of the step.
        step: usize,
        /// The event.
        event: String,
        /// Time that was allowed.
        waited: Duration,
        /// State of the cluster at the end.
        last: String,
    },
    /// The connection to the broker is closed.
    #[error("the connection to the broker of the scene is closed")]
    Closed,
    /// Messages came faster than they were read, so that an observation may be missing.
    #[error("{0} messages were lost on the way to the demo, so it can't tell what happened: the machine is too busy")]
    Dropped(u64),
    /// A part of the scene itself is wrong.
    #[error("{0}")]
    Script(String),
    /// The terminal can't be written or read.
    #[error("the terminal can't be used: {0}")]
    Terminal(#[from] io::Error),
    /// Any of these, in a scene.
    #[error("scene {scene}: {source}")]
    InScene {
        /// Name of the scene.
        scene: &'static str,
        /// The reason.
        source: Box<DemoError>,
    },
}

impl DemoError {
    /// Names the scene.
    pub(super) fn in_scene(self, scene: &'static str) -> Self {
        Self::InScene { scene, source: Box::new(self) }
    }

    /// Makes an error of a client's request, which `what` tells in words.
    pub(super) fn of_request(what: &'static str) -> impl FnOnce(SessionError) -> Self {
        move |source| Self::Request { what, source: Box::new(source) }
    }

    /// Makes an error of a value in the script of a scene.
    pub(super) fn of_script(error: impl std::fmt::Display) -> Self {
        Self::Script(error.to_string())
    }
}
