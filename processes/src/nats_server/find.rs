//! Finding a `nats-server` that is installed, and its version.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use natter_broker::environment::Environment;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::{Found, Origin, ServerError};

/// A version: major, minor and patch, compared in this order. The part after a hyphen (`-beta.1`) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Raised with incompatible changes.
    pub major: u32,
    /// Raised with new features.
    pub minor: u32,
    /// Raised with corrections.
    pub patch: u32,
}

impl Version {
    /// Reads what `nats-server --version` prints: `nats-server: v2.15.1`. `None` where it is anything else.
    pub fn from_output(output: &str) -> Option<Self> {
        let text = output.trim().strip_prefix("nats-server:")?.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+', ' ']).next()?;
        let mut numbers = numbers.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The oldest version that Natter works with, and is tested with.
pub const OLDEST_VERSION: Version = Version { major: 2, minor: 9, patch: 0 };

/// The variable that names a `nats-server`, before PATH.
pub(super) const VARIABLE: &str = "NATTER_NATS_SERVER";

/// Maximum time for a program to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum retries, and the pause between them, for a file that can't be run because a process has it open for writing.
const BUSY_ATTEMPTS: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn find(
    environment: &Environment,
    notice: &(dyn Fn(&str) + Sync),
) -> Result<Option<Found>, ServerError> {
    if let Some(path) = environment.get(VARIABLE).map(PathBuf::from) {
        return match version_of(&path).await {
            Ok(version) if version >= OLDEST_VERSION => Ok(Some(Found { path, version, origin: Origin::Variable })),
            Ok(version) => Err(ServerError::Variable { path, reason: format!("it is version {version}") }),
            Err(reason) => Err(ServerError::Variable { path, reason }),
        };
    }
    for path in on_path(environment) {
        match version_of(&path).await {
            Ok(version) if version >= OLDEST_VERSION => return Ok(Some(Found { path, version, origin: Origin::Path })),
            Ok(version) => notice(&format!(
                "skipping {}: it is version {version}, and {OLDEST_VERSION} or newer is needed",
                path.display()
            )),
            Err(reason) => notice(&format!("skipping {}: {reason}", path.display())),
        }
    }
    Ok(None)
}

/// The files called `nats-server` in the directories of PATH, in their order.
fn on_path(environment: &Environment) -> Vec<PathBuf> {
    let directories = environment.get("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    let directories: Vec<PathBuf> = directories;
    directories
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("nats-server"))
        .filter(|path| is_executable(path))
        .collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Asks a program for its version.
pub(super) async fn version_of(path: &Path) -> Result<Version, String> {
    let mut attempts = 0;
    let output = loop {
        let mut command = Command::new(path);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        match timeout(VERSION_TIMEOUT, command.output()).await {
            Ok(Ok(output)) => break output,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < BUSY_ATTEMPTS => {
                attempts += 1;
                sleep(BUSY_PAUSE).await;
            }
            Ok(Err(error)) => return Err(format!("it can't be run ({error})")),
            Err(_) => return Err(format!("it did not say its version within {} s", VERSION_TIMEOUT.as_secs())),
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    Version::from_output(&text).ok_or_else(|| "it is no nats-server (it does not say its version like one)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Makes a program that says a version, in a directory of its own below `root`.
    fn fake(root: &Path, directory: &str, says: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let directory = root.join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("nats-server");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn find_in(pairs: &[(&str, String)]) -> (Result<Option<Found>, ServerError>, Vec<String>) {
        let notices = Mutex::new(Vec::new());
        let environment = pairs.iter().cloned().collect();
        let found = find(&environment, &|text| notices.lock().unwrap().push(text.to_owned())).await;
        (found, notices.into_inner().unwrap())
    }

    #[tokio::test]
    async fn too_old_ones_are_skipped_with_a_note() {
        let root = tempfile::tempdir().unwrap();
        let old = fake(root.path(), "a", "nats-server: v2.8.4");
        let odd = fake(root.path(), "b", "something else");
        let good = fake(root.path(), "c", "nats-server: v2.9.0");
        fake(root.path(), "d", "nats-server: v2.15.1");
        let path = ["a", "b", "missing", "c", "d"].map(|name| root.path().join(name).display().to_string()).join(":");
        let (found, notices) = find_in(&[("PATH", path)]).await;
        let version = Version { major: 2, minor: 9, patch: 0 };
        assert_eq!(found.unwrap(), Some(Found { path: good, version, origin: Origin::Path }));
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert!(notices[0].contains(&old.display().to_string()) && notices[0].contains("2.8.4"), "{notices:?}");
        assert!(notices[1].contains(&odd.display().to_string()), "{notices:?}");
    }

    #[tokio::test]
    async fn nothing_on_path_is_no_error() {
        let (found, notices) = find_in(&[("PATH", "/nowhere".to_owned())]).await;
        assert_eq!((found.unwrap(), notices.len()), (None, 0));
    }

    #[tokio::test]
    async fn the_variable_comes_first_and_must_be_usable() {
        let root = tempfile::tempdir().unwrap();
        let good = fake(root.path(), "good", "nats-server: v2.10.0").display().to_string();
        let old = fake(root.path(), "old", "nats-server: v1.4.1").display().to_string();
        let path = root.path().join("good").display().to_string();
        let (found, _) = find_in(&[(VARIABLE, good.clone()), ("PATH", String::new())]).await;
        assert_eq!(found.unwrap().map(|found| found.origin), Some(Origin::Variable));
        for (bad, why) in [(old, "version 1.4.1"), ("/nowhere/x".to_owned(), "can't be run")] {
            let (found, _) = find_in(&[(VARIABLE, bad), ("PATH", path.clone())]).await;
            let error = found.unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(VARIABLE), "{error}");
        }
    }

    #[test]
    fn reads_what_the_server_prints() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        assert_eq!(Version::from_output("nats-server: v2.15.1\n"), version(2, 15, 1));
        assert_eq!(Version::from_output("nats-server: v2.9.10"), version(2, 9, 10));
        assert_eq!(Version::from_output("nats-server: 2.11.0-beta.2"), version(2, 11, 0));
        for other in ["", "v2.15.1", "nats: v0.1.0", "nats-server: v2.15", "nats-server: vx.y.z"] {
            assert_eq!(Version::from_output(other), None, "{other}");
        }
    }

    #[test]
    fn order_is_by_number_not_by_text() {
        let of = |text: &str| Version::from_output(&format!("nats-server: v{text}")).unwrap();
        assert!(of("2.9.25") < of("2.10.0") && of("2.9.0") < of("2.9.10") && of("2.15.1") < of("3.0.0"));
        assert_eq!(of("2.15.1").to_string(), "2.15.1");
    }
}
