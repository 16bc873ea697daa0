//! Orders to the load generator, and its answers.

use natter_common::ids::ReplicaId;
use serde::{Deserialize, Serialize};

/// Maximum errors that are reported with their text.
const EXAMPLES_MAX: usize = 3;

/// A line to the load generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Find the keys of a job, where they are not known yet: nothing to tell.
    Prepare(Job),
    /// Ask for a while, and tell how fast answers came: an [`Outcome`].
    Measure(Job),
    /// Update at a rate, and tell when it was readable everywhere: a [`Lag`].
    Converge(ConvergenceJob),
}

/// A line from the load generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was not, for this reason.
    Failed(String),
}

/// Target, load and times of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The broker's URL.
    pub(crate) server: String,
    /// Number of connections that share the load; never more than requests in flight.
    pub(crate) connections: usize,
    /// The requests to make.
    pub(crate) target: Target,
    /// The rate or number of requests.
    pub(crate) load: Load,
    /// Warm-up time, in milliseconds; its results are discarded.
    pub(crate) warm_up_ms: u64,
    /// Time after the warm-up, in milliseconds; only answers in this time count.
    pub(crate) measure_ms: u64,
    /// Decides keys, ratings and, in open loops, times.
    pub(crate) seed: u64,
}

/// Rate of updates, and the replicas to watch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConvergenceJob {
    /// The broker's URL.
    pub(crate) server: String,
    /// Number of connections that share the load.
    pub(crate) connections: usize,
    /// The cluster's prefix.
    pub(crate) prefix: String,
    /// All replica managers of the cluster.
    pub(crate) replicas: Vec<ReplicaId>,
    /// Users 1 to this have ratings.
    pub(crate) users: u32,
    /// Number of different ratings that are updated.
    pub(crate) keys: usize,
    /// Updates a second.
    pub(crate) per_second: f64,
    /// Warm-up time, in milliseconds; its results are discarded.
    pub(crate) warm_up_ms: u64,
    /// Time after the warm-up, in milliseconds; only answers in this time count.
    pub(crate) measure_ms: u64,
    /// Decides keys, ratings and times.
    pub(crate) seed: u64,
}

/// System and requests of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The raw responder.
    Echo {
        /// The responder's subject.
        subject: String,
        /// The length of a payload.
        bytes: usize,
        /// The length of a reply, if it is another one.
        reply_bytes: Option<usize>,
        /// Number of different keys that payloads name.
        keys: u32,
    },
    /// The raw responder, by the client library's own `request`; in a closed loop only.
    Requests {
        /// The responder's subject.
        subject: String,
        /// The length of a payload.
        bytes: usize,
        /// Number of different keys that payloads name.
        keys: u32,
    },
    /// Ratings of a Natter cluster, taken from its data set.
    Natter {
        /// The cluster's prefix.
        prefix: String,
        /// Reads among 100 requests; the others update.
        reads_percent: u8,
        /// Users 1 to this have ratings.
        users: u32,
        /// Number of different ratings that are asked for.
        keys: usize,
        /// Whether each read must give what this generator wrote last: so where one frontend serves all.
        exact: bool,
    },
    /// Updates in batches.
    Batch {
        /// The cluster's prefix.
        prefix: String,
        /// Number of updates in a batch.
        size: usize,
        /// Users 1 to this have ratings.
        users: u32,
        /// Number of different ratings that are updated.
        keys: usize,
        /// All replica managers: the time counts until each has applied everything.
        replicas: Vec<ReplicaId>,
    },
    /// Values of Valkey, in a closed loop only. The server is an address and a port.
    Valkey {
        /// The operation.
        operation: ValkeyOperation,
        /// Number of different keys.
        keys: u32,
        /// The length of a value.
        bytes: usize,
    },
    /// Values of a JetStream key-value bucket.
    Kv {
        /// The bucket's name.
        bucket: String,
        /// The operation.
        operation: KvOperation,
        /// Number of different keys.
        keys: u32,
        /// The length of a value.
        bytes: usize,
        /// Whether each get must give what was put last: so where one server answers all.
        exact: bool,
    },
}

/// Operation on Valkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum ValkeyOperation {
    /// Reads a value from the primary.
    Get,
    /// Writes a value, and waits until one replica has it.
    Set,
}

/// Operation on a key-value bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum KvOperation {
    /// Writes a value; acknowledged by the stream.
    Put,
    /// Reads a value, by way of the stream's leader.
    Get,
    /// Reads a value from any server that has it; may be behind.
    DirectGet,
}

/// Times at which requests are made.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Load {
    /// A fixed number of requests is open all the time: each answer makes the next request.
    Closed {
        /// Number of open requests.
        in_flight: usize,
    },
    /// Requests come at a fixed rate on average, at random times, independent of the answers. Latency counts from the
    /// intended time.
    Open {
        /// Requests a second.
        per_second: f64,
    },
}

/// Results of a measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers in the time that counts; of a batch, one for each of its operations.
    pub(crate) answers: u64,
    /// The time that counts.
    pub(crate) seconds: f64,
    /// Answers in all, refusals too, so that what processes used meanwhile can be told for one.
    pub(crate) answers_in_all: u64,
    /// Requests in all.
    pub(crate) requests: u64,
    /// Latency of the answers that count.
    pub(crate) latency: Latency,
    /// Answers that were compared with what was written before.
    pub(crate) compared: u64,
    /// Answers that were older than what was written, where that is allowed (direct gets).
    pub(crate) stale: u64,
    /// In an open loop: requests that were refused as too many, or not answered in time. A rate may be more than a system
    /// can take.
    pub(crate) refused: u64,
    /// Errors, wrong answers, and requests that were not answered.
    pub(crate) errors: u64,
    /// Texts of the first few errors.
    pub(crate) examples: Vec<String>,
}

impl Outcome {
    /// Counts something that went wrong, and keeps what the first few say.
    pub(crate) fn count_error(&mut self, error: String) {
        self.errors += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(error);
        }
    }

    /// Returns the refused requests, in percent.
    pub(crate) fn refused_percent(&self) -> f64 {
        100.0 * self.refused as f64 / self.requests.max(1) as f64
    }

    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.answers as f64 / self.seconds } else { 0.0 }
    }
}

/// Time until updates are readable everywhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lag {
    /// Time from an update's acknowledgement until all replicas show it.
    pub(crate) lag: Latency,
    /// Number of updates that were looked for.
    pub(crate) samples: u64,
    /// The updates themselves, meanwhile.
    pub(crate) updates: Outcome,
}

/// Latency of answers, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half took no longer.
    pub(crate) p50_us: f64,
    /// Nine of ten took no longer.
    pub(crate) p90_us: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99_us: f64,
    /// 999 of 1000 took no longer.
    pub(crate) p999_us: f64,
    /// The longest.
    pub(crate) max_us: f64,
}

impl Latency {
    /// Reads the latencies from a histogram in nanoseconds.
    pub(crate) fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}
