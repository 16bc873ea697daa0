//! Directories whose database can be opened, but whose content can't be used.

use std::fs;

use natter_database::{DataDirectory, DataSource, Store, Sync};

use crate::common::folder;
use crate::damage::{AGAIN, change, saved};
use crate::replica_files::{MOVIES, Place, save_one, seen};

#[test]
fn ratings_that_are_others_than_were_saved_are_refused() {
    for sql in [
        "UPDATE rating SET half_stars = 9 WHERE user_id = 1",
        "UPDATE rating SET stamp = stamp + 1 WHERE user_id = 1",
        "DELETE FROM rating WHERE user_id = 1",
        "INSERT INTO rating VALUES (9, 1, 3, 1, 1, x'00112233445566778899aabbccddeeff')",
    ] {
        let place = saved(true);
        change(&place, sql);
        assert_eq!(
            place.refusal(),
            format!(
                "--data-dir DIR: the ratings do not match their checksum: the directory is damaged, was copied while it was \
                 in use, or another program changed it; {AGAIN}"
            ),
            "{sql}"
        );
    }
}

#[test]
fn what_cannot_be_read_back_is_refused() {
    for (sql, expected) in [
        ("UPDATE batch SET body = x'00' WHERE number = 7", "batch 7: it has 1 bytes, which is too few"),
        ("UPDATE batch SET body = zeroblob(50) WHERE number = 7", "batch 7: it does not match its checksum"),
        ("UPDATE batch SET number = 70 WHERE number = 7", "batch 70: it has another number inside"),
        ("UPDATE state SET body = zeroblob(50) WHERE name = 'state'", "its state: it does not match its checksum"),
        (
            "UPDATE state SET body = zeroblob(50) WHERE name = 'identity'",
            "its identity: it does not match its checksum",
        ),
        ("DELETE FROM state WHERE name = 'state'", "it holds updates, but not where the replica stood"),
        ("DELETE FROM state WHERE name = 'identity'", "it holds updates, but not the replica's id"),
        ("DELETE FROM state WHERE name = 'checksums'", "it has no checksums"),
        (
            "UPDATE state SET body = zeroblob(50) WHERE name = 'checksums'",
            "its checksums: it does not match its checksum",
        ),
        ("DELETE FROM meta WHERE key = 'format'", "meta has no format"),
        ("INSERT INTO retired VALUES ('z', x'0011223344556677')", "retired z: it does not match its checksum"),
        ("DROP TABLE batch", "no such table: main.batch"),
        ("UPDATE rating SET half_stars = 99 WHERE user_id = 1", "Integer 99 out of range at index 2"),
    ] {
        let place = saved(true);
        change(&place, sql);
        assert_eq!(
            place.refusal(),
            format!("--data-dir DIR: replica.sqlite is damaged ({expected}): {AGAIN}"),
            "{sql}"
        );
    }
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let place = saved(true);
    change(&place, "UPDATE meta SET value = '4' WHERE key = 'format'; PRAGMA wal_checkpoint(TRUNCATE);");
    let before = fs::read(place.file("replica.sqlite")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: replica.sqlite was written by a newer Natter (format 4, this one knows 3): use that version, or \
         another --data-dir"
    );
    assert_eq!(fs::read(place.file("replica.sqlite")).unwrap(), before);
}

#[test]
fn another_data_set_is_refused() {
    let place = saved(true);
    let other = folder(MOVIES, "userId,movieId,rating,timestamp\n1,1,4.0,100\n");
    let other = DataSource::at(Some(other.path())).map(|source| (source, other)).unwrap();
    let fingerprint = |source: &DataSource| Store::open(source).unwrap().fingerprint().to_string();
    let error = Store::open_in(&other.0, DataDirectory::open(&place.path()).unwrap(), Sync::Full).unwrap_err();
    assert_eq!(
        error.to_string().replace(&place.path().display().to_string(), "DIR"),
        format!(
            "--data-dir DIR: this replica began with the data set {}, and the data set given is {}: give the one it began \
             with as --database, or another --data-dir",
            fingerprint(&place.source),
            fingerprint(&other.0)
        )
    );
    assert!(place.open().1.clean, "nothing was changed");
}

#[test]
fn another_data_set_is_taken_where_there_is_no_id_yet() {
    let place = Place::new();
    drop(place.open());
    let other = folder(MOVIES, "userId,movieId,rating,timestamp\n1,1,4.0,100\n");
    let source = DataSource::at(Some(other.path())).unwrap();
    let (mut store, _) = Store::open_in(&source, DataDirectory::open(&place.path()).unwrap(), Sync::Full).unwrap();
    store.set_identity(&crate::replica_files::identity("a")).unwrap();
    save_one(&mut store, 1);
    let before = seen(&store);
    drop(store);
    let (store, _) = Store::open_in(&source, DataDirectory::open(&place.path()).unwrap(), Sync::Full).unwrap();
    assert_eq!(seen(&store), before);
}
