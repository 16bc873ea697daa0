//! Directories that can't be used: each is refused with the reason and the next step, and nothing in it is changed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, Ledger, World, data};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, read_out, start_durable};

/// A refusal comes at once.
const REFUSES_WITHIN: Duration = Duration::from_secs(5);

/// Starts a replica on a directory; it must end with status 1 and this on standard error, whose last line is all of it.
async fn is_refused(world: &World, directory: &Path, database: &Path, expected: &str) {
    let started = Instant::now();
    let (directory, database) = (directory.to_str().unwrap(), database.to_str().unwrap());
    let output = world.run("replica", &["--name", "refused", "--data-dir", directory, "--database", database]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.lines().last(), Some(format!("replica: --data-dir {directory}: {expected}").as_str()), "{told}");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{told}");
    assert!(started.elapsed() < REFUSES_WITHIN, "refused after {:?}", started.elapsed());
}

/// Checks the same, and that the directory is as it was before.
async fn is_refused_and_kept(world: &World, directory: &Path, database: &Path, expected: &str) {
    let files = || {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| !path.ends_with("lock")).collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = files();
    is_refused(world, directory, database, expected).await;
    let after = files();
    let names =
        |files: &[(Vec<u8>, _)]| files.iter().map(|(bytes, path)| format!("{path:?} {}", bytes.len())).collect();
    let (was, is): (Vec<String>, Vec<String>) = (names(&before), names(&after));
    assert!(before == after, "nothing is changed: {was:?} became {is:?}");
}

#[tokio::test]
async fn paths_that_cannot_be_a_data_directory_are_refused() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let file = world.path("file");
    fs::write(&file, "text").unwrap();
    let a_file = "this is a file and should be a directory: give another path, or move the file away";
    is_refused(&world, &file, &database, a_file).await;
    assert_eq!(fs::read(&file).unwrap(), b"text");
    let beneath = "cannot make this directory (Not a directory (os error 20)): give a path that can be made and written \
        by this user";
    is_refused(&world, &file.join("beneath"), &database, beneath).await;
    let read_only = world.path("read-only");
    fs::create_dir(&read_only).unwrap();
    let mut rights = fs::metadata(&read_only).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(&read_only, rights.clone()).unwrap();
    // A privileged user may write there, but not here.
    let may_write = fs::write(read_only.join("probe"), "").is_ok();
    let read_only = if may_write { Path::new("/sys/kernel") } else { &read_only };
    if may_write && !read_only.is_dir() {
        println!("no directory here is read-only for this user");
        return;
    }
    let unwritable = "cannot write lock (Permission denied (os error 13)): give a directory that this user may write, on a \
        disk with room";
    is_refused(&world, read_only, &database, unwritable).await;
    println!("{} is refused", read_only.display());
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_who_uses_it_goes_on() {
    let world = World::new(ROLES).await;
    let (mut cluster, _) = durable_cluster(&world, 1, &["r1"], &[]).await;
    let process = cluster.member("r1").process_id().unwrap();
    let database = data::write_small(world.directory());
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 2, 5, Duration::from_millis(2));
    let expected = format!(
        "another replica (process {process}) uses this directory: stop it, or give this one a directory of its own"
    );
    is_refused(&world, &data_dir(&world, "r1"), &database, &expected).await;
    ledger.until_acknowledged(50).await;
    clients.stop().await;
    assert!(ledger.entries().retries.is_empty(), "{}", ledger.summary());
    // The directory is refused even while its replica is paused.
    cluster.member("r1").pause();
    is_refused(&world, &data_dir(&world, "r1"), &database, &expected).await;
    cluster.member("r1").resume();
    cluster.finish().await;
}

/// A directory with some updates in it, closed cleanly, or killed.
async fn used<'w>(world: &'w World, name: &'static str, cleanly: bool) -> Cluster<'w> {
    let (mut cluster, _) = durable_cluster(world, 1, &[name], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 8, 400, 200).await;
    match cleanly {
        true => {
            cluster.member(name).terminate();
            assert!(cluster.member(name).ended().await.success());
        }
        false => cluster.member(name).kill().await,
    }
    cluster
}

#[tokio::test]
async fn files_that_are_not_a_replicas_are_refused_and_kept() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let directory = |name: &str, file: &str, content: &[u8]| {
        let directory = world.path(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(file), content).unwrap();
        directory
    };
    let garbage: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20_000).collect();
    let not_sqlite = "replica.sqlite is not a SQLite file: give another directory, or move this file away";
    for (name, content) in [("garbage", &garbage[..]), ("text", b"hello"), ("almost", b"SQLite format 3\0")] {
        is_refused_and_kept(&world, &directory(name, "replica.sqlite", content), &database, not_sqlite).await;
    }
    let empty = directory("empty", "replica.sqlite", b"");
    let damaged = format!("replica.sqlite is damaged (it is empty): {}", read_out(&empty));
    is_refused_and_kept(&world, &empty, &database, &damaged).await;
    let only_log = directory("only-log", "replica.sqlite-wal", &garbage);
    let wrong_log = "replica.sqlite-wal is there, but replica.sqlite is not: put that file back. If it is lost, nothing of \
        the directory can be read out: move it away and start with an empty directory: the replica takes everything that \
        the others hold";
    is_refused_and_kept(&world, &only_log, &database, wrong_log).await;
}

