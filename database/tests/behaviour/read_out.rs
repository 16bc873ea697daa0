//! Directories that are read out, also those that a replica refuses.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use natter_common::rating::RatingKey;
use natter_common::replica_manager::Changes;
use natter_common::value::{Row, Value};
use natter_database::Sync;
use natter_database::export::{ReadOut, read_out};

use crate::common::key;
use crate::damage::{change, saved};
use crate::replica_files::{Place, counts, files, record, replica, row, save_one, state};

/// Reads it out, which changes nothing and leaves nothing behind.
fn read(place: &Place) -> Result<ReadOut, String> {
    let beside = tempfile::TempDir::new().unwrap();
    let before = files(&place.path());
    let found = read_out(&place.path(), beside.path(), &place.source);
    assert!(files(&place.path()) == before, "nothing is changed");
    assert_eq!(files(beside.path()).len(), 0, "nothing is left");
    found.map_err(|error| error.to_string().replace(&place.path().display().to_string(), "DIR"))
}

/// The rows that 40 batches wrote, less those after `seq`.
fn rows_up_to(seq: u64) -> BTreeMap<RatingKey, Row> {
    (1..=seq).map(|seq| record("a", seq).row().unwrap()).collect()
}

#[test]
fn a_whole_directory_is_read_out_and_vouched_for() {
    for clean in [true, false] {
        let found = read(&saved(clean)).unwrap();
        assert_eq!((found.replica, found.value_timestamp), (Some(replica("a")), counts(&[("a", 40)])));
        assert_eq!((found.rows, found.doubts), (rows_up_to(40), Vec::<String>::new()));
    }
}

#[test]
fn updates_that_were_held_and_not_applied_are_read_out_too() {
    let place = saved(false);
    let (mut store, _) = place.open();
    let held = vec![Arc::new(record("b", 1)), Arc::new(record("a", 41))];
    store.save(&Changes { held, state: Some(state(40)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    drop(store);
    assert_eq!(read(&place).unwrap().rows, rows_up_to(41));
}

#[test]
fn without_its_log_a_directory_is_read_out_as_of_the_last_checkpoint_and_that_is_told() {
    let place = saved(true);
    let (mut store, _) = place.open();
    save_one(&mut store, 41);
    store.apply(key(3, 5), row(None, 1 << 40, 1)).unwrap();
    store.commit().unwrap();
    drop(store);
    fs::remove_file(place.file("replica.sqlite-wal")).unwrap();
    let found = read(&place).unwrap();
    assert_eq!((found.value_timestamp, found.rows), (counts(&[("a", 40)]), rows_up_to(40)));
    assert_eq!(
        found.doubts,
        ["replica.sqlite-wal is missing, or is no write-ahead log: what was saved since the log was last moved into \
          replica.sqlite is missing"]
    );
}

#[test]
fn without_its_first_log_a_directory_is_the_data_set_and_that_is_told() {
    let place = saved(false);
    fs::remove_file(place.file("replica.sqlite-wal")).unwrap();
    let found = read(&place).unwrap();
    assert_eq!((found.replica, found.rows.len(), found.doubts.len()), (None, 0, 2), "{:?}", found.doubts);
    assert_eq!(found.doubts[1], "no update was saved in replica.sqlite yet: all that were saved are missing");
    let other = crate::common::folder(crate::replica_files::MOVIES, "userId,movieId,rating,timestamp\n1,1,4.0,100\n");
    let other = natter_database::DataSource::at(Some(other.path())).map(|source| (source, other)).unwrap();
    let beside = tempfile::TempDir::new().unwrap();
    let told = read_out(&place.path(), beside.path(), &other.0).unwrap_err().to_string();
    assert!(told.contains("this replica began with the data set"), "{told}");
}

#[test]
fn a_log_of_another_time_is_left_out() {
    let place = saved(false);
    let log = fs::read(place.file("replica.sqlite-wal")).unwrap();
    let (store, _) = place.open();
    store.close_cleanly().unwrap();
    fs::write(place.file("replica.sqlite-wal"), log).unwrap();
    let found = read(&place).unwrap();
    assert_eq!(found.rows, rows_up_to(40));
    assert!(found.doubts[0].starts_with("replica.sqlite-wal does not go with replica.sqlite: "), "{:?}", found.doubts);
}

#[test]
fn of_damaged_ratings_those_that_can_be_read_are() {
    for (sql, expected, doubt) in [
        ("UPDATE rating SET half_stars = 9 WHERE user_id = 1", 3, "do not match their checksum"),
        ("UPDATE rating SET half_stars = 99 WHERE user_id = 1", 3, "missing: 1 rating that cannot be read"),
        (
            "DELETE FROM batch; UPDATE rating SET half_stars = 99 WHERE user_id = 1",
            2,
            "missing: 1 rating that cannot be read",
        ),
        ("UPDATE batch SET body = x'00' WHERE number = 7", 3, "some updates that the replica kept in its log"),
        ("DELETE FROM state", 3, "the value timestamp cannot be read"),
    ] {
        let place = saved(true);
        change(&place, sql);
        let found = read(&place).unwrap();
        assert_eq!(found.rows.len(), expected, "{sql}");
        let told = found.doubts.join("; ");
        assert!(told.contains(doubt), "{sql}: {told}");
    }
}

#[test]
fn of_a_file_with_broken_pages_the_others_are_read() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for user in 1..=2000 {
        store.apply(key(user, 1), row(Some(5), 1000 + u64::from(user), u64::from(user))).unwrap();
    }
    store.commit().unwrap();
    store.close_cleanly().unwrap();
    let path = place.file("replica.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut most = 0;
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        match read(&place) {
            Ok(found) => {
                assert!(!found.doubts.is_empty() || found.rows.len() == 2000, "page {page}");
                most += usize::from(found.rows.len() > 1500);
            }
            Err(told) => assert!(!told.ends_with([' ', ':', ';']), "page {page}: {told:?}"),
        }
    }
    assert!(most > whole.len() / 4096 / 2, "{most} of {} pages leave most ratings", whole.len() / 4096);
}

#[test]
fn what_cannot_be_read_out_says_why() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let nothing = "--data-dir DIR: this directory cannot be read out: it has no replica.sqlite";
    assert_eq!(read(&place).unwrap_err(), nothing);
    fs::write(place.file("replica.sqlite"), "").unwrap();
    let empty = "--data-dir DIR: this directory cannot be read out: nothing can be read: replica.sqlite is damaged: it is empty";
    let told = read(&place).unwrap_err();
    assert!(told.starts_with(empty) && !told.ends_with([' ', ':', ';']), "{told}");
    fs::write(place.file("replica.sqlite"), "garbage ".repeat(1000)).unwrap();
    assert!(read(&place).unwrap_err().contains("replica.sqlite is not a SQLite file"));
}

#[test]
fn a_directory_on_which_a_replica_runs_is_not_read_out() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let told = read(&place).unwrap_err();
    let expected = format!(
        "--data-dir DIR: a replica (process {}) runs on this directory: leave --data-dir out to export from the replica, \
         or stop it first",
        std::process::id()
    );
    assert_eq!(told, expected);
    save_one(&mut store, 2);
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_read_out() {
    use std::os::unix::fs::PermissionsExt;
    let place = saved(false);
    for name in ["replica.sqlite", "replica.sqlite-wal", "lock"] {
        fs::set_permissions(place.file(name), fs::Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let found = read(&place);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(found.unwrap().rows, rows_up_to(40));
}
