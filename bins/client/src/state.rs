//! The session's label between runs: a small JSON file for each user of each broker and prefix.
//!
//! `<state directory>/<broker and prefix>/<user>.json`. A session of no particular user starts from all of that broker's
//! labels, as the person at the keyboard is the same, and keeps its own in `anybody.json`. Concurrent runs merge what
//! they have seen: read, merge, rename, under a lock file. Losing a file loses no rating, only the promise to see one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter_broker::environment::Environment;
use natter_common::ids::UserId;
use natter_common::label::Label;
use serde::{Deserialize, Serialize};

/// The variable that names another state directory.
pub const STATE_VARIABLE: &str = "NATTER_STATE";
/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long to wait for another run that keeps its label: far longer than that takes. Then go on without the lock: at
/// worst the later of the two wins.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Why the session's label is not kept, or was not found. Never a reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is not what was once written; what it held is lost.
    #[error("the session file {} is broken ({reason}): a new session starts", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file or its directory can't be used.
    #[error(
        "can't {what} {} ({reason}): this session is not kept; set {STATE_VARIABLE} to another directory, or give --no-state",
        path.display()
    )]
    File {
        /// What was being done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// What a file holds: the label, and for a person who looks inside, whose.
#[derive(Serialize, Deserialize)]
struct Kept {
    servers: String,
    prefix: String,
    user_id: Option<UserId>,
    label: Label,
}

/// Where one session's label is kept.
#[derive(Clone, Debug)]
pub struct SessionFile {
    directory: PathBuf,
    servers: String,
    prefix: String,
    user_id: Option<UserId>,
}

impl SessionFile {
    /// For this user (or nobody in particular) of the cluster under `prefix` at `servers`. `None` where no state directory
    /// is known.
    pub fn locate(environment: &Environment, servers: &str, prefix: &str, user_id: Option<UserId>) -> Option<Self> {
        let directory = directory(environment, servers, prefix)?;
        Some(Self { directory, servers: servers.to_owned(), prefix: prefix.to_owned(), user_id })
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        let name = self.user_id.map_or_else(|| "anybody".to_owned(), |user| user.to_string());
        self.directory.join(format!("{name}.json"))
    }

    /// What was seen in earlier runs, and what was wrong with the files.
    pub fn load(&self) -> (Label, Vec<StateError>) {
        let mut label = Label::new();
        let mut complaints = Vec::new();
        for path in self.sources() {
            match read(&path) {
                Ok(kept) => label.merge(&kept.unwrap_or_default()),
                Err(error) => complaints.push(error),
            }
        }
        (label, complaints)
    }

    /// Adds `label` to what the file holds.
    ///
    /// # Errors
    ///
    /// Where the file can't be written; it is as it was then.
    pub fn keep(&self, label: &Label) -> Result<(), StateError> {
        let path = self.path();
        fs::create_dir_all(&self.directory).map_err(|error| failed("create", &self.directory, &error))?;
        let _lock = lock(&self.directory.join("lock"));
        // A broken file was complained of when it was loaded.
        let mut merged = read(&path).ok().flatten().unwrap_or_default();
        merged.merge(label);
        let kept =
            Kept { servers: self.servers.clone(), prefix: self.prefix.clone(), user_id: self.user_id, label: merged };
        let text = serde_json::to_vec(&kept).map_err(|error| failed("write", &path, &error.into()))?;
        let draft = path.with_extension(format!("{}-{:08x}.tmp", std::process::id(), fastrand::u32(..)));
        let written = File::create(&draft)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.write_all(b"\n")))
            .and_then(|()| fs::rename(&draft, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&draft);
            failed("write", &path, &error)
        })
    }

    /// Forgets what [`SessionFile::load`] would find.
    ///
    /// # Errors
    ///
    /// Where a file can't be removed.
    pub fn forget(&self) -> Result<(), StateError> {
        let _lock = if self.directory.exists() { lock(&self.directory.join("lock")) } else { None };
        for path in self.sources() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The user's own file; for nobody in particular, all of this broker's and prefix'.
    fn sources(&self) -> Vec<PathBuf> {
        if self.user_id.is_some() {
            return vec![self.path()];
        }
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        paths.sort();
        paths
    }
}

/// Where all is kept that belongs to the cluster under `prefix` at `servers`. `None` where no state directory is known.
pub(crate) fn directory(environment: &Environment, servers: &str, prefix: &str) -> Option<PathBuf> {
    let root = match environment.get(STATE_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => environment.base_directory("XDG_STATE_HOME", ".local/state")?.join("natter"),
    };
    // A name that a person recognises, and a hash that tells apart what looks the same.
    let hash = hash(servers.bytes().chain([0]).chain(prefix.bytes()));
    Some(root.join(format!("{}-{}-{:08x}", plain(servers), plain(prefix), hash >> 32)))
}

/// A part of a file's name that looks like `text`.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace("nats://", "");
    text.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
}

