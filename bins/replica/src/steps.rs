//! The log of each step of the protocol: what came in, what was done, what goes out. At level debug, but for what an
//! operator should know.

use std::fmt;
use std::sync::Arc;

use natter_broker::moderation::Moderation;
use natter_common::counted::counted;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Mode, Reply, SnapshotPart, SnapshotReply, Status};
use natter_common::rating::Average;
use natter_common::replica_manager::{Input, Loudness, Notice, Output, ReplicaManager};
use natter_common::request::Answer;
use tracing::field::display;
use tracing::{Level, debug, enabled, error, info, warn};

use crate::inbox::Traces;

/// Logs what comes in, in this turn of `core`. An OFFLINE replica drops it, so there is nothing to log.
pub(crate) fn log_inputs(core: &ReplicaManager, inputs: &[Input], traces: &Traces) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let mut offline = core.status() == Status::Offline;
    for input in inputs {
        if let Input::Status(_, Some(mode)) = input {
            offline = *mode == Mode::Offline;
        }
        if !offline {
            log_input(core.id(), input, traces);
        }
    }
}

fn log_input(replica: &ReplicaId, input: &Input, traces: &Traces) {
    let traceparent = match input {
        Input::Update(to, _) | Input::Query(to, _) | Input::Confirm(to, _) if !traces.is_empty() => {
            traces.get(&(Arc::clone(&to.subject), to.n)).map(display)
        }
        _ => None,
    };
    match input {
        Input::Update(_, request) => {
            let (update, update_id) = (&request.request, request.id);
            let key = update.key();
            let rating = update.stars().map(display);
            debug!(%replica, method = update.method(), user = %key.user_id, movie = %key.movie_id, rating, %update_id,
                prev = %request.prev, stamp = %request.stamp, traceparent, "update");
        }
        Input::Query(_, request) => {
            let asked = request.request.parameters();
            debug!(%replica, method = request.request.method(), user = asked.user.map(display),
                movie = asked.movie.map(display), title = asked.title, limit = asked.limit, after = asked.after,
                prev = %request.prev, traceparent, "query");
        }
        Input::Confirm(_, request) => {
            debug!(%replica, update_id = %request.id, traceparent, "is asked to confirm");
        }
        Input::Log(_, request) => {
            debug!(%replica, from = %request.id, have = %request.have.replicas, "is asked for its log")
        }
        Input::Gossip(gossip) if !gossip.records.is_empty() => {
            debug!(%replica, from = %gossip.id, records = gossip.records.len(),
                replica_timestamp = %gossip.replica_timestamp.replicas,
                value_timestamp = %gossip.value_timestamp.replicas, "gossip");
        }
        Input::LogPage(page) => {
            debug!(%replica, from = %page.id, records = page.records.len(),
                replica_timestamp = %page.replica_timestamp.replicas, "log page");
        }
        Input::SnapshotReply(SnapshotReply { id, part: SnapshotPart::Chunk(chunk) }) => {
            debug!(%replica, from = %id, rows = chunk.rows.len(), executed = chunk.executed.len(),
                value_timestamp = %chunk.value_timestamp.replicas, "snapshot chunk");
        }
        Input::PullFailed(peer) => debug!(%replica, %peer, "a pull reached nobody"),
        _ => {}
    }
}

/// Logs what goes out or was done.
pub(crate) fn log_output(replica: &ReplicaId, output: &Output, moderation: &mut Moderation) {
    match output {
        Output::Notice(notice) if notice.kind_caused_by_others().is_some_and(|kind| !moderation.admits(kind)) => {}
        Output::Notice(notice) => log_notice(replica, notice),
        _ if !enabled!(Level::DEBUG) => {}
        Output::Reply(_, Reply::Accepted { records, .. }) => {
            debug!(%replica, record = records.first().map(display), "replies: accepted");
        }
        Output::Reply(_, Reply::Answered { value, label }) => {
            debug!(%replica, %label, value = Short(value).to_string(), "replies: answered");
        }
        Output::Reply(_, Reply::Held { records, .. }) => {
            debug!(%replica, record = records.first().map(display), "replies: holds it");
        }
        Output::Reply(_, Reply::NotHeld) => debug!(%replica, "replies: does not hold it"),
        Output::Reply(_, Reply::Refused { refusal, label }) => {
            debug!(%replica, refusal = refusal.name(), %label, "replies: refused");
        }
        Output::Reply(_, Reply::StampAgain { above }) => debug!(%replica, %above, "replies: needs a greater stamp"),
        Output::Reply(_, Reply::StampAhead { wall_ms, .. }) => {
            debug!(%replica, wall_ms, "replies: the stamp is ahead of the clock here");
        }
        Output::Reply(_, Reply::IdInUse) => debug!(%replica, "replies: the id belongs to another update"),
        Output::Reply(_, Reply::Behind) => debug!(%replica, "replies: an update of prev is missing here"),
        Output::Reply(_, Reply::NotServing) => debug!(%replica, "replies: does not serve"),
        Output::Gossip(gossip) if !gossip.records.is_empty() => {
            debug!(%replica, records = gossip.records.len(),
                replica_timestamp = %gossip.replica_timestamp.replicas,
                value_timestamp = %gossip.value_timestamp.replicas, digest = %gossip.digest, "gossips");
        }
        _ => {}
    }
}

fn log_notice(replica: &ReplicaId, notice: &Notice) {
    match notice.loudness() {
        Loudness::Error => error!(%replica, "{notice}"),
        Loudness::Warning => warn!(%replica, "{notice}"),
        Loudness::Info => info!(%replica, "{notice}"),
        Loudness::Debug => debug!(%replica, "{notice}"),
    }
}

/// An answer, of which a line shows the beginning.
struct Short<'a>(&'a Answer);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Rating(rating) => match rating.rating {
                Some(stars) => write!(f, "{} {stars}", rating.title),
                None => write!(f, "{} not rated", rating.title),
            },
            Answer::Ratings(ratings) => {
                write!(f, "{} of {}", ratings.ratings.len(), counted(ratings.total, "rating"))
            }
            Answer::Average(Average { title, average: Some(mean), count, .. }) => {
                write!(f, "{title} {mean} of {count}")
            }
            Answer::Average(average) => write!(f, "{} not rated", average.title),
            Answer::Movies(movies) => f.write_str(&counted(movies.movies.len(), "movie")),
        }
    }
}
