//! Logs on standard error: a line for people, or a JSON object a line.
//!
//! A program that must not wait for its logs starts them by [`init_queued`]: see [`crate::log_queue`].

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::environment::Environment;
use crate::log_queue::{LogQueue, Notice};
use crate::options::LogFormat;

/// Words of the line that says how many lines were dropped, after their number: for one line, and for more.
const WERE_DROPPED: [&str; 2] = ["log line was dropped", "log lines were dropped"];

/// The queue of this process, where it has one.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// The screen of this process, where it has one.
static SCREEN: OnceLock<Screen> = OnceLock::new();

/// Shows whole lines in the terminal, or returns false, and then they go to standard error as always.
pub type Screen = fn(&[u8]) -> bool;

/// Lets `screen` show the lines of this process from now on: a program that edits a line or shows progress in the terminal
/// keeps the two apart. The first call counts.
pub fn show_on(screen: Screen) {
    // A later screen has no use: the first one knows what stands in the terminal.
    let _ = SCREEN.set(screen);
}

/// Whether the screen of this process has shown these lines.
fn is_shown(lines: &[u8]) -> bool {
    SCREEN.get().is_some_and(|screen| screen(lines))
}

/// Starts logging to standard error, once for the process; a second call changes nothing. Each line is written at once, so
/// the program waits while standard error blocks.
///
/// `verbosity` counts the `-v`: none logs at `default_level` (and nothing of the NATS client, whose events the connection
/// itself reports), one at debug, two or more everything, the NATS client too. `RUST_LOG` wins over both. Colours only on a
/// terminal, and not where `NO_COLOR` is set.
pub fn init(format: LogFormat, verbosity: u8, default_level: LevelFilter) {
    start(format, verbosity, default_level, || Unqueued);
}

/// As [`init`], but the process never waits for its logs: lines that standard error does not take in time are dropped, and
/// counted. Panics are told the same way. Keep the result until the end of the process: dropping it writes what waits.
pub fn init_queued(format: LogFormat, verbosity: u8, default_level: LevelFilter) -> FlushedAtTheEnd {
    let started = StandardError::open().and_then(|errors| LogQueue::start(errors, dropped_notice(format)));
    match started {
        Ok(queue) if QUEUE.set(queue.clone()).is_ok() => {
            std::panic::set_hook(Box::new(tell_of_panic));
            start(format, verbosity, default_level, move || QueueWriter(queue.clone()));
        }
        // Logging has started already.
        Ok(_) => {}
        Err(error) => {
            init(format, verbosity, default_level);
            tracing::warn!(%error, "logs are written at once, as they cannot be queued");
        }
    }
    FlushedAtTheEnd
}

