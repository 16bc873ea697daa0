//! Reads the directory of a durable replica out, also one that a replica refuses: `dataset export --data-dir`.
//!
//! The directory is never changed. Its files are copied, and the copy is opened as a replica opens it. If that is
//! refused, everything in the copy that can be read is taken, and all that is uncertain is told.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use natter_common::counted::counted;
use natter_common::ids::ReplicaId;
use natter_common::rating::RatingKey;
use natter_common::replica_manager::durable::State;
use natter_common::timestamp::Timestamp;
use natter_common::value::{Row, Value};
use rusqlite::Connection;

use crate::dataset::DataSource;
use crate::durability::directory::{DataDirectory, Holder, LOCK};
use crate::durability::owner::process_in;
use crate::durability::tables::{read_checksums, read_meta, read_state, records_in};
use crate::durability::{Identity, Sync};
use crate::error::{DirectoryError, DirectoryProblem, OpenError};
use crate::fingerprint::overlay_hash;
use crate::partial::Partial;
use crate::sqlite::{connect_file, keyed_row};
use crate::store::Store;

/// The files of a directory that are copied.
const FILES: [&str; 3] = ["replica.sqlite", "replica.sqlite-wal", "replica.sqlite-journal"];

/// Attempts to copy files that change meanwhile.
const ATTEMPTS: u32 = 5;

/// Content read from a directory.
#[derive(Debug, Default)]
pub struct ReadOut {
    /// The replica's id, where it could be read.
    pub replica: Option<ReplicaId>,
    /// The updates that the replica had applied, as far as that could be read.
    pub value_timestamp: Timestamp,
    /// The ratings that updates wrote, deletion markers among them, also those of updates that were held and not applied.
    pub rows: BTreeMap<RatingKey, Row>,
    /// Content that may be wrong or missing, in sentences. Empty if all checks succeed.
    pub doubts: Vec<String>,
}

/// Reads the directory out. `source` is the data set that its replica began with. Copies of the files are made in `beside`
/// and removed.
pub fn read_out(directory: &Path, beside: &Path, source: &DataSource) -> Result<ReadOut, OpenError> {
    let refuse = |problem| OpenError::from(DirectoryError::new(directory, problem));
    if !directory.join(FILES[0]).exists() {
        return Err(refuse(DirectoryProblem::Unreadable("it has no replica.sqlite".to_owned())));
    }
    let lock = lock(directory).map_err(refuse)?;
    let mut doubts = Vec::new();
    let copy = CopiedFiles::make(directory, beside, &mut doubts).map_err(refuse)?;
    drop(lock);
    let strict = CopiedFiles::again(&copy, beside).map_err(refuse)?;
    let mut found = match open(strict.path(), source) {
        Ok(found) => found,
        Err(OpenError::Directory(error)) => match error.problem {
            problem @ (DirectoryProblem::WrongLog(_)
            | DirectoryProblem::WrongRatings
            | DirectoryProblem::Damaged(_)) => {
                let given = Store::open(source)?.fingerprint().to_string();
                salvage(copy.path(), &problem, given).map_err(refuse)?
            }
            problem => return Err(refuse(problem)),
        },
        Err(error) => return Err(error),
    };
    doubts.append(&mut found.doubts);
    Ok(ReadOut { doubts, ..found })
}

