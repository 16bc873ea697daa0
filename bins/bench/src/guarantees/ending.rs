//! All keys, read at every living node when the sessions have ended.

use std::time::{Duration, Instant};

use natter_common::ids::UserId;
use natter_common::session::Session;
use natter_simulation::history::{Final, Row};
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::session::{ATTEMPT, PAUSE};
use super::store::{Asked, Store};
use crate::progress::tell;

/// Maximum time until every living node answers.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Maximum time until all living nodes show the same.
const AGREED_WITHIN: Duration = Duration::from_secs(10);
/// Pause before all keys are read again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Final states that these nodes show, each different one once. Empty where a node does not answer.
pub(super) async fn read(store: &Store, nodes: &[(usize, &Endpoint)], seen: Vec<Session>) -> Vec<Final> {
    let mut session = Session::new();
    seen.iter().for_each(|other| _ = session.merge(other.label()));
    if let Some((_, endpoint)) = nodes.first()
        && !store.settle(endpoint, nodes.len(), ANSWERED_WITHIN).await
    {
        tell("not all nodes have everything at the end");
    }
    let begun = Instant::now();
    loop {
        let mut finals: Vec<Final> = Vec::new();
        for (node, endpoint) in nodes {
            let Some(rows) = read_at(store, endpoint, &mut session).await else {
                tell(&format!("node {node} does not answer at the end"));
                return Vec::new();
            };
            if finals.iter().all(|other| other.rows != rows) {
                finals.push(Final { replica: format!("node {node}"), users: users(&rows), rows, means: Vec::new() });
            }
        }
        if finals.len() < 2 || begun.elapsed() > AGREED_WITHIN {
            return finals;
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn read_at(store: &Store, endpoint: &Endpoint, session: &mut Session) -> Option<Vec<Row>> {
    let begun = Instant::now();
    let mut rows = Vec::new();
    for row in store.initial() {
        let cell = loop {
            match store.attempt(Asked::Read(row.key()), session, endpoint, ATTEMPT).await {
                Ok(cell) => break cell,
                Err(_) if begun.elapsed() > ANSWERED_WITHIN => return None,
                Err(_) => sleep(PAUSE).await,
            }
        };
        rows.push(Row { cell, ..*row });
    }
    Some(rows)
}

fn users(rows: &[Row]) -> Vec<UserId> {
    let mut users: Vec<UserId> = rows.iter().map(|row| row.user_id).collect();
    users.dedup();
    users
}