/// Writes a line as it is to standard error, in order with the logs; queued where they are.
pub fn tell(line: &str) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{line}\n").as_bytes()),
        // Where standard error is closed, the line has no reader.
        None => {
            let _ = Unqueued.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// Waits until the queued lines are written, while there is progress and for 2 s at most.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Flushes the logs when it is dropped.
#[must_use = "the last lines are lost where this is not kept"]
#[derive(Debug)]
pub struct FlushedAtTheEnd;

impl Drop for FlushedAtTheEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Standard error, or the screen. The program waits while it blocks.
struct Unqueued;

impl Write for Unqueued {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_shown(bytes) { Ok(bytes.len()) } else { io::stderr().write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A handle of its own to standard error: the standard library's has a lock, which is not free while a write blocks.
struct StandardError(File);

impl StandardError {
    fn open() -> io::Result<Self> {
        Ok(Self(File::from(io::stderr().as_fd().try_clone_to_owned()?)))
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_shown(bytes) {
            return Ok(bytes.len());
        }
        loop {
            match self.0.write(bytes) {
                // Another program that has the same terminal or pipe made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(&self.0, PollFlags::OUT)];
                    poll(&mut ready, None)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writer of one event into the queue.
struct QueueWriter(LogQueue);

impl Write for QueueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line that says how many lines were dropped, in this format.
pub fn dropped_notice(format: LogFormat) -> Notice {
    match format {
        LogFormat::Text => dropped_as_text,
        LogFormat::Json => dropped_as_json,
    }
}

/// `1 log line was dropped`, `2 log lines were dropped`.
pub fn were_dropped(lines: u64) -> String {
    format!("{lines} {}", WERE_DROPPED[usize::from(lines != 1)])
}

/// Whether a log line says that lines were dropped.
pub fn tells_of_dropped_lines(line: &[u8]) -> bool {
    WERE_DROPPED.iter().any(|words| memchr::memmem::find(line, words.as_bytes()).is_some())
}

fn dropped_as_text(lines: u64) -> String {
    let (time, dropped) = (date_and_time(SystemTime::now()), were_dropped(lines));
    format!("{time} WARN  {dropped}, as there was no time to write more")
}

fn dropped_as_json(lines: u64) -> String {
    let (time, dropped) = (date_and_time(SystemTime::now()), were_dropped(lines));
    format!(
        r#"{{"timestamp":"{time}","level":"WARN","message":"{dropped}, as there was no time to write more","lines":{lines},"target":"{}"}}"#,
        module_path!()
    )
}

/// As the standard library tells of a panic, but queued.
fn tell_of_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tell(&format!("thread '{}' {panic}", thread.name().unwrap_or("unnamed")));
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        tell(&trace.to_string());
    }
}

fn start<W>(format: LogFormat, verbosity: u8, default_level: LevelFilter, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let environment = Environment::of_process();
    let colours = std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none();
    let (filter, complaint) = filter(&environment, verbosity, default_level);
    // Lines that cannot be written, as on a full disk, are lost: an error on standard error would end the process.
    let logs = tracing_subscriber::fmt().log_internal_errors(false);
    let logs = logs.with_env_filter(filter).with_writer(writer).with_ansi(colours);
    // An error means that a test or a caller has started logging already.
    let _ = match format {
        LogFormat::Text => logs.event_format(TextFormat { colours }).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// The filter, and a complaint where `RUST_LOG` can't be used.
fn filter(environment: &Environment, verbosity: u8, default_level: LevelFilter) -> (EnvFilter, Option<String>) {
    let directives = match verbosity {
        0 => format!("{default_level},async_nats=off"),
        1 => format!("{},async_nats=off,rustls=warn,mio=warn,rustyline=warn", default_level.max(LevelFilter::DEBUG)),
        _ => "trace,mio=info,rustyline=info".to_owned(),
    };
    let ours = || EnvFilter::builder().with_default_directive(default_level.into()).parse_lossy(&directives);
    match environment.get("RUST_LOG").map(|text| text.to_string_lossy().into_owned()) {
        None => (ours(), None),
        Some(text) => match EnvFilter::builder().parse(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (ours(), Some(format!("RUST_LOG=\"{text}\" is not understood and ignored ({error})"))),
        },
    }
}

/// `2026-11-30T12:03:04.123456Z INFO  message field=value`. The time is UTC, so that logs of several machines compare.
struct TextFormat {
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for TextFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (dim, plain) = if self.colours { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        write!(writer, "{dim}{}{plain} ", date_and_time(SystemTime::now()))?;
        write_level(&mut writer, *event.metadata().level(), self.colours)?;
        let mut text = EventText::default();
        event.record(&mut text);
        write!(writer, " {}{}", text.message, text.fields)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(writer, " {fields}")?;
            }
        }
        writeln!(writer)
    }
}

fn write_level(writer: &mut Writer<'_>, level: Level, colours: bool) -> fmt::Result {
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    if colours { write!(writer, "\u{1b}[{colour}m{level:<5}\u{1b}[0m") } else { write!(writer, "{level:<5}") }
}

/// `YYYY-MM-DDTHH:MM:SS.uuuuuuZ`: a request takes less than a millisecond, and lines of several files are sorted as text.
pub fn date_and_time(time: SystemTime) -> impl fmt::Display {
    humantime::format_rfc3339_micros(time)
}

/// An event's message and its fields, apart.
#[derive(Default)]
struct EventText {
    message: String,
    fields: String,
}

impl EventText {
    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            push_one_line(&mut self.message, value);
        } else if !field.name().starts_with("log.") {
            self.fields.push(' ');
            self.fields.push_str(field.name().trim_start_matches("r#"));
            self.fields.push('=');
            push_one_line(&mut self.fields, value);
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = |c: char| c.is_alphanumeric() || "_-./:@+%,".contains(c);
        if field.name() == "message" || (!value.is_empty() && value.chars().all(plain)) {
            self.put(field, value);
        } else {
            self.put(field, &format!("{value:?}"));
        }
    }
}

/// Control characters are escaped, so that one event is one line and can't play with the terminal.
fn push_one_line(text: &mut String, value: &str) {
    for c in value.chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(directives: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(directives))
            .with_writer(captured.clone())
            .with_ansi(false)
            .event_format(TextFormat { colours: false })
            .finish();
        tracing::subscriber::with_default(logs, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_time_level_message_fields() {
        let text = logged("info", || {
            let span = tracing::info_span!("step", replica = "a");
            let _entered = span.enter();
            tracing::info!(count = 3, id = "x-1", title = "Toy\nStory", shown = %"a b", "merged gossip");
            tracing::debug!("not this");
        });
        let (time, rest) = text.split_at("2026-11-30T12:03:04.123456Z".len());
        let punctuation: String = time.chars().filter(|c| !c.is_ascii_digit()).collect();
        assert_eq!(punctuation, "--T::.Z", "{text}");
        assert_eq!(rest, " INFO  merged gossip count=3 id=x-1 title=\"Toy\\nStory\" shown=a b replica=\"a\"\n");
    }

    #[test]
    fn one_event_is_one_line() {
        let text = logged("info", || tracing::warn!(error = %"one\ntwo\u{1b}[2J", "bad\nthing"));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn time_has_a_date_and_is_utc() {
        let time = UNIX_EPOCH + Duration::from_millis(86_400_000 * 20_000 + 12 * 3_600_000 + 3 * 60_000 + 4_005);
        assert_eq!(date_and_time(time).to_string(), "2024-10-04T12:03:04.005000Z");
    }

    #[test]
    fn dropped_lines_are_told_in_the_format_of_the_logs() {
        let text = dropped_as_text(3);
        assert!(text.contains(" WARN  3 log lines were dropped"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&dropped_as_json(3)).unwrap();
        assert_eq!((json["level"].as_str(), json["lines"].as_u64()), (Some("WARN"), Some(3)), "{json}");
        assert!(json["message"].as_str().unwrap().starts_with("3 log lines were dropped"), "{json}");
    }

    #[test]
    fn verbosity_and_rust_log_choose_the_filter() {
        let shown = |pairs: &[(&str, &str)], verbosity| {
            let environment = pairs.iter().copied().collect();
            let (filter, complaint) = filter(&environment, verbosity, LevelFilter::INFO);
            (filter.to_string(), complaint.is_some())
        };
        assert_eq!(shown(&[], 0), ("async_nats=off,info".to_owned(), false));
        assert!(shown(&[], 1).0.contains("debug"));
        assert!(shown(&[], 2).0.contains("trace"));
        assert_eq!(shown(&[("RUST_LOG", "warn")], 2), ("warn".to_owned(), false));
        let (filter, complained) = shown(&[("RUST_LOG", "a=b=c")], 0);
        assert!(complained && filter.contains("info"), "{filter}");
    }
}
