//! State that a client keeps between runs, in small JSON files. It belongs to a cluster and a user, not to an address.
//!
//! - `clusters/<cluster>/<user>.json`: the label of a user's session with a cluster; of no particular user, `anybody.json`
//! - `clusters/<cluster>/<file>.import`: how far the import of a file into that cluster is
//! - `history/<kind>.txt`: lines that were typed at the prompts of this kind
//! - `addresses/<broker and prefix>/`, files of the same names: which cluster that was, at this address. So the first request
//!   of the next run has the right label; and where another cluster answers by then, the client tells of it.
//!
//! Concurrent runs merge what they have seen: read, merge, rename, under a lock file. Losing a file loses no rating, only
//! the promise to see one. So there is room for a bounded number of clusters and addresses: those used least recently go.

mod session;

pub use session::{Loaded, SessionStore};

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use natter_broker::environment::Environment;
use natter_common::cluster::ClusterId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The variable that names another state directory.
pub const STATE_VARIABLE: &str = "NATTER_STATE";
/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Maximum wait for another run that is writing its label; writing takes far less. After it, this run goes on without
/// the lock: at worst the later of the two labels wins.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum clusters, and maximum addresses, that files are kept of. A developer starts some dozens a day.
const DIRECTORIES_MAX: usize = 256;
/// Endings of our files: nothing else is ever removed.
const ENDINGS: [&str; 3] = ["json", "import", "tmp"];
const LOCK: &str = "lock";

/// Why the session's label is not kept, or was not found. Never a reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is not what was once written; what it held is lost.
    #[error("the session file {} is broken ({reason}): a new session starts", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        reason: String,
    },
    /// The file or its directory can't be used.
    #[error(
        "can't {what} {} ({reason}): this session is not kept; set {STATE_VARIABLE} to another directory, or give --no-state",
        path.display()
    )]
    File {
        /// The operation that failed.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
}

/// The directory of all that is kept, and the part of it for one address.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
    address: PathBuf,
}

impl State {
    /// For the cluster under `prefix` at `servers`. `None` where no state directory is known.
    pub fn locate(environment: &Environment, servers: &[String], prefix: &str) -> Option<Self> {
        let root = root(environment)?;
        let servers = canonical(servers);
        // A name that a person recognises, and a hash that tells apart what looks the same.
        let hash = hash(servers.bytes().chain([0]).chain(prefix.bytes()));
        let name = format!("{}-{}-{:08x}", plain(&servers), plain(prefix), hash >> 32);
        Some(Self { address: root.join("addresses").join(name), root })
    }

    /// Files about the cluster that answers at this address.
    pub(crate) fn at_address(&self, name: &str) -> PathBuf {
        self.address.join(name)
    }

    /// Files that belong to a cluster.
    pub(crate) fn in_cluster(&self, cluster: &ClusterId, name: &str) -> PathBuf {
        self.clusters().join(cluster.as_str()).join(name)
    }

    fn clusters(&self) -> PathBuf {
        self.root.join("clusters")
    }

    /// Directories of all clusters.
    fn cluster_directories(&self) -> Vec<PathBuf> {
        directories_in(&self.clusters())
    }
}

/// The directory of all that is kept. `None` where none is known.
fn root(environment: &Environment) -> Option<PathBuf> {
    match environment.get(STATE_VARIABLE) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(environment.base_directory("XDG_STATE_HOME", ".local/state")?.join("natter")),
    }
}

/// The directory of the histories of typed lines.
pub(crate) fn history_folder(environment: &Environment) -> Option<PathBuf> {
    Some(root(environment)?.join("history"))
}

/// Servers as one key: names of this machine are one, and so are orders, and the usual port is left out of no server.
fn canonical(servers: &[String]) -> String {
    let mut servers: Vec<String> = servers.iter().map(|server| canonical_server(server)).collect();
    servers.sort();
    servers.dedup();
    servers.join(",")
}

fn canonical_server(server: &str) -> String {
    let address = server.split_once("://").map_or(server, |(_, address)| address).trim_end_matches('/');
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => (host, port),
        _ => (address, "4222"),
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    format!("{}:{port}", if is_here { "127.0.0.1" } else { &host })
}

