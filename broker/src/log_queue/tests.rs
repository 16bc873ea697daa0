use super::*;
use std::sync::mpsc;

/// A writer that waits for the test: each write is announced, then goes on with what the test answers.
struct Gate {
    began: mpsc::Sender<Vec<u8>>,
    go_on: mpsc::Receiver<io::Result<usize>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.began.send(bytes.to_vec()).map_err(io::Error::other)?;
        self.go_on.recv().map_err(io::Error::other)?
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Test {
    queue: LogQueue,
    began: mpsc::Receiver<Vec<u8>>,
    go_on: mpsc::Sender<io::Result<usize>>,
}

impl Test {
    fn new() -> Self {
        let ((began_sender, began), (go_on, go_on_receiver)) = (mpsc::channel(), mpsc::channel());
        let gate = Gate { began: began_sender, go_on: go_on_receiver };
        let queue = LogQueue::start(gate, |lines| format!("{lines} dropped")).unwrap();
        Self { queue, began, go_on }
    }

    /// The next write, which then takes as much as `taken` says.
    fn write(&self, taken: impl FnOnce(usize) -> io::Result<usize>) -> String {
        let bytes = self.began.recv_timeout(Duration::from_secs(60)).unwrap();
        self.go_on.send(taken(bytes.len())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn write_all(&self) -> String {
        self.write(Ok)
    }
}

fn disk_full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

#[test]
fn lines_come_in_order_and_a_write_has_whole_lines() {
    let test = Test::new();
    test.queue.push(b"first\n");
    let first = test.began.recv().unwrap();
    assert_eq!(first, b"first\n");
    let lines: Vec<String> = (0..2000).map(|n| format!("line {n}\n")).collect();
    let long = format!("{}\n", "x".repeat(3 * WRITE_BYTES_MAX));
    test.queue.push(lines.concat().as_bytes());
    test.queue.push(long.as_bytes());
    test.go_on.send(Ok(first.len())).unwrap();
    let mut written = String::new();
    while !written.ends_with(&long) {
        let piece = test.write_all();
        assert!(piece.ends_with('\n') && (piece.len() <= WRITE_BYTES_MAX || piece == long), "{}", piece.len());
        written.push_str(&piece);
    }
    assert_eq!(written, lines.concat() + &long);
    test.queue.flush();
}

#[test]
fn logging_never_waits_and_dropped_lines_are_counted_at_their_place() {
    let test = Test::new();
    test.queue.push(b"blocks\n");
    let first = test.began.recv().unwrap();
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let fit = WAITING_BYTES_MAX / line.len();
    for _ in 0..fit + 7 {
        test.queue.push(&line);
    }
    test.queue.push(b"small, but after the gap\n");
    test.queue.flush(); // gives up without progress
    test.go_on.send(Ok(first.len())).unwrap();
    let mut lines = 0;
    let notice = loop {
        let piece = test.write_all();
        if !piece.starts_with('x') {
            break piece;
        }
        lines += piece.matches('\n').count();
    };
    assert_eq!((lines, notice.as_str()), (fit, "8 dropped\n"));
    test.queue.push(b"after\n");
    assert_eq!(test.write_all(), "after\n");
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_half_a_line_is_ended() {
    let test = Test::new();
    test.queue.push(b"one\ntwo\nthree\n");
    // "one" and a part of "two" are written, then the disk is full.
    assert_eq!(test.write(|_| Ok(5)), "one\ntwo\nthree\n");
    assert_eq!(test.write(|_| Err(disk_full())), "wo\nthree\n");
    test.queue.push(b"four\n");
    // Still full.
    assert_eq!(test.write(|_| Err(disk_full())), "\n2 dropped\n");
    test.queue.push(b"five\n");
    assert_eq!(test.write_all(), "\n3 dropped\n");
    assert_eq!(test.write_all(), "five\n");
}

#[test]
fn flushing_waits_for_a_slow_writer() {
    let test = Test::new();
    test.queue.push(b"slow\n");
    let flushing = std::thread::spawn({
        let queue = test.queue.clone();
        move || queue.flush()
    });
    assert_eq!(test.write_all(), "slow\n");
    flushing.join().unwrap();
    assert!(!test.queue.shared.lock().writing && test.queue.shared.lock().waiting.is_empty());
}

#[test]
fn flushing_a_blocked_writer_ends() {
    let test = Test::new();
    test.queue.push(b"blocks\n");
    let started = Instant::now();
    test.queue.flush();
    assert!(started.elapsed() >= STALLED);
    assert_eq!(test.began.recv().unwrap(), b"blocks\n");
}
