//! Every replica OFFLINE: a refusal at once, nothing half done, and the session goes on afterwards.

use natter_client::session::{ErrorName, Seen, SessionError};
use natter_common::messages::Mode;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::has_applied;
use crate::demo::words;

const ALL: [&str; 3] = ["r1", "r2", "r3"];

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);
    let mut session = stage.session(Seen::default()).await?;

    stage
        .step(
            "User 42 rates movie 1 with 4.5 stars.",
            "Two replicas hold the record, and gossip brings it to the third.",
        )
        .await?;
    let created = stage.during(session.create(user_id, movie_id, stars(4.5)?)).await?;
    let created = created.map_err(DemoError::of_request("create"))?;
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    stage.observed(created.replicas.len() >= 2, &text)?;
    stage.until_converged(ALL.len()).await?;

    stage
        .step(
            "All three replicas are told to be OFFLINE.",
            "Each one still answers its status request and shows presence, and does nothing else.",
        )
        .await?;
    let snapshot = stage.set(&ALL, Mode::Offline).await?;
    stage.show_replicas(&snapshot)?;

    stage
        .step(
            "A client that asks only once reads the rating, and then changes it to 1.0.",
            "Both requests fail with UNAVAILABLE (503), at once. The frontend is there and says so; it has no copy of its own, \
             and it does not guess.",
        )
        .await?;
    let mut hasty = stage.hasty_session(session.seen()).await?;
    let read = stage.during(hasty.read(user_id, movie_id)).await?;
    refused(stage, "read", read.err())?;
    let update = stage.during(hasty.update(user_id, movie_id, stars(1.0)?)).await?;
    refused(stage, "update", update.err())?;

    stage
        .step(
            "One replica, r2, comes back. The session reads its rating again.",
            "One replica is enough: the answer is 4.5 stars, and covers the label of step 1. The update that was refused has \
             not taken effect.",
        )
        .await?;
    stage.set(&["r2"], Mode::Measured).await?;
    let reply = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
    let text = format!("the session reads {}", words::answer(&reply, stage.names()));
    let fits = reply.value.rating == Some(stars(4.5)?) && reply.label.replicas.covers(&created.label.replicas);
    stage.observed(fits, &text)?;

    stage
        .step(
            "The session changes the rating to 2.0, while r2 is alone. Then r1 and r3 come back.",
            "r2 alone holds the update, and the answer says that. r1 and r3 get the record from r2, and all show one digest.",
        )
        .await?;
    let updated = stage.during(session.update(user_id, movie_id, stars(2.0)?)).await?;
    let updated = updated.map_err(DemoError::of_request("update"))?;
    let text = format!("the answer: {}", words::answer(&updated, stage.names()));
    stage.observed(updated.replicas.len() == 1, &text)?;
    stage.set(&["r1", "r3"], Mode::Measured).await?;
    let snapshot = stage.until_converged(ALL.len()).await?;
    stage.show_replicas(&snapshot)?;
    let label = &updated.label.replicas;
    let text = format!("all have applied {}, the label of the answer", words::timestamp(label, stage.names()));
    stage.observed(ALL.iter().all(|name| has_applied(&snapshot, name, label)), &text)?;

    stage
        .end(
            "Availability ends only where no replica is left. The failure is clear and quick, a refused update has no effect, \
             and the first replica that returns is enough to go on.",
        )
        .await
}

fn refused(stage: &mut Stage<'_>, what: &str, error: Option<SessionError>) -> Result<(), DemoError> {
    match error {
        Some(error) => {
            let fits = error.name == ErrorName::Unavailable && error.code == 503 && error.doubtful.is_none();
            let took = words::milliseconds(error.waited);
            stage.observed(fits, &format!("{what}: {error}, after {took}"))
        }
        None => stage.observed(false, &format!("{what}: an answer")),
    }
}
