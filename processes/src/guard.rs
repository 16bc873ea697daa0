//! Children that end even where their owner is killed.
//!
//! A process that is killed (SIGKILL) can't stop its children. So the launcher runs each of them below a *guard*: its own
//! executable once more, as `PROGRAM guard -- CHILD ARGUMENTS…`, whose standard input is a pipe from the launcher. However
//! the launcher ends, the pipe ends with it, and the guard ends the child: SIGTERM, and SIGKILL after two seconds.
//!
//! - Guard and child are in a process group of their own: ctrl-c in the terminal reaches the launcher only, which then
//!   stops them in the order it wants.
//! - A guard hands SIGTERM, SIGINT and SIGHUP on to the child as SIGTERM, and ends with the child's status. SIGINT and
//!   SIGHUP stay ignored where the launcher ignores them, as below `nohup`. SIGTERM is the launcher's own word to guard and
//!   child, so neither ignores it, even if the launcher was started with it ignored.
//! - Should the guard itself be killed, the child is killed too, on Linux: the guard starts it by way of
//!   `guard --exec`, which asks the kernel for that and then becomes the child. (What is asked for outlasts `exec`, and is
//!   asked by the process itself, so no unsafe code has to run between `fork` and `exec`.)
//!
//! A program that starts guarded children looks for [`arguments`] before all else in its `main`, and hands them to [`run`].

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use natter_broker::signals::{Signal, let_children_receive};
use rustix::process::{self, Pid, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::owned_process::OwnedProcess;

/// The first argument that makes an executable a guard.
pub const WORD: &str = "guard";

/// Maximum time for a child to end after its guard's owner has gone.
const GRACE: Duration = Duration::from_secs(2);

/// A guard's status where its child can't be run, as the shell has it.
const CANNOT_RUN: u8 = 127;

/// The command that runs `program` below a guard; arguments, environment and standard output and error, set on it as on any
/// command, are the child's. The child's standard input is empty.
///
/// The guard also removes the directory `scratch`, if given, but only where the owner is gone: else that is its own affair.
///
/// # Errors
///
/// Where this process's own executable can't be found.
pub fn command(program: impl AsRef<OsStr>, scratch: Option<&Path>) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(WORD);
    if let Some(scratch) = scratch {
        command.arg("--scratch").arg(scratch);
    }
    command.arg("--").arg(program).stdin(Stdio::piped()).process_group(0);
    Ok(command)
}

/// Starts a command made by [`command`].
///
/// # Errors
///
/// Where the guard can't be run. A child that can't be run shows as a guard that ends with status 127, and says why on its
/// standard error. Must be called within a tokio runtime.
pub fn spawn(command: Command) -> std::io::Result<OwnedProcess> {
    OwnedProcess::spawn_leader(command)
}

/// The arguments of this process after [`WORD`], where it was started to be a guard; `None` where not.
pub fn arguments() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == WORD).then(|| arguments.collect())
}

/// Task that a guard was started for.
#[derive(Debug, PartialEq, Eq)]
struct Task {
    scratch: Option<PathBuf>,
    /// Become the child, below this guard, in place of being a guard.
    exec_below: Option<u32>,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Task {
    fn parse(arguments: Vec<OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let (mut scratch, mut exec_below) = (None, None);
        loop {
            let option = arguments.next()?;
            match option.to_str()? {
                "--scratch" => scratch = Some(PathBuf::from(arguments.next()?)),
                "--exec" => exec_below = Some(arguments.next()?.to_str()?.parse().ok()?),
                "--" => break,
                _ => return None,
            }
        }
        Some(Self { scratch, exec_below, program: arguments.next()?, arguments: arguments.collect() })
    }

    fn complain(&self, error: &std::io::Error) -> ExitCode {
        eprintln!("can't run {}: {error}", self.program.display());
        ExitCode::from(CANNOT_RUN)
    }
}

/// Is a guard until the child has ended, and gives the child's status (128 and the signal's number where a signal ended it).
///
/// Must be awaited by the process's main thread, within a tokio runtime: on Linux the child is killed when the thread ends
/// that started it.
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    let Some(task) = Task::parse(arguments) else {
        eprintln!("{WORD} is for this program's own use: {WORD} [--scratch DIRECTORY] -- PROGRAM [ARGUMENTS]");
        return ExitCode::from(CANNOT_RUN);
    };
    if let Some(guard) = task.exec_below {
        return become_child(&task, guard);
    }
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = (
        signal(SignalKind::terminate()),
        Signal::receive(SignalKind::interrupt()),
        Signal::receive(SignalKind::hangup()),
    ) else {
        return task.complain(&std::io::Error::other("signals can't be received"));
    };
    let mut child = match start(&task) {
        Ok(child) => child,
        Err(error) => return task.complain(&error),
    };
    let mut owner_gone = when_owner_is_gone();
    loop {
        tokio::select! {
            ended = child.wait() => return status(&ended),
            _ = terminate.recv() => terminate_child(&child),
            () = interrupt.next() => terminate_child(&child),
            () = hang_up.next() => terminate_child(&child),
            _ = &mut owner_gone => break,
        }
    }
    terminate_child(&child);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        // Both fail only where the child has ended by now.
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    if let Some(scratch) = &task.scratch {
        let _ = std::fs::remove_dir_all(scratch);
    }
    ExitCode::FAILURE
}

fn start(task: &Task) -> std::io::Result<Child> {
    let mut command = if cfg!(target_os = "linux") {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.args([WORD, "--exec", &std::process::id().to_string(), "--"]).arg(&task.program);
        command
    } else {
        tokio::process::Command::new(&task.program)
    };
    command.args(&task.arguments).stdin(Stdio::null()).spawn()
}

/// Asks the kernel to kill this process when its guard ends, and becomes the child. Returns only where that fails.
fn become_child(task: &Task, guard: u32) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(process::Signal::KILL)) {
        return task.complain(&error.into());
    }
    // It may have ended before that took effect.
    if std::os::unix::process::parent_id() != guard {
        return ExitCode::FAILURE;
    }
    if let Err(error) = let_children_receive(SignalKind::terminate()) {
        return task.complain(&error);
    }
    task.complain(&Command::new(&task.program).args(&task.arguments).exec())
}

/// Completes when the other end of standard input is closed. A thread of its own reads, as reading blocks; the process's
/// end does not wait for it.
fn when_owner_is_gone() -> oneshot::Receiver<()> {
    let (gone, owner_gone) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = gone.send(());
    });
    owner_gone
}

fn terminate_child(child: &Child) {
    // No number: it was waited for. An error: it has just ended.
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, process::Signal::TERM);
    }
}

fn status(ended: &std::io::Result<ExitStatus>) -> ExitCode {
    let Ok(status) = ended else { return ExitCode::FAILURE };
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Option<Task> {
        Task::parse(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn arguments_after_the_program_are_the_programs_own() {
        let task = parse(&["--scratch", "/d", "--", "nats-server", "--", "-p", "--exec"]).unwrap();
        assert_eq!(task.scratch.as_deref(), Some(Path::new("/d")));
        assert_eq!((task.exec_below, task.program.to_str()), (None, Some("nats-server")));
        assert_eq!(task.arguments, ["--", "-p", "--exec"]);
        assert_eq!(parse(&["--exec", "7", "--", "x"]).unwrap().exec_below, Some(7));
        for bad in [&[][..], &["--"], &["x"], &["--exec", "x", "--", "y"], &["--scratch"]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
