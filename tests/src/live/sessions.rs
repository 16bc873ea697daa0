//! Several sessions at work at the same time, on ratings that they share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::Stars;
use tokio::task::JoinHandle;

use super::session::Worker;
use super::tally::Tally;
use crate::harness::{DEADLINE, Wire};
use natter_simulation::history::{Cell, History, Recorder, Row};

/// Users whose ratings are written and read: all that have any in the small data set, and others.
const USERS: [u32; 8] = [1, 2, 42, u32::MAX, 100, 101, 102, 103];
/// Movies whose ratings are written and read: all that are rated in the small data set, and others. No session writes
/// the last one.
const MOVIES: [u32; 6] = [1, 2, 3, 5, 7, u32::MAX];
/// The ratings of the small data set: user, movie, half stars.
const RATINGS: [(u32, u32, u8); 7] =
    [(1, 1, 8), (1, 2, 7), (1, 3, 1), (2, 1, 10), (42, 1, 9), (42, u32::MAX, 2), (u32::MAX, 2, 5)];

/// Returns the users whose ratings are written and read.
pub(super) fn users() -> Vec<UserId> {
    USERS.iter().map(|&n| UserId::new(n).unwrap()).collect()
}

/// Returns the movies whose ratings are written and read.
pub(super) fn movies() -> Vec<MovieId> {
    MOVIES.iter().map(|&n| MovieId::new(n).unwrap()).collect()
}

/// Returns the ratings of the small data set.
fn initial() -> Vec<Row> {
    let row = |&(user, movie, half_stars): &(u32, u32, u8)| Row {
        user_id: UserId::new(user).unwrap(),
        movie_id: MovieId::new(movie).unwrap(),
        cell: Cell { rating: Some(Stars::from_half_stars(half_stars).unwrap()), update_id: None },
    };
    RATINGS.iter().map(row).collect()
}

/// Number and pace of the sessions.
#[derive(Clone, Debug)]
pub struct SessionsPlan {
    /// Number of sessions.
    pub sessions: u64,
    /// Maximum pause of a session after every operation.
    pub pause: Duration,
    /// Whether frontends may call a label's clock wrong, as their own are wrong by more than a minute.
    pub clocks_are_far_off: bool,
}

impl Default for SessionsPlan {
    fn default() -> Self {
        Self { sessions: 8, pause: Duration::from_millis(30), clocks_are_far_off: false }
    }
}

/// State that the sessions share.
pub(super) struct Shared {
    pub(super) plan: SessionsPlan,
    pub(super) recorder: Recorder,
    pub(super) tally: Mutex<Tally>,
    pub(super) stop: AtomicBool,
}

/// Sessions at work.
pub struct Sessions {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sessions {
    /// Starts the sessions. Each operation takes any of the connections.
    pub fn start(plan: &SessionsPlan, wires: &[Wire], seed: u64) -> Self {
        let shared = Arc::new(Shared {
            plan: plan.clone(),
            recorder: Recorder::new(initial()),
            tally: Mutex::new(Tally::new()),
            stop: AtomicBool::new(false),
        });
        let start = |n| tokio::spawn(Worker::new(n, Arc::clone(&shared), wires, seed).run());
        Self { tasks: (1..=plan.sessions).map(start).collect(), shared }
    }

    /// Returns the results of their requests so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.shared.tally.lock().unwrap()
    }

    /// Returns the history recorded so far.
    pub fn history(&self) -> History {
        self.shared.recorder.history()
    }

    /// Takes down what a replica holds at the end.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Waits until this many more operations were answered.
    pub async fn until_answered(&self, more: u64) {
        let (started, enough) = (Instant::now(), self.tally().answered + more);
        while self.tally().answered < enough {
            assert!(started.elapsed() < DEADLINE, "{more} more answers do not come: {}", self.tally());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets them end, with their last operations answered or given up.
    pub async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await.unwrap();
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
