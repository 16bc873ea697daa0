//! Helpers that the tests share: a cluster with its own temporary folders, so that a test sees what it leaves behind.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use natter_broker::signals::let_children_receive;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::SignalKind;

/// No wait of a test is longer than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Maximum time until the children of a killed launcher end: the guards' grace, and some for a busy machine.
pub(crate) const REMAINS: Duration = Duration::from_secs(10);

/// Folders for one cluster, and commands that run in them. Its processes are known by the temporary folder in their
/// environment.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let_children_receive(kind).unwrap(); // however the tests were started
        }
        let root = tempfile::tempdir().unwrap();
        for folder in ["tmp", "state"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The program with these arguments, in an environment that names no broker.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        for variable in ["NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "NATS_USER", "NATS_PASSWORD", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.args(arguments).env("TMPDIR", self.path("tmp")).env("NATTER_STATE", self.path("state"));
        command
    }

    /// Runs the program to its end, with this on its standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Starts the program, and waits until it says that all are ready.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.start_command(self.command(arguments))
    }

    /// The same from a shell that does `prelude` first; the program has the shell's process id.
    pub(crate) fn start_after(&self, prelude: &str, arguments: &[&str]) -> Running<'_> {
        let program = self.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{prelude}; exec \"$@\""), "sh"]).arg(program.get_program()).args(arguments);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.start_command(command)
    }

    fn start_command(&self, mut command: Command) -> Running<'_> {
        let file = |name| File::create(self.path(name)).unwrap();
        command.stdin(Stdio::piped()).stdout(file("said")).stderr(file("told"));
        let running = Running { place: self, child: command.spawn().unwrap() };
        running.until_told("Natter is ready");
        running
    }

    /// The process ids and command lines of all that runs here (on Linux; elsewhere none).
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mark = format!("TMPDIR={}", self.path("tmp").display());
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let text = |id, file| {
            let bytes = std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let ours = ids.filter(|&id| text(id, "environ").split('\0').any(|variable| variable == mark));
        ours.map(|id| (id, text(id, "cmdline").replace('\0', " "))).collect()
    }

    /// The process that plays a role under this name, not its guard.
    pub(crate) fn member(&self, role: &str, name: &str) -> u32 {
        let is_it = |line: &str| line.contains(&format!(" {role} --name {name} ")) && !line.contains(" guard ");
        let processes = self.processes();
        let found: Vec<_> = processes.iter().filter(|(_, line)| is_it(line)).map(|&(id, _)| id).collect();
        assert_eq!(found.len(), 1, "{processes:?}");
        found[0]
    }

    fn remains(&self) -> Vec<String> {
        let files = |folder: &str| {
            let entries = std::fs::read_dir(self.path(folder)).unwrap();
            entries.map(|entry| entry.unwrap().path().display().to_string()).collect::<Vec<_>>()
        };
        let processes = self.processes().into_iter().map(|(id, line)| format!("{id} {line}"));
        processes.chain(files("tmp")).chain(files("state")).collect()
    }

    /// No process and no file is left.
    pub(crate) fn assert_nothing_left(&self) {
        let remains = self.remains();
        assert!(remains.is_empty(), "left behind: {remains:#?}");
    }

    /// As [`Place::assert_nothing_left`], within `time`.
    pub(crate) fn assert_nothing_left_within(&self, time: Duration) {
        let started = Instant::now();
        while !self.remains().is_empty() && started.elapsed() < time {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.assert_nothing_left();
    }
}

/// A cluster that runs; dropping this ends it.
pub(crate) struct Running<'a> {
    place: &'a Place,
    child: Child,
}

impl Running<'_> {
    /// Text that it has written to standard error.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(self.place.path("told")).unwrap()
    }

    /// Waits for words of the menu.
    pub(crate) fn until_said(&self, words: &str) {
        until(words, || std::fs::read_to_string(self.place.path("said")).unwrap().contains(words));
    }

    pub(crate) fn until_told(&self, words: &str) {
        until(&format!("{words}\n{}", self.told()), || self.told().contains(words));
    }

    /// The broker's URL.
    pub(crate) fn url(&self) -> String {
        let told = self.told();
        let line = told.lines().find_map(|line| line.trim().strip_prefix("broker ")).unwrap();
        line.trim().to_owned()
    }

    /// The process id of the launcher.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The ids of the members of a role, as they were told.
    pub(crate) fn ids(&self, role: &str) -> Vec<String> {
        let told = self.told();
        let line = told.lines().find_map(|line| line.trim().strip_prefix(role)).unwrap();
        line.trim().split(", ").map(str::to_owned).collect()
    }

    /// The folder of the logs, as it was told.
    pub(crate) fn logs(&self) -> PathBuf {
        let told = self.told();
        let line = told.lines().find_map(|line| line.trim().strip_prefix("logs ")).unwrap();
        PathBuf::from(line.trim().split(" (").next().unwrap())
    }

    /// Its standard input, which the menu reads.
    pub(crate) fn say(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.child.id(), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        until("the launcher ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.told());
        }
        // Its guards end the rest. An error: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let started = Instant::now();
        while !self.place.processes().is_empty() && started.elapsed() < REMAINS {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn signal_to(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
}

/// Asks until the answer is yes; panics with `what` at the deadline.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The program refused, with one error of these words, and left nothing.
#[track_caller]
pub(crate) fn assert_refused(place: &Place, output: &Output, words: &[&str]) {
    let told = text(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
    for word in words {
        assert!(told.contains(word), "{word}: {told}");
    }
    place.assert_nothing_left();
}

/// A data set of which one line is broken.
pub(crate) fn broken_database(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("movies.csv"), "movieId,title,genres\n1,Toy Story (1995),Comedy\n").unwrap();
    let ratings = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n2,1,excellent,964982703\n";
    std::fs::write(folder.join("ratings.csv"), ratings).unwrap();
}
