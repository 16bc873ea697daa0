//! Histories written by hand: one operation after the other.

use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::Stars;
use natter_common::request::Update;
use natter_simulation::history::{
    Cell, Final, History, Kind, Mean, Operation, Outcome, Promise, Reason, Row, Seen, Verdict, check,
};

pub(crate) fn id(n: u32) -> UpdateId {
    format!("{n:032x}").parse().unwrap()
}

pub(crate) fn user(n: u32) -> UserId {
    UserId::new(n).unwrap()
}

pub(crate) fn movie(n: u32) -> MovieId {
    MovieId::new(n).unwrap()
}

pub(crate) fn stars(half_stars: u8) -> Stars {
    Stars::from_half_stars(half_stars).unwrap()
}

/// Value that the update of this number wrote: its rating is its number.
pub(crate) fn by(n: u32) -> Cell {
    Cell { rating: Some(stars(n as u8)), update_id: Some(id(n)) }
}

/// Nothing, since the delete of this number.
pub(crate) fn gone(n: u32) -> Cell {
    Cell { rating: None, update_id: Some(id(n)) }
}

/// Value of a key that has no rating in the data set.
pub(crate) const NOTHING: Cell = Cell::ABSENT;

pub(crate) fn row(film: u32, cell: Cell) -> Row {
    Row { user_id: user(1), movie_id: movie(film), cell }
}

/// A history in the making. All keys are movies of user 1.
#[derive(Clone, Default)]
pub(crate) struct Tale {
    pub(crate) history: History,
    now_us: u64,
}

impl Tale {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn initial(mut self, film: u32, half_stars: u8) -> Self {
        let cell = Cell { rating: Some(stars(half_stars)), update_id: None };
        self.history.initial.push(row(film, cell));
        self
    }

    pub(crate) fn does(mut self, session: &str, kind: Kind, outcome: Outcome) -> Self {
        let (start_us, end_us) = (self.now_us, self.now_us + 5);
        self.now_us += 10;
        let session = session.to_owned();
        self.history.operations.push(Operation { session, kind, start_us, end_us, outcome });
        self
    }

    pub(crate) fn creates(self, session: &str, film: u32, n: u32) -> Self {
        self.does(session, create(film, n), Outcome::Ok(Seen::Cell(by(n))))
    }

    pub(crate) fn updates(self, session: &str, film: u32, n: u32) -> Self {
        self.does(session, update(film, n), Outcome::Ok(Seen::Cell(by(n))))
    }

    pub(crate) fn deletes(self, session: &str, film: u32, n: u32, took: Cell) -> Self {
        self.does(session, delete(film, n), Outcome::Ok(Seen::Cell(took)))
    }

    pub(crate) fn reads(self, session: &str, film: u32, cell: Cell) -> Self {
        let kind = Kind::Read { user_id: user(1), movie_id: movie(film) };
        self.does(session, kind, Outcome::Ok(Seen::Cell(cell)))
    }

    pub(crate) fn lists(self, session: &str, rows: Vec<Row>) -> Self {
        let kind = Kind::All { user_id: user(1), after: 0 };
        self.does(session, kind, Outcome::Ok(Seen::Page { rows, until: None }))
    }

    pub(crate) fn averages(self, session: &str, film: u32, average: f64, count: u64) -> Self {
        let movie_id = movie(film);
        let mean = Mean { movie_id, average: (count > 0).then_some(average), count };
        self.does(session, Kind::Average { movie_id }, Outcome::Ok(Seen::Mean(mean)))
    }

    pub(crate) fn ends(mut self, rows: Vec<Row>) -> Self {
        let replica = format!("r{}", self.history.finals.len());
        self.history.finals.push(Final { replica, users: vec![user(1)], rows, means: Vec::new() });
        self
    }

    pub(crate) fn verdict(&self) -> Verdict {
        check(&self.history)
    }

    #[track_caller]
    pub(crate) fn is_accepted(&self) {
        let verdict = self.verdict();
        assert!(verdict.is_ok(), "{verdict}");
    }

    #[track_caller]
    pub(crate) fn breaks(&self, promise: Promise) {
        let verdict = self.verdict();
        assert!(verdict.breaks(promise), "not {promise}: {verdict}");
    }

    /// The first promise told is this.
    #[track_caller]
    pub(crate) fn first_breaks(&self, promise: Promise) {
        let verdict = self.verdict();
        assert_eq!(verdict.violations.first().map(|violation| violation.promise), Some(promise), "{verdict}");
    }
}

pub(crate) fn create(film: u32, n: u32) -> Kind {
    let request = Update::Create { user_id: user(1), movie_id: movie(film), rating: stars(n as u8) };
    Kind::Write { request, id: Some(id(n)) }
}

pub(crate) fn update(film: u32, n: u32) -> Kind {
    let request = Update::Update { user_id: user(1), movie_id: movie(film), rating: stars(n as u8) };
    Kind::Write { request, id: Some(id(n)) }
}

pub(crate) fn delete(film: u32, n: u32) -> Kind {
    Kind::Write { request: Update::Delete { user_id: user(1), movie_id: movie(film) }, id: Some(id(n)) }
}

pub(crate) fn exists() -> Outcome {
    Outcome::Refused(Reason::RatingExists)
}

pub(crate) fn not_found() -> Outcome {
    Outcome::Refused(Reason::RatingNotFound)
}
