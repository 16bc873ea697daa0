//! Reading one's own writes through any frontend: some updates' labels are kept, and after a measurement each is sent as
//! `prev` with a read, which must give what that update wrote.

use anyhow::{Context, Result};
use async_nats::{Client, Message};
use natter_common::edge::RatingReply;
use natter_common::label::Label;
use natter_common::subjects::{Operation, Subjects};
use natter_common::wire::Format;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use super::reply::RatingSeen;
use crate::load::job::Outcome;
use crate::load::keys::Keys;
use crate::load::workload::error_in_headers;

/// Updates for each one that is kept.
const ONE_OF: u64 = 64;
/// Maximum number of sessions kept: the last ones.
const SESSIONS_MAX: usize = 64;
/// Maximum time for a read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Session after its one update, with the label that it has seen.
struct Session {
    place: usize,
    label: Label,
}

/// Sessions whose update is the last one of its rating.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
    updates: u64,
}

impl Sessions {
    /// Takes in an update's reply.
    pub(super) fn updated(&mut self, place: usize, message: &Message) -> Result<(), String> {
        // Earlier sessions of this rating no longer know its value.
        self.sessions.retain(|session| session.place != place);
        self.updates += 1;
        if !self.updates.is_multiple_of(ONE_OF) {
            return Ok(());
        }
        let reply: RatingReply = Format::MessagePack.decode(&message.payload).map_err(|error| error.to_string())?;
        if self.sessions.len() == SESSIONS_MAX {
            self.sessions.remove(0);
        }
        self.sessions.push(Session { place, label: reply.label });
        Ok(())
    }

    /// Reads the rating that each session wrote, and counts wrong answers.
    pub(super) async fn check(
        &self,
        client: &Client,
        subjects: &Subjects,
        keys: &Keys,
        outcome: &mut Outcome,
    ) -> Result<()> {
        #[derive(Serialize)]
        struct Read<'a> {
            user_id: u32,
            movie_id: u32,
            prev: &'a Label,
        }
        for Session { place, label } in &self.sessions {
            let Some(known) = keys.known(*place) else { continue };
            let key = keys.key(*place);
            let request = Read { user_id: key.user_id, movie_id: key.movie_id, prev: label };
            let payload = Format::MessagePack.encode(&request)?;
            let asked = client.request(subjects.frontend(Operation::Read), payload.into());
            let message = timeout(PATIENCE, asked).await.context("a session's read was not answered")??;
            let seen = match error_in_headers(&message) {
                Some(error) => Err(error),
                None => RatingSeen::in_reply(&message.payload),
            };
            outcome.compared += 1;
            match seen {
                Ok(seen) if seen.half_stars == Some(known) => {}
                other => {
                    outcome.count_error(format!("a session wrote {known} half stars to {key:?} and read {other:?}"))
                }
            }
        }
        Ok(())
    }
}
