//! A read at a replica that is behind: it waits, or another replica is asked, and the label tells what the answer reflects.

use std::time::Duration;

use natter_client::session::{Rating, Seen};
use natter_client::watch::message::{Heard, What};
use natter_common::messages::{Mode, Reply};
use natter_common::request::{Answer, Query};
use natter_common::timestamp::Timestamp;
use tokio::time::Instant;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::row;
use crate::demo::words;

/// Time for which a direct query may wait at a replica, in milliseconds.
const WAIT_MS: u64 = 200;
/// Time for which the waiting read is to be seen on the page.
const SEEN_FOR: Duration = Duration::from_secs(4);

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let mut session = stage.session(Seen::default()).await?;
    let (user_id, movie_id) = (stage.user, stage.movie);
    let question = Query::Read { user_id, movie_id };

    stage
        .step(
            "r2 is told to be OFFLINE, as if it had crashed. Then user 42 rates movie 1 with 4.5 stars.",
            "r1 accepts the update alone, and the label of the answer names its record.",
        )
        .await?;
    stage.set(&["r2"], Mode::Offline).await?;
    let created = stage.during(session.create(user_id, movie_id, stars(4.5)?)).await?;
    let created = created.map_err(DemoError::of_request("create"))?;
    let label = created.label.replicas.clone();
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    stage.observed(created.replicas.len() == 1 && label.len() == 1, &text)?;

    stage
        .step(
            "Now r1 goes OFFLINE and r2 comes back. r2 can ask nobody for what it missed.",
            "r2 serves, but it is behind: its value timestamp does not cover the label of the session.",
        )
        .await?;
    stage.set(&["r1"], Mode::Offline).await?;
    let snapshot = stage.set(&["r2"], Mode::Measured).await?;
    stage.show_replicas(&snapshot)?;
    let applied = row(&snapshot, "r2").map(|row| row.value_timestamp.clone()).unwrap_or_default();
    let (has, wants) = (words::timestamp(&applied, stage.names()), words::timestamp(&label, stage.names()));
    stage.observed(!applied.covers(&label), &format!("r2 has applied {has}; the session has seen {wants}"))?;

    stage
        .step(
            "A question to r2 itself, as a frontend sends it for a client that has seen nothing: `prev` is empty.",
            "The answer is old but honest. There is no rating, and the label says that the answer reflects no update.",
        )
        .await?;
    let reply = stage.query("r2", question.clone(), &Timestamp::new(), WAIT_MS).await?;
    let (fits, text) = match &reply {
        Reply::Answered { value: Answer::Rating(Rating { rating, .. }), label } => {
            let label = words::timestamp(&label.replicas, stage.names());
            let rating = rating.map_or_else(|| "no rating".to_owned(), |stars| format!("{stars} stars"));
            (rating == "no rating" && label == "{}", format!("{rating}, label {label}"))
        }
        other => (false, format!("{other:?}")),
    };
    stage.observed(fits, &text)?;

    stage
        .step(
            "The same question for the client that has rated the movie. Its `prev` is the label of step 1, and r2 may keep \
             the question waiting for 200 ms.",
            "r2 does not answer with the old value. It waits for the record, which does not come, and says `behind`.",
        )
        .await?;
    let begun = Instant::now();
    let reply = stage.query("r2", question.clone(), &label, WAIT_MS).await?;
    let took = begun.elapsed();
    let waited = took >= Duration::from_millis(WAIT_MS / 2);
    let word = if reply == Reply::Behind { "behind".to_owned() } else { format!("{reply:?}") };
    stage.observed(reply == Reply::Behind && waited, &format!("{word}, after {}", words::milliseconds(took)))?;

    stage
        .step(
            "The session reads its rating through the frontend. While the read waits at r2, r1 comes back.",
            "r2 gets the missing record from r1. Only then is there an answer: 4.5 stars, and its label covers the label of \
             step 1.",
        )
        .await?;
    let begun = Instant::now();
    let reading = tokio::spawn(async move { (session.read(user_id, movie_id).await, begun.elapsed()) });
    let at_r2 = |heard: &[Heard]| {
        heard.iter().find_map(|heard| match &heard.what {
            What::Queries(replica, queries) if replica.as_str().starts_with("r2-") => {
                queries.iter().find(|query| query.request == question && query.wait_ms > WAIT_MS).cloned()
            }
            _ => None,
        })
    };
    let asked = stage.until_heard("the frontend asks r2", at_r2).await?;
    let prev = words::timestamp(&asked.prev, stage.names());
    stage.observed(asked.prev.covers(&label), &format!("the frontend asks r2, with prev {prev}"))?;
    stage.dwell(SEEN_FOR).await?;
    let text = if reading.is_finished() { "the read has an answer already" } else { "the read still waits" };
    stage.observed(!reading.is_finished(), text)?;
    stage.set(&["r1"], Mode::Measured).await?;
    let (reply, took) = stage.during(reading).await?.map_err(DemoError::of_script)?;
    let reply = reply.map_err(DemoError::of_request("read"))?;
    let text = format!("after {}: {}", words::milliseconds(took), words::answer(&reply, stage.names()));
    let fits = reply.value.rating == Some(stars(4.5)?) && reply.label.replicas.covers(&label);
    stage.observed(fits, &text)?;
    let snapshot = stage.until_converged(2).await?;
    stage.show_replicas(&snapshot)?;

    stage
        .end(
            "A replica may be behind, and its old value is consistent. But no session reads backwards: an answer waits until \
             it covers what the session has seen, and the label tells what it reflects.",
        )
        .await
}
