//! Clients that never give up: each update is tried with the same id until it is acknowledged, every read is verified, and
//! what was acknowledged is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Answer, DEADLINE, Session, Silence, Wire, update_id_v7};

/// Movies that the small data set has.
const MOVIES: [u64; 8] = [1, 2, 3, 5, 7, 8, 9, 10];
/// Users above this have no ratings in any data set.
const FIRST_USER: u64 = 5_000_000;
/// Maximum users of one client.
const USERS_EACH: u64 = 100_000;
/// Longer than a frontend's `--timeout`.
const PATIENCE: Duration = Duration::from_secs(4);
/// Number of requests of a check in flight at the same time.
const CHECKS_AT_ONCE: usize = 16;

/// A user and a movie.
type Key = (u64, u64);

/// One write to a rating.
#[derive(Clone, Debug)]
struct Version {
    /// The rating, or none after a delete.
    rating: Option<f64>,
    id: String,
    is_acknowledged: bool,
}

/// Knowledge of all ratings that these clients wrote.
#[derive(Debug, Default)]
pub struct Entries {
    versions: BTreeMap<Key, Vec<Version>>,
    /// The merge of all labels.
    replicas: BTreeMap<String, u64>,
    clock: u64,
    /// Number of updates that were acknowledged.
    pub acknowledged: u64,
    /// Number of reads that were right.
    pub reads: u64,
    /// Number of retries, by the answer before.
    pub retries: BTreeMap<String, u64>,
    /// Answers that can't be.
    pub wrong: Vec<String>,
    /// The longest time until an answer, with all retries.
    pub slowest: Duration,
    /// The replicas named in answers.
    pub served_by: BTreeSet<String>,
}

/// A moment: what was acknowledged by then.
#[derive(Clone, Debug)]
pub struct Mark {
    label: Value,
    /// The last acknowledged version of each rating.
    versions: BTreeMap<Key, usize>,
}

impl Mark {
    /// Returns the number of ratings that were written by then, deleted ones among them.
    pub fn ratings(&self) -> usize {
        self.versions.len()
    }
}

/// Parts of the ratings that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The rating, and which update wrote it; asked with the label.
    Updates,
    /// The rating alone, without a label: in another cluster that began with these ratings.
    RatingsOnly,
}

/// The clients and what they know.
#[derive(Clone, Default)]
pub struct Ledger {
    entries: Arc<Mutex<Entries>>,
}

