//! The text of a scene in the terminal, and the time to read it.

use std::io::{self, Write};
use std::time::Duration;

/// Time to read one word at reading speed.
const WORD: Duration = Duration::from_millis(270);
/// Shortest pause at reading speed.
const PAUSE_MIN: Duration = Duration::from_millis(800);
/// Width of the text, in columns.
const WIDTH: usize = 96;

/// Pauses between the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// None.
    Fast,
    /// Time to read the text.
    Reading {
        /// A factor: 2 is twice as fast.
        speed: f64,
    },
    /// Until the next Enter.
    Enter,
}

/// A pause that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// None.
    None,
    /// For this long.
    For(Duration),
    /// Until Enter, or the end of standard input.
    Enter,
}

/// Writes the text of scenes to standard output.
#[derive(Debug)]
pub(super) struct Narrator {
    pace: Pace,
    /// Words since the last pause.
    words: u32,
    step: usize,
    expected: String,
}

impl Narrator {
    /// With pauses by `pace`.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, words: 0, step: 0, expected: String::new() }
    }

    /// Begins a scene.
    pub(super) fn title(&mut self, number: usize, title: &str) -> io::Result<()> {
        self.step = 0;
        self.write(&[format!("SCENE {number}: {title}")])
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.write(&wrapped("", text))
    }

    /// Begins a step, with the expectation.
    pub(super) fn step(&mut self, text: &str, expected: &str) -> io::Result<()> {
        self.step += 1;
        self.expected = expected.to_owned();
        let mut lines = vec![String::new()];
        lines.extend(wrapped(&format!("[{}] ", self.step), text));
        lines.extend(wrapped("    expected  ", expected));
        self.write(&lines)
    }

    /// An observation of this step.
    pub(super) fn observed(&mut self, text: &str) -> io::Result<()> {
        self.write(&wrapped("    observed  ", text))
    }

    /// Lines that are observed and need their form, such as a table or a picture.
    pub(super) fn shown<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let lines: Vec<String> = lines.map(|line| format!("    {line}")).collect();
        self.write(&lines)
    }

    /// Asks for Enter.
    pub(super) fn prompt(&mut self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        write!(output, "    (Enter) ")?;
        output.flush()
    }

    /// Number and expectation of the step.
    pub(super) fn current(&self) -> (usize, String) {
        (self.step, self.expected.clone())
    }

    /// The pause in which all text since the last pause can be read.
    pub(super) fn pause(&mut self) -> Pause {
        let words = std::mem::take(&mut self.words);
        match self.pace {
            Pace::Fast => Pause::None,
            Pace::Reading { speed } => Pause::For((WORD * words).max(PAUSE_MIN).div_f64(speed)),
            Pace::Enter => Pause::Enter,
        }
    }

    /// A pause in the middle of an action, to be seen on the page. Enter does not end it, as a request waits meanwhile.
    pub(super) fn dwell(&self, time: Duration) -> Duration {
        match self.pace {
            Pace::Fast => Duration::ZERO,
            Pace::Reading { speed } => time.div_f64(speed).min(time),
            Pace::Enter => time,
        }
    }

    fn write(&mut self, lines: &[String]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        for line in lines {
            writeln!(output, "{}", line.trim_end())?;
            let words = u32::try_from(line.split_whitespace().count()).unwrap_or(u32::MAX);
            self.words = self.words.saturating_add(words);
        }
        output.flush()
    }
}

/// A text in lines of [`WIDTH`], the first after `head`, the others below its text.
fn wrapped(head: &str, text: &str) -> Vec<String> {
    let indent = head.chars().count();
    let mut lines = Vec::new();
    let mut line = head.to_owned();
    let mut is_empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_below_its_beginning() {
        let text = "word ".repeat(40);
        let lines = wrapped("[1] ", &text);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert!(lines[0].starts_with("[1] word") && lines[1].starts_with("    word"), "{lines:?}");
        let words: usize = lines.iter().map(|line| line.matches("word").count()).sum();
        assert_eq!(words, 40);
        assert_eq!(wrapped("a ", ""), ["a "]);
    }

    #[test]
    fn pause_is_the_time_to_read_by_the_speed() {
        let mut narrator = Narrator { words: 100, ..Narrator::new(Pace::Reading { speed: 2.0 }) };
        assert_eq!(narrator.pause(), Pause::For(Duration::from_millis(13_500)));
        assert_eq!(narrator.pause(), Pause::For(Duration::from_millis(400)));
        assert_eq!(Narrator::new(Pace::Fast).pause(), Pause::None);
        assert_eq!(Narrator::new(Pace::Enter).pause(), Pause::Enter);
    }
}
