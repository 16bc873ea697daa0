//! Several streams of messages, read together: everything that waits in any of them is handled in one batch.
//!
//! `SelectAll` of futures-util would look at the same streams, at the price of an allocation for each message.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::task::unconstrained;

/// Streams that are read together. Only those that have something are looked at: a role has a dozen, most of which are
/// silent.
pub struct Streams<T> {
    streams: Vec<Source<T>>,
    /// Waker of the task that waits for any of them.
    reader: Arc<AtomicWaker>,
    /// Which one is read first the next time: where much waits, none is left behind.
    first: usize,
    batch_max: usize,
    bytes: fn(&T) -> usize,
    is_more_left: bool,
}

/// One of the streams.
struct Source<T> {
    messages: Pin<Box<dyn Stream<Item = T> + Send>>,
    signal: Arc<Signal>,
    /// The signal, as a stream knows it.
    waker: Waker,
}

/// Tells that a stream may have something.
struct Signal {
    raised: AtomicBool,
    reader: Arc<AtomicWaker>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.reader.wake();
    }
}

/// Bytes of messages after which a read ends, so that the reader soon shows its presence again. The rest is read next.
const BATCH_BYTES_MAX: usize = 1 << 20;

impl<T> Streams<T> {
    /// None yet. At most `batch_max` messages are given together, and about a megabyte; `bytes` is what one has.
    pub fn new(batch_max: usize, bytes: fn(&T) -> usize) -> Self {
        Self { streams: Vec::new(), reader: Arc::default(), first: 0, batch_max, bytes, is_more_left: false }
    }

    /// Reads this one too.
    pub fn push(&mut self, stream: impl Stream<Item = T> + Send + 'static) {
        let signal = Arc::new(Signal { raised: AtomicBool::new(true), reader: Arc::clone(&self.reader) });
        let waker = Waker::from(Arc::clone(&signal));
        self.streams.push(Source { messages: Box::pin(stream), signal, waker });
    }

    /// All messages that wait, at least one, those of one stream in their order; `None` when all streams have ended. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Vec<T>> {
        // Tokio would have it stop after 128 messages: the rest would make another batch.
        unconstrained(poll_fn(|context| self.poll(context))).await
    }

    /// Whether the last batch left something for the next: then the connection needs its turn before that, to send and to
    /// read.
    pub fn is_more_left(&self) -> bool {
        self.is_more_left
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        // Before the signals are checked, so that a signal raised later wakes the reader.
        self.reader.register(context.waker());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut ended = Vec::new();
        let count = self.streams.len();
        for place in (0..count).map(|turn| (self.first + turn) % count) {
            let Source { messages, signal, waker } = &mut self.streams[place];
            if !signal.raised.swap(false, Ordering::Acquire) {
                continue;
            }
            let mut context = Context::from_waker(waker);
            loop {
                if batch.len() >= self.batch_max || bytes >= BATCH_BYTES_MAX {
                    signal.raised.store(true, Ordering::Release);
                    break;
                }
                match messages.as_mut().poll_next(&mut context) {
                    Poll::Ready(Some(message)) => {
                        bytes += (self.bytes)(&message);
                        batch.push(message);
                    }
                    Poll::Ready(None) => {
                        ended.push(place);
                        break;
                    }
                    Poll::Pending => break,
                }
            }
        }
        self.is_more_left = batch.len() >= self.batch_max || bytes >= BATCH_BYTES_MAX;
        self.first = if count > 0 { (self.first + 1) % count } else { 0 };
        ended.sort_unstable();
        for place in ended.into_iter().rev() {
            drop(self.streams.remove(place));
        }
        match batch.is_empty() {
            false => Poll::Ready(Some(batch)),
            true if self.streams.is_empty() => Poll::Ready(None),
            true => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::stream::{iter, pending};
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::mpsc::unbounded_channel;

    fn channel(streams: &mut Streams<u32>) -> tokio::sync::mpsc::UnboundedSender<u32> {
        let (sender, mut receiver) = unbounded_channel();
        streams.push(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)));
        sender
    }

    #[tokio::test]
    async fn all_that_waits_in_any_stream_comes_together() {
        let mut streams = Streams::new(1000, |_| 1);
        let (a, b) = (channel(&mut streams), channel(&mut streams));
        assert!(streams.next().now_or_never().is_none());
        for n in 0..300 {
            if n % 3 == 0 { &b } else { &a }.send(n).unwrap();
        }
        let batch = streams.next().await.unwrap();
        let (of_b, of_a): (Vec<_>, Vec<_>) = batch.into_iter().partition(|n| n % 3 == 0);
        assert_eq!((of_a.len(), of_b.len()), (200, 100), "more than a task may take in one turn");
        assert!(of_a.is_sorted() && of_b.is_sorted());
        drop(a);
        b.send(7).unwrap();
        assert_eq!(streams.next().await, Some(vec![7]));
        drop(b);
        assert_eq!(streams.next().await, None);
        assert_eq!(streams.next().await, None);
    }

    #[tokio::test]
    async fn a_message_wakes_whoever_waits_for_one() {
        let mut streams = Streams::new(10, |_| 1);
        streams.push(pending());
        let sender = channel(&mut streams);
        let waiting = tokio::spawn(async move { streams.next().await });
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(vec![1]));
    }

    #[tokio::test]
    async fn only_streams_that_have_something_are_looked_at() {
        let looks = Arc::new(AtomicUsize::new(0));
        let mut streams = Streams::new(10, |_| 1);
        let (quiet, counted) = (channel(&mut streams), Arc::clone(&looks));
        streams.push(futures_util::stream::poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        }));
        for n in 0..5 {
            quiet.send(n).unwrap();
            assert_eq!(streams.next().await, Some(vec![n]));
            assert!(streams.next().now_or_never().is_none());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn whoever_looked_without_waiting_is_woken_when_it_waits() {
        let mut streams = Streams::new(10, |_| 1);
        let sender = channel(&mut streams);
        assert!(streams.next().now_or_never().is_none());
        let waiting = tokio::spawn(async move { streams.next().await });
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(vec![1]));
    }

    #[tokio::test]
    async fn a_batch_has_a_limit_and_the_other_streams_have_their_turn() {
        let mut streams = Streams::new(10, |_| 1);
        streams.push(iter(0..25));
        streams.push(iter(100..103));
        let mut batches = Vec::new();
        while let Some(batch) = streams.next().await {
            assert!(batch.len() <= 10);
            batches.push(batch);
        }
        assert_eq!(batches[0], (0..10).collect::<Vec<_>>());
        assert_eq!(batches[1][..3], [100, 101, 102]);
        assert_eq!(batches.concat().len(), 28);
    }

    #[tokio::test]
    async fn large_messages_make_small_batches() {
        let mut streams = Streams::new(1000, |megabytes| *megabytes << 20);
        streams.push(iter([0_usize, 0, 1, 1, 0]));
        for (batch, is_more_left) in [(vec![0, 0, 1], true), (vec![1], true), (vec![0], false)] {
            assert_eq!((streams.next().await, streams.is_more_left()), (Some(batch), is_more_left));
        }
    }
}
