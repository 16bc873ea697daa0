//! The way of an update: from the client through a frontend to its acceptor, and by gossip to all replicas.

use natter_client::session::{Seen, Update, UpdateId};
use natter_client::watch::diagram;
use natter_client::watch::trace::Wanted;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::words;

/// Number of replicas.
const REPLICAS: usize = 3;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let mut session = stage.session(Seen::default()).await?;
    let (user_id, movie_id) = (stage.user, stage.movie);

    stage
        .step(
            "User 42 rates movie 1 with 4.5 stars. The picture shows every message of that one request, in the order in \
             which they travel.",
            "The frontend asks one replica to accept the update, and at the same time another one to say when it holds it. \
             The acceptor gives it the next number of its own and gossips the record at once. The client has its answer as \
             soon as two replicas hold the same record.",
        )
        .await?;
    let id = session.new_update_id();
    let update = Update::Create { user_id, movie_id, rating: stars(4.5)? };
    stage.start_recording();
    let created = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("create"))?;
    let mut trace = stage.trace(&Wanted::Update(update, id)).await?;
    for step in &mut trace.steps {
        step.line.text = shortened(&step.line.text, id, &created.value.title);
    }
    let picture = diagram::draw(&trace, stage.names());
    stage.show(&picture)?;
    let first = stage.record(id, &created).await?;
    let text = words::record(&first, stage.names());
    stage.observed(first.seq == 1 && first.prev.is_empty(), &text)?;
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    let names_it = created.label.replicas.get(&first.i) == first.seq;
    stage.observed(names_it && created.replicas.len() >= 2, &text)?;
    for kind in ["request", "accept?", "confirm?", "gossip", "reply", "answer"] {
        if !trace.steps.iter().any(|step| step.line.kind == kind) {
            stage.observed(false, &format!("no message of the kind \"{kind}\""))?;
        }
    }

    stage
        .step(
            "Gossip is for all replicas, so the third one gets the record too.",
            "All three have applied the same record. Equal value timestamps mean equal ratings, so their digests are equal.",
        )
        .await?;
    let snapshot = stage.until_converged(REPLICAS).await?;
    stage.show_replicas(&snapshot)?;
    let all = snapshot.replicas.iter().all(|row| row.value_timestamp.covers(&created.label.replicas));
    stage.observed(all, &format!("one digest at {}", words::timestamp(&created.label.replicas, stage.names())))?;

    stage
        .step(
            "The same session changes its rating to 3.0. Its request carries the label of the first answer as `prev`.",
            "The new record comes after the first one everywhere: it has the next number of the same origin, or its `prev` \
             names the first record.",
        )
        .await?;
    let id = session.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(3.0)? };
    let updated = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("update"))?;
    let second = stage.record(id, &updated).await?;
    let follows = second.i == first.i && second.seq == first.seq + 1;
    let depends = second.prev.get(&first.i) >= first.seq;
    let text = words::record(&second, stage.names());
    stage.observed((follows || depends) && second.stamp > first.stamp, &text)?;
    let text = format!("the answer: {}", words::answer(&updated, stage.names()));
    stage.observed(updated.value.rating == Some(stars(3.0)?), &text)?;
    let snapshot = stage.until_converged(REPLICAS).await?;
    stage.show_replicas(&snapshot)?;

    stage
        .end(
            "An update waits for two replicas and for no majority. Everything else, its way to all others, goes on after the \
             answer.",
        )
        .await
}

/// The text of a message without the parts that are the same in all messages of this scene, so that a line is short.
fn shortened(text: &str, id: UpdateId, title: &str) -> String {
    let text = text.replace(&format!(", id {id}"), "").replace(&format!("id {id}"), "the same update");
    text.replace("user 42 movie 1: ", "").replace(&format!("{title}: "), "")
}
