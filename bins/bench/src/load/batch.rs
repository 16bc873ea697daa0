//! Batches of updates: many operations in one message, each with its own outcome.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use fastrand::Rng;
use natter_common::ids::ReplicaId;
use natter_common::label::Label;
use natter_common::subjects::Subjects;
use natter_common::wire::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::Keys;
use super::question::Question;
use super::workload::{Workload, error_in_headers};

/// Maximum time until all replicas have applied the acknowledged updates.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Request<'a> {
    operations: &'a [Operation],
    answers: &'static str,
}

#[derive(Serialize)]
struct Operation {
    op: &'static str,
    user_id: u32,
    movie_id: u32,
    rating: f64,
}

#[derive(Deserialize)]
struct Reply {
    outcomes: Vec<serde_json::Map<String, Value>>,
    label: Label,
}

/// An update of an open batch: the rating's place, and its new half stars if no other open request is about it.
type Written = (usize, Option<u8>);

/// Batches of updates of random ratings.
pub(super) struct Batch {
    keys: Keys,
    subject: Subject,
    size: usize,
    random: Rng,
    open: Vec<Vec<Written>>,
    seen: Label,
}

impl Batch {
    /// Makes batches of `size` updates of these ratings.
    pub(super) fn new(subjects: &Subjects, keys: Keys, size: usize, seed: u64) -> Self {
        let subject = format!("{}.frontend.batch", subjects.prefix()).into();
        Self { keys, subject, size, random: Rng::with_seed(seed), open: Vec::new(), seen: Label::new() }
    }

    /// Returns the label of all answers together.
    pub(super) fn seen(&self) -> &Label {
        &self.seen
    }

    /// The ratings, as they are known to be now.
    pub(super) fn into_keys(self) -> Keys {
        self.keys
    }

    fn check(&mut self, written: &[Written], message: &Message) -> Result<(), String> {
        if let Some(error) = error_in_headers(message) {
            return Err(error);
        }
        let reply: Reply = Format::MessagePack.decode(&message.payload).map_err(|error| error.to_string())?;
        self.seen.merge(&reply.label);
        if let Some(outcome) = reply.outcomes.iter().find(|outcome| !outcome.is_empty()) {
            return Err(format!("an update was not done: {outcome:?}"));
        }
        if reply.outcomes.len() != written.len() {
            return Err(format!("{} updates, and {} outcomes", written.len(), reply.outcomes.len()));
        }
        Ok(())
    }

    fn close(&mut self, slot: usize) -> Vec<Written> {
        let written = self.open.get_mut(slot).map(std::mem::take).unwrap_or_default();
        for (place, _) in &written {
            self.keys.give_back(*place);
        }
        written
    }
}

impl Workload for Batch {
    fn request(&mut self, slot: usize) -> (Subject, Bytes) {
        let mut operations = Vec::with_capacity(self.size);
        let mut written = Vec::with_capacity(self.size);
        for _ in 0..self.size {
            let (place, is_alone) = self.keys.take(&mut self.random);
            let (key, half_stars) = (self.keys.key(place), self.random.u8(1..=10));
            let rating = f64::from(half_stars) / 2.0;
            operations.push(Operation { op: "update", user_id: key.user_id, movie_id: key.movie_id, rating });
            written.push((place, is_alone.then_some(half_stars)));
        }
        if slot >= self.open.len() {
            self.open.resize(slot + 1, Vec::new());
        }
        self.open[slot] = written;
        // Numbers and texts can always be written.
        let payload = Format::MessagePack.encode(&Request { operations: &operations, answers: "brief" });
        (self.subject.clone(), payload.unwrap_or_default().into())
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        let written = self.close(slot);
        let checked = self.check(&written, message);
        for (place, half_stars) in written {
            self.keys.note(place, half_stars.filter(|_| checked.is_ok()));
        }
        checked
    }

    fn unanswered(&mut self, slot: usize) {
        for (place, _) in self.close(slot) {
            self.keys.note(place, None);
        }
    }

    fn operations(&self) -> u64 {
        self.size as u64
    }
}

/// Waits until all these replica managers show what `label` covers; tells how long that took.
pub(super) async fn applied_everywhere(
    client: &Client,
    subjects: &Subjects,
    replicas: &[ReplicaId],
    label: &Label,
) -> Result<Duration> {
    ensure!(!replicas.is_empty(), "nobody to apply it");
    let begun = Instant::now();
    for replica in replicas {
        let question = Question::to(subjects, replica)?;
        while !question.ask(client).await.with_context(|| format!("replica {replica}"))?.covers(&label.replicas) {
            if begun.elapsed() > PATIENCE {
                bail!("replica {replica} has not applied everything within {} s", PATIENCE.as_secs());
            }
        }
    }
    Ok(begun.elapsed())
}
