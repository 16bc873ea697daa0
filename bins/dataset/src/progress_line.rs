//! Progress on standard error: a line that changes in a terminal, one line after another elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use natter_database::dataset::Progress;

/// Delay before the first line; shorter work shows none.
const QUIET_AT_FIRST: Duration = Duration::from_secs(1);
/// Interval of changes of the line in a terminal.
const PERIOD_IN_TERMINAL: Duration = Duration::from_millis(200);
/// Interval of lines elsewhere.
const PERIOD_ELSEWHERE: Duration = Duration::from_secs(2);

/// Shows progress now and then.
pub(crate) struct ProgressLine {
    is_terminal: bool,
    next: Instant,
    is_shown: bool,
}

impl ProgressLine {
    /// Shows nothing for a second.
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_terminal, next: Instant::now() + QUIET_AT_FIRST, is_shown: false }
    }

    /// Shows the progress if it is time to.
    pub(crate) fn show(&mut self, progress: Progress) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + if self.is_terminal { PERIOD_IN_TERMINAL } else { PERIOD_ELSEWHERE };
        self.is_shown = true;
        let text = format!("{}: {} ({:.0} %)", progress.doing, grouped(progress.ratings), progress.fraction * 100.0);
        // A closed standard error is no reason to stop the work.
        let _ = if self.is_terminal {
            write!(std::io::stderr(), "\r{text}\x1b[K")
        } else {
            writeln!(std::io::stderr(), "{text}")
        };
    }

    /// Makes room for what follows.
    pub(crate) fn clear(&mut self) {
        if self.is_terminal && self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
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
