//! Progress on standard error: a line that changes in a terminal, one line after another elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use natter_common::counted::nouns;
use tokio::time::Instant;

/// Interval at which the line changes in a terminal.
const PERIOD_IN_TERMINAL: Duration = Duration::from_millis(200);
/// Interval of the lines elsewhere.
const PERIOD_ELSEWHERE: Duration = Duration::from_secs(2);

/// Shows progress now and then.
pub(super) struct Progress {
    is_terminal: bool,
    is_shown: bool,
    /// Time at which it was shown last, and number of ratings that were done then.
    last: (Instant, u64),
}

impl Progress {
    /// Begins with `done` ratings that earlier runs have done.
    pub(super) fn new(done: u64) -> Self {
        Self { is_terminal: io::stderr().is_terminal(), is_shown: false, last: (Instant::now(), done) }
    }

    /// Shows how many ratings are done if it is time to, and which part of the file that is.
    pub(super) fn show(&mut self, done: u64, fraction: Option<f64>) {
        let elapsed = self.last.0.elapsed();
        if elapsed < if self.is_terminal { PERIOD_IN_TERMINAL } else { PERIOD_ELSEWHERE } {
            return;
        }
        let rate = done.saturating_sub(self.last.1) as f64 / elapsed.as_secs_f64();
        self.last = (Instant::now(), done);
        let part = fraction.map_or_else(String::new, |fraction| format!(" ({:.0} %)", fraction * 100.0));
        let text = format!("{} {}{part}, {} a second", grouped(done), nouns(&done, "rating"), grouped(rate as u64));
        self.is_shown = true;
        // A closed standard error is no reason to stop the work.
        let _ = match self.is_terminal {
            true => write!(io::stderr(), "\r{text}\x1b[K"),
            false => writeln!(io::stderr(), "{text}"),
        };
    }

    /// Makes room for another line.
    pub(super) fn clear(&mut self) {
        if self.is_terminal && std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
