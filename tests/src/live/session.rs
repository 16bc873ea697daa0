//! One session: its operations, its retries, and its records in the history.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use natter_common::rating::Stars;
use natter_common::request::Update;
use serde_json::{Value, json};

use super::answers;
use super::sessions::{Shared, movies, users};
use crate::harness::{Answer, Refusal, Session, Silence, Wire, update_id_above};
use natter_simulation::history::{Kind, Outcome, Reason, Seen};

/// Longer than a frontend's `--timeout`.
const PATIENCE: Duration = Duration::from_secs(3);
/// An operation is given up after this; replicas remember an update's id for longer.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(45);
/// Pause between two attempts, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 10..100;

/// Result of an attempt.
enum Attempt {
    /// The end.
    Done(Outcome),
    /// It is to be tried again. It may have had an effect, or may have later; the id may be known only now.
    Again { may_have_effect: bool, id: Option<String> },
}

/// A session at work.
pub(super) struct Worker {
    name: String,
    session: Session,
    wires: Vec<Wire>,
    generator: Rng,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(number: u64, shared: Arc<Shared>, wires: &[Wire], seed: u64) -> Self {
        let generator = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number));
        Self { name: format!("c{number}"), session: Session::new(&wires[0]), wires: wires.to_vec(), generator, shared }
    }

    pub(super) async fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let (kind, operation, map) = self.choose();
            self.perform(kind, operation, map).await;
            let pause_us = self.generator.u64(..=self.shared.plan.pause.as_micros() as u64);
            tokio::time::sleep(Duration::from_micros(pause_us)).await;
        }
    }

    fn choose(&mut self) -> (Kind, &'static str, Value) {
        let generator = &mut self.generator;
        let all_movies = movies();
        let (user_id, any_movie) =
            (generator.choice(users()).unwrap(), generator.choice(&all_movies).copied().unwrap());
        let movie_id = generator.choice(&all_movies[..all_movies.len() - 1]).copied().unwrap();
        let rating = Stars::from_half_stars(generator.u8(1..=10)).unwrap();
        let (request, operation) = match generator.u32(..100) {
            0..20 => (Update::Create { user_id, movie_id, rating }, "create"),
            20..42 => (Update::Update { user_id, movie_id, rating }, "update"),
            42..52 => (Update::Delete { user_id, movie_id }, "delete"),
            52..80 => {
                return (
                    Kind::Read { user_id, movie_id: any_movie },
                    "read",
                    json!({"user_id": user_id, "movie_id": any_movie}),
                );
            }
            80..90 => return (Kind::All { user_id, after: 0 }, "all", json!({"user_id": user_id})),
            _ => return (Kind::Average { movie_id: any_movie }, "average", json!({"movie_id": any_movie})),
        };
        let mut map = json!({"user_id": user_id, "movie_id": movie_id});
        if let Some(stars) = request.stars() {
            map["rating"] = json!(stars);
        }
        // Without an id, the frontend makes one.
        let id = (generator.u32(..8) > 0).then(|| update_id_above(self.session.clock(), generator.u64(..)));
        if let Some(id) = &id {
            map["id"] = json!(id);
        }
        let id = id.map(|id| id.parse().unwrap());
        (Kind::Write { request, id }, operation, map)
    }

    /// Asks until there is an answer, as the contract says: the same request with the same `prev`, an update under the same
    /// id.
    async fn perform(&mut self, kind: Kind, operation: &'static str, mut map: Value) {
        let is_write = matches!(kind, Kind::Write { .. });
        let begun = self.shared.recorder.begin(&self.name, kind);
        let (began, mut is_uncertain) = (Instant::now(), false);
        let outcome = loop {
            self.session.hop(&self.generator.choice(&self.wires).cloned().unwrap());
            let answer = self.session.try_ask(operation, map.clone(), PATIENCE).await;
            match self.take_in(&kind, answer) {
                // An attempt without an answer may still be on its way, even if a later one was refused.
                Attempt::Done(Outcome::Refused(_)) if is_write && is_uncertain => break Outcome::Unknown,
                Attempt::Done(outcome) => break outcome,
                Attempt::Again { may_have_effect, id } => {
                    is_uncertain |= may_have_effect;
                    if let Some(id) = id {
                        map["id"] = json!(id);
                    }
                }
            }
            let may_retry = !is_write || !is_uncertain || map["id"].is_string();
            if !may_retry || began.elapsed() > GIVEN_UP_AFTER {
                let is_unknown = is_write && is_uncertain;
                break if is_unknown { Outcome::Unknown } else { Outcome::Refused(Reason::Other) };
            }
            tokio::time::sleep(Duration::from_millis(self.generator.u64(PAUSE_MS))).await;
        };
        let mut tally = self.shared.tally.lock().unwrap();
        match &outcome {
            Outcome::Ok(_) | Outcome::Refused(Reason::RatingExists | Reason::RatingNotFound) => tally.answer(began),
            Outcome::Unknown => tally.unknown += 1,
            Outcome::Refused(Reason::Other) => tally.retry(format!("{operation} given up")),
        }
        tally.merge(&self.session.label());
        drop(tally);
        self.shared.recorder.end(begun, outcome);
    }

    fn take_in(&self, kind: &Kind, answer: Result<Answer, Silence>) -> Attempt {
        let mut tally = self.shared.tally.lock().unwrap();
        let again = |may_have_effect, id| Attempt::Again { may_have_effect, id };
        let answer = match answer {
            Ok(answer) => answer,
            Err(silence) => {
                tally.retry(format!("{silence:?}"));
                return again(silence != Silence::NoResponders, None);
            }
        };
        let Some(Refusal { code, name, text }) = &answer.refusal else {
            let replicas = answer.body["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let seen = answers::seen(kind, &answer.body["value"]);
            let named = if replicas.is_empty() { Err("served by nobody".to_owned()) } else { Ok(()) };
            return match named.and(seen).and_then(|seen| check_id(kind, seen)) {
                Ok(seen) => {
                    if matches!(kind, Kind::Write { .. }) {
                        tally.acknowledge(replicas);
                    }
                    Attempt::Done(Outcome::Ok(seen))
                }
                Err(why) => {
                    tally.wrong.push(format!("{kind:?}: {why}: {}", answer.body));
                    Attempt::Done(Outcome::Unknown)
                }
            };
        };
        let is_write = matches!(kind, Kind::Write { .. });
        match (code, name.as_str()) {
            (404, "RATING_NOT_FOUND") if is_write => Attempt::Done(Outcome::Refused(Reason::RatingNotFound)),
            (409, "RATING_EXISTS") if is_write => Attempt::Done(Outcome::Refused(Reason::RatingExists)),
            (504, "TIMEOUT") => {
                tally.retry("504 TIMEOUT".to_owned());
                let id = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '-')).find(|word| word.len() == 36);
                again(true, id.filter(|_| is_write).map(str::to_owned))
            }
            (503, _) | (504, "STALE") => {
                tally.retry(format!("{code} {name}"));
                again(false, None)
            }
            (400, _) if self.shared.plan.clocks_are_far_off && text.contains("prev.clock") => {
                tally.retry(format!("{code} {name}: prev.clock"));
                again(false, None)
            }
            _ => {
                tally.wrong.push(format!("{kind:?}: {code} {name}: {text}"));
                Attempt::Done(Outcome::Unknown)
            }
        }
    }
}

/// An update that brought its id is answered with that.
fn check_id(kind: &Kind, seen: Seen) -> Result<Seen, String> {
    match (kind, &seen) {
        (Kind::Write { id: Some(id), .. }, Seen::Cell(cell)) if cell.update_id != Some(*id) => {
            Err(format!("{id} is answered with {cell}"))
        }
        _ => Ok(seen),
    }
}
