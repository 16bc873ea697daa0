//! A bounded queue of log lines in front of a writer that may block: a terminal that is stopped, a pipe that is full, a
//! full disk.
//!
//! The thread that logs never waits for the writer: a thread of the queue's own writes. Lines that find the queue full, and
//! lines that cannot be written, are dropped and counted; a line that says how many follows as soon as something can be
//! written again. Lines keep their order, and a write to a pipe has whole lines only.
//!
//! The crate `tracing-appender` has such a queue too. It counts lines and not bytes, leaves half a line where a write fails
//! in the middle of it, does not count those, and at the end of the process it may print to standard output.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum size of the lines that wait, in bytes, beside those that are being written: a fraction of a second of a busy
/// replica at level debug. Lines beyond that are dropped.
pub const WAITING_BYTES_MAX: usize = 2 << 20;

/// Maximum size of one write, in bytes, unless a line is longer: what a pipe takes in one piece, so that lines of several
/// processes on one pipe stay whole.
const WRITE_BYTES_MAX: usize = 4096;

/// Time without any progress after which [`LogQueue::flush`] gives up.
const STALLED: Duration = Duration::from_millis(250);
/// Time after which [`LogQueue::flush`] gives up though lines are still being written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Makes the line that says how many lines were dropped.
pub type Notice = fn(u64) -> String;

/// The queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Something was written, or given up.
    progressed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// Lines that found the queue full since the last were taken from it.
    dropped: u64,
    /// The writer has lines that are not written yet.
    writing: bool,
    /// Number of writes so far.
    writes: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogQueue {
    /// Starts a queue in front of `writer`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(writer: impl Write + Send + 'static, notice: Notice) -> io::Result<Self> {
        let queue = Self::default();
        let shared = Arc::clone(&queue.shared);
        let mut writer = LineWriter::new(writer, notice);
        std::thread::Builder::new().name("logs".to_owned()).spawn(move || {
            loop {
                let (lines, dropped) = take(&shared);
                for piece in Pieces(&lines) {
                    writer.write_piece(piece);
                    shared.lock().writes += 1;
                    shared.progressed.notify_all();
                }
                if dropped > 0 {
                    writer.count_lost(dropped);
                }
                shared.lock().writing = false;
                shared.progressed.notify_all();
            }
        })?;
        Ok(queue)
    }

    /// Appends `lines`, which end with a line feed, or drops them where the queue is full. Never waits for the writer.
    pub fn push(&self, lines: &[u8]) {
        let mut state = self.shared.lock();
        if state.dropped > 0 || state.waiting.len() + lines.len() > WAITING_BYTES_MAX {
            // After a gap, nothing more: the notice of it comes at its place.
            state.dropped = state.dropped.saturating_add(count_lines(lines));
        } else {
            state.waiting.extend_from_slice(lines);
        }
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Waits until all is written, but no longer than there is progress, and not for long.
    pub fn flush(&self) {
        let started = Instant::now();
        let (mut writes, mut progressed) = (None, started);
        let mut state = self.shared.lock();
        while state.writing || !state.waiting.is_empty() || state.dropped > 0 {
            if writes.replace(state.writes) != Some(state.writes) {
                progressed = Instant::now();
            }
            let left = FLUSH_MAX.saturating_sub(started.elapsed()).min(STALLED.saturating_sub(progressed.elapsed()));
            if left.is_zero() {
                return;
            }
            let waited = self.shared.progressed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Waits for lines and takes them all, with the number of those that were dropped after them.
fn take(shared: &Shared) -> (Vec<u8>, u64) {
    let mut state = shared.lock();
    while state.waiting.is_empty() && state.dropped == 0 {
        state = shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.writing = true;
    (mem::take(&mut state.waiting), mem::take(&mut state.dropped))
}

/// Whole lines of a text, as many as one write takes, or one that is longer.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let limit = self.0.len().min(WRITE_BYTES_MAX);
        let fits = memchr::memrchr(b'\n', &self.0[..limit]);
        let end = fits.or_else(|| memchr::memchr(b'\n', &self.0[limit..]).map(|at| limit + at));
        let (piece, rest) = self.0.split_at(end.map_or(self.0.len(), |end| end + 1));
        self.0 = rest;
        (!piece.is_empty()).then_some(piece)
    }
}

/// Writes lines, counts those that cannot be written, and says how many they were once something can be written again.
#[derive(Debug)]
pub struct LineWriter<W> {
    writer: W,
    notice: Notice,
    /// Lines that were dropped.
    lost: u64,
    /// Those of them that a notice told of.
    told: u64,
    /// The last line was written in part only.
    torn: bool,
}

impl<W: Write> LineWriter<W> {
    /// Writes to `writer`.
    pub fn new(writer: W, notice: Notice) -> Self {
        Self { writer, notice, lost: 0, told: 0, torn: false }
    }

    /// The writer behind the queue.
    pub fn writer(&self) -> &W {
        &self.writer
    }

    /// Number of lines that were dropped so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes whole lines.
    pub fn write_lines(&mut self, lines: &[u8]) {
        Pieces(lines).for_each(|piece| self.write_piece(piece));
    }

    /// Counts lines that were dropped before they came here, and says so.
    fn count_lost(&mut self, dropped: u64) {
        self.lost = self.lost.saturating_add(dropped);
        self.tell_lost();
    }

    fn write_piece(&mut self, piece: &[u8]) {
        let lost = if self.tell_lost() { self.write(piece) } else { count_lines(piece) };
        self.lost = self.lost.saturating_add(lost);
    }

    /// Says how many lines were dropped, if any. `false` where that cannot be written either.
    fn tell_lost(&mut self) -> bool {
        let lost = self.lost - self.told;
        if lost == 0 {
            return true;
        }
        let mut line = if self.torn { "\n".to_owned() } else { String::new() };
        line.push_str(&(self.notice)(lost));
        line.push('\n');
        let told = self.write(line.as_bytes()) == 0;
        if told {
            self.told = self.lost;
        }
        told
    }

    /// Writes whole lines. Returns the number of those that were not written to their end.
    fn write(&mut self, mut lines: &[u8]) -> u64 {
        while !lines.is_empty() {
            match self.writer.write(lines) {
                Ok(written @ 1..) => {
                    self.torn = lines.get(written - 1) != Some(&b'\n');
                    lines = lines.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return count_lines(lines),
            }
        }
        0
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests;
