//! The terminal, which messages, a line being typed and a progress line share.
//!
//! Messages are lines on standard error. They come at any time, from any thread, and by way of the logs. [`tell`] and the
//! logs put them above the line that stands in the terminal, so that none garbles another.

use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use natter_broker::logs;

use crate::watch::tap::colours_are_wanted;

/// Time after which work that goes on has a progress line. Shorter work would only flicker.
const SHOWN_AFTER: Duration = Duration::from_millis(500);
/// Interval at which the progress line moves.
const MOVES_EVERY: Duration = Duration::from_millis(100);

static SCREEN: Mutex<Screen> = Mutex::new(Screen { content: Content::Nothing, messages: Vec::new() });
/// There are messages, and a line is being typed.
static MESSAGES: Condvar = Condvar::new();

struct Screen {
    content: Content,
    /// Messages that wait to be shown above the line that is being typed.
    messages: Vec<u8>,
}

/// The content of the terminal's last line.
enum Content {
    Nothing,
    Progress(ProgressBar),
    /// A line that is being typed.
    Line,
}

fn screen() -> MutexGuard<'static, Screen> {
    // Nothing that can panic runs under the lock.
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line to standard error. Where that is closed, the line has no reader.
pub fn tell(line: &str) {
    let line = format!("{line}\n");
    if !show(line.as_bytes()) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Has logs and messages go around what stands in the terminal.
fn share() {
    logs::show_on(show);
}

/// Shows whole lines around what stands in the terminal. Returns false where nothing does.
fn show(lines: &[u8]) -> bool {
    let mut screen = screen();
    let bar = match &screen.content {
        Content::Nothing => return false,
        Content::Line if !io::stderr().is_terminal() => return false,
        Content::Line => {
            screen.messages.extend_from_slice(lines);
            MESSAGES.notify_all();
            return true;
        }
        Content::Progress(bar) => bar.clone(),
    };
    drop(screen);
    bar.suspend(|| io::stderr().write_all(lines)).is_ok()
}

/// Writes to standard output while no progress line stands in the terminal.
pub(crate) fn without_progress<R>(write: impl FnOnce() -> R) -> R {
    let bar = match &screen().content {
        Content::Progress(bar) => Some(bar.clone()),
        Content::Nothing | Content::Line => None,
    };
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A line is being typed from now on: messages go to the thread of [`show_messages_by`].
pub(crate) fn line_begins() {
    share();
    screen().content = Content::Line;
}

/// No line is being typed any more. Messages that wait are written.
pub(crate) fn line_ends() {
    let mut screen = screen();
    screen.content = Content::Nothing;
    let messages = mem::take(&mut screen.messages);
    drop(screen);
    let _ = io::stderr().write_all(&messages);
}

/// Starts a thread that gives messages to `print` while a line is being typed. Only this thread waits where `print` does.
///
/// # Errors
///
/// Where no thread can be started.
pub(crate) fn show_messages_by(mut print: impl FnMut(String) + Send + 'static) -> io::Result<()> {
    let show = move || {
        loop {
            let mut screen = screen();
            while screen.messages.is_empty() || !matches!(screen.content, Content::Line) {
                screen = MESSAGES.wait(screen).unwrap_or_else(PoisonError::into_inner);
            }
            let messages = mem::take(&mut screen.messages);
            drop(screen);
            print(String::from_utf8_lossy(&messages).into_owned());
        }
    };
    std::thread::Builder::new().name("messages".to_owned()).spawn(show).map(drop)
}

/// A progress line on standard error for work that takes longer than half a second. Dropping this removes the line.
///
/// There is none where standard error is no terminal.
#[derive(Debug, Default)]
pub struct Progress(Option<Running>);

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    /// Dropping this ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins with a text about the work.
    pub fn begin(text: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        share();
        // Hidden until it is time.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let template = if colours_are_wanted() {
            "{spinner:.cyan} {elapsed} {wide_msg}"
        } else {
            "{spinner} {elapsed} {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        let (stop, stopped) = channel();
        let shown = bar.clone();
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            if stopped.recv_timeout(SHOWN_AFTER) == Err(RecvTimeoutError::Timeout) && appear(&shown) {
                while stopped.recv_timeout(MOVES_EVERY) == Err(RecvTimeoutError::Timeout) {
                    shown.tick();
                }
                shown.finish_and_clear();
                screen().content = Content::Nothing;
            }
        });
        // Work goes on without a progress line.
        thread.map_or_else(|_| Self(None), |thread| Self(Some(Running { bar, stop: Some(stop), thread: Some(thread) })))
    }

    /// Puts another text in the line.
    pub fn say(&self, text: String) {
        if let Some(running) = &self.0 {
            running.bar.set_message(text);
        }
    }

    /// Notes how much is done, and returns how much that is in a second. Zero where there is no progress line.
    pub fn note(&self, done: u64) -> f64 {
        self.0.as_ref().map_or(0.0, |running| {
            running.bar.set_position(done);
            running.bar.per_sec()
        })
    }

    /// Begins to count at what is done already.
    #[must_use]
    pub fn counting_from(self, done: u64) -> Self {
        if let Some(running) = &self.0 {
            running.bar.set_position(done);
            running.bar.reset_eta();
        }
        self
    }
}

/// Puts the progress line in the terminal, unless another line stands there.
fn appear(bar: &ProgressBar) -> bool {
    let mut screen = screen();
    let is_free = matches!(screen.content, Content::Nothing);
    if is_free {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.tick();
        screen.content = Content::Progress(bar.clone());
    }
    is_free
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked leaves its line, and the work is done all the same.
            let _ = thread.join();
        }
    }
}
