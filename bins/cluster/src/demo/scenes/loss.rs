//! The loss of a replica: what was acknowledged is held by another one.

use natter_client::session::{Seen, Update};
use natter_common::messages::Role;
use tokio::time::Instant;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::row;
use crate::demo::words;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);
    let mut session = stage.session(Seen::default()).await?;

    stage
        .step(
            "User 42 rates movie 1 with 4.5 stars. Frontends ask for two copies, as `--fault-tolerance` is 2.",
            "The answer comes when two replicas hold the record: its origin and another one.",
        )
        .await?;
    let id = session.new_update_id();
    let update = Update::Create { user_id, movie_id, rating: stars(4.5)? };
    let created = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("create"))?;
    let record = stage.record(id, &created).await?;
    let text = format!(
        "{}, held by {}",
        words::record(&record, stage.names()),
        words::listed(&created.replicas, stage.names())
    );
    let others: Vec<_> = created.replicas.iter().filter(|id| **id != record.i).collect();
    stage.observed(created.replicas.contains(&record.i) && !others.is_empty(), &text)?;

    let origin = stage.names().of(&record.i).to_owned();
    stage
        .step(
            &format!(
                "{origin}, the origin of the record, is killed (SIGKILL), and keeps nothing: its ratings were in memory. At \
                 once the session reads its rating."
            ),
            "The rating is there. The label names the record of the dead replica, and another replica gives the answer.",
        )
        .await?;
    stage.kill(Role::Replica, &origin).await?;
    let begun = Instant::now();
    let reply = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
    let took = words::milliseconds(begun.elapsed());
    let text = format!("{took} after the kill: {}", words::answer(&reply, stage.names()));
    let is_by_another = !reply.replicas.contains(&record.i);
    let fits = reply.value.update_id == Some(id) && is_by_another && reply.label.replicas.get(&record.i) >= record.seq;
    stage.observed(fits, &text)?;

    stage
        .step(
            "The session changes its rating to 3.0.",
            "The two that are left accept and hold it. No request fails, and nobody had to be told of the loss.",
        )
        .await?;
    let begun = Instant::now();
    let id = session.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(3.0)? };
    let updated = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("update"))?;
    let took = words::milliseconds(begun.elapsed());
    let second = stage.record(id, &updated).await?;
    let text = format!(
        "after {took}: {}, held by {}",
        words::record(&second, stage.names()),
        words::listed(&updated.replicas, stage.names())
    );
    let is_well = second.i != record.i && updated.replicas.len() == 2 && !updated.replicas.contains(&record.i);
    stage.observed(is_well && second.prev.get(&record.i) >= record.seq, &text)?;

    stage
        .step(
            "Presence takes the place of a name server: a replica that is silent for three intervals, 1.5 s, counts as gone.",
            "The dead replica is not listed any more. The other two show one digest, and the dead one's record is still in \
             their timestamps.",
        )
        .await?;
    let snapshot = stage.until_converged(2).await?;
    stage.show_replicas(&snapshot)?;
    let is_gone = row(&snapshot, &origin).is_none();
    let counted = snapshot.replicas.iter().all(|row| row.value_timestamp.get(&record.i) >= record.seq);
    stage.observed(is_gone && counted, &format!("{origin} is gone, {origin}:{} is applied by both", record.seq))?;

    stage
        .end(
            "With two copies one replica may be lost at any moment without the loss of an acknowledged update. Sessions do not \
             notice, as any replica that covers their label can answer.",
        )
        .await
}
