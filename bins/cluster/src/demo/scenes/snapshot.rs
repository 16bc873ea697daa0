//! A replica that joins when the logs no longer reach back: it takes a snapshot, then goes on with the log.

use natter_client::session::{MovieId, Seen, Update};
use natter_client::watch::exchange::{Exchanges, Reply};
use natter_client::watch::message::{Heard, What};
use natter_common::ids::ReplicaId;
use natter_common::messages::{Role, SnapshotPart, SnapshotPlace};
use natter_common::timestamp::Timestamp;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::view::row;
use crate::demo::words;

/// Number of ratings before the newcomer.
const RATINGS: u32 = 12;

pub(in crate::demo) async fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let user_id = stage.user;
    let mut session = stage.session(Seen::default()).await?;

    stage
        .step(
            &format!("User 42 rates {RATINGS} movies, and then deletes the rating of movie 1."),
            "Both replicas apply all of these records. Then each knows that the other one holds them, so they leave the log: \
             its length is 0.",
        )
        .await?;
    for movie in 1..=RATINGS {
        let movie_id = MovieId::new(movie).map_err(DemoError::of_script)?;
        // The sample has a rating of this user for some movies.
        let id = session.new_update_id();
        let there = stage.during(session.read(user_id, movie_id)).await?.map_err(DemoError::of_request("read"))?;
        let rating = stars(f64::from(1 + movie % 9) / 2.0)?;
        let update = match there.value.rating {
            None => Update::Create { user_id, movie_id, rating },
            Some(_) => Update::Update { user_id, movie_id, rating },
        };
        stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("write"))?;
    }
    let deleted = stage.during(session.delete(user_id, stage.movie)).await?;
    deleted.map_err(DemoError::of_request("delete"))?;
    let label = session.label().replicas.clone();
    let snapshot = stage
        .until("both logs are empty, and both replicas show one digest", |seen| {
            let is_done = |row: &natter_client::watch::status::ReplicaRow| {
                row.log_length == 0 && row.value_timestamp.covers(&label)
            };
            seen.converged == Some(true) && seen.replicas.len() == 2 && seen.replicas.iter().all(is_done)
        })
        .await?;
    stage.show_replicas(&snapshot)?;
    let records: u64 = snapshot.replicas[0].value_timestamp.iter().map(|(_, count)| count).sum();
    let text = format!("{records} records are applied, and no log holds one");
    stage.observed(records > u64::from(RATINGS), &text)?;

    stage
        .step(
            "A third replica, r3, starts from the data set, with an empty log.",
            "The log of the others begins after records that r3 lacks. So r3 asks one of them for a snapshot: the rows that \
             updates wrote, the marker of the delete among them, as they stood at one value timestamp.",
        )
        .await?;
    stage.add(Role::Replica, 3).await?;
    let whole = |heard: &[Heard]| snapshot_for(heard, "r3");
    let Taken { giver, at, rows, markers, executed } = stage.until_heard("r3 gets a whole snapshot", whole).await?;
    let (giver, shown_at) = (stage.names().of(&giver).to_owned(), words::timestamp(&at, stage.names()));
    let text = format!(
        "{giver} gives r3 {rows} rows, {markers} of them a deletion marker, and {executed} executed updates, so that it knows \
         retries, as of {shown_at}"
    );
    let fits = rows == RATINGS as usize && markers == 1 && executed > 0 && at.covers(&label);
    stage.observed(fits, &text)?;

    stage
        .step(
            "r3 merges the snapshot into what it has, and serves.",
            "It shows the value timestamp and the digest of the others, though it never saw one of the records.",
        )
        .await?;
    let snapshot = stage.until_converged(3).await?;
    stage.show_replicas(&snapshot)?;
    let equal = row(&snapshot, "r3").is_some_and(|row| row.value_timestamp.covers(&label));
    stage.observed(equal, "three replicas, one value timestamp, one digest")?;

    stage
        .step("User 42 rates movie 1 anew.", "From now on r3 takes part like the others: gossip brings it the record.")
        .await?;
    let id = session.new_update_id();
    let update = Update::Create { user_id, movie_id: stage.movie, rating: stars(5.0)? };
    let created = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("create"))?;
    let record = stage.record(id, &created).await?;
    let text =
        format!("{}; the answer: {}", words::record(&record, stage.names()), words::answer(&created, stage.names()));
    stage.observed(created.value.rating == Some(stars(5.0)?), &text)?;
    let snapshot = stage.until_converged(3).await?;
    stage.show_replicas(&snapshot)?;

    stage
        .end(
            "Logs stay short, as what every replica holds is dropped. A newcomer gets the state in place of its history, \
             exactly as of one value timestamp, and the log from there on.",
        )
        .await
}

/// A snapshot that a replica got.
struct Taken {
    giver: ReplicaId,
    at: Timestamp,
    rows: usize,
    markers: usize,
    executed: usize,
}

/// The snapshot that a replica got, once its last chunk is heard.
fn snapshot_for(heard: &[Heard], name: &str) -> Option<Taken> {
    let mut exchanges = Exchanges::default();
    let mut taken: Option<Taken> = None;
    for message in heard {
        exchanges.note(message);
        let Some(matched) = exchanges.matched(message) else { continue };
        let What::Snapshot(giver, request) = &matched.open.request.what else { continue };
        let is_for_it = request.id.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        let Reply::Chunk(reply) = &matched.reply else { continue };
        let SnapshotPart::Chunk(chunk) = &reply.part else { continue };
        if !is_for_it {
            continue;
        }
        if chunk.from == SnapshotPlace::Start {
            let at = chunk.value_timestamp.replicas.clone();
            taken = Some(Taken { giver: giver.clone(), at, rows: 0, markers: 0, executed: 0 });
        }
        let Some(so_far) = &mut taken else { continue };
        so_far.rows += chunk.rows.len();
        so_far.markers += chunk.rows.iter().filter(|row| row.rating.is_none()).count();
        so_far.executed += chunk.executed.len();
        if chunk.next.is_none() {
            return taken;
        }
    }
    None
}
