//! One process of a cluster, and its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use natter_processes::owned_process::OwnedProcess;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A frontend or replica as a child process. Dropping it ends it.
pub struct Member {
    role: &'static str,
    name: String,
    log: PathBuf,
    process: OwnedProcess,
    /// Its end is the test's doing.
    end_expected: bool,
    ended: Option<ExitStatus>,
}

/// Resident memory of a process, in kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResidentSet(pub u64);

impl Member {
    /// Starts `command`, which logs to a file `<name>.log` in `directory`.
    pub fn start(role: &'static str, name: &str, mut command: Command, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.env("NATTER_TEST_LIFELINE", "1").stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file);
        let process = OwnedProcess::spawn(command).unwrap();
        Self { role, name: name.to_owned(), log, process, end_expected: false, ended: None }
    }

    /// `replica` or `frontend`.
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// The prefix and its `--name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().unwrap();
        }
        self.ended.is_none()
    }

    /// Whether it ended without being told to.
    pub fn died(&mut self) -> bool {
        !self.end_expected && !self.is_running()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub async fn kill(&mut self) {
        self.end_expected = true;
        self.process.kill();
        self.ended = Some(self.process.wait().await.unwrap());
    }

    /// Kills it (SIGKILL) and does not wait.
    pub fn kill_now(&mut self) {
        self.end_expected = true;
        self.process.kill();
    }

    /// Says that its end is the test's doing.
    pub fn expect_end(&mut self) {
        self.end_expected = true;
    }

    /// Asks it to end (SIGTERM) and does not wait.
    pub fn terminate(&mut self) {
        self.end_expected = true;
        self.process.terminate();
    }

    /// Waits for its end, however that comes.
    pub async fn ended(&mut self) -> ExitStatus {
        self.end_expected = true;
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = tokio::time::timeout(super::DEADLINE, self.process.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).unwrap();
        self.ended = Some(ended);
        ended
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Whether it is frozen, as the system sees it.
    pub fn is_frozen(&self) -> bool {
        self.process.id().is_some_and(super::is_frozen)
    }

    /// Limits how large its files may become, as a nearly full disk does; `None` lifts that. It must have been started so
    /// that the signal which comes with it is ignored.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let process = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(process, Resource::Fsize, limit).expect("this user may limit its own processes");
    }

    /// Its process id; `None` once it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Returns its resident memory; `None` where the system doesn't say.
    pub fn resident_set(&self) -> Option<ResidentSet> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok().map(ResidentSet)
    }

    /// Waits until its log has `text`.
    pub async fn until_logged(&self, text: &str) {
        super::until_file_has(&self.log, &format!("{text:?}"), |log| log.contains(text)).await;
    }
}
