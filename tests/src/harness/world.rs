//! Surroundings of one test: a broker, a folder, and the roles' program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Broker, Cluster, ClusterPlan};

/// Variables that would tell a role of another broker, or change its logs.
const VARIABLES: [&str; 6] = ["NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "NATS_USER", "NATS_PASSWORD", "RUST_LOG"];

/// A broker, a folder for files, and how to run the roles.
pub struct World {
    program: PathBuf,
    /// The broker of this test.
    pub broker: Broker,
    directory: TempDir,
}

impl World {
    /// Starts with a running broker. `program` is `env!("CARGO_BIN_EXE_roles")`, which only a test can name.
    pub async fn new(program: &str) -> Self {
        let world = Self::without_broker(program).await;
        world.broker.start().await;
        world
    }

    /// Starts with a port where no broker runs yet.
    pub async fn without_broker(program: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("natter-tests-").tempdir().unwrap();
        Self { program: PathBuf::from(program), broker: Broker::reserve(None).await, directory }
    }

    /// Starts with a running broker that has this configuration.
    pub async fn with_broker_configuration(program: &str, configuration: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("natter-tests-").tempdir().unwrap();
        let path = directory.path().join("nats.conf");
        std::fs::write(&path, configuration).unwrap();
        let broker = Broker::reserve(Some(path)).await.logging_to(&directory.path().join("broker.log"));
        let world = Self { program: PathBuf::from(program), broker, directory };
        world.broker.start().await;
        world
    }

    /// A path in the folder of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The folder of this test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A role as a command, with no broker named and no session kept outside of this test.
    pub fn role(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role);
        self.surround(&mut command);
        command
    }

    /// Returns the same command from a shell that does `prelude` first; the role has the shell's process id.
    pub fn role_after(&self, prelude: &str, role: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{prelude}; exec \"$@\""), "sh"]).arg(&self.program).arg(role);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.env("NATTER_STATE", self.path("state")).env("NO_COLOR", "1");
    }

    /// Runs a role to its end, against this broker.
    pub async fn run(&self, role: &str, arguments: &[&str]) -> Output {
        let mut command = self.role(role);
        command.args(arguments).args(["--server", &self.broker.url()]).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        tokio::time::timeout(super::DEADLINE, output).await.expect("ends by itself").unwrap()
    }

    /// Returns the plan of an empty cluster under `prefix`.
    pub fn cluster(&self, prefix: &str) -> ClusterPlan<'_> {
        ClusterPlan::new(self, prefix)
    }

    /// Starts a cluster with this number of frontends and replicas on the small data set, and waits until it serves.
    pub async fn small_cluster(&self, frontends: usize, replicas: usize) -> Cluster<'_> {
        let database = super::data::write_small(self.directory());
        self.cluster("ratings").database(&database).start(frontends, replicas).await
    }
}
