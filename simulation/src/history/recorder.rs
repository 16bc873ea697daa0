//! Writes a history down while it happens.

use std::sync::Mutex;
use std::time::Instant;

use super::operation::{Final, History, Kind, Operation, Outcome, Row};

/// Takes down the operations of many sessions at once. A lock and a push each: cheap beside any request.
#[derive(Debug)]
pub struct Recorder {
    origin: Instant,
    history: Mutex<History>,
}

/// An operation that has begun.
#[derive(Debug)]
#[must_use = "an operation that is never ended counts as one without an answer"]
pub struct Begun(usize);

impl Recorder {
    /// Nothing has happened yet but that the data set came with `initial`.
    pub fn new(initial: Vec<Row>) -> Self {
        Self { origin: Instant::now(), history: Mutex::new(History { initial, ..History::default() }) }
    }

    fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// A session is about to send a request.
    pub fn begin(&self, session: &str, kind: Kind) -> Begun {
        self.begin_at(self.now_us(), session, kind)
    }

    /// The same, in virtual time: microseconds.
    pub fn begin_at(&self, start_us: u64, session: &str, kind: Kind) -> Begun {
        let mut history = self.history.lock().unwrap();
        history.operations.push(Operation {
            session: session.to_owned(),
            kind,
            start_us,
            end_us: start_us,
            outcome: Outcome::Unknown,
        });
        Begun(history.operations.len() - 1)
    }

    /// The session has its answer, or gives up.
    pub fn end(&self, begun: Begun, outcome: Outcome) {
        self.end_at(self.now_us(), begun, outcome);
    }

    /// The same, in virtual time: microseconds.
    pub fn end_at(&self, end_us: u64, begun: Begun, outcome: Outcome) {
        let mut history = self.history.lock().unwrap();
        let operation = &mut history.operations[begun.0];
        operation.end_us = end_us;
        operation.outcome = outcome;
    }

    /// All is quiet, and this is what a replica holds.
    pub fn quiet(&self, state: Final) {
        self.history.lock().unwrap().finals.push(state);
    }

    /// History recorded so far.
    pub fn history(&self) -> History {
        self.history.lock().unwrap().clone()
    }
}
