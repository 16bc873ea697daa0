//! Natter: every request carries the session's label, so that the session can go on at any node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use natter_common::edge::RatingReply;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::rating::Stars;
use natter_common::session::Session;
use natter_common::subjects::{Operation, Subjects};
use natter_common::wire::Format;
use natter_simulation::history::{Cell, Row};
use serde::Serialize;

use super::endpoint::Endpoint;
use super::nodes::RATINGS;
use super::store::Asked;
use crate::load::memory::subjects_of;
use crate::load::natter::ratings_of;
use crate::world::data;

#[derive(Serialize)]
struct Request<'a> {
    user_id: UserId,
    movie_id: MovieId,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<Stars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UpdateId>,
    prev: &'a Label,
}

/// A cluster of Natter.
pub(super) struct Natter {
    subjects: Subjects,
    initial: Vec<Row>,
}

impl Natter {
    /// Finds `keys` ratings of each of `owners` users in the data set.
    pub(super) async fn open(prefix: &str, endpoints: &[Endpoint], owners: usize, keys: usize) -> Result<Self> {
        let subjects = subjects_of(prefix)?;
        let client = endpoints.first().context("a cluster has nodes")?.client();
        let mut initial = Vec::new();
        for user in 1..=data::users(RATINGS) {
            let ratings = ratings_of(client, &subjects, user).await?;
            if ratings.len() < keys || initial.len() == owners * keys {
                continue;
            }
            for (key, half_stars) in ratings.into_iter().take(keys) {
                let (user_id, movie_id) = (UserId::new(key.user_id)?, MovieId::new(key.movie_id)?);
                let cell = Cell { rating: Some(Stars::from_half_stars(half_stars)?), update_id: None };
                initial.push(Row { user_id, movie_id, cell });
            }
        }
        ensure!(initial.len() == owners * keys, "the data set has too few users with {keys} ratings");
        Ok(Self { subjects, initial })
    }

    /// The keys with their ratings in the data set.
    pub(super) fn initial(&self) -> &[Row] {
        &self.initial
    }

    /// Asks once at one node.
    pub(super) async fn attempt(
        &self,
        asked: Asked,
        session: &mut Session,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<Cell, String> {
        let (operation, key, rating, id) = match asked {
            Asked::Write(key, id, stars) => (Operation::Update, key, Some(stars), Some(id)),
            Asked::Read(key) => (Operation::Read, key, None, None),
        };
        let (user_id, movie_id) = (key.user_id, key.movie_id);
        let request = Request { user_id, movie_id, rating, id, prev: session.label() };
        let payload = Format::MessagePack.encode(&request).map_err(|error| error.to_string())?;
        let subject = self.subjects.frontend(operation);
        let message = endpoint.ask(subject, HeaderMap::new(), payload.into(), within).await?;
        let reply: RatingReply = Format::MessagePack.decode(&message.payload).map_err(|error| error.to_string())?;
        session.merge(&reply.label);
        Ok(Cell::from(&reply.value))
    }
}
