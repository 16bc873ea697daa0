//! Two concurrent updates of one rating: each side accepts one, and the same one stands everywhere in the end.

use natter_client::session::{Seen, Update};
use natter_client::watch::status::Snapshot;
use natter_common::messages::{Mode, Role};
use natter_common::record::Record;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::{has_applied, row};
use crate::demo::words;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);
    let mut phone = stage.session(Seen::default()).await?;

    stage
        .step(
            "User 42 rates movie 1 with 3.0 stars, on a phone and a laptop that both know this rating.",
            "Both replicas hold the record.",
        )
        .await?;
    let created = stage.during(phone.create(user_id, movie_id, stars(3.0)?)).await?;
    let created = created.map_err(DemoError::of_request("create"))?;
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    stage.observed(created.replicas.len() == 2, &text)?;
    stage.until_converged(2).await?;
    let mut laptop = stage.session(phone.seen()).await?;

    stage
        .step(
            "r2 goes OFFLINE. On the phone, the user changes the rating to 1.0.",
            "r1 accepts it, and no other replica holds it.",
        )
        .await?;
    stage.set(&["r2"], Mode::Offline).await?;
    let first_id = phone.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(1.0)? };
    let answer = stage.during(phone.write(update, first_id)).await?.map_err(DemoError::of_request("update"))?;
    let first = stage.record(first_id, &answer).await?;
    let text =
        format!("{}, held by {}", words::record(&first, stage.names()), words::listed(&answer.replicas, stage.names()));
    stage.observed(first.i.as_str().starts_with("r1-") && answer.replicas == [first.i.clone()], &text)?;

    stage
        .step(
            "Now it is the other way round: r1 goes OFFLINE, r2 comes back, and a new frontend f2 takes the place of f1, which \
             has seen the first update. On the laptop, the user changes the rating to 5.0.",
            "r2 accepts that, too. Neither update has seen the other one: neither `prev` names the other's record. So they are \
             concurrent.",
        )
        .await?;
    stage.set(&["r1"], Mode::Offline).await?;
    stage.set(&["r2"], Mode::Measured).await?;
    stage.stop(Role::Frontend, "f1").await?;
    stage.add(Role::Frontend, 2).await?;
    let second_id = laptop.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(5.0)? };
    let answer = stage.during(laptop.write(update, second_id)).await?.map_err(DemoError::of_request("update"))?;
    let second = stage.record(second_id, &answer).await?;
    let text = format!(
        "{}, held by {}",
        words::record(&second, stage.names()),
        words::listed(&answer.replicas, stage.names())
    );
    let knows = |one: &Record, other: &Record| one.i == other.i || one.prev.get(&other.i) >= other.seq;
    stage.observed(!knows(&first, &second) && !knows(&second, &first), &text)?;
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
    let mut both = answer.label.replicas.clone();
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
