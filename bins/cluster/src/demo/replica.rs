//! Direct requests to one replica: its status, and the queries that a frontend would send.

use std::time::Duration;

use natter_broker::ask::{AskError, WrongAnswer, ask};
use natter_client::session::ReplicaId;
use natter_client::watch::status::Snapshot;
use natter_common::messages::{Mode, QueryRequest, Replies, Reply, Requests, Role, Status, StatusReply, StatusRequest};
use natter_common::request::Query;
use natter_common::timestamp::Timestamp;
use natter_common::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::DemoError;
use super::stage::Stage;
use super::view::row;
use crate::sites::Site;

/// Maximum time for the answer of a replica to a direct request.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Number of a direct query. It is the only one of its message.
const NUMBER: u64 = 1;

impl Stage<'_> {
    /// Sets the mode of replicas by a status request, waits until they show the status that goes with it, and tells that.
    pub(super) async fn set(&mut self, names: &[&str], mode: Mode) -> Result<Snapshot, DemoError> {
        let wanted = if mode == Mode::Offline { Status::Offline } else { Status::Active };
        for name in names {
            let answer: StatusReply = self.ask_replica(name, "status", &StatusRequest { mode: Some(mode) }).await?;
            let text = format!("{name} answers the status request: {} (mode {})", answer.status, answer.mode);
            self.observed(answer.mode == mode && (mode != Mode::Offline || answer.status == wanted), &text)?;
        }
        let event = format!("{} shows {wanted}", names.join(" and "));
        let snapshot =
            self.until(&event, |seen| names.iter().all(|name| row(seen, name).is_some_and(|it| it.status == wanted)));
        snapshot.await
    }

    /// Sends a query to one replica as a frontend does, with a `prev`. The replica may keep it waiting for `wait_ms`.
    pub(super) async fn query(
        &mut self,
        name: &str,
        request: Query,
        prev: &Timestamp,
        wait_ms: u64,
    ) -> Result<Reply, DemoError> {
        let query =
            QueryRequest { n: NUMBER, prev: prev.clone(), proven: false, unheard: Vec::new(), request, wait_ms };
        let mut replies: Replies = self.ask_replica(name, "query", &Requests { requests: vec![query] }).await?;
        let no_answer = || DemoError::Replica {
            name: (*name).to_owned(),
            what: "query",
            source: AskError::NoAnswer { wrong: None },
        };
        replies.replies.pop().filter(|reply| reply.n == NUMBER).map(|reply| reply.reply).ok_or_else(no_answer)
    }

    /// Asks a replica at the broker of its site.
    async fn ask_replica<T: DeserializeOwned>(
        &mut self,
        name: &str,
        endpoint: &'static str,
        request: &impl Serialize,
    ) -> Result<T, DemoError> {
        let member = self.member(Role::Replica, name)?;
        let has_no_id = || DemoError::Script(format!("replica {name} has not shown itself"));
        let (site, id): (Site, &ReplicaId) = (member.site(), member.id().ok_or_else(has_no_id)?);
        let view = self.view(site);
        let (subject, client) = (view.subjects().replica(id, endpoint), view.client().clone());
        let payload = wire::encode(request).map_err(DemoError::of_script)?;
        let read = |message: &async_nats::Message| {
            wire::decode::<T>(&message.payload).map_err(|error| WrongAnswer::of(message, &error))
        };
        let answered = self.during(ask(&client, subject, payload.into(), ANSWER_WITHIN, None, read)).await?;
        answered.map_err(|source| DemoError::Replica { name: name.to_owned(), what: endpoint, source })
    }
}
