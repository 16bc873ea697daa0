//! Lines of the debug logs of a run, as events of its processes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use natter_broker::logs::tells_of_dropped_lines;
use natter_broker::trail::{RECEIVES, SENDS};

/// The log of the broker, which is no process of the run.
const BROKER: &str = "nats-server";
/// Names of the field that has the id of a process.
const PROCESS_FIELDS: [&str; 3] = ["process", "replica", "frontend"];

/// Why logs cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The folder or a file cannot be read.
    #[error("{}: it cannot be read: {source}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder has no logs.
    #[error("{}: no log of a frontend or replica is there: name the folder of a run of `cluster --logs`", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Lines are missing.
    #[error(
        "{}, line {line}: {text}; without these lines the order of events cannot be told: log a run with fewer requests, or \
         to a faster disk", path.display()
    )]
    Dropped {
        /// The file.
        path: PathBuf,
        /// Number of the line that says so.
        line: usize,
        /// Its words.
        text: String,
    },
    /// No line is about a message.
    #[error("{}: the logs have no lines about messages: log a run at level debug, as `cluster --logs` does", path.display())]
    NoMessages {
        /// The folder.
        path: PathBuf,
    },
    /// A message is received before it is sent, by the order of the lines.
    #[error("the logs contradict each other: {host} receives a message that is sent only later; are they of one run?")]
    Contradictory {
        /// The process.
        host: String,
    },
}

/// An event of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time of the line, as it stands there.
    pub time: String,
    /// Its kind.
    pub what: What,
    /// The line without time and level.
    pub text: String,
}

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A step of the process alone.
    Local,
    /// A message with this number is sent.
    Sends(u64),
    /// A message with this number is received.
    Receives(u64),
}

/// A run: its processes and, for each, its events.
#[derive(Debug, Default)]
pub struct Run {
    /// Ids.
    pub hosts: Vec<String>,
    /// Events of each process, in their order.
    pub events: Vec<Vec<Event>>,
}

impl Run {
    fn add(&mut self, host: &str, event: Event) {
        let place = match self.hosts.iter().position(|known| known == host) {
            Some(place) => place,
            None => {
                self.hosts.push(host.to_owned());
                self.events.push(Vec::new());
                self.hosts.len() - 1
            }
        };
        self.events[place].push(event);
    }
}

/// Reads the logs in `folder`.
///
/// # Errors
///
/// There are none, or lines are missing.
pub fn read(folder: &Path) -> Result<Run, LogError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| LogError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"))
        else {
            continue;
        };
        // Lines that were moved out of a log come before the rest of it.
        let (name, is_rest) = stem.strip_suffix(".1").map_or((stem, true), |name| (name, false));
        if name != BROKER && path.is_file() {
            files.push((name.to_owned(), is_rest, path));
        }
    }
    if files.is_empty() {
        return Err(LogError::Empty { path: folder.to_owned() });
    }
    files.sort();
    let mut run = Run::default();
    for log in files.chunk_by(|a, b| a.0 == b.0) {
        let mut lines = Vec::new();
        for (_, _, path) in log {
            let bytes = fs::read(path).map_err(unreadable(path))?;
            lines.extend(parse(path, &String::from_utf8_lossy(&bytes))?);
        }
        assign(lines, &mut run);
    }
    let is_about_message = |event: &Event| event.what != What::Local;
    if !run.events.iter().flatten().any(is_about_message) {
        return Err(LogError::NoMessages { path: folder.to_owned() });
    }
    Ok(run)
}

/// A line, and the id of the process in it.
type Parsed = (Option<String>, Event);

