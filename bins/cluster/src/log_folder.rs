//! The folder of a run's logs: named by the user and kept, or a temporary one.
//!
//! A named folder has the logs of one run alone: those of an earlier run are moved into a folder of their own in it, and
//! files of others are left alone. While a cluster runs, no other one can take its folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use natter_broker::logs::date_and_time;
use tempfile::TempDir;

use crate::error::ClusterError;

/// The log of the broker, without its ending.
pub(crate) const BROKER: &str = "nats-server";
/// The log of the broker of the second site, without its ending.
pub(crate) const SECOND_BROKER: &str = "nats-server-2";

/// The log of the observer, without its ending.
pub(crate) const OBSERVER: &str = "observer";
/// The log of the observer of the second site, without its ending.
pub(crate) const SECOND_OBSERVER: &str = "observer-2";

/// The folder of the logs.
#[derive(Debug)]
pub(crate) enum LogFolder {
    /// Named by the user, and kept.
    Kept {
        /// Where it is.
        folder: PathBuf,
        /// Where the logs of an earlier run are now, if there were any.
        earlier: Option<PathBuf>,
        /// As long as it is open, the folder is taken.
        _taken: File,
    },
    /// Private, and removed when this is dropped.
    Temporary(TempDir),
}

impl LogFolder {
    /// Makes the folder where it is not there yet, and moves the logs of an earlier run out of the way.
    pub(crate) fn at(folder: Option<&Path>) -> Result<Self, ClusterError> {
        let Some(folder) = folder else {
            let made = tempfile::Builder::new().prefix("natter-cluster-").tempdir();
            return made.map(Self::Temporary).map_err(failed(&std::env::temp_dir()));
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let folder = std::path::absolute(folder).map_err(failed(folder))?;
        let taken = File::open(&folder).map_err(failed(&folder))?;
        // A file system without locks can't tell.
        if let Err(TryLockError::WouldBlock) = taken.try_lock() {
            return Err(ClusterError::LogsTaken { folder });
        }
        let earlier = move_earlier_logs(&folder).map_err(failed(&folder))?;
        Ok(Self::Kept { folder, earlier, _taken: taken })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept { folder, .. } => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// Where it is, if it is to be removed at the end.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        match self {
            Self::Kept { .. } => None,
            Self::Temporary(folder) => Some(folder.path()),
        }
    }

    /// Where the logs of an earlier run were moved.
    pub(crate) fn earlier(&self) -> Option<&Path> {
        match self {
            Self::Kept { earlier, .. } => earlier.as_deref(),
            Self::Temporary(_) => None,
        }
    }

    /// Where the log of the process `name` is.
    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::Logs { path, source }
}

/// Moves the logs of an earlier run into a folder that is named by the time of their last line.
fn move_earlier_logs(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut logs = Vec::new();
    let mut last = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && entry.file_name().to_str().is_some_and(is_log_name) {
            last = last.max(metadata.modified()?);
            logs.push(entry.file_name());
        }
    }
    if logs.is_empty() {
        return Ok(None);
    }
    let earlier = new_folder(&folder.join(format!("until-{}", folder_time(last))))?;
    for log in logs {
        std::fs::rename(folder.join(&log), earlier.join(&log))?;
    }
    Ok(Some(earlier))
}

/// `2026-11-30T12-03-04Z`: a time without what file systems don't take.
fn folder_time(time: SystemTime) -> String {
    let text = date_and_time(time).to_string().replace(':', "-");
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// Makes a folder of this name, or of this name and a number.
fn new_folder(path: &Path) -> io::Result<PathBuf> {
    let mut made = path.to_owned();
    for n in 2.. {
        match std::fs::create_dir(&made) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                made = PathBuf::from(format!("{}-{n}", path.display()))
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    Ok(made)
}

/// Whether a run has a log of this name: `nats-server.log`, `f1.log`, `r12.log`, and with `.1` what was moved out of them.
fn is_log_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".log") else { return false };
    let stem = stem.strip_suffix(".1").unwrap_or(stem);
    let number = stem.strip_prefix(['f', 'r']);
    [BROKER, SECOND_BROKER, OBSERVER, SECOND_OBSERVER].contains(&stem)
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_and_a_named_one_stays() {
        let temporary = LogFolder::at(None).unwrap();
        let folder = temporary.path().to_owned();
        std::fs::write(temporary.log_of("r1"), "").unwrap();
        drop(temporary);
        assert!(!folder.exists());

        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("a/b");
        let kept = LogFolder::at(Some(&named)).unwrap();
        assert!(kept.scratch().is_none() && kept.earlier().is_none());
        let path = kept.log_of("r1");
        std::fs::write(&path, "").unwrap();
        drop(kept);
        assert_eq!(path, named.join("r1.log"));
        assert!(path.exists());
    }

    #[test]
    fn a_named_folder_has_the_logs_of_one_run_and_nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        let names = |folder: &Path| {
            let mut names: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let foreign = ["db.log", "notes.txt", "r.log", "r1.log.gz", "rx.log"];
        foreign.iter().for_each(|name| write(name, "somebody else's"));
        let mut moved = Vec::new();
        for run in ["first", "second"] {
            ["f1.log", "nats-server-2.log", "nats-server.log", "observer.log", "r1.log", "r12.1.log", "r12.log"]
                .iter()
                .for_each(|name| write(name, run));
            let folder = LogFolder::at(Some(root.path())).unwrap();
            let earlier = folder.earlier().unwrap().to_owned();
            assert_eq!(
                names(&earlier),
                ["f1.log", "nats-server-2.log", "nats-server.log", "observer.log", "r1.log", "r12.1.log", "r12.log"]
            );
            assert_eq!(std::fs::read_to_string(earlier.join("r12.log")).unwrap(), run);
            moved.push(earlier.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert!(moved[0] != moved[1] && moved[0].starts_with("until-20"), "{moved:?}");
        let mut expected: Vec<String> = foreign.iter().map(|&name| name.to_owned()).chain(moved).collect();
        expected.sort();
        assert_eq!(names(root.path()), expected);
    }

    #[test]
    fn a_folder_that_another_cluster_uses_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let first = LogFolder::at(Some(root.path())).unwrap();
        let error = LogFolder::at(Some(root.path())).unwrap_err().to_string();
        assert!(error.contains(&root.path().display().to_string()) && error.contains("another cluster"), "{error}");
        drop(first);
        LogFolder::at(Some(root.path())).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = LogFolder::at(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
