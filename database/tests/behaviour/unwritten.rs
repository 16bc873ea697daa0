//! Rows that only records have on disk: they are brought back, written in time, and guarded like any.

use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::record::Record;
use natter_common::replica_manager::Changes;
use natter_common::replica_manager::durable::State;
use natter_common::request::Update;
use natter_common::value::Value;
use natter_database::{Store, Sync};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::common::key;
use crate::replica_files::{
    Place, Seen, applied, copy_directory, counts, held, name, record, replicas, row, save_one, seen, state,
};

/// The database of a directory that no store uses, with its log, which stays as it is.
fn database(place: &Place) -> Connection {
    let connection = Connection::open(place.file("replica.sqlite")).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 0;").unwrap();
    connection
}

fn count(connection: &Connection, table: &str) -> u64 {
    connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), (), |row| row.get::<_, i64>(0)).unwrap() as u64
}

/// Returns the number of rows, and the number of batches of records, on disk, as a copy of the directory shows.
fn on_disk(place: &Place) -> (u64, u64) {
    let copy = tempfile::TempDir::new().unwrap();
    for file in ["replica.sqlite", "replica.sqlite-wal"] {
        std::fs::copy(place.file(file), copy.path().join(file)).unwrap();
    }
    let connection = Connection::open(copy.path().join("replica.sqlite")).unwrap();
    (count(&connection, "rating"), count(&connection, "batch"))
}

fn forget(store: &mut Store, seqs: &[u64]) {
    let forgotten = seqs.iter().map(|seq| name("a", *seq)).collect();
    store.save(&Changes { forgotten, ..Changes::default() }).unwrap();
    store.commit().unwrap();
}

/// Opens the directory again, as it was left.
fn again(place: &Place, store: Store) -> Store {
    let before = seen(&store);
    drop(store);
    let (store, _) = place.open();
    assert_eq!(seen(&store), before);
    store
}

#[test]
fn rows_that_only_records_have_are_there_after_a_kill_and_after_the_next() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for seq in 1..=20 {
        save_one(&mut store, seq);
    }
    assert_eq!(on_disk(&place), (0, 20));
    let mut store = again(&place, store);
    assert_eq!(on_disk(&place), (0, 20), "a start writes none of them");
    save_one(&mut store, 21);
    let store = again(&place, again(&place, store));
    store.close_cleanly().unwrap();
    let connection = database(&place);
    assert_eq!((count(&connection, "rating"), count(&connection, "batch")), (3, 21));
}

