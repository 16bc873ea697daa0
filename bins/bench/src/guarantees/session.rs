//! One session: its operations, the choice of a node, and its retries.

use std::cell::Cell as Flag;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use natter_common::rating::{RatingKey, Stars};
use natter_common::request::Update;
use natter_common::session::Session;
use natter_simulation::history::{Kind, Outcome, Reason, Recorder, Row, Seen};
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::judge::Tally;
use super::store::{Asked, Store};
use super::{KEYS_EACH, SESSIONS};

/// Maximum time for one attempt.
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);
/// Maximum time for all attempts of one operation. Its outcome is unknown then.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// Pause before the next attempt.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// Time during which a session prefers the other nodes after an attempt failed at one.
const AVOIDED_FOR: Duration = Duration::from_secs(2);
/// Greatest number of half stars.
const HALF_STARS_MAX: u8 = 10;

/// A session at work.
pub(super) struct Worker<'a> {
    name: String,
    number: usize,
    random: Rng,
    /// All ratings.
    scale: Vec<Stars>,
    session: Session,
    /// The key that it wrote last.
    written: RatingKey,
    /// Time until which the session prefers other nodes, by node.
    avoided: Vec<Option<Instant>>,
    store: &'a Store,
    endpoints: &'a [Endpoint],
    recorder: &'a Recorder,
    tally: &'a Tally,
}

impl<'a> Worker<'a> {
    /// The session of this number, from 0.
    pub(super) fn new(
        number: usize,
        seed: u64,
        store: &'a Store,
        endpoints: &'a [Endpoint],
        recorder: &'a Recorder,
        tally: &'a Tally,
    ) -> Self {
        Self {
            name: format!("session-{}", number + 1),
            number,
            random: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number as u64)),
            scale: (1..=HALF_STARS_MAX).filter_map(|half_stars| Stars::from_half_stars(half_stars).ok()).collect(),
            session: Session::new(),
            written: key_at(store.initial(), number, 0),
            avoided: vec![None; endpoints.len()],
            store,
            endpoints,
            recorder,
            tally,
        }
    }

    /// Does one operation after the other until it is over, and returns what the session has seen.
    pub(super) async fn run(mut self, is_over: &Flag<bool>) -> Session {
        while !is_over.get() {
            let (asked, kind) = self.choose();
            let begun = self.recorder.begin(&self.name, kind);
            let outcome = self.perform(asked).await;
            self.recorder.end(begun, outcome);
        }
        self.session
    }

    /// Half of the operations are writes, most of them of the session's own keys. Half of the reads are of the key that the
    /// session wrote last.
    fn choose(&mut self) -> (Asked, Kind) {
        let slot = self.random.usize(..KEYS_EACH);
        let draw = self.random.u8(..100);
        let owner = match draw {
            0..40 => self.number,
            40..50 => SESSIONS, // the keys of all sessions
            _ => self.random.usize(..=SESSIONS),
        };
        let key = key_at(self.store.initial(), owner, slot);
        let key = if (50..75).contains(&draw) { self.written } else { key };
        let RatingKey { user_id, movie_id } = key;
        if draw >= 50 {
            return (Asked::Read(key), Kind::Read { user_id, movie_id });
        }
        self.written = key;
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let id = self.session.update_id(u64::try_from(wall_ms).unwrap_or(0), self.random.u64(..));
        let rating = self.scale[self.random.usize(..self.scale.len())];
        let request = Update::Update { user_id, movie_id, rating };
        (Asked::Write(key, id, rating), Kind::Write { request, id: Some(id) })
    }

    /// Asks at one node after the other until there is an answer.
    async fn perform(&mut self, asked: Asked) -> Outcome {
        let begun = Instant::now();
        loop {
            let node = self.next_node();
            let endpoint = &self.endpoints[node];
            match self.store.attempt(asked, &mut self.session, endpoint, ATTEMPT).await {
                Ok(cell) => return Outcome::Ok(Seen::Cell(cell)),
                Err(error) => self.tally.failed(error),
            }
            self.avoided[node] = Some(Instant::now() + AVOIDED_FOR);
            if begun.elapsed() > GIVEN_UP_AFTER {
                return match asked {
                    Asked::Write(..) => Outcome::Unknown,
                    Asked::Read(_) => Outcome::Refused(Reason::Other),
                };
            }
            sleep(PAUSE).await;
        }
    }

    /// A random node: one that is connected and not avoided, if there is any.
    fn next_node(&mut self) -> usize {
        let now = Instant::now();
        let count = self.endpoints.len();
        let is_good =
            |node: &usize| self.endpoints[*node].is_connected() && self.avoided[*node].is_none_or(|until| until <= now);
        let good: Vec<usize> = (0..count).filter(is_good).collect();
        self.random.choice(good).unwrap_or_else(|| self.random.usize(..count))
    }
}

fn key_at(rows: &[Row], owner: usize, slot: usize) -> RatingKey {
    rows[owner * KEYS_EACH + slot].key()
}
