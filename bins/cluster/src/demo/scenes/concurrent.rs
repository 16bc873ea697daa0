//! Two concurrent updates of one rating: each side accepts one, and the same one stands everywhere in the end.

use natter_client::watch::status::Snapshot;
use natter_common::messages::Mode;
use natter_common::record::Record;
use natter_common::timestamp::Timestamp;

use super::steps;
use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::{has_applied, row};
use crate::demo::words;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);

    stage
        .step(
            "User 42 rates movie 1 with 3.0 stars, on a phone and a laptop that both know this rating.",
            "Both replicas hold the record.",
        )
        .await?;
    let (mut phone, mut laptop) = steps::phone_and_laptop(stage, 3.0).await?;

    stage
        .step(
            "r2 goes OFFLINE. On the phone, the user changes the rating to 1.0.",
            "r1 accepts it, and no other replica holds it.",
        )
        .await?;
    stage.set(&["r2"], Mode::Offline).await?;
    let (_, first) = steps::updated_alone(stage, &mut phone, 1.0, "r1").await?;

    stage
        .step(
            "Now it is the other way round: r1 goes OFFLINE, r2 comes back, and a new frontend f2 takes the place of f1, which \
             has seen the first update. On the laptop, the user changes the rating to 5.0.",
            "r2 accepts that, too. Neither update has seen the other one: neither `prev` names the other's record. So they are \
             concurrent.",
        )
        .await?;
    steps::other_way_round(stage, "r1", "r2").await?;
    let (second_id, second) = steps::updated_alone(stage, &mut laptop, 5.0, "r2").await?;
    let knows = |one: &Record, other: &Record| one.i == other.i || one.prev.get(&other.i) >= other.seq;
    let are_concurrent = !knows(&first, &second) && !knows(&second, &first);
    stage.observed(are_concurrent, "neither `prev` names the other's record")?;
    let has_applied_own =
        |seen: &Snapshot| row(seen, "r2").is_some_and(|row| row.value_timestamp.get(&second.i) >= second.seq);
    let snapshot = stage.until("r2 has applied its record", has_applied_own).await?;
    stage.show_replicas(&snapshot)?;
    let digests: Vec<_> = snapshot.replicas.iter().map(|row| row.digest).collect();
    stage.observed(digests.len() == 2 && digests[0] != digests[1], "the two replicas show different digests")?;

    stage
        .step(
            "r1 comes back, and the two replicas hear each other again. r1 gets the laptop's record, r2 gets the phone's.",
            "The greater stamp stands at both, though each one got the records in another order. Here that is the laptop's: \
             5.0 stars.",
        )
        .await?;
    stage.set(&["r1"], Mode::Measured).await?;
    let snapshot = stage.until_converged(2).await?;
    stage.show_replicas(&snapshot)?;
    let mut both = Timestamp::new();
    both.raise(&second.i, second.seq);
    both.raise(&first.i, first.seq);
    let all = ["r1", "r2"].iter().all(|name| has_applied(&snapshot, name, &both));
    let text = format!("both have applied {} and show one digest", words::timestamp(&both, stage.names()));
    stage.observed(all, &text)?;
    let winner = if (first.stamp, first.id) > (second.stamp, second.id) { &first } else { &second };
    for (who, session) in [("phone", &mut phone), ("laptop", &mut laptop)] {
        let reply = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
        let stands = reply.value.update_id == Some(winner.id);
        let text = format!("the {who} reads {}", words::answer(&reply, stage.names()));
        stage.observed(stands && reply.value.rating == Some(stars(5.0)?), &text)?;
    }
    let (name, stamp) = (stage.names().of(&winner.i).to_owned(), words::stamp(winner.stamp));
    stage.observed(winner.id == second_id, &format!("{name}:{} stands, stamped {stamp}", winner.seq))?;

    stage
        .end(
            "Concurrent updates are no error, and no replica has to ask the others which one stands. All apply the same rule \
             to the same records: of two updates of one rating the greater (stamp, id) stands.",
        )
        .await
}