/// FNV-1a: must be the same in every version, unlike the standard library's hashes.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `None` where there is no file.
fn read(path: &Path) -> Result<Option<Label>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, &error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| failed("read", path, &error))?;
    match serde_json::from_slice::<Kept>(&text) {
        Ok(kept) => Ok(Some(kept.label)),
        Err(error) => Err(StateError::Broken { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn failed(what: &'static str, path: &Path, error: &io::Error) -> StateError {
    StateError::File { what, path: path.to_owned(), reason: error.to_string() }
}

/// Held until dropped. `None` where it can't be had.
fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::clock::Stamp;
    use natter_common::ids::ReplicaId;

    fn label(entries: &[(&str, u64)]) -> Label {
        let named = |(id, count): &(&str, u64)| (ReplicaId::new(id).unwrap(), *count);
        Label { replicas: entries.iter().map(named).collect(), clock: Stamp(entries.len() as u64) }
    }

    fn environment(root: &Path) -> Environment {
        [(STATE_VARIABLE, root.as_os_str())].into_iter().collect()
    }

    fn file(root: &Path, user: u32) -> SessionFile {
        let user_id = UserId::new(user).ok();
        SessionFile::locate(&environment(root), "nats://127.0.0.1:4222", "ratings", user_id).unwrap()
    }

    #[test]
    fn labels_are_merged_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let file = file(root.path(), 42);
        assert_eq!(file.load().0, Label::new());
        file.keep(&label(&[("a", 3)])).unwrap();
        file.keep(&label(&[("a", 1), ("b", 2)])).unwrap();
        let (kept, complaints) = file.load();
        assert_eq!(kept, label(&[("a", 3), ("b", 2)]));
        assert!(complaints.is_empty());
    }

    #[test]
    fn concurrent_runs_lose_nothing() {
        let root = tempfile::tempdir().unwrap();
        let file = file(root.path(), 42);
        std::thread::scope(|scope| {
            for run in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    for count in 1..=20 {
                        file.keep(&label(&[(&format!("r{run}"), count)])).unwrap();
                    }
                });
            }
        });
        let expected: Vec<_> = (0..8).map(|run| format!("r{run}")).collect();
        let kept = file.load().0;
        for id in expected {
            assert_eq!(kept.replicas.get(&ReplicaId::new(&id).unwrap()), 20);
        }
        let left = fs::read_dir(&file.directory).unwrap().count();
        assert_eq!(left, 2, "drafts were left behind");
    }

    #[test]
    fn a_broken_file_is_named_and_the_session_starts_anew() {
        let root = tempfile::tempdir().unwrap();
        let file = file(root.path(), 42);
        fs::create_dir_all(&file.directory).unwrap();
        for broken in ["", "{", "[]", r#"{"label":7}"#, "\u{0}\u{0}"] {
            fs::write(file.path(), broken).unwrap();
            let (label_read, complaints) = file.load();
            assert_eq!(label_read, Label::new());
            let complaint = complaints[0].to_string();
            assert!(complaint.contains("42.json") && complaint.contains("a new session starts"), "{complaint}");
        }
        file.keep(&label(&[("a", 1)])).unwrap();
        assert_eq!(file.load().0, label(&[("a", 1)]));
    }

    #[test]
    fn users_brokers_and_prefixes_are_kept_apart() {
        let root = tempfile::tempdir().unwrap();
        let environment = environment(root.path());
        let at = |servers, prefix, user| {
            SessionFile::locate(&environment, servers, prefix, UserId::new(user).ok()).unwrap().path()
        };
        let paths =
            [at("nats://a:1", "r", 1), at("nats://a:1", "r", 2), at("nats://a_1", "r", 1), at("nats://a:1", "r.", 1)];
        for (n, path) in paths.iter().enumerate() {
            assert!(paths[n + 1..].iter().all(|other| other != path), "{}", path.display());
        }
    }

    #[test]
    fn nobody_in_particular_has_seen_what_anybody_has() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), 1).keep(&label(&[("a", 3)])).unwrap();
        file(root.path(), 2).keep(&label(&[("b", 2)])).unwrap();
        let anybody = SessionFile::locate(&environment(root.path()), "nats://127.0.0.1:4222", "ratings", None).unwrap();
        anybody.keep(&label(&[("c", 1)])).unwrap();
        assert_eq!(anybody.load().0.replicas, label(&[("a", 3), ("b", 2), ("c", 1)]).replicas);
        file(root.path(), 1).forget().unwrap();
        assert_eq!(anybody.load().0.replicas, label(&[("b", 2), ("c", 1)]).replicas);
        anybody.forget().unwrap();
        assert_eq!(anybody.load().0, Label::new());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        let blocked = root.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = file(&blocked, 1).keep(&label(&[("a", 1)])).unwrap_err().to_string();
        assert!(error.contains("--no-state") && error.contains("file"), "{error}");
    }

    #[test]
    fn without_a_home_there_is_no_file() {
        assert!(SessionFile::locate(&Environment::default(), "nats://a:1", "ratings", None).is_none());
    }
}
