//! Completion within the thread that reads the terminal: it asks outside, and waits a moment.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Result};
use tokio::sync::mpsc::UnboundedSender;

use super::{Completion, Event};

/// Maximum wait for candidates after the tab key. Candidates that come later are there at the next tab.
const WAIT_MAX: Duration = Duration::from_millis(400);

/// The part of the editor that rustyline calls.
pub(super) struct Helper {
    events: UnboundedSender<Event>,
    completions: Receiver<(String, Completion)>,
    /// Candidates that came too late, with their text.
    late: RefCell<Option<(String, Completion)>>,
    is_empty: Cell<bool>,
}

impl Helper {
    pub(super) fn new(events: UnboundedSender<Event>, completions: Receiver<(String, Completion)>) -> Self {
        Self { events, completions, late: RefCell::default(), is_empty: Cell::new(true) }
    }

    /// Whether the line was empty when it was shown last.
    pub(super) fn was_empty(&self) -> bool {
        self.is_empty.get()
    }

    fn completion(&self, text: &str) -> Completion {
        if let Some(late) = self.completions.try_iter().last() {
            self.late.replace(Some(late));
        }
        if let Some((known, completion)) = self.late.take()
            && known == text
        {
            return completion;
        }
        let end = Instant::now() + WAIT_MAX;
        if self.events.send(Event::Completing(text.to_owned())).is_err() {
            return Completion::default();
        }
        while let Ok((known, completion)) = self.completions.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if known == text {
                return completion;
            }
        }
        Completion::default()
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, place: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        // In the middle of a line, the rest would stay behind what is completed.
        if place < line.len() {
            return Ok((place, Vec::new()));
        }
        let Completion { start, candidates } = self.completion(line);
        let pairs = candidates.into_iter().map(|it| Pair { display: it.shown, replacement: it.text });
        Ok((start, pairs.collect()))
    }
}

/// rustyline shows a line by asking for a hint to it. There is none: only whether the line is empty matters.
impl Hinter for Helper {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.is_empty.set(line.is_empty());
        None
    }
}

impl Highlighter for Helper {}
impl Validator for Helper {}
impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn candidates_that_come_late_are_there_at_the_next_tab() {
        let (events, _asked) = tokio::sync::mpsc::unbounded_channel();
        let (sender, completions) = channel();
        let helper = Helper::new(events, completions);
        assert_eq!(helper.completion("toy"), Completion::default());
        let completion = Completion { start: 0, candidates: vec!["Toy Story (1995)".into()] };
        sender.send(("toy".to_owned(), completion.clone())).unwrap();
        assert_eq!(helper.completion("toy"), completion);
    }

    #[test]
    fn candidates_for_another_text_are_left_out() {
        let (events, _asked) = tokio::sync::mpsc::unbounded_channel();
        let (sender, completions) = channel();
        let helper = Helper::new(events, completions);
        let completion = Completion { start: 0, candidates: vec!["Jumanji (1995)".into()] };
        sender.send(("ju".to_owned(), completion)).unwrap();
        assert_eq!(helper.completion("toy"), Completion::default());
    }
}