impl Ledger {
    /// Returns the knowledge so far.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap()
    }

    /// Starts clients that create, update, delete and read, each with this many users, and a pause after every request.
    pub fn start(&self, wire: &Wire, clients: u64, users: u64, pause: Duration) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..clients).map(|number| {
            let client = Client::new(wire, self, number);
            tokio::spawn(client.run(Arc::clone(&stop), users, pause))
        });
        Clients { tasks: tasks.collect(), stop }
    }

    /// Lets the clients do this many updates together, on this many ratings: each is created first.
    pub async fn write(&self, wire: &Wire, clients: u64, updates: u64, ratings: u64) {
        assert!(ratings >= clients && updates >= ratings, "each client has a rating of its own");
        let client = |number| async move {
            let mut client = Client::new(wire, self, clients + number);
            let share = |total: u64| total / clients + u64::from(number < total % clients);
            for n in 0..share(updates) {
                let index = n % share(ratings);
                let key = (client.first_user + index / MOVIES.len() as u64, MOVIES[index as usize % MOVIES.len()]);
                client.write(key, false).await;
            }
        };
        futures_util::future::join_all((0..clients).map(client)).await;
        self.assert_right();
    }

    /// Waits until this many more updates are acknowledged.
    pub async fn until_acknowledged(&self, more: u64) {
        let (started, enough) = (Instant::now(), self.entries().acknowledged + more);
        while self.entries().acknowledged < enough {
            self.assert_right();
            assert!(started.elapsed() < DEADLINE, "{more} more updates are not acknowledged: {}", self.summary());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until this replica is named in an answer.
    pub async fn until_served_by(&self, id: &str) {
        self.entries().served_by.remove(id);
        let started = Instant::now();
        while !self.entries().served_by.contains(id) {
            assert!(started.elapsed() < DEADLINE, "{id} serves nobody: {}", self.summary());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the updates that are acknowledged at this moment.
    pub fn mark(&self) -> Mark {
        let entries = self.entries();
        let last = |versions: &Vec<Version>| versions.iter().rposition(|version| version.is_acknowledged);
        let versions = entries.versions.iter().filter_map(|(key, versions)| Some((*key, last(versions)?))).collect();
        Mark { label: json!({"replicas": entries.replicas, "clock": entries.clock}), versions }
    }

    /// Reads every rating that was written before the mark: it must be as it was then, or as it became later.
    pub async fn check(&self, wire: &Wire, mark: &Mark, compare: Compare) {
        let users: BTreeSet<u64> = mark.versions.keys().map(|(user, _)| *user).collect();
        let wrong: Vec<String> = stream::iter(users)
            .map(|user| self.check_user(wire, mark, compare, user))
            .buffer_unordered(CHECKS_AT_ONCE)
            .concat()
            .await;
        let shown: Vec<&String> = wrong.iter().take(10).collect();
        assert!(wrong.is_empty(), "{} of {} ratings are wrong: {shown:#?}", wrong.len(), mark.versions.len());
        self.assert_right();
    }

    async fn check_user(&self, wire: &Wire, mark: &Mark, compare: Compare, user: u64) -> Vec<String> {
        let mut session = Session::new(wire);
        if compare == Compare::Updates {
            session.merge(&mark.label);
        }
        let started = Instant::now();
        let found = loop {
            match session.try_ask("all", json!({"user_id": user, "limit": 5000}), PATIENCE).await {
                Ok(answer) if answer.refusal.is_none() => break answer.body["value"].clone(),
                other => assert!(started.elapsed() < DEADLINE, "the ratings of {user} cannot be read: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let found: BTreeMap<u64, &Value> = found["ratings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rating| (rating["movie_id"].as_u64().unwrap(), rating))
            .collect();
        let entries = self.entries();
        let is_right = |(key, since): (&Key, &usize)| {
            let found = found.get(&key.1);
            let fits = |version: &Version| match (version.rating, found) {
                (None, None) => true,
                (Some(rating), Some(found)) => {
                    found["rating"] == json!(rating)
                        && (compare == Compare::RatingsOnly || found["update_id"] == json!(version.id))
                }
                _ => false,
            };
            let versions = &entries.versions[key];
            match versions[*since..].iter().any(fits) {
                true => None,
                false => {
                    let before = versions.iter().position(fits);
                    Some(format!("{key:?}: {found:?} is version {before:?} and not {since}: {:?}", versions[*since]))
                }
            }
        };
        mark.versions.range((user, 0)..=(user, u64::MAX)).filter_map(is_right).collect()
    }

    /// Fails where an answer was wrong.
    pub fn assert_right(&self) {
        let entries = self.entries();
        assert!(entries.wrong.is_empty(), "{} wrong answers:\n{}", entries.wrong.len(), entries.wrong.join("\n"));
    }

    /// Whether an attempt was the last one: with the body of the answer, or none where there can be none.
    fn take_in(&self, outcome: Result<Answer, Silence>, started: Instant, asked: &str) -> ControlFlow<Option<Value>> {
        let mut entries = self.entries();
        let why = match outcome {
            Ok(Answer { refusal: None, body, .. }) => {
                entries.slowest = entries.slowest.max(started.elapsed());
                return ControlFlow::Break(Some(body));
            }
            Ok(Answer { refusal: Some(refusal), .. }) if refusal.code < 500 => {
                entries.wrong.push(format!("{asked} after {:?}: {refusal:?}", started.elapsed()));
                return ControlFlow::Break(None);
            }
            Ok(Answer { refusal: Some(refusal), .. }) => format!("{} {}", refusal.code, refusal.name),
            Err(silence) => format!("{silence:?}"),
        };
        if started.elapsed() > DEADLINE {
            entries.wrong.push(format!("{asked} has no answer after {DEADLINE:?}: {why}"));
            return ControlFlow::Break(None);
        }
        *entries.retries.entry(why).or_default() += 1;
        ControlFlow::Continue(())
    }

    /// One line of what became of the requests.
    pub fn summary(&self) -> String {
        let entries = self.entries();
        format!(
            "{} updates acknowledged, {} reads right, the slowest answer after {:?}, asked again: {:?}",
            entries.acknowledged, entries.reads, entries.slowest, entries.retries
        )
    }
}

/// Clients at work.
pub struct Clients {
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    /// Lets the clients end, with their last updates acknowledged.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await.unwrap();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One client, with users of its own, so that it knows what it must read.
struct Client {
    session: Session,
    ledger: Ledger,
    first_user: u64,
}

impl Client {
    fn new(wire: &Wire, ledger: &Ledger, number: u64) -> Self {
        let first_user = FIRST_USER + number * USERS_EACH;
        Self { session: Session::new(wire), ledger: ledger.clone(), first_user }
    }

    async fn run(mut self, stop: Arc<AtomicBool>, users: u64, pause: Duration) {
        while !stop.load(Ordering::Relaxed) {
            let key = (self.first_user + fastrand::u64(..users), MOVIES[fastrand::usize(..MOVIES.len())]);
            match fastrand::u8(..10) {
                0..4 => self.read(key).await,
                _ => self.write(key, true).await,
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn last(&self, key: Key) -> Option<Version> {
        self.ledger.entries().versions.get(&key)?.last().cloned()
    }

    /// Asks until it is answered. `None`, and something wrong, where that can't be.
    async fn ask(&mut self, operation: &str, map: &Value) -> Option<Value> {
        let started = Instant::now();
        loop {
            let outcome = self.session.try_ask(operation, map.clone(), PATIENCE).await;
            if let ControlFlow::Break(body) = self.ledger.take_in(outcome, started, &format!("{operation} {map}")) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn read(&mut self, (user_id, movie_id): Key) {
        let Some(reply) = self.ask("read", &json!({"user_id": user_id, "movie_id": movie_id})).await else { return };
        let version = self.last((user_id, movie_id));
        let value = &reply["value"];
        let (rating, id) = version.map_or((Value::Null, Value::Null), |v| (json!(v.rating), json!(v.id)));
        let mut entries = self.ledger.entries();
        // The id of a delete need not be known any more.
        let id_fits = value["update_id"] == id || (rating.is_null() && value["update_id"].is_null());
        if value["rating"] == rating && id_fits {
            entries.reads += 1;
        } else {
            entries.wrong.push(format!("user {user_id} wrote {rating} by {id} and reads {reply}"));
        }
        let replicas = reply["replicas"].as_array().into_iter().flatten().filter_map(Value::as_str);
        entries.served_by.extend(replicas.map(str::to_owned));
    }

    async fn write(&mut self, (user_id, movie_id): Key, may_delete: bool) {
        let before = self.last((user_id, movie_id));
        let exists = before.as_ref().is_some_and(|version| version.rating.is_some());
        let operation = match (exists, may_delete && fastrand::u8(..4) == 0) {
            (false, _) => "create",
            (true, false) => "update",
            (true, true) => "delete",
        };
        let id = update_id_v7(Duration::ZERO);
        let mut map = json!({"user_id": user_id, "movie_id": movie_id, "id": id});
        let rating = (operation != "delete").then(|| f64::from(fastrand::u8(1..=10)) / 2.0);
        if let Some(rating) = rating {
            map["rating"] = json!(rating);
        }
        let version = Version { rating, id, is_acknowledged: false };
        self.ledger.entries().versions.entry((user_id, movie_id)).or_default().push(version.clone());
        let Some(reply) = self.ask(operation, &map).await else { return };
        let value = &reply["value"];
        let expected = if operation == "delete" { before.unwrap_or(version) } else { version };
        let label = self.session.label();
        let mut entries = self.ledger.entries();
        entries.acknowledged += 1;
        entries.versions.get_mut(&(user_id, movie_id)).unwrap().last_mut().unwrap().is_acknowledged = true;
        for (id, count) in label["replicas"].as_object().unwrap() {
            let known = entries.replicas.entry(id.clone()).or_default();
            *known = count.as_u64().unwrap().max(*known);
        }
        entries.clock = entries.clock.max(label["clock"].as_u64().unwrap());
        if (&value["rating"], &value["update_id"]) != (&json!(expected.rating), &json!(expected.id)) {
            entries.wrong.push(format!("{operation} {map} should be answered with {expected:?}, but: {reply}"));
        }
    }
}
