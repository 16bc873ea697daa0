//! A process that is this executable, or that of an earlier build, in a role: below a guard, with a log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use natter_processes::guard;
use natter_processes::owned_process::OwnedProcess;

use super::cluster::ASK_EVERY;
use super::usage;

/// Number of lines of a log that are shown.
const LAST_WORDS: usize = 3;

/// One process. It ends when this is dropped.
pub(crate) struct Child {
    name: String,
    process: OwnedProcess,
    log: PathBuf,
    started: Instant,
}

impl Child {
    /// Starts `program` with these arguments, or this executable where none is given. Its log goes to a file in `logs`.
    pub(crate) fn start(name: &str, program: Option<&Path>, arguments: &[&str], logs: &Path) -> Result<Self> {
        let failed = || format!("{name} can't be started");
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(failed)?;
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().with_context(failed)?,
        };
        // Should this process be killed, the guards remove the folder.
        let mut command = guard::command(program, Some(logs)).with_context(failed)?;
        command.args(arguments).env_remove("RUST_LOG");
        command.stdout(file.try_clone().with_context(failed)?).stderr(file);
        let started = Instant::now();
        let process = guard::spawn(command).with_context(failed)?;
        Ok(Self { name: name.to_owned(), process, log, started })
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the time of its start.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The process id of the child itself, below its guard.
    pub(crate) fn id(&self) -> Option<u32> {
        usage::child_below_guard(self.process.id()?)
    }

    /// Waits until a line of its log has `text`, and returns that line. It has to come before the process serves.
    pub(crate) async fn line_with(&mut self, text: &str) -> Result<String> {
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            self.check()?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Fails where it has ended, with its last words.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.process.try_wait()? else { return Ok(()) };
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
        bail!("{} has ended ({status}): {}", self.name, last.join("; "))
    }

    /// The process itself, below its guard: to kill or pause both.
    pub(crate) fn process(&self) -> &OwnedProcess {
        &self.process
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn stop(mut self) {
        // An error at its end does not matter here.
        let _ = self.process.stop().await;
    }
}
