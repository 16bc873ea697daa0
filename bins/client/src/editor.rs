//! Editing of lines in the terminal: cursor keys, history and completion.
//!
//! A thread of its own reads the terminal by the crate rustyline, as a read from the terminal can't be taken back.
//! [`LineEditor::line`] waits for it, and finds completions for it meanwhile. Piped input is read by [`crate::lines`].

mod helper;
mod histories;

use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use natter_broker::environment::Environment;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::helper::Helper;
use self::histories::Histories;
use crate::lines::LINE_BYTES_MAX;
use crate::state;
use crate::terminal;

/// Maximum lines that a history keeps.
const HISTORY_LINES_MAX: usize = 1000;

/// A line as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line.
    Line(String),
    /// No line, as ctrl-c cleared it.
    Cleared {
        /// Whether it was empty before.
        was_empty: bool,
    },
    /// The end of the input: ctrl-d, or a terminal that is gone.
    End,
}

/// A way to go on with the text before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Text for the list of candidates.
    pub shown: String,
    /// Text that takes the place of what is completed.
    pub text: String,
}

impl From<&str> for Candidate {
    fn from(text: &str) -> Self {
        Self { shown: text.to_owned(), text: text.to_owned() }
    }
}

/// The candidates for a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Offset of what is completed, in bytes.
    pub start: usize,
    /// The candidates. None rings the terminal's bell.
    pub candidates: Vec<Candidate>,
}

impl Completion {
    /// Those of `words` that begin with the last word of `text`, in capital letters or small ones.
    pub fn of_words<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Self {
        let start = text.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let begun = text[start..].to_lowercase();
        let begins = |word: &&str| word.to_lowercase().starts_with(&begun);
        Self { start, candidates: words.into_iter().filter(begins).map(Candidate::from).collect() }
    }
}

/// A prompt, and the name of the history of its answers. Without a name there is none.
type Question = (String, Option<&'static str>);

/// A completion that is being looked for, with the text to complete.
type Finding<'a> = Pin<Box<dyn Future<Output = (String, Completion)> + 'a>>;

/// News of the thread.
enum Event {
    Typed(Typed),
    /// Candidates are needed for this text.
    Completing(String),
}

/// The editor of the terminal's lines. Dropping it leaves the terminal as it was found.
pub struct LineEditor {
    questions: Sender<Question>,
    events: UnboundedReceiver<Event>,
    found: Sender<(String, Completion)>,
    /// The state of the terminal before.
    before: Termios,
    is_reading: bool,
}

impl LineEditor {
    /// Opens the terminal. `is_kept` tells whether histories are kept in the client's state directory, where that can be
    /// written. `None` where standard input or output is no terminal, or one that can't edit lines: lines are read plainly
    /// then.
    pub fn open(is_kept: bool) -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let folder = is_kept.then(|| state::history_folder(&Environment::of_process())).flatten();
        let before = tcgetattr(io::stdin()).ok()?;
        let (questions, asked) = channel();
        let (sender, events) = unbounded_channel();
        let (found, completions) = channel();
        let config = config()?;
        let mut editor = Editor::with_config(config.clone()).ok()?;
        editor.set_helper(Some(Helper::new(sender.clone(), completions)));
        let mut printer = editor.create_external_printer().ok()?;
        // A message that can't be shown has no reader.
        terminal::show_messages_by(move |messages| drop(printer.print(messages))).ok()?;
        let histories = Histories::new(folder.as_deref(), &config);
        let edit = move || edit(editor, histories, &asked, &sender);
        thread::Builder::new().name("lines".to_owned()).spawn(edit).ok()?;
        Some(Self { questions, events, found, before, is_reading: false })
    }

    /// Reads a line behind a prompt. `complete` finds candidates for the text before the cursor; the answer to the tab key
    /// waits for it a moment only. `history` names the history of such answers, if any.
    ///
    /// # Errors
    ///
    /// Where the terminal can't be read any more.
    pub async fn line(
        &mut self,
        prompt: &str,
        history: Option<&'static str>,
        complete: impl AsyncFn(String) -> Completion,
    ) -> io::Result<Typed> {
        let gone = || io::Error::other("the terminal can't be read any more");
        self.is_reading = true;
        self.questions.send((prompt.to_owned(), history)).map_err(|_| gone())?;
        let mut finding: Option<Finding<'_>> = None;
        loop {
            let found = async {
                match &mut finding {
                    Some(finding) => finding.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.events.recv() => match event.ok_or_else(gone)? {
                    Event::Typed(typed) => {
                        self.is_reading = false;
                        return Ok(typed);
                    }
                    Event::Completing(text) => {
                        let complete = &complete;
                        finding = Some(Box::pin(async move {
                            let completion = complete(text.clone()).await;
                            (text, completion)
                        }));
                    }
                },
                found = found => {
                    finding = None;
                    // Without the thread, the next event is missing too.
                    let _ = self.found.send(found);
                }
            }
        }
    }
}

impl Drop for LineEditor {
    fn drop(&mut self) {
        if self.is_reading {
            // A terminal that is gone needs no order.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
            terminal::tell("");
            terminal::line_ends();
        }
    }
}

fn config() -> Option<Config> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .ok()?
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        // Pasted lines are answers like typed ones.
        .bracketed_paste(false);
    Some(config.build())
}

/// Reads lines until no more are wanted.
fn edit(
    mut editor: Editor<Helper, FileHistory>,
    mut histories: Histories,
    asked: &Receiver<Question>,
    events: &UnboundedSender<Event>,
) {
    while let Ok((prompt, history)) = asked.recv() {
        histories.choose(history, editor.history_mut());
        terminal::line_begins();
        let read = editor.readline(&prompt);
        terminal::line_ends();
        let typed = match read {
            Ok(mut line) => {
                let end = (0..=line.len().min(LINE_BYTES_MAX)).rev().find(|end| line.is_char_boundary(*end));
                line.truncate(end.unwrap_or_default());
                histories.keep(history, &line, editor.history_mut());
                Typed::Line(line)
            }
            Err(ReadlineError::Interrupted) => {
                Typed::Cleared { was_empty: editor.helper().is_none_or(Helper::was_empty) }
            }
            // Ctrl-d, or a terminal that is gone.
            Err(_) => Typed::End,
        };
        if events.send(Event::Typed(typed)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_complete_the_last_word_whatever_its_capitals() {
        let words = ["kill", "pause", "r1", "r2"];
        let texts = |text: &str| {
            let completion = Completion::of_words(text, words);
            let candidates: Vec<String> = completion.candidates.into_iter().map(|candidate| candidate.text).collect();
            (completion.start, candidates)
        };
        assert_eq!(texts("K"), (0, vec!["kill".to_owned()]));
        assert_eq!(texts("kill R"), (5, vec!["r1".to_owned(), "r2".to_owned()]));
        assert_eq!(texts("kill r1 \u{e9}"), (8, Vec::new()));
        assert_eq!(texts("").1.len(), words.len());
    }
}
