//! A delete, and an older update that comes late: the marker of the delete outlives the rating.

use natter_client::session::Update;
use natter_client::watch::status::Snapshot;
use natter_common::messages::Mode;

use super::steps;
use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::row;
use crate::demo::words;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);

    stage
        .step("User 42 rates movie 1 with 4.5 stars, on a phone and a laptop.", "Both replicas hold the record.")
        .await?;
    let (mut phone, mut laptop) = steps::phone_and_laptop(stage, 4.5).await?;

    stage
        .step(
            "r1 goes OFFLINE. On the phone, the user changes the rating to 1.0.",
            "r2 accepts that update alone, and r1 does not hear of it.",
        )
        .await?;
    stage.set(&["r1"], Mode::Offline).await?;
    let (_, late) = steps::updated_alone(stage, &mut phone, 1.0, "r2").await?;

    stage
        .step(
            "r2 goes OFFLINE, r1 comes back, and a new frontend f2 takes the place of f1. On the laptop, the user deletes the \
             rating.",
            "r1 accepts the delete. It took away 4.5 stars, and its stamp is greater than that of the update which r1 does not \
             know yet.",
        )
        .await?;
    steps::other_way_round(stage, "r2", "r1").await?;
    let delete_id = laptop.new_update_id();
    let delete = Update::Delete { user_id, movie_id };
    let answer = stage.during(laptop.write(delete, delete_id)).await?.map_err(DemoError::of_request("delete"))?;
    let deleted = stage.record(delete_id, &answer).await?;
    let text = words::record(&deleted, stage.names());
    stage.observed(deleted.i.as_str().starts_with("r1-") && deleted.stamp > late.stamp, &text)?;
    let text = format!("the answer: it took away {}", words::answer(&answer, stage.names()));
    stage.observed(answer.value.rating == Some(stars(4.5)?), &text)?;
    let reply = stage.during(laptop.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
    let text = format!("the laptop reads {}", words::answer(&reply, stage.names()));
    stage.observed(reply.value.rating.is_none(), &text)?;
    let has_deleted =
        |seen: &Snapshot| row(seen, "r1").is_some_and(|row| row.value_timestamp.get(&deleted.i) >= deleted.seq);
    let before = stage.until("r1 has applied the delete", has_deleted).await?;
    stage.show_replicas(&before)?;

    stage
        .step(
            "r2 comes back. Its older update reaches r1 after the delete.",
            "r1 applies that record, too: its value timestamp counts it. But the marker that the delete left has the greater \
             stamp, so there is still no rating, and the digest of r1 does not change. r2 takes its rating away.",
        )
        .await?;
    stage.set(&["r2"], Mode::Measured).await?;
    let after = stage.until_converged(2).await?;
    stage.show_replicas(&after)?;
    let digest = |seen: &Snapshot| row(seen, "r1").and_then(|row| row.digest);
    let counts = row(&after, "r1").is_some_and(|row| row.value_timestamp.get(&late.i) >= late.seq);
    let name = format!("{}:{}", stage.names().of(&late.i), late.seq);
    stage.observed(counts, &format!("r1 has applied {name}, the late update"))?;
    stage.observed(digest(&before).is_some() && digest(&before) == digest(&after), "the digest of r1 is as before")?;
    for (who, session) in [("phone", &mut phone), ("laptop", &mut laptop)] {
        let reply = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
        let text = format!("the {who} reads {}", words::answer(&reply, stage.names()));
        let by_delete = reply.value.update_id == Some(delete_id);
        stage.observed(reply.value.rating.is_none() && by_delete, &text)?;
    }

    stage
        .end(
            "A deleted rating is not simply gone. Its marker, with the stamp of the delete, stays, so that what is older cannot \
             bring the rating back, however late it comes.",
        )
        .await
}
