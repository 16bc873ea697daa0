//! `--console`: verbs from standard input, one a line, in place of the client's menu.
//!
//! Results go to standard output, one line for each verb, and reasons why nothing was done to standard error. In a terminal
//! there is a prompt, and lines are edited: history, and completion of verbs and names.

use std::io::{self, Write};

use natter_client::editor::{Completion, LineEditor, Typed};
use natter_client::lines::read_line;
use natter_client::terminal::Progress;
use natter_observer::launcher::LauncherState;
use tokio::io::{BufReader, Stdin};
use tokio::sync::watch;

use crate::control::{ControlError, Controls, Verb};
use crate::notices::tell;

const PROMPT: &str = "cluster> ";
/// Name of the history of verbs in the client's state directory.
const HISTORY: &str = "console";

/// Verbs that a name follows.
const OF_A_PROCESS: [&str; 4] = ["kill", "pause", "resume", "restart"];
/// Verbs that the name of a replica follows.
const OF_A_REPLICA: [&str; 5] = ["active", "overloaded", "offline", "arbitrary", "measured"];
/// Verbs that stand alone.
const ALONE: [&str; 5] = ["cut", "heal", "status", "help", "quit"];
const ADD: &str = "add";

/// Reason for the end of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsoleEnd {
    /// The user quit.
    Quit,
    /// The input is at its end, or nobody reads the output any more.
    EndOfInput,
}

/// Reads verbs and has them performed.
pub(crate) struct Console {
    controls: Controls,
    state: watch::Receiver<LauncherState>,
    lines: Lines,
}

/// The source of verbs.
enum Lines {
    Editor(LineEditor),
    Plain(BufReader<Stdin>),
}

impl Console {
    /// Over these controls. `state` has the names of the processes.
    pub(crate) fn new(controls: Controls, state: watch::Receiver<LauncherState>) -> Self {
        let plain = || Lines::Plain(BufReader::new(tokio::io::stdin()));
        Self { controls, state, lines: LineEditor::open(true).map_or_else(plain, Lines::Editor) }
    }

    /// Reads until the user quits or the input ends.
    pub(crate) async fn run(mut self) -> ConsoleEnd {
        if matches!(self.lines, Lines::Editor(_)) {
            tell("console: `help` lists the verbs, tab completes them, `quit` or ctrl-d ends all");
            natter_broker::logs::flush();
        }
        loop {
            let line = match self.next_line().await {
                Ok(Some(line)) => line,
                // In a terminal, ctrl-d is as good as `quit`.
                Ok(None) if matches!(self.lines, Lines::Editor(_)) => return ConsoleEnd::Quit,
                Ok(None) | Err(_) => return ConsoleEnd::EndOfInput,
            };
            if line.trim().is_empty() {
                continue;
            }
            match self.perform(&line).await {
                Ok((sentence, verb)) => match say(&sentence) {
                    Ok(()) if verb == Verb::Quit => return ConsoleEnd::Quit,
                    Ok(()) => {}
                    Err(_) => return ConsoleEnd::EndOfInput,
                },
                // The launcher ends by itself.
                Err(ControlError::Ending) => std::future::pending().await,
                Err(error) => {
                    tell(&format!("not done: {error}"));
                    natter_broker::logs::flush();
                }
            }
        }
    }

    /// The next line; `None` at the end of the input. Ctrl-c clears a line.
    async fn next_line(&mut self) -> io::Result<Option<String>> {
        let editor = match &mut self.lines {
            Lines::Plain(input) => return read_line(input).await,
            Lines::Editor(editor) => editor,
        };
        loop {
            let complete = async |text: String| completion(&text, &self.state.borrow());
            match editor.line(PROMPT, Some(HISTORY), complete).await? {
                Typed::Line(line) => return Ok(Some(line)),
                Typed::End => return Ok(None),
                Typed::Cleared { was_empty: false } => {}
                Typed::Cleared { was_empty: true } => {
                    tell("`quit` or ctrl-d ends the cluster");
                    natter_broker::logs::flush();
                }
            }
        }
    }

    async fn perform(&self, line: &str) -> Result<(String, Verb), ControlError> {
        let verb = Verb::parse(line)?;
        // The launcher ends with the console, so that its last line is written.
        let sentence = match &verb {
            Verb::Quit => "the cluster ends".to_owned(),
            other => {
                let _progress = match self.lines {
                    Lines::Editor(_) => Progress::begin(&format!("working: {}", line.trim())),
                    Lines::Plain(_) => Progress::default(),
                };
                self.controls.perform(other.clone()).await?
            }
        };
        Ok((sentence, verb))
    }
}

/// Ways to go on with the text of a verb.
fn completion(text: &str, state: &LauncherState) -> Completion {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let is_new_word = text.ends_with(char::is_whitespace);
    let names = |only_replicas: bool| {
        // A replica that answers clients has both roles.
        let fits = |role: &str| !only_replicas || role.contains("replica");
        let names = state.members.iter().filter(|member| fits(&member.role)).map(|member| member.name.as_str());
        Completion::of_words(text, names)
    };
    match (&words[..], is_new_word) {
        ([], _) | ([_], false) => {
            let verbs = [&OF_A_PROCESS[..], &OF_A_REPLICA, &ALONE, &[ADD]].into_iter().flatten().copied();
            let mut completion = Completion::of_words(text, verbs);
            for candidate in &mut completion.candidates {
                if !ALONE.contains(&candidate.text.as_str()) {
                    candidate.text.push(' ');
                }
            }
            completion
        }
        ([verb], true) | ([verb, _], false) => match verb.as_str() {
            ADD => Completion::of_words(text, ["replica", "frontend"]),
            verb if OF_A_PROCESS.contains(&verb) => names(false),
            verb if OF_A_REPLICA.contains(&verb) => names(true),
            _ => Completion::default(),
        },
        _ => Completion::default(),
    }
}

fn say(sentence: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{sentence}")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_observer::launcher::MemberState;

    fn texts(text: &str) -> Vec<String> {
        let member = |name: &str, role: &str| MemberState {
            name: name.to_owned(),
            role: role.to_owned(),
            site: None,
            condition: "runs".to_owned(),
        };
        let members = vec![member("r1", "replica"), member("r2", "replica"), member("f1", "frontend")];
        let completion = completion(text, &LauncherState { members, link: None });
        completion.candidates.into_iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn verbs_and_names_are_completed() {
        for (text, expected) in [
            ("k", &["kill "][..]),
            ("s", &["status"]),
            ("RE", &["resume ", "restart "]),
            ("kill ", &["r1", "r2", "f1"]),
            ("kill r", &["r1", "r2"]),
            ("offline ", &["r1", "r2"]),
            ("add f", &["frontend"]),
            ("status ", &[]),
            ("kill r1 ", &[]),
            ("x", &[]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
    }

    #[test]
    fn every_word_that_is_completed_is_a_verb() {
        for verb in OF_A_PROCESS.into_iter().chain(OF_A_REPLICA) {
            assert!(Verb::parse(&format!("{verb} r1")).is_ok(), "{verb}");
        }
        for verb in ALONE.into_iter().chain(["add replica"]) {
            assert!(Verb::parse(verb).is_ok(), "{verb}");
        }
    }
}
