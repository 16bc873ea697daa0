//! Valkey, in its own protocol over TCP: as lean as the other requests, so that the load generator does not count.
//!
//! A connection sends everything that is ready in one go. `SET`s that go out together are followed by one `WAIT 1`, which
//! holds for all of them: the cheapest way to know that a replica has them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, BytesMut};
use fastrand::Rng;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::encode::extend_encode_borrowed;
use redis_protocol::resp2::types::{BorrowedFrame, RangeFrame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::exchange::{LAST_ANSWER, LONGEST_NS, Span};
use super::job::{Latency, Outcome, ValkeyOperation};

/// Number of replicas that must have a write before it counts as answered, and the time for that in milliseconds.
const WAIT: [&[u8]; 3] = [b"WAIT", b"1", b"10000"];
/// A value begins with its key's number and its version, four bytes each.
const STAMP_BYTES: usize = 8;
/// Number of keys that are written in one go at first.
const FILL_AT_ONCE: u32 = 1000;

/// Keys by their numbers: the version that was written last and acknowledged; `None` where that is not known.
pub(super) type Known = Vec<Option<u32>>;

/// Writes every key once, so that there is something to get.
pub(super) async fn fill(server: &str, keys: u32, bytes: usize) -> Result<Known> {
    let known = vec![Some(0); keys as usize];
    let state = RefCell::new(State::new(ValkeyOperation::Set, known, bytes, Span::NONE, 1)?);
    let mut line = Line::connect(server).await?;
    for first in (0..keys).step_by(FILL_AT_ONCE as usize) {
        for key in first..keys.min(first + FILL_AT_ONCE) {
            state.borrow_mut().write(&mut line, key)?;
        }
        line.wait()?;
        while !line.open.is_empty() {
            line.exchange(&state).await?;
        }
    }
    let state = state.into_inner();
    ensure!(state.outcome.errors == 0, "the keys can't be written: {}", state.outcome.examples.join("; "));
    Ok(state.known)
}

/// Keeps a number of requests in flight for the time of `span`, and returns the results.
pub(super) async fn run(
    (server, connections): (&str, usize),
    operation: ValkeyOperation,
    (known, bytes): (&mut Known, usize),
    in_flight: usize,
    span: Span,
    seed: u64,
) -> Result<Outcome> {
    let mut lines = Vec::new();
    for _ in 0..connections.clamp(1, in_flight.max(1)) {
        lines.push(Line::connect(server).await?);
    }
    let state = RefCell::new(State::new(operation, std::mem::take(known), bytes, span, seed)?);
    let count = lines.len();
    let serving = lines.into_iter().enumerate().map(|(n, mut line)| {
        let state = &state;
        async move {
            let mut free = (n..in_flight).step_by(count).count();
            loop {
                if Instant::now() < state.borrow().end {
                    (0..free).try_for_each(|_| state.borrow_mut().request(&mut line))?;
                    if free > 0 && operation == ValkeyOperation::Set {
                        line.wait()?;
                    }
                }
                if line.open.is_empty() {
                    return Ok::<(), anyhow::Error>(());
                }
                free = line.exchange(state).await?;
            }
        }
    });
    let ended = serving.collect::<FuturesUnordered<_>>().try_collect::<()>().await;
    let mut state = state.into_inner();
    *known = std::mem::take(&mut state.known);
    ended?;
    let mut outcome = state.outcome;
    outcome.latency = Latency::of(&state.latency);
    Ok(outcome)
}

/// Asks how many replicas have all that this server has acknowledged, and waits a moment for `wanted` of them.
pub(crate) async fn replicas(server: &str, wanted: u8) -> Result<i64> {
    let mut line = Line::connect(server).await?;
    line.command(&[b"WAIT", wanted.to_string().as_bytes(), b"100"])?;
    line.send().await?;
    loop {
        if let Some((frame, _)) = decode_range(&line.input)? {
            return match frame {
                RangeFrame::Integer(count) => Ok(count),
                other => bail!("WAIT was answered with {other:?}"),
            };
        }
        line.receive().await?;
    }
}

/// A request that is not answered yet.
enum Open {
    Get { key: u32, since: Instant },
    Set { key: u32, version: u32, since: Instant, is_done: bool },
    Wait,
}

/// A connection, its requests in their order, and bytes on their way.
struct Line {
    stream: TcpStream,
    open: VecDeque<Open>,
    /// Number of requests in `open` from the first on that have their own answer, but not that of their `WAIT`.
    answered: usize,
    input: BytesMut,
    output: BytesMut,
}

impl Line {
    async fn connect(server: &str) -> Result<Self> {
        let stream = TcpStream::connect(server).await.with_context(|| format!("no Valkey at {server}"))?;
        stream.set_nodelay(true)?;
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Ok(Self { stream, open: VecDeque::new(), answered: 0, input, output })
    }

    fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        let words: Vec<BorrowedFrame<'_>> = words.iter().map(|word| BorrowedFrame::BulkString(word)).collect();
        extend_encode_borrowed(&mut self.output, &BorrowedFrame::Array(&words), false)?;
        Ok(())
    }

    /// Asks that a replica has all that was written over this connection.
    fn wait(&mut self) -> Result<()> {
        self.open.push_back(Open::Wait);
        self.command(&WAIT)
    }

    async fn send(&mut self) -> Result<()> {
        self.stream.write_all_buf(&mut self.output).await.context("Valkey has closed the connection")
    }

    async fn receive(&mut self) -> Result<()> {
        let received = timeout(LAST_ANSWER, self.stream.read_buf(&mut self.input)).await;
        let count = received.map_err(|_| anyhow!("Valkey did not answer within {} s", LAST_ANSWER.as_secs()))??;
        ensure!(count > 0, "Valkey has closed the connection");
        Ok(())
    }

    /// Sends all that is ready, takes in the answers that came, and returns the number of answered requests.
    async fn exchange(&mut self, state: &RefCell<State>) -> Result<usize> {
        self.send().await?;
        self.receive().await?;
        let (now, mut state, mut done) = (Instant::now(), state.borrow_mut(), 0);
        while let Some((frame, used)) = decode_range(&self.input)? {
            done += self.answer(&frame, &mut state, now)?;
            self.input.advance(used);
        }
        Ok(done)
    }

    /// Takes in the answer to the oldest command that has none, and returns how many requests it completes.
    fn answer(&mut self, frame: &RangeFrame, state: &mut State, now: Instant) -> Result<usize> {
        let open = self.open.get_mut(self.answered).context("an answer to nothing")?;
        match open {
            Open::Get { key, since } => {
                let (key, since) = (*key, *since);
                self.open.remove(self.answered);
                let checked = state.check_get(key, frame, &self.input);
                state.answered(key, since, now, checked);
                Ok(1)
            }
            Open::Set { is_done, .. } => {
                *is_done = matches!(frame, RangeFrame::SimpleString(_));
                self.answered += 1;
                Ok(0)
            }
            Open::Wait => {
                let copies = if let RangeFrame::Integer(count) = frame { *count } else { 0 };
                let sets: Vec<Open> = self.open.drain(..=self.answered).collect();
                let count = std::mem::take(&mut self.answered);
                for set in sets {
                    let Open::Set { key, version, since, is_done } = set else { continue };
                    let is_held = is_done && copies >= 1;
                    state.known[key as usize] = is_held.then_some(version);
                    let refused = || format!("SET and WAIT 1: {copies} replicas have key {key}, done: {is_done}");
                    state.answered(key, since, now, is_held.then_some(()).ok_or_else(refused));
                }
                Ok(count)
            }
        }
    }
}

