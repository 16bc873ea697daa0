//! Commits whose wait for the disk is the caller's.

use std::sync::Arc;

use natter_common::replica_manager::Changes;
use natter_common::value::{Commit, Value};
use natter_database::{Store, Sync};

use crate::common::key;
use crate::replica_files::{Place, applied, record, row, state};

/// Record `seq` of replica a is held, and applied.
fn holding(seq: u64) -> Changes {
    Changes { held: vec![Arc::new(record("a", seq))], state: Some(state(seq)), ..Changes::default() }
}

fn end(store: &mut Store) {
    store.log_sync().unwrap().wait().unwrap();
    store.after_commit().unwrap();
}

#[test]
fn a_turn_is_committed_before_the_disk_is_waited_for_where_it_has_to_be() {
    for (sync, expected) in [(Sync::Full, Commit::UnderWay), (Sync::Normal, Commit::Done)] {
        let place = Place::new();
        let mut store = place.start(sync);
        assert_eq!(store.log_sync().is_some(), sync == Sync::Full);
        assert_eq!(store.commit_turn(&Changes::default()).unwrap(), Commit::Done, "nothing to save");
        applied(&mut store, "a", 1);
        assert_eq!(store.commit_turn(&holding(1)).unwrap(), expected);
        drop(store);
        assert_eq!(place.open().1.saved.records, [Arc::new(record("a", 1))], "the end of the process takes nothing");
    }
}

#[test]
fn rows_are_read_and_put_aside_while_a_commit_waits_for_the_disk() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    applied(&mut store, "a", 1);
    assert_eq!(store.commit_turn(&holding(1)).unwrap(), Commit::UnderWay);
    let log = store.log_sync().unwrap();
    let waits = std::thread::spawn(move || log.wait());
    assert!(store.row(key(2, 1)).unwrap().is_some());
    store.stage(&mut [(key(1, 2), row(Some(3), 8, 4))].into_iter()).unwrap();
    waits.join().unwrap().unwrap();
    store.after_commit().unwrap();
    assert_eq!(store.commit_turn(&Changes { staged: true, ..Changes::default() }).unwrap(), Commit::UnderWay);
    end(&mut store);
    assert_eq!(store.take_staged(10).unwrap().len(), 1);
}

#[test]
fn what_was_put_aside_after_the_last_commit_is_dropped_at_the_end() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    applied(&mut store, "a", 1);
    store.commit_turn(&holding(1)).unwrap();
    store.stage(&mut [(key(1, 2), row(Some(3), 8, 4))].into_iter()).unwrap();
    end(&mut store);
    store.close_cleanly().unwrap();
    let (mut store, recovered) = place.open();
    assert!(recovered.clean && recovered.saved.records.len() == 1);
    assert!(store.take_staged(10).unwrap().is_empty());
}

#[test]
fn a_row_that_is_newer_than_the_saved_value_timestamp_is_not_written_at_the_end() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    applied(&mut store, "a", 1);
    store.commit_turn(&holding(1)).unwrap();
    end(&mut store);
    applied(&mut store, "a", 2);
    store.checkpoint_if_idle().unwrap();
    store.close_cleanly().unwrap();
    let (store, recovered) = place.open();
    assert!(recovered.clean, "the checksums are those of the last commit");
    assert_eq!(store.changed_count(), 1);
}
