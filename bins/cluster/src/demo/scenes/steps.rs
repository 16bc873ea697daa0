//! Steps that several scenes have in common.

use natter_client::session::{Seen, Session, Update};
use natter_common::ids::UpdateId;
use natter_common::messages::{Mode, Role};
use natter_common::record::Record;

use crate::demo::failure::DemoError;
use crate::demo::stage::{Stage, stars};
use crate::demo::words;

/// A phone that has created a rating which both replicas hold, and a laptop that knows it.
pub(super) async fn phone_and_laptop(stage: &mut Stage<'_>, rating: f64) -> Result<(Session, Session), DemoError> {
    let mut phone = stage.session(Seen::default()).await?;
    let created = stage.during(phone.create(stage.user, stage.movie, stars(rating)?)).await?;
    let created = created.map_err(DemoError::of_request("create"))?;
    let text = format!("the answer: {}", words::answer(&created, stage.names()));
    stage.observed(created.replicas.len() == 2, &text)?;
    stage.until_converged(2).await?;
    let laptop = stage.session(phone.seen()).await?;
    Ok((phone, laptop))
}

/// An update that the replica of this name accepts alone, as the other one is OFFLINE.
pub(super) async fn updated_alone(
    stage: &mut Stage<'_>,
    session: &mut Session,
    rating: f64,
    replica: &str,
) -> Result<(UpdateId, Record), DemoError> {
    let id = session.new_update_id();
    let update = Update::Update { user_id: stage.user, movie_id: stage.movie, rating: stars(rating)? };
    let answer = stage.during(session.write(update, id)).await?.map_err(DemoError::of_request("update"))?;
    let record = stage.record(id, &answer).await?;
    let holders = words::listed(&answer.replicas, stage.names());
    let text = format!("{}, held by {holders}", words::record(&record, stage.names()));
    let is_alone = stage.names().of(&record.i) == replica && answer.replicas == [record.i.clone()];
    stage.observed(is_alone, &text)?;
    Ok((id, record))
}

/// The replicas change places: one goes OFFLINE, the other comes back. A new frontend takes the place of f1, which has seen the
/// first one's updates.
pub(super) async fn other_way_round(stage: &mut Stage<'_>, offline: &str, back: &str) -> Result<(), DemoError> {
    stage.set(&[offline], Mode::Offline).await?;
    stage.set(&[back], Mode::Measured).await?;
    stage.stop(Role::Frontend, "f1").await?;
    stage.add(Role::Frontend, 2).await?;
    Ok(())
}