/// State that all connections share.
struct State {
    operation: ValkeyOperation,
    known: Known,
    is_asked: Vec<bool>,
    value: Vec<u8>,
    random: Rng,
    counts_from: Instant,
    end: Instant,
    latency: Histogram<u64>,
    outcome: Outcome,
}

impl State {
    fn new(operation: ValkeyOperation, known: Known, bytes: usize, span: Span, seed: u64) -> Result<Self> {
        let counts_from = Instant::now() + span.warm_up;
        Ok(Self {
            operation,
            is_asked: vec![false; known.len()],
            known,
            value: vec![b'.'; bytes.max(STAMP_BYTES)],
            random: Rng::with_seed(seed),
            counts_from,
            end: counts_from + span.measure,
            latency: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
            outcome: Outcome { seconds: span.measure.as_secs_f64(), ..Outcome::default() },
        })
    }

    /// Puts a request about a random key with no open request into a connection's output.
    fn request(&mut self, line: &mut Line) -> Result<()> {
        let keys = self.known.len();
        let first = self.random.usize(..keys);
        let free = (0..keys).map(|step| (first + step) % keys).find(|key| !self.is_asked[*key]);
        let key = free.context("there are fewer keys than requests in flight")? as u32;
        if self.operation == ValkeyOperation::Set {
            return self.write(line, key);
        }
        self.is_asked[key as usize] = true;
        self.outcome.requests += 1;
        line.open.push_back(Open::Get { key, since: Instant::now() });
        line.command(&[b"GET", key.to_string().as_bytes()])
    }