#[tokio::test]
async fn damaged_newer_and_foreign_databases_are_refused_and_kept() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let other = data::write_other(world.directory());
    let mut cluster = used(&world, "r1", true).await;
    let directory = data_dir(&world, "r1");
    let path = directory.join("replica.sqlite");
    let whole = fs::read(&path).unwrap();
    assert!(!directory.join("replica.sqlite-wal").exists(), "closed cleanly");

    let small = cluster.observer.seen().named("r1").unwrap().1.presence["dataset"].as_str().unwrap().to_owned();
    let arguments = ["--data-dir", directory.to_str().unwrap(), "--database", other.to_str().unwrap()];
    let told = String::from_utf8(world.run("replica", &arguments).await.stderr).unwrap();
    let given =
        told.rsplit_once("the data set given is ").and_then(|(_, rest)| rest.get(..16)).unwrap_or("?").to_owned();
    let expected = format!(
        "this replica began with the data set {small}, and the data set given is {given}: give the one it began with as \
         --database, or another --data-dir"
    );
    assert_ne!(given, small);
    is_refused_and_kept(&world, &directory, &other, &expected).await;

    // The format stands right after its key.
    let at = whole.windows(7).position(|bytes| bytes == b"format3").expect("the format's row");
    let mut newer = whole.clone();
    newer[at + 6] = b'9';
    fs::write(&path, &newer).unwrap();
    let expected = "replica.sqlite was written by a newer Natter (format 9, this one knows 3): use that version, or \
        another --data-dir";
    is_refused_and_kept(&world, &directory, &database, expected).await;

    let mut older = whole.clone();
    older[at + 6] = b'2';
    fs::write(&path, &older).unwrap();
    let expected = format!(
        "replica.sqlite was written by an older Natter (format 2, this one knows 3): keep it, and export it with commit \
         b421cf7 of Natter, the last one that reads it: `git checkout b421cf7`, then `cargo run --release -p natter-dataset \
         -- export --data-dir {} FILE.sqlite` (with the --database that the replica began with). Replicas of this version \
         start from that file: `--database FILE.sqlite`, each with a new --data-dir",
        directory.display()
    );
    is_refused_and_kept(&world, &directory, &database, &expected).await;

    for part in [4096, whole.len() / 2 + 1000, whole.len() - 4096] {
        fs::write(&path, &whole[..part]).unwrap();
        let expected =
            format!("replica.sqlite is damaged (database disk image is malformed): {}", read_out(&directory));
        println!("{part} of {} bytes", whole.len());
        is_refused_and_kept(&world, &directory, &database, &expected).await;
    }

    // The original file starts.
    fs::write(&path, &whole).unwrap();
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    cluster.until_serve_since(&["r1"], since).await;
    cluster.finish().await;
}

/// One byte in each of many places: it is refused, or that byte told nothing.
#[tokio::test]
async fn a_flipped_byte_is_refused_or_changes_nothing() {
    let world = World::new(ROLES).await;
    let mut cluster = used(&world, "r1", true).await;
    let shown = cluster.observer.seen().named("r1").unwrap().1.presence.clone();
    let directory = data_dir(&world, "r1");
    let path = directory.join("replica.sqlite");
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut unchanged) = (0, 0);
    for _ in 0..crate::support::number("DURABLE_FLIPS", 6) {
        let at = fastrand::usize(100..whole.len());
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << fastrand::u8(..8);
        fs::write(&path, &flipped).unwrap();
        let since = Instant::now();
        start_durable(&mut cluster, &world, "r1", &[]);
        let serves = |seen: &natter_tests::harness::Seen| {
            let id = seen.serving_since("r1", since)?;
            Some((id.clone(), seen.members[id].presence.clone()))
        };
        let started = loop {
            let started = cluster.observer.until_within(Duration::from_millis(50), serves).await;
            if started.is_some() || !cluster.member("r1").is_running() {
                break started;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "byte {at}: {}", cluster.member("r1").log_tail(5));
        };
        match started {
            Some((_, now)) => {
                assert_eq!(now["digest"], shown["digest"], "byte {at} was flipped, and the ratings are others");
                let former = now["former"].as_array().into_iter().flatten().collect::<Vec<_>>();
                assert!(former.contains(&&shown["id"]), "byte {at}: {} is not among {former:?}", shown["id"]);
                // The former id leaves the timestamps as soon as it is retired.
                for field in ["value_timestamp", "replica_timestamp"] {
                    let accepted = |presence: &serde_json::Value| {
                        presence[field]["replicas"][shown["id"].as_str().unwrap_or_default()].clone()
                    };
                    let now = accepted(&now);
                    assert!(now.is_null() || now == accepted(&shown), "byte {at} was flipped, and {field} is another");
                }
                unchanged += 1;
                cluster.member("r1").kill().await;
            }
            None => {
                let status = cluster.member("r1").ended().await;
                let last = cluster.member("r1").log_tail(1);
                assert_eq!(status.code(), Some(1), "byte {at}: {last}");
                assert!(last.starts_with("replica: --data-dir ") && !last.contains("panicked"), "byte {at}: {last}");
                refused += 1;
            }
        }
        for name in ["replica.sqlite-wal", "replica.sqlite-shm", "replica.sqlite-journal"] {
            let _ = fs::remove_file(directory.join(name));
        }
    }
    println!("{refused} refused, {unchanged} changed nothing");
}
