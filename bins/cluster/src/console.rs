//! `--console`: verbs from standard input, one a line, in place of the client's menu.
//!
//! Results go to standard output, one line for each verb, and reasons why nothing was done to standard error. There is a
//! prompt on a terminal only.

use std::io::{self, IsTerminal, Write};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use crate::control::{ControlError, Controls, Verb};
use crate::notices::tell;

/// Maximum length of a line, in bytes. No verb is as long.
const LINE_BYTES_MAX: usize = 4096;
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

/// A line, cut at [`LINE_BYTES_MAX`]; `None` at the end of the input.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut has_read = false;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            break;
        }
        has_read = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(LINE_BYTES_MAX - line.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(has_read.then(|| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_one_needs_no_end() {
        let text = format!("kill r2\r\n{}\n\nstatus", "x".repeat(3 * LINE_BYTES_MAX));
        let mut input = BufReader::with_capacity(100, text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).await.unwrap() {
            lines.push(line);
        }
        assert_eq!(lines[0], "kill r2\r");
        assert_eq!(lines[1].len(), LINE_BYTES_MAX);
        assert_eq!(lines[2..], ["", "status"]);
    }
}
