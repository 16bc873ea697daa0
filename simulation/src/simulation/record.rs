//! History of a run's sessions, for the history checker, which knows nothing else of the run.

use natter_common::ids::UserId;
use natter_common::rating::RatingKey;
use natter_common::value::Row;

use super::client::{self, Asked};
use super::cluster::Cluster;
use super::invariants::{Violation, check};
use super::process::Life;
use super::value::{Rows, base_rows};
use crate::history::{self, Cell, Final, History, Kind, Outcome};

/// A history that is being recorded.
#[derive(Debug, Default)]
pub struct Record {
    history: History,
}

fn rows(rows: &Rows) -> Vec<history::Row> {
    let row = |(key, row): (&RatingKey, &Row)| history::Row {
        user_id: key.user_id,
        movie_id: key.movie_id,
        cell: Cell { rating: row.stars, update_id: row.update_id },
    };
    rows.iter().map(row).collect()
}

impl Record {
    /// An operation that began then is over.
    pub fn ended(&mut self, operation: &client::Operation, start_us: u64, end_us: u64, outcome: Outcome) {
        let kind = match &operation.asked {
            Asked::Update(request) => Some(Kind::Write { request: *request, id: operation.id }),
            Asked::Query(query) => Kind::of(query),
        };
        let Some(kind) = kind else { return };
        let outcome = match (&kind, outcome) {
            // An attempt without an answer may still be on its way, whatever became of a later one.
            (Kind::Write { .. }, Outcome::Refused(_)) if operation.tries > 1 => Outcome::Unknown,
            (_, outcome) => outcome,
        };
        let session = operation.session.to_string();
        self.history.operations.push(history::Operation { session, kind, start_us, end_us, outcome });
    }

    /// Checks the whole history, as everything has come to rest. Two cases allow violations. If the last copy of
    /// something shown was lost (`is_lost`), by more faults than are promised to be survived, sessions that saw it
    /// cannot see it again. If the retry of an id without a stamp was stamped by itself (`twice`), an update may take
    /// its effect again, and sessions see that.
    pub fn judge(mut self, cluster: &Cluster, users: u32, is_lost: bool, twice: bool) -> Result<(), Violation> {
        self.history.initial = rows(&base_rows());
        let users: Vec<UserId> = (1..=users).filter_map(|n| UserId::new(n).ok()).collect();
        let alive = cluster.processes.iter().filter(|(_, process)| process.life == Life::Up && !is_lost);
        self.history.finals = alive
            .filter_map(|(id, process)| process.replica().map(|(_, value)| (id, value)))
            .map(|(id, value)| Final {
                replica: id.to_string(),
                users: users.clone(),
                rows: rows(value.rows()),
                means: Vec::new(),
            })
            .collect();
        let verdict = history::check(&self.history);
        check(verdict.is_ok() || twice || is_lost, "the history", || verdict.to_string())
    }
}
