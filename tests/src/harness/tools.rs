//! Tools of other languages for tests, with packages of pinned versions. They are installed into a folder that later runs
//! find again. Where a tool cannot be had, a line tells so, and the test is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Packages that the Python programs of the tests and of the documents need.
pub const PYTHON_PACKAGES: [&str; 2] = ["nats-py==2.16.0", "msgpack==1.2.4"];
/// A package index that does not answer must not hold up the tests for longer than this.
const INSTALL_PATIENCE: Duration = Duration::from_secs(180);

/// A Python with [`PYTHON_PACKAGES`], in a virtual environment under `cache`.
pub async fn python(cache: &Path) -> Option<PathBuf> {
    let folder = cache.join(format!("python-{}", PYTHON_PACKAGES.join("-")));
    let program = folder.join("bin/python");
    let complete = folder.join("complete");
    if complete.exists() && ran(Command::new(&program).args(["-c", "import nats, msgpack"])).await.is_ok() {
        return Some(program);
    }
    // Several tests may be at it: each has its own folder until it is complete.
    let own = tempfile::Builder::new().prefix("python-").tempdir_in(cache).unwrap();
    let installed = async {
        ran(Command::new("python3").args(["-m", "venv"]).arg(own.path())).await?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
        ran(Command::new(own.path().join("bin/python")).args(install).args(PYTHON_PACKAGES)).await
    };
    match installed.await {
        Ok(()) => Some(settle(own, &folder).join("bin/python")),
        Err(reason) => skipped(&format!("Python with {}", PYTHON_PACKAGES.join(" and ")), &reason),
    }
}

/// A folder under `cache` for `NODE_PATH`, with these packages of npm.
pub async fn node_packages(cache: &Path, packages: &[&str]) -> Option<PathBuf> {
    let folder = cache.join(format!("node-{}", packages.join("-").replace(['/', '@'], "_")));
    if folder.join("complete").exists() && ran(Command::new("node").arg("--version")).await.is_ok() {
        return Some(folder.join("node_modules"));
    }
    let own = tempfile::Builder::new().prefix("node-").tempdir_in(cache).unwrap();
    let install =
        ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--omit=optional", "--prefix"];
    let installed = async {
        ran(Command::new("node").arg("--version")).await?;
        ran(Command::new("npm").args(install).arg(own.path()).args(packages)).await
    };
    match installed.await {
        Ok(()) => Some(settle(own, &folder).join("node_modules")),
        Err(reason) => skipped(&format!("node with {}", packages.join(" and ")), &reason),
    }
}

/// The program of a Go module in `source`, built under `cache` and named after the folder around `source`.
pub async fn go_program(cache: &Path, source: &Path) -> Option<PathBuf> {
    let around = source.parent().and_then(Path::file_name).unwrap_or_default();
    let program = cache.join(format!("go-{}", around.to_string_lossy()));
    let mut build = Command::new("go");
    build.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    match ran(&mut build).await {
        Ok(()) => Some(program),
        Err(reason) => skipped("Go with the packages of go.mod", &reason),
    }
}

/// The library that gives a program another time, as `faketime` installs it.
pub fn faketime() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/local/lib"].map(Path::new).into_iter().flat_map(|folder| {
        let inner = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(folder.to_owned()).chain(inner)
    });
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    found.or_else(|| skipped("libfaketime", "install the package faketime"))
}

/// Keeps what was installed, for later runs.
fn settle(own: tempfile::TempDir, folder: &Path) -> PathBuf {
    std::fs::write(own.path().join("complete"), "").unwrap();
    let own = own.keep();
    match std::fs::rename(&own, folder) {
        Ok(()) => folder.to_owned(),
        // Another test was faster.
        Err(_) => own,
    }
}

fn skipped(what: &str, reason: &str) -> Option<PathBuf> {
    println!("skipped: no {what}: {reason}");
    None
}

async fn ran(command: &mut Command) -> Result<(), String> {
    let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("")));
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(INSTALL_PATIENCE, output).await.map_err(|_| "it takes too long".to_owned())?;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
