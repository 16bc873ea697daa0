//! A program in a pseudo-terminal, made by the program `script`, and its screen as a person sees it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// No wait is longer than this, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that runs in a pseudo-terminal. Dropping this ends it.
pub struct PseudoTerminal {
    child: Child,
    keys: Option<ChildStdin>,
    shown: Arc<Shown>,
}

struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    screen: vt100::Parser,
    written: Vec<u8>,
    is_over: bool,
}

impl PseudoTerminal {
    /// Starts `command` in a terminal of this size. `None`, with a line that says so, where there is no program `script`.
    pub fn start(columns: u16, rows: u16, command: &Command) -> Option<Self> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> =
            words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
        let line = format!("stty cols {columns} rows {rows}; exec {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = match script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: no program `script`: {error}");
                return None;
            }
        };
        let state = State { screen: vt100::Parser::new(rows, columns, 0), written: Vec::new(), is_over: false };
        let shown = Arc::new(Shown { state: Mutex::new(state), changed: Condvar::new() });
        let (keys, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
        let kept = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let count = output.read(&mut bytes).unwrap_or_default();
                let mut state = kept.state.lock().unwrap();
                state.screen.process(&bytes[..count]);
                state.written.extend_from_slice(&bytes[..count]);
                state.is_over = count == 0;
                kept.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Some(Self { child, keys, shown })
    }

    /// Types these keys.
    pub fn type_keys(&mut self, keys: &str) {
        self.keys.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is so, and returns its lines without the blanks at their ends.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        let mut state = self.shown.state.lock().unwrap();
        loop {
            let screen = state.screen.screen().contents();
            if is_so(&screen) {
                return screen;
            }
            let left = DEADLINE.saturating_sub(started.elapsed());
            assert!(!left.is_zero() && !state.is_over, "the screen never shows {what}:\n{screen}");
            state = self.shown.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until the last line of the screen is this one, and returns the screen.
    pub fn until_last_line(&self, line: &str) -> String {
        self.until(&format!("{line:?} as its last line"), |screen| {
            screen.trim_end_matches('\n').lines().last().map(str::trim_end) == Some(line)
        })
    }

    /// Waits until the screen has this text.
    pub fn until_shown(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// All that was written so far, escapes included.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.state.lock().unwrap().written).into_owned()
    }

    /// Waits for the program's end, and returns its exit status and all that it wrote.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        let mut state = self.shown.state.lock().unwrap();
        while !state.is_over {
            let left = DEADLINE.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "does not end:\n{}", state.screen.screen().contents());
            state = self.shown.changed.wait_timeout(state, left).unwrap().0;
        }
        drop(state);
        let status = self.child.wait().unwrap().code();
        (status, self.written())
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