#[test]
fn a_record_that_is_held_and_not_applied_is_not_applied_at_the_next_start_either() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let before = seen(&store);
    let waiting = State { value_timestamp: replicas(&[]), ..state(1) };
    let held = vec![Arc::new(record("a", 1))];
    store.save(&Changes { held, state: Some(waiting), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    let mut store = again(&place, store);
    assert_eq!(seen(&store), before);
    applied(&mut store, "a", 1);
    store.save(&Changes { state: Some(state(1)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (0, 1));
    again(&place, store);
}

#[test]
fn a_record_is_forgotten_in_the_transaction_that_writes_its_row() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for seq in 1..=4 {
        save_one(&mut store, seq);
    }
    forget(&mut store, &[1]);
    assert_eq!(on_disk(&place), (0, 3), "record 4 has the row of record 1");
    let mut store = again(&place, store);
    forget(&mut store, &[2, 4]);
    assert_eq!(on_disk(&place), (2, 1));
    let mut store = again(&place, store);
    forget(&mut store, &[3]);
    assert_eq!(on_disk(&place), (3, 0));
    again(&place, store);
}

#[test]
fn a_row_that_is_written_again_in_the_batch_that_forgets_its_record_is_as_good_as_any() {
    for is_lost in [false, true] {
        let place = Place::new();
        let mut store = place.start(Sync::Full);
        save_one(&mut store, 1);
        let held = vec![applied(&mut store, "a", 4)];
        let changes = Changes { held, forgotten: vec![name("a", 1)], state: Some(state(4)), ..Changes::default() };
        store.save(&changes).unwrap();
        if is_lost {
            drop(store);
            assert_eq!(held_of(&place), 1);
            continue;
        }
        store.commit().unwrap();
        assert_eq!(on_disk(&place), (0, 1));
        let mut store = again(&place, store);
        forget(&mut store, &[4]);
        assert_eq!(on_disk(&place), (1, 0));
        again(&place, store);
    }
}

fn held_of(place: &Place) -> u64 {
    held(&place.open().1.saved)
}

#[test]
fn records_that_were_saved_together_go_when_all_of_them_are_forgotten() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let held: Vec<_> = (1..=300).map(|seq| applied(&mut store, "a", seq)).collect();
    store.save(&Changes { held, state: Some(state(300)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (0, 2));
    forget(&mut store, &(2..=300).collect::<Vec<_>>());
    assert_eq!(on_disk(&place).1, 1);
    forget(&mut store, &[2, 3, 2]);
    assert_eq!(on_disk(&place).1, 1, "who forgets twice forgets nothing else");
    let mut store = again(&place, store);
    forget(&mut store, &(1..=256).collect::<Vec<_>>());
    assert_eq!(on_disk(&place), (3, 0));
    again(&place, store);
}

#[test]
fn a_record_that_is_forgotten_and_learnt_again_is_kept_and_carries_nothing() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let held = vec![Arc::new(record("a", 1))];
    store.save(&Changes { held: held.clone(), forgotten: vec![name("a", 1)], ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (1, 1));
    store.save(&Changes { held, ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (1, 1), "once is enough");
    again(&place, store);
}

#[test]
fn a_record_that_stands_in_two_batches_is_given_back_once() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let together = vec![applied(&mut store, "a", 1), applied(&mut store, "a", 2)];
    store.save(&Changes { held: together, state: Some(state(2)), ..Changes::default() }).unwrap();
    store.save(&Changes { held: vec![Arc::new(record("a", 1))], ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (0, 2));
    let store = again(&place, store);
    drop(store);
    let (mut store, recovered) = place.open();
    assert_eq!(recovered.saved.records.len(), 2);
    forget(&mut store, &[1, 2]);
    assert_eq!(on_disk(&place), (2, 0));
}

#[test]
fn rows_that_no_record_wrote_are_written_at_once() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    // Rows of a snapshot: one in the place of record 1's row, and one elsewhere.
    store.apply(key(2, 1), row(Some(2), Stamp::new(9, 0).0, 1)).unwrap();
    store.apply(key(3, 5), row(None, 5, 1)).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (2, 1));
    let mut store = again(&place, store);
    forget(&mut store, &[1]);
    assert_eq!(on_disk(&place), (2, 0));
    again(&place, store);
}

#[test]
fn rows_of_a_replica_that_is_retired_are_written_when_the_value_timestamp_leaves_it_out() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let both = State {
        value_timestamp: replicas(&[("a", 1), ("b", 2)]),
        replica_timestamp: replicas(&[("a", 1), ("b", 2)]),
        ..State::default()
    };
    let held = vec![applied(&mut store, "a", 1), applied(&mut store, "b", 2)];
    store.save(&Changes { held, state: Some(both), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (0, 1));
    store.save(&Changes { state: Some(state(1)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    assert_eq!(on_disk(&place), (1, 1));
    again(&place, store);
}

/// An update of a user of its own.
fn record_of_user(seq: u64) -> Record {
    let RatingKey { user_id, movie_id } = key(seq as u32, 5);
    let stamp = Stamp::new(seq, 0);
    let rating = Stars::from_half_stars(4).unwrap();
    let request = Some(Update::Update { user_id, movie_id, rating });
    Record { id: UpdateId::from_stamp(stamp, seq), request, stamp, prev: counts(&[]), ..record("a", seq) }
}

fn save_users(store: &mut Store, seqs: std::ops::RangeInclusive<u64>) {
    let last = *seqs.end();
    let held: Vec<_> = seqs.map(|seq| Arc::new(record_of_user(seq))).collect();
    for record in &held {
        let (key, row) = record.row().unwrap();
        store.apply(key, row).unwrap();
    }
    store.save(&Changes { held, state: Some(state(last)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
}

#[test]
fn only_so_many_rows_are_left_to_records() {
    const MAX: u64 = 32_768;
    let place = Place::new();
    let mut store = place.start(Sync::Normal);
    for batch in 0..20 {
        let first = 1 + batch * 2000;
        save_users(&mut store, first..=first + 1999);
        let (rows, _) = on_disk(&place);
        assert!(first + 1999 - rows <= MAX, "{rows}");
        assert!(first + 1999 > MAX || rows == 0, "{rows}");
    }
    save_users(&mut store, 40_001..=80_000);
    assert!(80_000 - on_disk(&place).0 <= MAX, "one batch of more than there may be");
    let (digest, changed) = (store.digest(), store.changed_count());
    drop(store);
    let (store, _) = place.open();
    assert_eq!((store.digest(), store.changed_count()), (digest, changed));
}

#[test]
fn an_idle_replica_writes_all_rows() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_users(&mut store, 1..=10_000);
    assert_eq!(on_disk(&place).0, 0);
    store.checkpoint_if_idle().unwrap();
    assert_eq!(on_disk(&place).0, 10_000);
    save_users(&mut store, 10_001..=10_010);
    again(&place, store);
}

/// A replica that was killed: rows on disk, and newer ones of the same users that only records have.
fn killed() -> (Place, Seen) {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for seq in 1..=3 {
        save_one(&mut store, seq);
    }
    store.checkpoint_if_idle().unwrap();
    for seq in 4..=6 {
        save_one(&mut store, seq);
    }
    let before = seen(&store);
    drop(store);
    assert_eq!(on_disk(&place), (3, 6));
    (place, before)
}

#[test]
fn damage_that_an_applied_record_would_hide_is_found() {
    let (place, before) = killed();
    let whole = tempfile::TempDir::new().unwrap();
    copy_directory(&place.path(), &whole.path().join("state"));
    assert_eq!(seen(&place.open_at(&whole.path().join("state"), Sync::Full).unwrap().0), before);
    for (sql, expected) in [
        ("UPDATE rating SET half_stars = 9 WHERE user_id = 2", "the ratings do not match their checksum"),
        ("UPDATE rating SET timestamp = 9 WHERE user_id = 2", "the ratings do not match their checksum"),
        ("DELETE FROM rating WHERE user_id = 2", "the ratings do not match their checksum"),
        ("DELETE FROM batch WHERE number = 5", "the ratings do not match their checksum"),
        ("DELETE FROM batch", "the ratings do not match their checksum"),
        ("UPDATE batch SET body = zeroblob(60) WHERE number = 5", "batch 5: it does not match its checksum"),
        (
            "UPDATE batch SET body = (SELECT body FROM batch WHERE number = 4) WHERE number = 5",
            "batch 5: it has another number inside",
        ),
        ("UPDATE state SET body = zeroblob(40) WHERE name = 'checksums'", "its checksums: it does not match"),
        ("DELETE FROM state WHERE name = 'checksums'", "it has no checksums"),
    ] {
        let (place, _) = killed();
        database(&place).execute_batch(sql).unwrap();
        let refusal = place.refusal();
        assert!(refusal.contains(expected), "{sql}: {refusal}");
    }
}
