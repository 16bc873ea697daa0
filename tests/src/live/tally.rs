//! Results of the requests of all sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// Numbers, and what can't be.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Operations that were answered, refusals that tell of the ratings among them.
    pub answered: u64,
    /// Number of answered updates.
    pub acknowledged: u64,
    /// Updates of which it is not known whether they took effect.
    pub unknown: u64,
    /// Number of retries, by the answer before.
    pub retries: BTreeMap<String, u64>,
    /// The longest time that an operation took, with all its retries.
    pub slowest: Duration,
    /// The longest time in which no session at all had an answer.
    pub silence: Duration,
    /// Answers that break the contract.
    pub wrong: Vec<String>,
    /// Time and replica of each update that one replica alone acknowledged.
    pub alone: Vec<(Instant, String)>,
    last_answer: Instant,
    replicas: Map<String, Value>,
    clock: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            answered: 0,
            acknowledged: 0,
            unknown: 0,
            retries: BTreeMap::new(),
            slowest: Duration::ZERO,
            silence: Duration::ZERO,
            wrong: Vec::new(),
            alone: Vec::new(),
            last_answer: Instant::now(),
            replicas: Map::new(),
            clock: 0,
        }
    }

    pub(super) fn answer(&mut self, began: Instant) {
        let now = Instant::now();
        self.answered += 1;
        self.slowest = self.slowest.max(now - began);
        self.silence = self.silence.max(now - self.last_answer);
        self.last_answer = now;
    }

    /// An update is acknowledged by these.
    pub(super) fn acknowledge(&mut self, replicas: &[Value]) {
        self.acknowledged += 1;
        if let [only] = replicas {
            self.alone.push((Instant::now(), only.as_str().unwrap_or_default().to_owned()));
        }
    }

    pub(super) fn retry(&mut self, why: String) {
        *self.retries.entry(why).or_default() += 1;
    }

    pub(super) fn merge(&mut self, label: &Value) {
        for (id, count) in label["replicas"].as_object().into_iter().flatten() {
            let seen = self.replicas.get(id).and_then(Value::as_u64).unwrap_or(0);
            self.replicas.insert(id.clone(), json!(seen.max(count.as_u64().unwrap_or(0))));
        }
        self.clock = self.clock.max(label["clock"].as_u64().unwrap_or(0));
    }

    /// The merge of all labels.
    pub fn label(&self) -> Value {
        json!({"replicas": self.replicas, "clock": self.clock})
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations answered, {} updates acknowledged among them ({} by one replica alone), {} of unknown outcome; \
             asked again: {:?}; longest time without an answer: {:.1?} for everybody, {:.1?} for one operation",
            self.answered,
            self.acknowledged,
            self.alone.len(),
            self.unknown,
            self.retries,
            self.silence,
            self.slowest
        )
    }
}
