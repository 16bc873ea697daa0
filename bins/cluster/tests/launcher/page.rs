//! A headless Chromium that has the observer's page open.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const PACKAGES: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];
/// Folder for screenshots, where a person wants to look at them.
const SCREENSHOTS: &str = "NATTER_TEST_SCREENSHOTS";

/// A browser, which ends with this.
pub(crate) struct Page {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Page {
    /// Opens a page. Where a tool is missing, a line tells so and the test is skipped.
    pub(crate) fn open(url: &str) -> Option<Self> {
        let (chromium, modules) = (chromium()?, modules()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launcher/page.cjs");
        let mut command = Command::new("node");
        command.arg(script).arg(url).arg(chromium).args(std::env::var_os(SCREENSHOTS)).env("NODE_PATH", modules);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut page = Self { process, input, output: BufReader::new(output) };
        assert_eq!(page.outcome(), json!({"opened": true}));
        Some(page)
    }

    /// Has a step done, and gives its outcome. The script limits the time of each.
    pub(crate) fn step(&mut self, step: &Value) -> Value {
        self.input.write_all(format!("{step}\n").as_bytes()).unwrap();
        self.outcome()
    }

    fn outcome(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let outcome: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(outcome["error"], Value::Null, "{outcome}");
        outcome
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The script closes the browser when its input ends; one that hangs is ended with the tests.
        drop(std::mem::replace(&mut self.input, closed_input()));
        let _ = self.process.wait();
    }
}

/// An input that no process reads.
fn closed_input() -> ChildStdin {
    let mut process = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let input = process.stdin.take().unwrap();
    let _ = process.wait();
    input
}

fn chromium() -> Option<PathBuf> {
    let found =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from).into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("skipped: no chromium: install the package chromium");
    }
    found
}

/// The packages, installed once into a folder that later runs find again.
fn modules() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node-{}", PACKAGES.join("-")));
    let (modules, complete) = (folder.join("node_modules"), folder.join("complete"));
    if complete.exists() {
        return Some(modules);
    }
    let options =
        ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--omit=optional", "--prefix"];
    let installed = Command::new("npm").args(options).arg(&folder).args(PACKAGES).stdin(Stdio::null()).output();
    match installed {
        Ok(output) if output.status.success() => {
            std::fs::write(complete, "").unwrap();
            Some(modules)
        }
        Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => skipped(&error.to_string()),
    }
}

fn skipped(reason: &str) -> Option<PathBuf> {
    println!("skipped: no node with {}: {reason}", PACKAGES.join(" and "));
    None
}