    fn write(&mut self, line: &mut Line, key: u32) -> Result<()> {
        let version = self.known[key as usize].unwrap_or(0) + 1;
        self.is_asked[key as usize] = true;
        self.outcome.requests += 1;
        self.value[..4].copy_from_slice(&key.to_be_bytes());
        self.value[4..STAMP_BYTES].copy_from_slice(&version.to_be_bytes());
        line.open.push_back(Open::Set { key, version, since: Instant::now(), is_done: false });
        line.command(&[b"SET", key.to_string().as_bytes(), &self.value])
    }

    /// Whether an answer is the value that was written last.
    fn check_get(&mut self, key: u32, frame: &RangeFrame, input: &[u8]) -> Result<(), String> {
        let value = match frame {
            RangeFrame::BulkString((from, to)) => input.get(*from..*to).unwrap_or_default(),
            other => return Err(format!("GET of key {key} was answered with {other:?}")),
        };
        let number = |at: usize| value.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        if number(0) != Some(key) || value.len() != self.value.len() {
            return Err(format!("key {key} has a value of {} bytes that is not its own", value.len()));
        }
        let Some(known) = self.known[key as usize] else { return Ok(()) };
        self.outcome.compared += 1;
        if number(4) == Some(known) {
            return Ok(());
        }
        Err(format!("key {key} has version {known}, and {:?} was read", number(4)))
    }

    fn answered(&mut self, key: u32, since: Instant, now: Instant, checked: Result<(), String>) {
        self.is_asked[key as usize] = false;
        self.outcome.answers_in_all += 1;
        match checked {
            Err(error) => self.outcome.count_error(error),
            Ok(()) if self.counts_from <= now && now < self.end => {
                self.outcome.answers += 1;
                self.latency.saturating_record(nanoseconds(now - since));
            }
            Ok(()) => {}
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers commands as a primary whose replicas have this many copies of each write.
    async fn pretend(listener: TcpListener, copies: i64) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = BytesMut::new();
        let mut values = std::collections::BTreeMap::new();
        while stream.read_buf(&mut input).await.unwrap() > 0 {
            while let Some((RangeFrame::Array(words), used)) = decode_range(&input).unwrap() {
                let word = |n: usize| match words[n] {
                    RangeFrame::BulkString((from, to)) => input[from..to].to_vec(),
                    _ => panic!("a command is an array of texts"),
                };
                let answer = match &word(0)[..] {
                    b"SET" => {
                        values.insert(word(1), word(2));
                        b"+OK\r\n".to_vec()
                    }
                    b"GET" => {
                        let value = &values[&word(1)];
                        [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
                    }
                    _ => format!(":{copies}\r\n").into_bytes(),
                };
                stream.write_all(&answer).await.unwrap();
                input.advance(used);
            }
        }
    }

    async fn filled(copies: i64) -> Result<Known> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let pretending = tokio::spawn(pretend(listener, copies));
        let filled = fill(&server, 5, 60).await;
        pretending.abort();
        filled
    }

    #[tokio::test]
    async fn a_write_counts_only_if_a_replica_has_it() {
        assert_eq!(filled(1).await.unwrap(), vec![Some(1); 5]);
        let error = filled(0).await.unwrap_err().to_string();
        assert!(error.contains("0 replicas have key 0"), "{error}");
    }

    #[tokio::test]
    async fn requests_in_flight_are_answered_in_their_order() {
        for (operation, version) in [(ValkeyOperation::Get, 0), (ValkeyOperation::Set, 1)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = listener.local_addr().unwrap().to_string();
            let pretending = tokio::spawn(pretend(listener, 1));
            let mut known: Known = vec![Some(version); 9];
            let mut line = Line::connect(&server).await.unwrap();
            let span = Span { warm_up: Duration::ZERO, measure: Duration::from_secs(60) };
            let state = RefCell::new(State::new(ValkeyOperation::Set, vec![Some(0); 9], 60, span, 1).unwrap());
            (0..9).for_each(|key| state.borrow_mut().write(&mut line, key).unwrap());
            line.wait().unwrap();
            let mut done = 0;
            while done < 9 {
                done += line.exchange(&state).await.unwrap();
            }
            known.clone_from(&state.borrow().known);
            assert_eq!(known, vec![Some(1); 9], "{operation:?}");
            state.borrow_mut().operation = operation;
            (0..4).for_each(|_| state.borrow_mut().request(&mut line).unwrap());
            if operation == ValkeyOperation::Set {
                line.wait().unwrap();
            }
            while !line.open.is_empty() {
                line.exchange(&state).await.unwrap();
            }
            let state = state.into_inner();
            assert_eq!((state.outcome.answers, state.outcome.errors), (13, 0), "{:?}", state.outcome.examples);
            pretending.abort();
        }
    }
}
