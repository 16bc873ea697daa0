//! The log of each step of the protocol: requests, the replicas asked, and replies. Its level is debug, except for
//! events that an operator should know.

use std::fmt;

use natter_broker::moderation::Moderation;
use natter_common::edge::{ClientRequest, Outcome};
use natter_common::frontend::{Input, Output};
use natter_common::ids::ReplicaId;
use tracing::field::display;
use tracing::{Level, debug, enabled, info, warn};

use crate::traces::Traces;

/// Logs what came in.
pub(crate) fn log_input(frontend: &ReplicaId, input: &Input, traces: &Traces) {
    let traceparent = match input {
        Input::Request(client, _) => traces.of_client(*client).map(display),
        _ => None,
    };
    match input {
        Input::Request(client, ClientRequest::Query { request, prev, .. }) => {
            let asked = request.parameters();
            debug!(%frontend, request = client, method = request.method(), user = asked.user.map(display),
                movie = asked.movie.map(display), title = asked.title, limit = asked.limit, after = asked.after, %prev,
                traceparent, "query");
        }
        Input::Request(client, ClientRequest::Update { request, id, prev, .. }) => {
            let key = request.key();
            let rating = request.stars().map(display);
            let update_id = id.map(display);
            debug!(%frontend, request = client, method = request.method(), user = %key.user_id, movie = %key.movie_id,
                rating, update_id, %prev, traceparent, "update");
        }
        Input::Request(client, ClientRequest::Batch(batch)) => {
            let (operations, prev) = (batch.operations.len(), &batch.prev);
            debug!(%frontend, request = client, operations, %prev, traceparent, "batch");
        }
        Input::Replies(replies) => {
            debug!(%frontend, replica = %replies.id, replies = replies.replies.len(), "replies");
        }
        Input::Unreachable(replica, _) => debug!(%frontend, %replica, "nobody listens there"),
        _ => {}
    }
}

/// Logs what goes out or was done.
pub(crate) fn log_output(frontend: &ReplicaId, output: &Output, traces: &Traces, moderation: &mut Moderation) {
    let traceparent = traces.of_output(output).map(display);
    match output {
        Output::Notice(notice) if notice.kind_caused_by_others().is_some_and(|kind| !moderation.admits(kind)) => {}
        Output::Notice(notice) if notice.is_warning() => warn!(%frontend, "{notice}"),
        Output::Notice(notice) if notice.is_detail() => debug!(%frontend, "{notice}"),
        Output::Notice(notice) => info!(%frontend, "{notice}"),
        _ if !enabled!(Level::DEBUG) => {}
        Output::Update(replica, request) => {
            debug!(%frontend, %replica, update_id = %request.id, prev = %request.prev, stamp = %request.stamp,
                traceparent, "asks to accept");
        }
        Output::Confirm(replica, request) => {
            debug!(%frontend, %replica, update_id = %request.id, traceparent, "asks to confirm");
        }
        Output::Query(replica, request) => {
            debug!(%frontend, %replica, method = request.request.method(), prev = %request.prev, traceparent, "asks");
        }
        Output::Answer(client, Ok(reply)) => {
            debug!(%frontend, request = client, label = %reply.label, replicas = %Ids(&reply.replicas), traceparent,
                "answers");
        }
        Output::Answer(client, Err(error)) => debug!(%frontend, request = client, %error, traceparent, "answers"),
        Output::BatchAnswer(client, reply) => {
            let failed = reply.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
            debug!(%frontend, request = client, label = %reply.label, failed, traceparent, "answers a batch");
        }
        Output::Lost(client, lost) => debug!(%frontend, request = client, %lost, traceparent, "tells of lost updates"),
        Output::Retired(client, retired) => {
            debug!(%frontend, request = client, %retired, traceparent, "tells of retired replicas")
        }
        Output::Presence(_) => {}
    }
}

/// Ids with commas between them.
struct Ids<'a>(&'a [ReplicaId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
