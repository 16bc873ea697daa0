//! Right histories with one thing wrong: each kind of wrong must be found wherever it is put.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;
use natter_common::ids::UpdateId;
use natter_common::rating::RatingKey;
use natter_common::request::Update;
use natter_simulation::history::{Cell, History, Kind, Outcome, Promise, Row, Seen, check};

use crate::model::{Plan, history};
use crate::tale::{id, stars};

/// Gives a wrong history, or `None` where this one has no place for it.
type Mutation = fn(&mut Rng, History) -> Option<History>;

/// Applies a mutation to many histories, each of which must then be rejected for one of these.
#[track_caller]
fn must_be_found(mutation: Mutation, promises: &[Promise]) {
    let mut found = 0;
    for seed in 0..240 {
        let plan = Plan { sessions: 4, operations: 120, users: 2, movies: 2, replicas: 3, nameless: false };
        let Some(wrong) = mutation(&mut Rng::with_seed(seed), history(seed, &plan)) else { continue };
        let verdict = check(&wrong);
        let is_named = promises.iter().any(|&promise| verdict.breaks(promise));
        assert!(is_named, "seed {seed}, not {promises:?}: {verdict}");
        found += 1;
    }
    assert!(found >= 20, "only {found} histories had a place for it");
}

/// The single reads: (number of the operation, key, what was seen).
fn reads(history: &History) -> Vec<(usize, RatingKey, Cell)> {
    let read =
        |(n, operation): (usize, &natter_simulation::history::Operation)| match (&operation.kind, &operation.outcome) {
            (&Kind::Read { user_id, movie_id }, Outcome::Ok(Seen::Cell(cell))) => {
                Some((n, RatingKey { user_id, movie_id }, *cell))
            }
            _ => None,
        };
    history.operations.iter().enumerate().filter_map(read).collect()
}

fn see(mut history: History, n: usize, cell: Cell) -> Option<History> {
    history.operations[n].outcome = Outcome::Ok(Seen::Cell(cell));
    Some(history)
}

fn no_deletes(history: &History) -> HashSet<RatingKey> {
    let writes = history.operations.iter().filter_map(|operation| match operation.kind {
        Kind::Write { request, .. } => Some(request),
        _ => None,
    });
    let deleted: HashSet<_> = writes.clone().filter(|w| w.stars().is_none()).map(|w| w.key()).collect();
    writes.map(|write| write.key()).filter(|key| !deleted.contains(key)).collect()
}

#[test]
fn a_read_of_what_the_session_saw_replaced() {
    must_be_found(
        |generator, history| {
            // For each session and key, the values in a row.
            let mut seen: HashMap<(String, RatingKey), Vec<(usize, Cell)>> = HashMap::new();
            for (n, key, cell) in reads(&history).into_iter().filter(|(.., cell)| cell.rating.is_some()) {
                seen.entry((history.operations[n].session.clone(), key)).or_default().push((n, cell));
            }
            let places: Vec<_> = seen
                .values()
                .flat_map(|row| row.windows(3))
                .filter(|row| row[0].1 != row[1].1)
                .map(|row| (row[2].0, row[0].1))
                .collect();
            let (n, cell) = *generator.choice(&places)?;
            see(history, n, cell)
        },
        &[Promise::MonotonicReads],
    );
}

#[test]
fn a_read_that_misses_the_sessions_own_write() {
    must_be_found(
        |generator, history| {
            let keys = no_deletes(&history);
            let mut wrote: HashSet<(String, RatingKey)> = HashSet::new();
            let mut places = Vec::new();
            for (n, operation) in history.operations.iter().enumerate() {
                match (&operation.kind, &operation.outcome) {
                    (Kind::Write { request, .. }, Outcome::Ok(_)) => {
                        wrote.insert((operation.session.clone(), request.key()));
                    }
                    (&Kind::Read { user_id, movie_id }, Outcome::Ok(_)) => {
                        let key = RatingKey { user_id, movie_id };
                        if keys.contains(&key) && wrote.contains(&(operation.session.clone(), key)) {
                            places.push((n, key));
                        }
                    }
                    _ => {}
                }
            }
            let (n, key) = *generator.choice(&places)?;
            let initial = history.initial.iter().find(|row| row.key() == key).map_or(Cell::ABSENT, |row| row.cell);
            see(history, n, initial)
        },
        &[Promise::ReadYourWrites],
    );
}

#[test]
fn a_read_of_an_id_that_nobody_wrote() {
    must_be_found(
        |generator, history| {
            let (n, ..) = *generator.choice(&reads(&history))?;
            see(history, n, Cell { rating: None, update_id: Some(id(77)) })
        },
        &[Promise::ThinAir],
    );
}

#[test]
fn a_read_of_another_rating_than_was_written() {
    must_be_found(
        |generator, history| {
            let reads = reads(&history);
            let written: Vec<_> = reads.iter().filter(|(.., cell)| cell.rating.is_some()).collect();
            let (n, _, cell) = **generator.choice(&written)?;
            let half_stars = cell.rating?.half_stars() % 10 + 1;
            see(history, n, Cell { rating: Some(stars(half_stars)), ..cell })
        },
        &[Promise::ThinAir],
    );
}

