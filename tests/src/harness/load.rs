//! Clients that go on asking, one request at a time each and no second attempt, while something happens to the cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Answer, DEADLINE, Session, Wire, update_id_v7};

/// Movies that every data set of the tests has.
const MOVIES: [u64; 4] = [1, 2, 3, 5];
/// Users above this have no ratings in any data set.
const FIRST_USER: u64 = 1_000_000;
/// Longer than a frontend's `--timeout`.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request that got no answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Time at which it was sent.
    pub sent: Instant,
    /// Time at which the failure was known.
    pub known: Instant,
    /// The operation that was asked for.
    pub asked: String,
    /// `503 UNAVAILABLE`, `NoResponders`, `TimedOut`...
    pub why: String,
    /// The text of the error.
    pub text: String,
}

/// Results of the requests.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Number of requests that were answered.
    pub answered: u64,
    /// Requests that were not answered.
    pub failures: Vec<Failure>,
    /// Answers that miss a write that the session has seen, or that no client wrote.
    pub wrong: Vec<String>,
    /// The longest time an answer took.
    pub slowest: Duration,
    /// Time at which each replica was first named in an answer to a query, and number of those answers.
    pub served_by: BTreeMap<String, (Instant, u64)>,
}

impl LoadReport {
    /// Returns the number of failures of each kind.
    pub fn failures_by_kind(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for failure in &self.failures {
            *kinds.entry(failure.why.clone()).or_default() += 1;
        }
        kinds
    }

    /// Fails where an answer was wrong.
    pub fn assert_right(&self) {
        assert!(self.wrong.is_empty(), "{} wrong answers:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }

    /// Fails where a request failed or an answer was wrong.
    pub fn assert_flawless(&self) {
        self.assert_right();
        assert!(self.failures.is_empty(), "of {} requests failed:\n{:#?}", self.answered, self.failures);
    }
}

/// Clients at work.
pub struct Load {
    report: Arc<Mutex<LoadReport>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts clients, each with a pause after every request.
    pub fn start(wire: &Wire, clients: u64, pause: Duration) -> Self {
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let worker = Worker {
                session: Session::new(wire),
                report: Arc::clone(&report),
                user: FIRST_USER + number * 10_000,
                ratings: BTreeMap::new(),
            };
            tokio::spawn(worker.run(Arc::clone(&stop), pause))
        };
        Self { clients: (0..clients).map(client).collect(), report, stop }
    }

    /// Returns the results so far.
    pub fn so_far(&self) -> MutexGuard<'_, LoadReport> {
        self.report.lock().unwrap()
    }

    /// Waits until something is so of what became of the requests.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&LoadReport) -> bool) {
        let started = Instant::now();
        while !is_so(&self.so_far()) {
            assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until this many more requests were answered.
    pub async fn until_answered(&self, more: u64) {
        let enough = self.so_far().answered + more;
        self.until(&format!("{more} more answers"), |report| report.answered >= enough).await;
    }

    /// Lets the clients end, with their last requests answered.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.await.unwrap();
        }
        self.so_far().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

/// One client, with users of its own, so that it knows what it must read.
struct Worker {
    session: Session,
    report: Arc<Mutex<LoadReport>>,
    user: u64,
    /// Its last writes, by movie: the rating, or none after a delete, and the update's id.
    ratings: BTreeMap<u64, (Option<f64>, String)>,
}

impl Worker {
    async fn run(mut self, stop: Arc<AtomicBool>, pause: Duration) {
        while !stop.load(Ordering::Relaxed) {
            let movie = MOVIES[fastrand::usize(..MOVIES.len())];
            match fastrand::u8(..10) {
                0..5 => self.read(movie).await,
                5 => self.read_average(movie).await,
                _ => self.write(movie).await,
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&mut self, operation: &str, map: Value) -> Option<Value> {
        let sent = Instant::now();
        let asked = format!("{operation} {map}");
        let outcome = self.session.try_ask(operation, map, PATIENCE).await;
        let (why, text) = match outcome {
            Ok(Answer { refusal: None, body, .. }) => {
                let mut report = self.report.lock().unwrap();
                report.answered += 1;
                report.slowest = report.slowest.max(sent.elapsed());
                return Some(body);
            }
            Ok(Answer { refusal: Some(refusal), .. }) => (format!("{} {}", refusal.code, refusal.name), refusal.text),
            Err(silence) => (format!("{silence:?}"), String::new()),
        };
        self.report.lock().unwrap().failures.push(Failure { sent, known: Instant::now(), asked, why, text });
        None
    }

    async fn read(&mut self, movie: u64) {
        let map = json!({"user_id": self.user, "movie_id": movie});
        let Some(reply) = self.ask("read", map).await else { return };
        let (rating, id) = match self.ratings.get(&movie) {
            Some((rating, id)) => (json!(rating), json!(id)),
            None => (Value::Null, Value::Null),
        };
        let value = &reply["value"];
        let mut report = self.report.lock().unwrap();
        // The id of a delete need not be known any more.
        let id_fits = value["update_id"] == id || (rating.is_null() && value["update_id"].is_null());
        if value["rating"] != rating || !id_fits {
            report.wrong.push(format!("user {} wrote {rating} by {id} and reads {reply}", self.user));
        }
        for replica in reply["replicas"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            report.served_by.entry(replica.to_owned()).or_insert_with(|| (Instant::now(), 0)).1 += 1;
        }
    }

    async fn read_average(&mut self, movie: u64) {
        let Some(reply) = self.ask("average", json!({"movie_id": movie})).await else { return };
        if self.ratings.get(&movie).is_some_and(|(rating, _)| rating.is_some()) && reply["value"]["count"] == json!(0) {
            self.report.lock().unwrap().wrong.push(format!("user {} rated it, but: {reply}", self.user));
        }
    }

    async fn write(&mut self, movie: u64) {
        let exists = self.ratings.get(&movie).is_some_and(|(rating, _)| rating.is_some());
        let operation = match (exists, fastrand::bool()) {
            (false, _) => "create",
            (true, true) => "update",
            (true, false) => "delete",
        };
        let rating = f64::from(fastrand::u8(1..=10)) / 2.0;
        let id = update_id_v7(Duration::ZERO);
        let mut map = json!({"user_id": self.user, "movie_id": movie, "id": id});
        if operation != "delete" {
            map["rating"] = json!(rating);
        }
        let Some(reply) = self.ask(operation, map).await else {
            // It may still take effect: nothing is known of this user's ratings any more.
            self.user += 1;
            self.ratings.clear();
            return;
        };
        let deleted = self.ratings.get(&movie).map(|(rating, id)| (json!(rating), json!(id)));
        let expected = match (operation, deleted) {
            ("delete", Some(deleted)) => deleted,
            _ => (json!(rating), json!(id)),
        };
        let value = &reply["value"];
        if (&value["rating"], &value["update_id"]) != (&expected.0, &expected.1) {
            let wrong = format!("user {} asked for {operation} {rating} by {id} and is told {reply}", self.user);
            self.report.lock().unwrap().wrong.push(wrong);
        }
        self.ratings.insert(movie, ((operation != "delete").then_some(rating), id));
    }
}
