//! The loop: lines come in, batches go out, outcomes come back.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::HumanCount;
use natter_common::cluster::ClusterId;
use natter_common::counted::nouns;
use natter_common::ids::UserId;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::item::Item;
use super::journal::{Identity, Journal};
use super::pace::{PAUSE, Pace};
use super::plan::{Plan, Planned, Refused};
use super::reader::{Lines, read};
use super::rejects::{Rejects, RejectsError};
use super::rows::Line;
use super::{Counts, ImportError, ImportOptions, Imported, Source, wire};
use crate::error::{ClientError, ErrorName};
use crate::retry::Reason;
use crate::show;
use crate::terminal::Progress;
use crate::transport::{Response, Transport, TransportError};

/// Maximum number of operations in a batch.
const BATCH: usize = 1000;
/// Maximum number of lines read ahead of the first that is not done.
const AHEAD_MAX: usize = 64 * BATCH;
/// Maximum number of chunks that wait to be taken from the reader.
const CHUNKS_READ: usize = 4;
/// Interval at which the journal is written and progress is shown.
const TICK: Duration = Duration::from_millis(200);
/// Maximum number of refused lines that are reported one by one; further ones are only counted.
const TOLD_MAX: usize = 100;

/// Imports all of the source.
///
/// # Errors
///
/// It stops before the end. The journal keeps the part that is done.
pub async fn import<T: Transport>(transport: &T, options: &ImportOptions) -> Result<Imported, ImportError> {
    let source_name = options.source.to_string();
    let unreadable = |error| ImportError::Unreadable { source_name: source_name.clone(), error };
    let in_journal = |error| ImportError::Journal { source_name: source_name.clone(), error };
    let in_rejects = |error| ImportError::Rejects { source_name: source_name.clone(), error };
    let source_path = match &options.source {
        Source::File(path) => Some(path.as_path()),
        Source::Stream(_) | Source::StandardInput => None,
    };
    let rejects = options.rejects.as_ref().map(|path| Rejects::open(path, source_path)).transpose();
    let rejects = rejects.map_err(in_rejects)?;
    let begun = Instant::now();
    let random = fastrand::u64(..);
    let (journal, bytes) = match (&options.source, &options.journal) {
        (Source::File(path), journal) => {
            let identity = Identity::of(path).map_err(unreadable)?;
            let opened = journal.as_ref().map(|at| Journal::open(at, &identity, options.again, random)).transpose();
            (opened.map_err(in_journal)?.unwrap_or_else(|| Journal::unkept(random)), Some(identity.bytes))
        }
        (Source::Stream(_) | Source::StandardInput, _) => (Journal::unkept(random), None),
    };
    let done = journal.done();
    let before = done.counts;
    if journal.is_finished() {
        return Ok(Imported { counts: Counts::default(), before, took: begun.elapsed(), dry_run: false });
    }
    let (sender, lines) = channel(CHUNKS_READ);
    let (source, sizes) = (options.source.clone(), journal.unfinished());
    let reading = tokio::task::spawn_blocking(move || read(&source, done.place, &sizes, BATCH, &sender));
    let mut run = Run {
        transport,
        options,
        plan: Plan::new(done, options.dry_run),
        journal,
        rejects,
        pace: Pace::new(options.in_flight),
        lines,
        bytes,
        is_read: false,
        position: done.position,
        batch_max: BATCH,
        in_flight: 0,
        batches: 0,
        paused_until: None,
        moved_at: Instant::now(),
        reason: Reason::default(),
        told: 0,
        progress: if options.shows_progress {
            Progress::begin("ratings are read").counting_from(before.total())
        } else {
            Progress::default()
        },
    };
    let ended = run.go().await;
    drop(std::mem::take(&mut run.progress));
    let is_finished = ended.is_ok() && run.is_read;
    let written = run.write_rejects();
    let kept = run.journal.keep(run.plan.done(), false).map_err(in_journal);
    ended?;
    written?;
    kept?;
    let counts = run.plan.counts().since(before);
    let (mut journal, done) = (run.journal, run.plan.done());
    drop(run.lines);
    match reading.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(unreadable(io::Error::other("the reader broke off"))),
    }
    journal.keep(done, is_finished).map_err(in_journal)?;
    Ok(Imported { counts, before, took: begun.elapsed(), dry_run: options.dry_run })
}

/// A batch that was on its way.
struct Landed {
    number: u64,
    items: Vec<Item>,
    response: Result<Response, TransportError>,
}