#[test]
fn a_read_of_what_was_refused() {
    must_be_found(
        |generator, history| {
            let refused: HashMap<RatingKey, (usize, Cell)> = history
                .operations
                .iter()
                .enumerate()
                .filter(|(_, operation)| matches!(operation.outcome, Outcome::Refused(_)))
                .filter_map(|(n, operation)| match operation.kind {
                    Kind::Write { request, id } => {
                        Some((request.key(), (n, Cell { rating: request.stars(), update_id: id })))
                    }
                    _ => None,
                })
                .collect();
            let places: Vec<_> = reads(&history)
                .into_iter()
                .filter_map(|(n, key, _)| refused.get(&key).filter(|(m, _)| *m < n).map(|(_, cell)| (n, *cell)))
                .collect();
            let (n, cell) = *generator.choice(&places)?;
            see(history, n, cell)
        },
        &[Promise::RefusedUnseen],
    );
}

#[test]
fn a_read_of_what_was_written_later() {
    must_be_found(
        |generator, history| {
            let reads = reads(&history);
            let mut places = Vec::new();
            for (n, operation) in history.operations.iter().enumerate() {
                if let (Kind::Write { request, .. }, Outcome::Ok(_), Some(id)) =
                    (operation.kind, &operation.outcome, operation.id())
                {
                    let cell = Cell { rating: request.stars(), update_id: Some(id) };
                    let earlier = reads.iter().filter(|(m, key, _)| m + 2 < n && *key == request.key());
                    places.extend(earlier.map(|(m, ..)| (*m, cell)));
                }
            }
            let (n, cell) = *generator.choice(&places)?;
            see(history, n, cell)
        },
        &[Promise::ThinAir],
    );
}

#[test]
fn an_acknowledged_update_that_is_gone_at_the_end() {
    must_be_found(
        |generator, mut history| {
            let keys = no_deletes(&history);
            let acknowledged = |row: &Row| row.cell.update_id.is_some() && keys.contains(&row.key());
            let rows: Vec<_> = history.finals[0].rows.iter().copied().filter(acknowledged).collect();
            let gone = *generator.choice(&rows)?;
            let known = history
                .operations
                .iter()
                .any(|operation| operation.id() == gone.cell.update_id && matches!(operation.outcome, Outcome::Ok(_)));
            history.finals.iter_mut().for_each(|state| state.rows.retain(|row| row.key() != gone.key()));
            known.then_some(history)
        },
        &[Promise::NoLostUpdate],
    );
}

#[test]
fn a_deleted_rating_that_is_there_at_the_end() {
    must_be_found(
        |generator, mut history| {
            let live: HashSet<_> = history.finals[0].rows.iter().map(Row::key).collect();
            // Answers to retried deletes do not tell what the first attempt took away.
            let unknown = history.operations.iter().filter(|operation| operation.outcome == Outcome::Unknown);
            let unknown: HashSet<_> = unknown.filter_map(natter_simulation::history::Operation::id).collect();
            let mut taken = Vec::new();
            for operation in &history.operations {
                if operation.id().is_some_and(|id| unknown.contains(&id)) {
                    continue;
                }
                if let (
                    Kind::Write { request: Update::Delete { user_id, movie_id }, .. },
                    Outcome::Ok(Seen::Cell(cell)),
                ) = (operation.kind, &operation.outcome)
                {
                    let row = Row { user_id, movie_id, cell: *cell };
                    taken.extend((!live.contains(&row.key())).then_some(row));
                }
            }
            let back = *generator.choice(&taken)?;
            history.finals.iter_mut().for_each(|state| state.rows.push(back));
            Some(history)
        },
        &[Promise::DeletesStayDead],
    );
}

#[test]
fn a_replica_that_ends_with_another_rating() {
    must_be_found(
        |generator, mut history| {
            let count = history.finals[0].rows.len();
            (count > 0).then(|| history.finals[1].rows.remove(generator.usize(..count)))?;
            Some(history)
        },
        &[Promise::Convergence],
    );
}

#[test]
fn a_mean_that_is_off() {
    must_be_found(
        |generator, mut history| {
            let mean = generator.choice(&mut history.finals[0].means)?;
            mean.average = mean.average.map(|average| if average > 4.0 { average - 0.5 } else { average + 0.5 });
            mean.average.is_some().then_some(history)
        },
        &[Promise::Averages],
    );
}

#[test]
fn two_sessions_that_see_two_writes_in_two_orders() {
    must_be_found(
        |_, mut history| {
            // A newcomer sees the two values that a session saw in a row, the other way round.
            let mut last: HashMap<(String, RatingKey), (Cell, UpdateId)> = HashMap::new();
            let mut pair = None;
            for (n, key, cell) in reads(&history) {
                let Some(id) = cell.update_id else { continue };
                let before = last.insert((history.operations[n].session.clone(), key), (cell, id));
                pair = before.filter(|(_, other)| *other != id).map(|(other, _)| (key, other, cell)).or(pair);
            }
            let (key, first, second) = pair?;
            for (n, cell) in [second, first].into_iter().enumerate() {
                let mut operation = history.operations.last()?.clone();
                operation.session = "newcomer".to_owned();
                operation.start_us += 100 * (n as u64 + 1);
                operation.end_us = operation.start_us;
                operation.kind = Kind::Read { user_id: key.user_id, movie_id: key.movie_id };
                operation.outcome = Outcome::Ok(Seen::Cell(cell));
                history.operations.push(operation);
            }
            Some(history)
        },
        &[
            Promise::Convergence,
            Promise::CausalOrder,
            Promise::MonotonicReads,
            Promise::MonotonicWrites,
            Promise::WritesFollowReads,
        ],
    );
}
