//! A causal store so small that it is right by inspection, and random histories of it.

use std::collections::BTreeMap;

use fastrand::Rng;
use natter_common::ids::{MovieId, UpdateId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::request::Update;
use natter_simulation::history::{Cell, Final, History, Kind, Mean, Outcome, Reason, Recorder, Row, Seen};

use crate::tale::{movie, stars, user};

/// Size of a history.
pub(crate) struct Plan {
    pub(crate) sessions: usize,
    pub(crate) operations: usize,
    pub(crate) users: u32,
    pub(crate) movies: u32,
    pub(crate) replicas: usize,
    /// Whether some ids are made by the frontend, and told only by the answers to creates and updates.
    pub(crate) nameless: bool,
}

/// An update and what its replica had applied when it accepted it.
#[derive(Clone)]
struct Record {
    needs: Vec<usize>,
    order: (u64, usize),
    key: RatingKey,
    cell: Cell,
}

#[derive(Clone, Default)]
struct Replica {
    applied: Vec<usize>,
    clock: u64,
    rows: BTreeMap<RatingKey, ((u64, usize), Cell)>,
}

struct Store {
    replicas: Vec<Replica>,
    logs: Vec<Vec<Record>>,
}

impl Store {
    /// Applies the next record of `origin`, and before it what it needs.
    fn pull(&mut self, replica: usize, needs: &[usize]) {
        for (origin, &count) in needs.iter().enumerate() {
            while self.replicas[replica].applied[origin] < count {
                let record = self.logs[origin][self.replicas[replica].applied[origin]].clone();
                self.pull(replica, &record.needs);
                let to = &mut self.replicas[replica];
                if to.applied[origin] < count {
                    to.applied[origin] += 1;
                    to.apply(&record);
                }
            }
        }
    }

    fn accept(&mut self, replica: usize, key: RatingKey, cell: Cell) {
        let needs = self.replicas[replica].applied.clone();
        let to = &mut self.replicas[replica];
        let record = Record { needs, order: (to.clock + 1, replica), key, cell };
        to.applied[replica] += 1;
        to.apply(&record);
        self.logs[replica].push(record);
    }
}

impl Replica {
    fn apply(&mut self, record: &Record) {
        self.clock = self.clock.max(record.order.0);
        let row = self.rows.entry(record.key).or_insert((record.order, record.cell));
        if row.0 < record.order {
            *row = (record.order, record.cell);
        }
    }

    fn at(&self, key: RatingKey) -> Cell {
        self.rows.get(&key).map_or(Cell::ABSENT, |row| row.1)
    }

    fn live(&self) -> Vec<Row> {
        let live = self.rows.iter().filter(|(_, row)| row.1.rating.is_some());
        live.map(|(key, row)| Row { user_id: key.user_id, movie_id: key.movie_id, cell: row.1 }).collect()
    }

    fn mean(&self, movie_id: MovieId) -> Mean {
        let rows = self.live();
        let all: Vec<f64> = rows
            .iter()
            .filter(|row| row.movie_id == movie_id)
            .filter_map(|row| row.cell.rating.map(Stars::as_f64))
            .collect();
        let average = (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
        Mean { movie_id, average, count: all.len() as u64 }
    }
}

/// History of sessions at a store.
pub(crate) fn history(seed: u64, plan: &Plan) -> History {
    let mut generator = Rng::with_seed(seed);
    let mut base = Replica { applied: vec![0; plan.replicas], ..Replica::default() };
    for (user_id, movie_id) in (1..=plan.users).flat_map(|u| (1..=plan.movies).map(move |m| (u, m))) {
        if generator.u32(..3) == 0 {
            let cell = Cell { rating: Some(stars(generator.u8(1..=10))), update_id: None };
            base.rows.insert(RatingKey { user_id: user(user_id), movie_id: movie(movie_id) }, ((0, 0), cell));
        }
    }
    let recorder = Recorder::new(base.live());
    let mut store = Store { replicas: vec![base; plan.replicas], logs: vec![Vec::new(); plan.replicas] };
    let mut prevs = vec![vec![0; plan.replicas]; plan.sessions];
    for n in 0..plan.operations {
        for _ in 0..generator.usize(..3) {
            let (to, origin) = (generator.usize(..plan.replicas), generator.usize(..plan.replicas));
            let mut needs = vec![0; plan.replicas];
            needs[origin] = (store.replicas[to].applied[origin] + 1).min(store.logs[origin].len());
            store.pull(to, &needs);
        }
        let (session, replica) = (generator.usize(..plan.sessions), generator.usize(..plan.replicas));
        store.pull(replica, &prevs[session]);
        let (start_us, end_us) = (n as u64 * 10, n as u64 * 10 + 5);
        let (kind, outcome) = operation(&mut generator, plan, &mut store, replica);
        let kinds = match (&kind, &outcome) {
            // Now and then the first attempt has no answer, and the second tells what the first did.
            (Kind::Write { id: Some(_), .. }, Outcome::Ok(_)) if generator.u32(..20) == 0 => {
                let name = format!("s{session}");
                let begun = recorder.begin_at(start_us, &name, kind);
                recorder.end_at(start_us + 1, begun, Outcome::Unknown);
                (kind, start_us + 2)
            }
            _ => (kind, start_us),
        };
        let begun = recorder.begin_at(kinds.1, &format!("s{session}"), kinds.0);
        if outcome != Outcome::Unknown {
            prevs[session].clone_from(&store.replicas[replica].applied);
        }
        recorder.end_at(end_us, begun, outcome);
    }
    let all: Vec<usize> = store.logs.iter().map(Vec::len).collect();
    for n in 0..plan.replicas {
        store.pull(n, &all);
        let replica = &store.replicas[n];
        recorder.quiet(Final {
            replica: format!("r{n}"),
            users: (1..=plan.users).map(user).collect(),
            rows: replica.live(),
            means: (1..=plan.movies).map(|n| replica.mean(movie(n))).collect(),
        });
    }
    recorder.history()
}

fn operation(generator: &mut Rng, plan: &Plan, store: &mut Store, replica: usize) -> (Kind, Outcome) {
    let (user_id, movie_id) = (user(generator.u32(1..=plan.users)), movie(generator.u32(1..=plan.movies)));
    let key = RatingKey { user_id, movie_id };
    let stands = store.replicas[replica].at(key);
    let rating = stars(generator.u8(1..=10));
    let request = match generator.u32(..100) {
        0..15 => Update::Create { user_id, movie_id, rating },
        15..35 => Update::Update { user_id, movie_id, rating },
        35..45 => Update::Delete { user_id, movie_id },
        45..80 => {
            // The id of a delete is not always known.
            let forgets = stands.rating.is_none() && generator.u32(..4) == 0;
            let cell = if forgets { Cell::ABSENT } else { stands };
            return (Kind::Read { user_id, movie_id }, Outcome::Ok(Seen::Cell(cell)));
        }
        80..90 => {
            let after = generator.u32(..plan.movies);
            let limit = generator.usize(1..=plan.movies as usize);
            let rest = store.replicas[replica].live().into_iter();
            let rest: Vec<_> = rest.filter(|row| row.user_id == user_id && row.movie_id.get() > after).collect();
            let rows: Vec<_> = rest.iter().take(limit).copied().collect();
            let until = rows.last().map(|row| row.movie_id).filter(|_| rows.len() < rest.len());
            return (Kind::All { user_id, after }, Outcome::Ok(Seen::Page { rows, until }));
        }
        _ => {
            let mean = store.replicas[replica].mean(movie_id);
            return (Kind::Average { movie_id }, Outcome::Ok(Seen::Mean(mean)));
        }
    };
    let id: UpdateId = format!("{:016x}{:016x}", generator.u64(..), generator.u64(..)).parse().unwrap();
    let kind = Kind::Write { request, id: Some(id) };
    let makes = matches!(request, Update::Create { .. });
    if makes == stands.rating.is_some() {
        let reason = if makes { Reason::RatingExists } else { Reason::RatingNotFound };
        return (kind, Outcome::Refused(reason));
    }
    let is_unknown = generator.u32(..25) == 0;
    if !is_unknown || generator.bool() {
        store.accept(replica, key, Cell { rating: request.stars(), update_id: Some(id) });
    }
    let told =
        if makes || request.stars().is_some() { Cell { rating: request.stars(), update_id: Some(id) } } else { stands };
    let names_itself = generator.u32(..10) > 0 || !plan.nameless;
    let kind = if names_itself { kind } else { Kind::Write { request, id: None } };
    (kind, if is_unknown { Outcome::Unknown } else { Outcome::Ok(Seen::Cell(told)) })
}