/// A part of a file's name that looks like `text`.
pub(crate) fn plain(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
}

/// FNV-1a: must be the same in every version, unlike the standard library's hashes.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Makes the directory of a file. Where it is new, makes room for it among its neighbours.
pub(crate) fn make_directory_of(file: &Path) -> Result<(), StateError> {
    let Some(directory) = file.parent() else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(|error| failed("create", directory, &error))?;
    if let Some(parent) = directory.parent() {
        make_room(parent, directory);
    }
    Ok(())
}

/// Removes the directories in `parent` that were used least recently, beyond [`DIRECTORIES_MAX`].
fn make_room(parent: &Path, newest: &Path) {
    let used = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut directories: Vec<_> = directories_in(parent).into_iter().filter(|path| path != newest).collect();
    let excess = (directories.len() + 1).saturating_sub(DIRECTORIES_MAX);
    if excess == 0 {
        return;
    }
    directories.sort_by_cached_key(used);
    for directory in directories.iter().take(excess) {
        for file in files_in(directory) {
            let is_ours = file.file_name().is_some_and(|name| name == LOCK)
                || file.extension().is_some_and(|ending| ENDINGS.iter().any(|ours| ending == *ours));
            if is_ours {
                let _ = fs::remove_file(file); // one that stays does no harm
            }
        }
        let _ = fs::remove_dir(directory); // stays where something else is in it
    }
}

fn directories_in(parent: &Path) -> Vec<PathBuf> {
    files_in(parent).into_iter().filter(|path| path.is_dir()).collect()
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// `None` where there is no file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, &error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| failed("read", path, &error))?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| StateError::Broken { path: path.to_owned(), reason: error.to_string() })
}

/// Writes a file in place of the one before, whole at every moment. Its directory must be there.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let text = serde_json::to_vec(value).map_err(|error| failed("write", path, &error.into()))?;
    let draft = path.with_extension(format!("{}-{:08x}.tmp", std::process::id(), fastrand::u32(..)));
    let written = File::create(&draft)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.write_all(b"\n")))
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed("write", path, &error)
    })
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

fn failed(what: &'static str, path: &Path, error: &io::Error) -> StateError {
    StateError::File { what, path: path.to_owned(), reason: error.to_string() }
}

/// The lock of the directory of a file, held until dropped. `None` where it can't be had.
fn lock_beside(path: &Path) -> Option<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.with_file_name(LOCK)).ok()?;
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

    #[test]
    fn names_of_one_address_are_one_key() {
        let key = |servers: &[&str]| canonical(&servers.iter().map(|&server| server.to_owned()).collect::<Vec<_>>());
        for servers in
            [&["nats://localhost:4222"][..], &["nats://127.0.0.1"], &["tls://[::1]:4222"], &["nats://LOCALHOST/"]]
        {
            assert_eq!(key(servers), "127.0.0.1:4222", "{servers:?}");
        }
        assert_eq!(key(&["nats://b:1", "nats://A:2", "nats://b:1"]), key(&["nats://a:2", "nats://b:1"]));
        assert_ne!(key(&["nats://a:1"]), key(&["nats://a:2"]));
    }

    #[test]
    fn room_is_bounded_and_what_is_not_ours_stays() {
        let root = tempfile::tempdir().unwrap();
        let file = |n: usize| root.path().join(format!("c{n}")).join("42.json");
        for n in 0..DIRECTORIES_MAX + 20 {
            make_directory_of(&file(n)).unwrap();
            write(&file(n), &n).unwrap();
            if n == 3 {
                fs::write(file(n).with_file_name("letter.txt"), "keep").unwrap();
            }
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + n as u64);
            File::open(root.path().join(format!("c{n}"))).unwrap().set_modified(used).unwrap();
        }
        assert_eq!(directories_in(root.path()).len(), DIRECTORIES_MAX);
        assert!(!file(0).exists() && !file(20).exists() && file(21).exists() && !file(3).exists());
        assert!(file(3).with_file_name("letter.txt").exists());
    }
}
