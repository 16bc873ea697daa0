//! Helpers that the tests of durable stores share: a small data set, batches, and everything that is seen of a store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use natter_common::clock::Stamp;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::Replicas;
use natter_common::rating::{Average, RatingKey, Ratings, Stars};
use natter_common::record::{Record, RecordRef};
use natter_common::replica_manager::durable::State;
use natter_common::replica_manager::{Changes, Saved};
use natter_common::request::Update;
use natter_common::timestamp::Timestamp;
use natter_common::value::{Row, Value};
use natter_database::{
    DataDirectory, DataSource, DirectoryError, DirectoryProblem, Identity, OpenError, Recovered, Store, Sync,
};
use tempfile::TempDir;

use crate::common::{all, average, folder, key};

/// Three movies, four ratings; user 3 has none.
pub(crate) const MOVIES: &str =
    "movieId,title,genres\n1,One (2001),Drama\n2,Two (2002),Comedy|War\n5,Five (2005),(no genres listed)\n";
pub(crate) const RATINGS: &str =
    "userId,movieId,rating,timestamp\n1,1,4.0,100\n1,2,0.5,101\n2,1,5.0,102\n2,5,2.5,103\n";

pub(crate) const MOVIE_NUMBERS: [u32; 3] = [1, 2, 5];

/// A process is another program long before this is over, even on a busy machine.
const FORKED_MAX: Duration = Duration::from_secs(5);

/// A data set, and a directory for a replica of it.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) source: DataSource,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = folder(MOVIES, RATINGS);
        let source = DataSource::at(Some(folder.path())).unwrap();
        Self { folder, source }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self) -> (Store, Recovered) {
        self.open_at(&self.path(), Sync::Full).unwrap()
    }

    /// A program that another test starts shares the files of this process, locks among them, from its fork to its exec: a
    /// directory that was let go is free only then.
    pub(crate) fn open_at(&self, path: &Path, sync: Sync) -> Result<(Store, Recovered), OpenError> {
        let began = Instant::now();
        let own = Some(std::process::id());
        let directory = loop {
            match DataDirectory::open(path) {
                Err(DirectoryError { problem: DirectoryProblem::InUse { process }, .. })
                    if process == own && began.elapsed() < FORKED_MAX =>
                {
                    std::thread::yield_now();
                }
                opened => break opened?,
            }
        };
        Store::open_in(&self.source, directory, sync)
    }

    /// A store that has an id.
    pub(crate) fn start(&self, sync: Sync) -> Store {
        let (mut store, _) = self.open_at(&self.path(), sync).unwrap();
        store.set_identity(&identity("a")).unwrap();
        store
    }

    /// Why it can't be opened, with `DIR` for the directory. A start that is refused changes nothing.
    pub(crate) fn refusal(&self) -> String {
        self.refusal_at(&self.path())
    }

    pub(crate) fn refusal_at(&self, path: &Path) -> String {
        let before = path.is_dir().then(|| files(path));
        let opened = DataDirectory::open(path).map_err(OpenError::from);
        let opened = opened.and_then(|directory| Store::open_in(&self.source, directory, Sync::Full));
        let error = opened.map(|(_, recovered)| recovered).unwrap_err();
        assert!(path.is_dir().then(|| files(path)) == before, "{error}: changed the directory");
        error.to_string().replace(&path.display().to_string(), "DIR")
    }
}

/// The files of a directory and their content.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

pub(crate) fn identity(id: &str) -> Identity {
    Identity { id: replica(id), former: Vec::new() }
}

pub(crate) fn replica(id: &str) -> ReplicaId {
    ReplicaId::new(id).unwrap()
}

pub(crate) fn row(half_stars: Option<u8>, stamp: u64, id: u64) -> Row {
    Row {
        stars: half_stars.map(|number| Stars::from_half_stars(number).unwrap()),
        timestamp: stamp as i64,
        stamp: Stamp(stamp),
        update_id: Some(UpdateId::from_stamp(Stamp(stamp), id)),
    }
}

pub(crate) fn record(origin: &str, seq: u64) -> Record {
    let key = key(1 + (seq % 3) as u32, 1);
    let stamp = Stamp::new(seq, 0);
    Record {
        id: UpdateId::from_stamp(stamp, seq),
        i: replica(origin),
        seq,
        prev: counts(&[("b", seq)]),
        request: Some(Update::Create {
            user_id: key.user_id,
            movie_id: key.movie_id,
            rating: Stars::from_half_stars(1 + (seq % 10) as u8).unwrap(),
        }),
        retires: Timestamp::new(),
        stamp,
        copies: 2,
        deleted: None,
    }
}

pub(crate) fn name(origin: &str, seq: u64) -> RecordRef {
    RecordRef { i: replica(origin), seq }
}

pub(crate) fn counts(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(id, count)| (replica(id), *count)).collect()
}

pub(crate) fn replicas(entries: &[(&str, u64)]) -> Replicas {
    Replicas { replicas: counts(entries) }
}

/// The state after `held` records of replica a.
pub(crate) fn state(held: u64) -> State {
    State {
        value_timestamp: replicas(&[("a", held)]),
        replica_timestamp: replicas(&[("a", held)]),
        clock: Stamp::new(held, 0),
        ..State::default()
    }
}

/// The record, which is applied.
pub(crate) fn applied(store: &mut Store, origin: &str, seq: u64) -> Arc<Record> {
    let record = record(origin, seq);
    let (key, row) = record.row().unwrap();
    assert!(store.apply(key, row).unwrap());
    Arc::new(record)
}

/// Rates movie 1 and saves record `seq` of replica a, in one batch.
pub(crate) fn save_one(store: &mut Store, seq: u64) {
    let held = vec![applied(store, "a", seq)];
    store.save(&Changes { held, state: Some(state(seq)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
}

pub(crate) fn held(saved: &Saved) -> u64 {
    saved.state.replica_timestamp.replicas.get(&replica("a"))
}

/// All that can be seen of the ratings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pages: Vec<Ratings>,
    averages: Vec<Average>,
    rows: Vec<(RatingKey, Row)>,
    changed: u64,
    digest: u64,
}

pub(crate) fn seen(store: &Store) -> Seen {
    Seen {
        pages: (1..=3).map(|number| all(store, number, 100, 0)).collect(),
        averages: MOVIE_NUMBERS.iter().map(|number| average(store, *number)).collect(),
        rows: store.changed_after(None, 1000).unwrap(),
        changed: store.changed_count(),
        digest: store.digest().0,
    }
}

/// Copies a directory file by file, as `cp -r` does, while a process may write into it.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
