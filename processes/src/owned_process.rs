//! Child processes that end with their owner.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

/// Maximum time for a process to end after SIGTERM, unless its owner sets another one.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// Interval at which dropping checks whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A child process that is stopped, and waited for, when this is dropped: asked to end (SIGTERM), and killed where it has
/// not ended within its grace.
///
/// Dropping blocks the thread meanwhile, usually for milliseconds; [`OwnedProcess::stop`] does the same without blocking.
#[derive(Debug)]
pub struct OwnedProcess {
    child: Child,
    pid: Option<Pid>,
    grace: Duration,
    /// The process leads a group of its own, and is signalled together with it where it must obey.
    leads_group: bool,
    /// Held open as long as this lives: a guard ends its child when this closes.
    _lifeline: Option<OwnedFd>,
}

impl OwnedProcess {
    /// Starts a command in this process's own group, so that ctrl-c in the terminal reaches it too.
    ///
    /// # Errors
    ///
    /// Where the program can't be run. Must be called within a tokio runtime.
    pub fn spawn(command: Command) -> io::Result<Self> {
        Self::start(command, false)
    }

    /// Starts a command made by [`crate::guard::command`].
    pub(crate) fn spawn_leader(command: Command) -> io::Result<Self> {
        Self::start(command, true)
    }

    fn start(command: Command, leads_group: bool) -> io::Result<Self> {
        let mut child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let lifeline = child.stdin.take().map(|stdin| stdin.into_owned_fd()).transpose()?;
        Ok(Self { child, pid, grace: DEFAULT_GRACE, leads_group, _lifeline: lifeline })
    }

    /// Allows another time than [`DEFAULT_GRACE`] between asking and killing.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The process id (of the guard, for a guarded process); `None` once the process has ended and was waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Exit status of the process; `None` while it runs.
    ///
    /// # Errors
    ///
    /// Where the system won't say.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    ///
    /// Where the system won't say.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the process to end (SIGTERM) and does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::TERM, false);
        self.signal(Signal::CONT, self.leads_group); // a paused one could not obey
    }

    /// Ends the process, and a guarded one's guard with it, without asking (SIGKILL), and does not wait.
    pub fn kill(&self) {
        self.signal(Signal::KILL, self.leads_group);
    }

    /// Freezes the process (SIGSTOP), as a fault to test with.
    pub fn pause(&self) {
        self.signal(Signal::STOP, self.leads_group);
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT, self.leads_group);
    }

    /// Asks the process to end, kills it where it has not within its grace, and waits for its end.
    ///
    /// # Errors
    ///
    /// Where the system won't say how it ended.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        self.terminate();
        if let Ok(ended) = tokio::time::timeout(self.grace, self.child.wait()).await {
            return ended;
        }
        self.kill();
        self.child.wait().await
    }

    /// Sends a signal, unless the process was waited for already: its number may be another's by now.
    fn signal(&self, signal: Signal, to_group: bool) {
        if self.child.id().is_none() {
            return;
        }
        if let Some(pid) = self.pid {
            // Fails only where it has just ended, which is what signals are for.
            let _ = if to_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
    }

    /// Looks until the process has ended or the time is over; tells whether it has ended.
    fn ends_within(&mut self, time: Duration) -> bool {
        let started = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) | Err(_) => return true,
                Ok(None) if started.elapsed() >= time => return false,
                Ok(None) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        if self.ends_within(Duration::ZERO) {
            return;
        }
        self.terminate();
        if !self.ends_within(self.grace) {
            self.kill();
            self.ends_within(DEFAULT_GRACE);
        }
    }
}