/// Gives the lines of one file to its processes: one after the other, where a process was started again.
fn assign(lines: Vec<Parsed>, run: &mut Run) {
    let mut replicas = HashMap::new();
    for (process, _) in &lines {
        if let Some(process) = process {
            replicas.insert(format!("f-{process}"), process.clone());
        }
    }
    // A replica that answers clients has two ids and is one process.
    let host_of = |process: &str| replicas.get(process).cloned().unwrap_or_else(|| process.to_owned());
    let mut host = lines.iter().find_map(|(process, _)| process.as_deref()).map(host_of);
    for (process, event) in lines {
        host = process.as_deref().map(host_of).or(host);
        if let Some(host) = &host {
            run.add(host, event);
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Parsed>, LogError> {
    let mut parsed = Vec::new();
    // A last line without its end was cut by the end of the process.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in whole.lines().enumerate() {
        let Some(line) = Line::of(line) else { continue };
        if line.level == "WARN" && tells_of_dropped_lines(line.text.as_bytes()) {
            return Err(LogError::Dropped { path: path.to_owned(), line: number + 1, text: line.text });
        }
        let Line { time, message, fields, text, .. } = line;
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let number = field("wire").and_then(|wire| u64::from_str_radix(&wire, 16).ok());
        let what = match (message.as_str(), number) {
            (SENDS, Some(number)) => What::Sends(number),
            (RECEIVES, Some(number)) => What::Receives(number),
            _ => What::Local,
        };
        let text = match what {
            What::Local => text,
            What::Sends(_) | What::Receives(_) => {
                format!("{message} {} {}", field("kind").unwrap_or_default(), field("subject").unwrap_or_default())
            }
        };
        parsed.push((PROCESS_FIELDS.into_iter().find_map(field), Event { time, what, text }));
    }
    Ok(parsed)
}

/// The parts of a line.
struct Line {
    time: String,
    level: String,
    message: String,
    fields: Vec<(String, String)>,
    text: String,
}

impl Line {
    /// `None` where it is no line of a log, such as the text of a panic.
    fn of(line: &str) -> Option<Self> {
        if line.starts_with('{') { Self::of_json(line) } else { Self::of_text(line) }
    }

    fn of_text(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        if !is_time(time) {
            return None;
        }
        let (level, text) = rest.split_once(' ')?;
        let text = text.trim_start();
        // The fields that matter here are values without blanks, and come before others.
        let mut words = text.split(' ');
        let message: Vec<&str> = words.by_ref().take_while(|word| !word.contains('=')).collect();
        let fields = text
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        let message = message.join(" ");
        Some(Self { time: time.to_owned(), level: level.to_owned(), message, fields, text: text.to_owned() })
    }

    fn of_json(line: &str) -> Option<Self> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
        let word = |key: &str| object.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let (time, level, message) = (word("timestamp"), word("level"), word("message"));
        if !is_time(&time) {
            return None;
        }
        let mut text = message.clone();
        let mut fields = Vec::new();
        for (key, value) in &object {
            if ["timestamp", "level", "message", "target"].contains(&key.as_str()) {
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text += &format!(" {key}={value}");
            fields.push((key.clone(), value));
        }
        Some(Self { time, level, message, fields, text: crate::show::clean(&text) })
    }
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes.ends_with(b"Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Parsed> {
        parse(Path::new("r1.log"), text).unwrap()
    }

    #[test]
    fn lines_of_both_formats_are_read() {
        let text = "2026-11-30T12:03:04.123456Z DEBUG sends process=r1-a kind=gossip wire=00000000000000ff subject=x.y\n\
                    2026-11-30T12:03:04.123457Z INFO  joins at once replica=r1-a title=\"a b\"\n\
                    thread 'main' panicked\n\
                    {\"timestamp\":\"2026-11-30T12:03:05.000000Z\",\"level\":\"DEBUG\",\"message\":\"receives\",\
                    \"process\":\"f1-b\",\"kind\":\"replies\",\"wire\":\"000000000000000a\",\"subject\":\"_INBOX.x\"}\n\
                    2026-11-30T12:03:04.123457Z DEBUG sends process=r1-a ki";
        let read = events(text);
        let kinds: Vec<(Option<&str>, What, &str)> =
            read.iter().map(|(process, event)| (process.as_deref(), event.what, event.text.as_str())).collect();
        assert_eq!(
            kinds,
            [
                (Some("r1-a"), What::Sends(255), "sends gossip x.y"),
                (Some("r1-a"), What::Local, "joins at once replica=r1-a title=\"a b\""),
                (Some("f1-b"), What::Receives(10), "receives replies _INBOX.x"),
            ]
        );
    }

    #[test]
    fn dropped_lines_and_folders_without_logs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| read(folder).unwrap_err().to_string();
        assert!(error(folder.path()).contains("no log of a frontend or replica is there"));
        assert!(error(&folder.path().join("nowhere")).contains("cannot be read"));
        let log = folder.path().join("r1.log");
        std::fs::write(&log, "2026-11-30T12:03:04.123456Z INFO  joins replica=r1-a\n").unwrap();
        assert!(error(folder.path()).contains("no lines about messages"));
        for format in [natter_broker::options::LogFormat::Text, natter_broker::options::LogFormat::Json] {
            let notice = natter_broker::logs::dropped_notice(format)(7);
            std::fs::write(&log, format!("2026-11-30T12:03:04.123456Z INFO  joins replica=r1-a\n{notice}\n")).unwrap();
            let error = error(folder.path());
            assert!(error.contains("r1.log, line 2: 7 log lines were dropped"), "{error}");
        }
    }

    #[test]
    fn a_replica_that_answers_clients_is_one_process() {
        let mut run = Run::default();
        let line = |process: &str| {
            let event = Event { time: String::new(), what: What::Local, text: String::new() };
            (Some(process.to_owned()), event)
        };
        assign(vec![line("f-r1-a"), line("r1-a"), (None, line("").1)], &mut run);
        assert_eq!((run.hosts, run.events[0].len()), (vec!["r1-a".to_owned()], 3));
    }
}