/// Keeps replicas away while the files are copied.
fn lock(directory: &Path) -> Result<Option<File>, DirectoryProblem> {
    let mut file = match File::open(directory.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(unreadable)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(DirectoryProblem::Running { process: process_in(&mut file) }),
        // A file system without locks: what changes meanwhile is noticed.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn unreadable(error: io::Error) -> DirectoryProblem {
    DirectoryProblem::Unreadable(error.to_string())
}

/// A copy of a directory's files.
struct CopiedFiles {
    folder: Partial,
}

impl CopiedFiles {
    /// Copies the files, again where they changed meanwhile.
    fn make(directory: &Path, beside: &Path, doubts: &mut Vec<String>) -> Result<Self, DirectoryProblem> {
        if let Some(holder) = Holder::of(&directory.join(FILES[0])) {
            if holder.is_like_us() {
                return Err(DirectoryProblem::Running { process: Some(holder.process) });
            }
            doubts.push(format!("another program{holder} has replica.sqlite open, and may have changed it"));
        }
        for attempt in 1.. {
            let before = FileTimes::at(directory);
            let copy = Self::again_of(directory, beside)?;
            if FileTimes::at(directory) == before {
                return Ok(copy);
            }
            if attempt == ATTEMPTS {
                doubts.push("the files changed while they were copied: a program writes to them".to_owned());
                return Ok(copy);
            }
        }
        Err(DirectoryProblem::Unreadable("it could not be copied".to_owned()))
    }

    fn again(copy: &Self, beside: &Path) -> Result<Self, DirectoryProblem> {
        Self::again_of(copy.path(), beside)
    }

    fn again_of(directory: &Path, beside: &Path) -> Result<Self, DirectoryProblem> {
        let folder = Partial::folder(beside).map_err(|reason| {
            DirectoryProblem::Unreadable(format!("no copy can be made in {}: {reason}", beside.display()))
        })?;
        for name in FILES {
            let mut from = match File::open(directory.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(unreadable)?,
            };
            // Not with the rights of the original, which may be read-only.
            let mut to = File::create(folder.path().join(name)).map_err(unreadable)?;
            io::copy(&mut from, &mut to).map_err(unreadable)?;
        }
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Length and time of each file.
#[derive(PartialEq)]
struct FileTimes(Vec<Option<(u64, Option<SystemTime>)>>);

impl FileTimes {
    fn at(directory: &Path) -> Self {
        let look = |name| {
            let metadata = fs::metadata(directory.join(name)).ok()?;
            Some((metadata.len(), metadata.modified().ok()))
        };
        Self(FILES.map(look).into())
    }
}

/// Opens the copy as a replica does, with all checks.
fn open(copy: &Path, source: &DataSource) -> Result<ReadOut, OpenError> {
    let (mut store, recovered) = Store::open_in(source, DataDirectory::open(copy)?, Sync::Normal)?;
    let failed = |error: natter_common::value::ValueError| {
        DirectoryError::new(copy, DirectoryProblem::Unreadable(error.to_string()))
    };
    let mut found = ReadOut {
        replica: recovered.identity.map(|identity| identity.id),
        value_timestamp: recovered.saved.state.value_timestamp.replicas.clone(),
        rows: store.changed_after(None, usize::MAX).map_err(failed)?.into_iter().collect(),
        doubts: Vec::new(),
    };
    // A snapshot that came to its end, and is not merged yet.
    if recovered.saved.state.merging.is_some() {
        for (key, row) in store.take_staged(usize::MAX >> 1).map_err(failed)? {
            found.take(key, row);
        }
    }
    for (key, row) in recovered.saved.records.iter().filter_map(|record| record.row()) {
        found.take(key, row);
    }
    Ok(found)
}

impl ReadOut {
    /// The greater one of two rows stands, as in a replica.
    fn take(&mut self, key: RatingKey, row: Row) {
        let stands = self.rows.entry(key).or_insert(row);
        if stands.order() < row.order() {
            *stands = row;
        }
    }
}

/// Takes all that can be read of a copy that a replica refuses. `given` is the fingerprint of the data set.
fn salvage(copy: &Path, problem: &DirectoryProblem, given: String) -> Result<ReadOut, DirectoryProblem> {
    let mut found = ReadOut::default();
    match problem {
        DirectoryProblem::WrongLog("is damaged") => found.doubts.push(
            "replica.sqlite-wal is damaged: what was saved after the damaged place is missing, which may be much"
                .to_owned(),
        ),
        DirectoryProblem::WrongLog(why) => {
            let _ = fs::remove_file(copy.join(FILES[1]));
            found.doubts.push(format!(
                "replica.sqlite-wal {why}: what was saved since the log was last moved into replica.sqlite is missing"
            ));
        }
        DirectoryProblem::Damaged(why) => found.doubts.push(format!("replica.sqlite is damaged: {why}")),
        _ => found.doubts.push("the ratings do not match their checksum: some are missing or wrong".to_owned()),
    }
    let connection = connect_file(&copy.join(FILES[0]))
        .map_err(|error| DirectoryProblem::Unreadable(format!("nothing can be read: {error}")))?;
    found.replica = read_state::<Identity>(&connection, "identity").ok().flatten().map(|identity| identity.id);
    match read_meta(&connection, "fingerprint") {
        Ok(found) if found != given => return Err(DirectoryProblem::OtherDataSet { found, given }),
        Err(problem) if found.replica.is_none() => {
            let told = [found.doubts, vec![problem.to_string()]].concat().join("; ");
            return Err(DirectoryProblem::Unreadable(format!("nothing can be read: {told}")));
        }
        _ => {}
    }
    salvage_rows(&connection, &mut found);
    salvage_records(&connection, &mut found);
    match read_state::<State>(&connection, "state") {
        Ok(Some(state)) => found.value_timestamp = state.value_timestamp.replicas,
        Ok(None) if found.replica.is_none() && found.rows.is_empty() => {
            found.doubts.push("no update was saved in replica.sqlite yet: all that were saved are missing".to_owned());
        }
        _ => found.doubts.push("the value timestamp cannot be read".to_owned()),
    }
    Ok(found)
}

fn salvage_rows(connection: &Connection, found: &mut ReadOut) {
    let (mut written, mut skipped) = (0u64, 0u64);
    let mut rows = BTreeMap::new();
    let is_complete = from_both_ends(
        connection,
        "SELECT user_id, movie_id, half_stars, timestamp, stamp, update_id FROM main.rating ORDER BY user_id ORDER, movie_id ORDER",
        |row| match keyed_row(row) {
            Ok((key, row)) => drop(rows.insert(key, row)),
            Err(_) => skipped += 1,
        },
    );
    for (key, row) in rows {
        written = written.wrapping_add(overlay_hash(key, &row));
        found.take(key, row);
    }
    if !is_complete {
        found.doubts.push("some ratings are in pages that cannot be read, and are missing".to_owned());
    }
    if skipped > 0 {
        found.doubts.push(format!("missing: {} that cannot be read", counted(skipped, "rating")));
    }
    let is_sound = read_checksums(connection).is_ok_and(|checksums| checksums.written == written);
    if !is_sound {
        found.doubts.push("the ratings in replica.sqlite do not match the checksum in it".to_owned());
    }
}

fn salvage_records(connection: &Connection, found: &mut ReadOut) {
    let (mut written, mut skipped) = (BTreeMap::new(), 0);
    let is_complete = from_both_ends(connection, "SELECT body FROM main.batch ORDER BY number ORDER", |row| {
        let body: rusqlite::Result<Vec<u8>> = row.get(0);
        match body.ok().and_then(|body| records_in(&body).ok()) {
            Some(records) => written.extend(records.into_iter().map(|record| (record.name(), record))),
            None => skipped += 1,
        }
    });
    for (key, row) in written.values().filter_map(|record| record.row()) {
        found.take(key, row);
    }
    if !is_complete || skipped > 0 {
        found
            .doubts
            .push("some updates that the replica kept in its log cannot be read, and may be missing".to_owned());
    }
}

/// Gives each row to `take`, in ascending order, and where one cannot be read the others in descending order. `sql` has
/// `ORDER` for the direction. Gives whether all were read.
fn from_both_ends(connection: &Connection, sql: &str, mut take: impl FnMut(&rusqlite::Row<'_>)) -> bool {
    ["ASC", "DESC"].into_iter().any(|direction| {
        let mut read = || -> rusqlite::Result<()> {
            // "ORDER BY" stays.
            let sql = sql.replace(" ORDER,", &format!(" {direction},"));
            let sql = sql.strip_suffix("ORDER").map(|start| format!("{start}{direction}")).unwrap_or(sql);
            let mut select = connection.prepare(&sql)?;
            let mut rows = select.query(())?;
            while let Some(row) = rows.next()? {
                take(row);
            }
            Ok(())
        };
        read().is_ok()
    })
}
