//! A command that runs beside the test, read line by line.

use std::process::Stdio;

use natter_tests::harness::{DEADLINE, World};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// A running command of the client.
pub(crate) struct Running {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it against the broker of `world`.
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.role("client");
        command.args(arguments).args(["--server", &world.broker.url()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await.expect("a line in time");
        line.unwrap().expect("one more line")
    }

    /// The results of the next lines, up to and with the one that `is_last` takes.
    pub(crate) async fn until(&mut self, mut is_last: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut seen: Vec<Value> = Vec::new();
        loop {
            let line = self.line().await;
            let mut value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let value = value["value"].take();
            assert!(!value.is_null(), "{line}");
            let is_last = is_last(&value);
            seen.push(value);
            if is_last {
                return seen;
            }
        }
    }
}
