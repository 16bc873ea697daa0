//! Plain copies of a data directory that is in use.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, DEADLINE, Ledger, Mark, World, data};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, number};

/// Two replicas: each holds all that was acknowledged.
const REPLICAS: [&str; 2] = ["r1", "r2"];

const MAIN: &str = "replica.sqlite";
const LOG: &str = "replica.sqlite-wal";

/// File by file, in the order of their names or against it.
fn copy(from: &Path, to: &Path, backwards: bool) {
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    if backwards {
        names.reverse();
    }
    fs::create_dir_all(to).unwrap();
    for name in names {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

struct Copied {
    directory: PathBuf,
    original: String,
    /// Updates that were acknowledged when it began.
    mark: Mark,
}

#[tokio::test]
async fn a_copy_of_a_directory_in_use_has_all_that_was_acknowledged_before_it_began() {
    let world = World::new(ROLES).await;
    let (cluster, ids) = durable_cluster(&world, 1, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(1));
    let mut copies = Vec::new();
    for n in 0..number("DURABLE_COPIES", 4) as usize {
        ledger.until_acknowledged(100 + fastrand::u64(..100)).await;
        let (name, original) = (REPLICAS[n % 2], ids[n % 2].clone());
        let (from, directory) = (data_dir(&world, name), world.path(&format!("copy-{n}")));
        let mark = ledger.mark();
        let to = directory.clone();
        tokio::task::spawn_blocking(move || copy(&from, &to, n / 2 % 2 == 1)).await.unwrap();
        copies.push(Copied { directory, original, mark });
    }
    clients.stop().await;
    cluster.finish().await;
    for copied in copies {
        assert_eq!(alone_with(&copied, &ledger).await, None);
    }
}

/// Part of a directory that is copied first, before the log is moved into the main file; the rest is copied after that.
#[derive(Clone, Copy, Debug)]
enum Torn {
    Main,
    Log,
    HalfOfTheLog,
    HalfOfMain,
}

impl Torn {
    const ALL: [Self; 4] = [Self::Main, Self::Log, Self::HalfOfTheLog, Self::HalfOfMain];

    /// The parts of both files to copy now, from and to which part of their length.
    fn copy(self, from: &Path, to: &Path, is_before: bool) {
        let half = |name: &str| {
            let (mut source, mut target) = (File::open(from.join(name)).unwrap(), append_to(&to.join(name)));
            let (done, length) = (target.metadata().unwrap().len(), source.metadata().unwrap().len());
            source.seek(SeekFrom::Start(done)).unwrap();
            let part = if is_before { length / 2 } else { length - done };
            std::io::copy(&mut source.take(part), &mut target).unwrap();
        };
        let whole = |name: &str| {
            fs::copy(from.join(name), to.join(name)).unwrap();
        };
        match (self, is_before) {
            (Self::Main, true) | (Self::Log, false) => whole(MAIN),
            (Self::Main, false) | (Self::Log, true) => whole(LOG),
            (Self::HalfOfTheLog, true) => {
                whole(MAIN);
                half(LOG);
            }
            (Self::HalfOfTheLog, false) => half(LOG),
            (Self::HalfOfMain, true) => half(MAIN),
            (Self::HalfOfMain, false) => {
                half(MAIN);
                whole(LOG);
            }
        }
    }
}

fn append_to(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

/// Slow copies of a directory that is written fast. Such a copy may be useless, and must then be refused.
#[tokio::test]
async fn a_copy_that_takes_so_long_that_the_log_begins_again_is_refused_or_whole() {
    let world = World::new(ROLES).await;
    let (cluster, ids) = durable_cluster(&world, 2, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 48, 20, Duration::ZERO);
    ledger.until_acknowledged(500).await;
    let from = data_dir(&world, "r1");
    let moved = || fs::metadata(from.join(MAIN)).unwrap().modified().unwrap();
    let (mark, before, started) = (ledger.mark(), moved(), Instant::now());
    let mut copies = Vec::new();
    for torn in Torn::ALL {
        let directory = world.path(&format!("{torn:?}"));
        fs::create_dir(&directory).unwrap();
        torn.copy(&from, &directory, true);
        copies.push((torn, Copied { directory, original: ids[0].clone(), mark: mark.clone() }));
    }
    while moved() == before {
        assert!(started.elapsed() < DEADLINE, "the log is never moved: {}", ledger.summary());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("the log is moved after {:?}: {}", started.elapsed(), ledger.summary());
    ledger.until_acknowledged(200).await;
    for (torn, copied) in &copies {
        torn.copy(&from, &copied.directory, false);
    }
    clients.stop().await;
    cluster.finish().await;
    for (torn, copied) in &copies {
        let refused = alone_with(copied, &ledger).await;
        println!("{torn:?}: {refused:?}");
        if let Some(told) = refused {
            assert!(told.contains("is damaged") && told.contains("start with an empty"), "{torn:?}: {told}");
        }
    }
}

/// Starts the copy alone on a broker of its own. Returns the reason if it is refused.
async fn alone_with(copied: &Copied, ledger: &Ledger) -> Option<String> {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    cluster.start_frontend("f1", &[]);
    let since = Instant::now();
    cluster.start_replica("copy", &["--data-dir", copied.directory.to_str().unwrap()]);
    let serves = |seen: &natter_tests::harness::Seen| seen.serving_since("copy", since).cloned();
    let id = loop {
        match cluster.observer.until_within(Duration::from_millis(100), serves).await {
            Some(id) => break id,
            None if !cluster.member("copy").is_running() => {
                let status = cluster.member("copy").ended().await;
                assert_eq!(status.code(), Some(1));
                let told = cluster.member("copy").log_tail(1);
                cluster.finish().await;
                return Some(told);
            }
            None => assert!(since.elapsed() < DEADLINE, "the copy of {} does not serve", copied.original),
        }
    };
    assert_ne!(id, copied.original, "a new id");
    cluster.until_shows("f1", "ACTIVE").await;
    ledger.check(&cluster.wire, &copied.mark, Compare::Updates).await;
    println!("a copy with {} ratings serves them all alone", copied.mark.ratings());
    cluster.finish().await;
    None
}

#[tokio::test]
async fn a_copy_started_beside_its_original_takes_an_id_of_its_own() {
    let world = World::new(ROLES).await;
    let (mut cluster, ids) = durable_cluster(&world, 1, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 4, 10, Duration::from_millis(2));
    ledger.until_acknowledged(200).await;
    let directory = world.path("copy");
    copy(&data_dir(&world, "r1"), &directory, false);
    ledger.until_acknowledged(50).await;
    let since = Instant::now();
    cluster.start_replica("copy", &["--data-dir", directory.to_str().unwrap()]);
    let id = cluster.until_serve_since(&["copy"], since).await.remove(0);
    assert!(!ids.contains(&id), "{id}");
    cluster.member("copy").until_logged("goes on with what it had under a new id").await;
    ledger.until_served_by(&id).await;
    clients.stop().await;
    let all = [&ids[..], &[id]].concat();
    cluster.until_ids_agree(&all, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    let seen = cluster.observer.seen().members[&ids[0]].statuses.clone();
    assert!(seen.iter().all(|(_, status, _)| !["LEFT", "OFFLINE"].contains(&status.as_str())), "{seen:?}");
    println!("{}", ledger.summary());
    cluster.finish().await;
}
