//! An endpoint of a service, and the requests that come in by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Message;

/// An endpoint and its counts.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    subject: String,
    queue_group: Option<&'static str>,
    /// Requests that have their first reply.
    requests: AtomicU64,
    /// Requests whose reply is an error.
    errors: AtomicU64,
    /// Time from the arrival of a request to its first reply, summed up, in nanoseconds.
    processing_ns: AtomicU64,
    last_error: Mutex<String>,
}

/// Counts of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) processing_ns: u64,
    /// `<code>:<text>`, or nothing.
    pub(super) last_error: String,
}

impl Endpoint {
    pub(super) fn new(name: String, subject: String, queue_group: Option<&'static str>) -> Self {
        Self {
            name,
            subject,
            queue_group,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            processing_ns: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    /// Its name within the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// The queue group; empty without one.
    pub(super) fn queue_group(&self) -> &'static str {
        self.queue_group.unwrap_or_default()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            processing_ns: self.processing_ns.load(Ordering::Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A request, and the endpoint that it came in by.
#[derive(Debug)]
pub struct Request {
    /// The message as it came in.
    pub message: Message,
    endpoint: Arc<Endpoint>,
    arrived: Instant,
}

impl Request {
    /// A request that arrives now.
    pub fn new(endpoint: Arc<Endpoint>, message: Message) -> Self {
        Self { message, endpoint, arrived: Instant::now() }
    }

    /// Counts the request as answered, with an error if there is one. Returns the time since it arrived.
    pub fn count(&self, error: Option<(u16, &str)>) -> Duration {
        let endpoint = &self.endpoint;
        let elapsed = self.arrived.elapsed();
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        endpoint.requests.fetch_add(1, Ordering::Relaxed);
        endpoint.processing_ns.fetch_add(elapsed_ns, Ordering::Relaxed);
        if let Some((code, text)) = error {
            endpoint.errors.fetch_add(1, Ordering::Relaxed);
            *endpoint.last_error.lock().unwrap_or_else(PoisonError::into_inner) = format!("{code}:{text}");
        }
        elapsed
    }
}
