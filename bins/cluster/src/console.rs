//! `--console`: verbs from standard input, one a line, in place of the client's menu.
//!
//! Results go to standard output, one line for each verb, and reasons why nothing was done to standard error. There is a
//! prompt on a terminal only.

use std::io::{self, IsTerminal, Write};

use natter_client::lines::read_line;
use tokio::io::BufReader;

use crate::control::{ControlError, Controls, Verb};
use crate::notices::tell;

const PROMPT: &str = "cluster> ";

/// Reason for the end of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsoleEnd {
    /// The user quit.
    Quit,
    /// The input is at its end, or nobody reads the output any more.
    EndOfInput,
}

/// Reads verbs and has them performed.
#[derive(Debug)]
pub(crate) struct Console {
    controls: Controls,
    has_prompt: bool,
}

impl Console {
    /// Over these controls.
    pub(crate) fn new(controls: Controls) -> Self {
        Self { controls, has_prompt: io::stdin().is_terminal() && io::stdout().is_terminal() }
    }

    /// Reads until the user quits or the input ends.
    pub(crate) async fn run(self) -> ConsoleEnd {
        let mut input = BufReader::new(tokio::io::stdin());
        if self.has_prompt {
            tell("console: `help` lists the verbs, `quit` ends the cluster");
            natter_broker::logs::flush();
        }
        while self.prompt().is_ok()
            && let Ok(Some(line)) = read_line(&mut input).await
        {
            if line.trim().is_empty() {
                continue;
            }
            match self.perform(&line).await {
                Ok((sentence, verb)) => match say(&sentence) {
                    Ok(()) if verb == Verb::Quit => return ConsoleEnd::Quit,
                    Ok(()) => {}
                    Err(_) => break,
                },
                // The launcher ends by itself.
                Err(ControlError::Ending) => std::future::pending().await,
                Err(error) => {
                    tell(&format!("not done: {error}"));
                    natter_broker::logs::flush();
                }
            }
        }
        ConsoleEnd::EndOfInput
    }

    async fn perform(&self, line: &str) -> Result<(String, Verb), ControlError> {
        let verb = Verb::parse(line)?;
        // The launcher ends with the console, so that its last line is written.
        let sentence = match &verb {
            Verb::Quit => "the cluster ends".to_owned(),
            other => self.controls.perform(other.clone()).await?,
        };
        Ok((sentence, verb))
    }

    fn prompt(&self) -> io::Result<()> {
        if !self.has_prompt {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        output.write_all(PROMPT.as_bytes())?;
        output.flush()
    }
}

fn say(sentence: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{sentence}")?;
    output.flush()
}
