//! A partition: both sides go on, differ, and agree again when the link is healed.

use natter_client::session::{Seen, Update};
use natter_client::watch::status::Snapshot;
use natter_common::messages::Reply;
use natter_common::request::Query;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::{has_applied, row};
use crate::demo::words;
use crate::sites::Site;

/// Number of replicas: r1 and r3 at site 1, r2 at site 2.
const REPLICAS: usize = 3;
/// Time for which a direct query may wait at a replica, in milliseconds.
const WAIT_MS: u64 = 200;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let (user_id, movie_id) = (stage.user, stage.movie);
    let mut here = stage.session(Seen::default()).await?;

    stage
        .step(
            "At site 1, user 42 rates movie 1 with 3.0 stars.",
            "Gossip crosses the link: all three replicas show one digest.",
        )
        .await?;
    let created = stage.during(here.create(user_id, movie_id, stars(3.0)?)).await?;
    let created = created.map_err(DemoError::of_request("create"))?;
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    stage.observed(created.value.rating == Some(stars(3.0)?), &text)?;
    let snapshot = stage.until_converged(REPLICAS).await?;
    stage.show_replicas(&snapshot)?;
    let mut there = stage.session_at_two(here.seen()).await?;

    stage
        .step(
            "The link between the two brokers is cut.",
            "After three presence intervals, 1.5 s, each side counts the other one as gone. Neither can tell whether the \
             others have crashed or are cut off.",
        )
        .await?;
    stage.cut().await?;
    let names = |seen: &Snapshot, of: &[&str]| {
        seen.replicas.len() == of.len() && of.iter().all(|name| row(seen, name).is_some())
    };
    for (site, of) in [(Site::One, &["r1", "r3"][..]), (Site::Two, &["r2"])] {
        let event = format!("{site} sees its own replicas only");
        let seen = stage.until_at(site, &event, |seen| names(seen, of)).await?;
        let ids: Vec<_> = seen.replicas.iter().map(|row| row.id.clone()).collect();
        let text = format!("{site} sees {}", words::listed(&ids, stage.names()));
        stage.observed(names(&seen, of), &text)?;
    }

    stage
        .step(
            "At site 1, the user changes the rating to 1.0. Then, on another device at site 2, the user changes it to 5.0.",
            "Both sides go on: each update is acknowledged by the replicas of its own side.",
        )
        .await?;
    let first_id = here.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(1.0)? };
    let answer = stage.during(here.write(update, first_id)).await?.map_err(DemoError::of_request("update"))?;
    let first = stage.record(first_id, &answer).await?;
    let by = words::listed(&answer.replicas, stage.names());
    stage.observed(by == "r1 and r3", &format!("{}, held by {by}", words::record(&first, stage.names())))?;
    let label = answer.label.replicas.clone();
    let second_id = there.new_update_id();
    let update = Update::Update { user_id, movie_id, rating: stars(5.0)? };
    let answer = stage.during(there.write(update, second_id)).await?.map_err(DemoError::of_request("update"))?;
    let second = stage.record(second_id, &answer).await?;
    let by = words::listed(&answer.replicas, stage.names());
    stage.observed(by == "r2", &format!("{}, held by {by}", words::record(&second, stage.names())))?;

    stage
        .step(
            "Each side shows its state. A question with the label of site 1 goes to r2.",
            "The sides differ, and each one is consistent. r2 does not answer a session that has seen the other side's \
             update: it waits, and says `behind`.",
        )
        .await?;
    let has_first = |seen: &Snapshot| ["r1", "r3"].iter().all(|name| has_applied(seen, name, &label));
    let near = stage.until("site 1 has applied its update", has_first).await?;
    stage.show_replicas(&near)?;
    let has_second =
        |seen: &Snapshot| row(seen, "r2").is_some_and(|row| row.value_timestamp.get(&second.i) >= second.seq);
    let far = stage.until_at(Site::Two, "site 2 has applied its update", has_second).await?;
    stage.show_replicas(&far)?;
    let digests = (row(&near, "r1").and_then(|row| row.digest), row(&far, "r2").and_then(|row| row.digest));
    stage.observed(digests.0.is_some() && digests.0 != digests.1, "r1 and r2 show different digests")?;
    let reply = stage.query("r2", Query::Read { user_id, movie_id }, &label, WAIT_MS).await?;
    let word = if reply == Reply::Behind { "behind".to_owned() } else { format!("{reply:?}") };
    stage.observed(reply == Reply::Behind, &format!("r2 says {word}"))?;

    stage
        .step(
            "The link is healed.",
            "Each side gets the records of the other one. All three replicas show one digest again, and the greater stamp \
             stands: 5.0 stars, on both sides.",
        )
        .await?;
    let is_used = stage.heal().await?;
    stage.observed(is_used, "the brokers have a connection again")?;
    let snapshot = stage.until_converged(REPLICAS).await?;
    stage.show_replicas(&snapshot)?;
    for (place, session) in [("site 1", &mut here), ("site 2", &mut there)] {
        let reply = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
        let text = format!("at {place}: {}", words::answer(&reply, stage.names()));
        let stands = reply.value.update_id == Some(second_id) && second.stamp > first.stamp;
        stage.observed(stands && reply.value.rating == Some(stars(5.0)?), &text)?;
    }

    stage
        .end(
            "Natter chooses availability: both sides of a partition accept updates, also the smaller one. The price is that \
             the two differ meanwhile. The promise is that they agree afterwards, with no record lost and nobody asked.",
        )
        .await
}