struct Run<'a, T> {
    transport: &'a T,
    options: &'a ImportOptions,
    plan: Plan,
    journal: Journal,
    rejects: Option<Rejects>,
    pace: Pace,
    lines: Receiver<Lines>,
    /// Size of the source, if it is known.
    bytes: Option<u64>,
    is_read: bool,
    /// Number of lines that were read, in all runs.
    position: u64,
    batch_max: usize,
    /// Number of operations in flight.
    in_flight: usize,
    batches: u64,
    paused_until: Option<Instant>,
    /// Time of the last progress.
    moved_at: Instant,
    /// Why nothing got on since it last did.
    reason: Reason,
    told: usize,
    progress: Progress,
}

impl<T: Transport> Run<'_, T> {
    async fn go(&mut self) -> Result<(), ImportError> {
        let mut flights = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(items) = self.next_batch() {
                let number = self.batches;
                let payload = wire::encode(&items, self.options.cluster.as_ref());
                let payload = payload.map_err(|error| self.stopped(ClientError::bad_reply(error)))?;
                let (transport, limit) = (self.transport, self.options.timeout);
                let user_id = only_user(&items);
                flights.push(async move {
                    let response = transport.request_batch(user_id, payload.into(), limit).await;
                    Landed { number, items, response }
                });
            }
            if self.is_read && self.plan.is_idle() {
                return Ok(());
            }
            let pause = self.paused_until;
            tokio::select! {
                Some(landed) = flights.next() => self.land(landed)?,
                lines = self.lines.recv(), if self.wants_lines() => match lines {
                    Some(lines) => self.take_in(lines)?,
                    None => self.is_read = true,
                },
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => self.paused_until = None,
                _ = ticks.tick() => self.tick()?,
            }
        }
    }

    fn wants_lines(&self) -> bool {
        let room = self.pace.window().max(self.batch_max);
        !self.is_read && self.in_flight + self.plan.ready() < room && self.plan.left() < AHEAD_MAX
    }

    /// The batch to be sent now, if any.
    fn next_batch(&mut self) -> Option<Vec<Item>> {
        let most = self.plan.ready().min(self.batch_max).min(self.pace.window());
        let is_whole = most == self.batch_max.min(self.pace.window()) || !self.wants_lines();
        // A few don't make a batch while others are on their way, and more lines may come.
        let goes = self.in_flight == 0 || (is_whole && self.in_flight + most <= self.pace.window());
        if most == 0 || !goes || self.paused_until.is_some() {
            return None;
        }
        let items = self.plan.next_batch(most);
        self.in_flight += items.len();
        self.batches += 1;
        Some(items)
    }

    /// Takes in a chunk of the file; its ids are written down before any of it is sent.
    fn take_in(&mut self, read: Lines) -> Result<(), ImportError> {
        let Lines { lines, end, columns } = read;
        if let Some(rejects) = &mut self.rejects {
            rejects.set_columns(columns);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let chunk = self.journal.chunk(self.position, lines.len() as u64, wall_ms);
        let chunk = chunk.map_err(|error| ImportError::Journal { source_name: self.source_name(), error })?;
        let journal = &self.journal;
        let first = self.position;
        let planned = |(place, line): (usize, Line)| -> Planned {
            let position = first + place as u64;
            let ids = |row| (row, [0, 1].map(|which| journal.id(&chunk, position, which)));
            (line.number, line.text, line.row.map(ids))
        };
        self.position += lines.len() as u64;
        let mut refused = Vec::new();
        self.plan.add(lines.into_iter().enumerate().map(planned), end, &mut refused);
        self.tell(refused);
        Ok(())
    }

    /// Handles the answer to a batch, or that there is none.
    fn land(&mut self, landed: Landed) -> Result<(), ImportError> {
        let Landed { number, items, response } = landed;
        self.in_flight -= items.len();
        let error = match response {
            Ok(Response { error: None, body, .. }) => return self.hear(number, items, &body),
            Ok(Response { error: Some((code, text)), cluster, .. }) => {
                ClientError { cluster, ..ClientError::from_headers(&code, &text) }
            }
            Err(error) => ClientError::without_answer(error, self.options.timeout, &self.transport.place()),
        };
        let count = items.len();
        self.plan.put_back(items);
        match error.name {
            ErrorName::TooLarge | ErrorName::ReplyTooLarge if count > 1 => self.shrink_batches(count),
            ErrorName::Stale => return Err(self.stopped(self.other_cluster(error))),
            _ if error.name.is_passing() => self.slow_down(number, error),
            _ => return Err(self.stopped(error)),
        }
        Ok(())
    }

    /// Handles the outcomes of a batch.
    fn hear(&mut self, number: u64, items: Vec<Item>, body: &[u8]) -> Result<(), ImportError> {
        let count = items.len();
        let outcomes = wire::decode(body, count).map_err(|error| self.stopped(ClientError::bad_reply(error)))?;
        let (mut refused, mut again, mut later) = (Vec::new(), 0, None);
        for (item, outcome) in items.into_iter().zip(outcomes) {
            if let Some(error) = self.plan.take_in(item, outcome, &mut refused) {
                again += 1;
                later = Some(error);
            }
        }
        self.tell(refused);
        if again < count {
            self.moved_at = Instant::now();
            self.reason = Reason::default();
        }
        match later {
            None => self.pace.went_well(count),
            Some(error) if error.name == ErrorName::ReplyTooLarge => self.shrink_batches(count),
            Some(error) => self.slow_down(number, error),
        }
        Ok(())
    }

    /// Makes batches smaller than one of `count` operations, which was too large. Several that are as large may be in flight:
    /// together they count once.
    fn shrink_batches(&mut self, count: usize) {
        self.batch_max = self.batch_max.min(count / 2).max(1);
    }

    fn slow_down(&mut self, batch: u64, error: ClientError) {
        if self.pace.went_badly(batch, self.batches) {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
        // Others are the usual ways of frontends and replicas to say that this is too fast.
        let is_told = matches!(error.name, ErrorName::NoFrontend | ErrorName::Unavailable);
        let is_news = self.reason.take_in(error, false);
        if let Some(error) = self.reason.known().filter(|_| is_news && is_told) {
            (self.options.notify)(&format!("{} ({}): trying again", show::clean(&error.text), error.name));
        }
    }

    /// Keeps what is done, shows it, and sees whether anything gets on.
    fn tick(&mut self) -> Result<(), ImportError> {
        let done = self.plan.done();
        if done != self.journal.done() {
            // Before they count as done: a later run does not see them again.
            self.write_rejects()?;
            let kept = self.journal.keep(done, false);
            kept.map_err(|error| ImportError::Journal { source_name: self.source_name(), error })?;
        }
        let fraction = self.bytes.map(|bytes| done.place.bytes as f64 / bytes.max(1) as f64);
        self.show_progress(fraction);
        let waits = self.in_flight > 0 || self.plan.ready() > 0;
        if !waits {
            self.moved_at = Instant::now(); // for lines that are not there yet
        } else if self.moved_at.elapsed() > self.patience() {
            let none = || ClientError::no_answer(self.options.timeout);
            let error = self.reason.known().map_or_else(none, |_| self.reason.clone().into_error());
            return Err(self.stopped(error));
        }
        Ok(())
    }

    /// Shows how many ratings are done, and which part of the source that is.
    fn show_progress(&self, fraction: Option<f64>) {
        let done = self.plan.counts().total();
        let rate = HumanCount(self.progress.note(done) as u64);
        let part = fraction.map_or_else(String::new, |fraction| format!(" ({:.0} %)", fraction * 100.0));
        self.progress.say(format!("{} {}{part}, {rate}/s", HumanCount(done), nouns(&done, "rating")));
    }

    /// Maximum time without progress. A batch in flight that may still be answered has its whole timeout.
    fn patience(&self) -> Duration {
        if self.reason.known().is_some() {
            self.options.patience
        } else {
            self.options.patience.max(self.options.timeout)
        }
    }

    /// Writes the refused lines of the part that is done.
    fn write_rejects(&mut self) -> Result<(), ImportError> {
        let until = self.plan.done().place.lines;
        let written = self.rejects.as_mut().map_or(Ok(()), |rejects| rejects.write_until(until));
        written.map_err(|error: RejectsError| ImportError::Rejects { source_name: self.source_name(), error })
    }

    fn tell(&mut self, refused: Vec<Refused>) {
        if let Some(rejects) = &mut self.rejects {
            rejects.add(&refused);
        }
        for Refused { line, reason, .. } in refused {
            self.told += 1;
            if self.told <= TOLD_MAX {
                (self.options.notify)(&format!("{}:{line}: {reason}", self.options.source));
            } else if self.told == TOLD_MAX + 1 {
                (self.options.notify)("further lines that are refused are only counted");
            }
        }
    }

    /// A batch has no `prev`: it is only stale where another cluster answers.
    fn other_cluster(&self, error: ClientError) -> ClientError {
        let named = |cluster: &Option<ClusterId>| cluster.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        let text = format!(
            "cluster {} answers now, and not cluster {}, into which this import has begun: was the cluster started anew? \
             The same command imports all into the new one",
            named(&error.cluster),
            named(&self.options.cluster)
        );
        ClientError { text, ..error }
    }

    fn stopped(&self, error: ClientError) -> ImportError {
        ImportError::Stopped { done: self.plan.counts().total(), error: Box::new(error) }
    }

    fn source_name(&self) -> String {
        self.options.source.to_string()
    }
}

/// The user of all these items, where they have the same one: a broker may permit the batch at that user's subject alone.
fn only_user(items: &[Item]) -> Option<UserId> {
    let first = items.first()?.row.key.user_id;
    items.iter().all(|item| item.row.key.user_id == first).then_some(first)
}

#[cfg(test)]
mod tests;
