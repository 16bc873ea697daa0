//! Durable stores: saved state is there again.

use std::fs;
use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::cluster::{ClusterId, ClusterNames};
use natter_common::replica_manager::durable::{KnownAt, Merging, SavedMember, State};
use natter_common::replica_manager::{Changes, Saved};
use natter_common::value::Value;
use natter_database::{DataDirectory, Identity, Recovered, Store, Sync};

use crate::common::key;
use crate::replica_files::{
    Place, applied, copy_directory, counts, held, identity, name, record, replica, replicas, row, save_one, seen, state,
};

#[test]
fn a_new_directory_has_nothing_and_counts_as_clean() {
    let place = Place::new();
    let (store, recovered) = place.open();
    let nothing = Recovered { identity: None, saved: Saved::default(), clean: true, sync_before: None };
    assert_eq!(recovered, nothing);
    assert!(store.is_durable());
    assert_eq!(store.directory(), Some(place.path().as_path()));
    assert_eq!(seen(&store), seen(&Store::open(&place.source).unwrap()));
}

#[test]
fn a_first_start_that_was_interrupted_before_there_was_an_id_is_begun_anew() {
    let place = Place::new();
    drop(place.open());
    let (_, recovered) = place.open();
    assert_eq!((recovered.identity, recovered.clean, recovered.sync_before), (None, true, None));
    fs::remove_dir_all(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    fs::write(place.file("replica.sqlite.new"), "half a file").unwrap();
    fs::write(place.file("replica.sqlite.new-journal"), "half a file").unwrap();
    assert_eq!(place.open().1.identity, None);
}

#[test]
fn reopening_gives_back_what_was_saved() {
    for clean in [false, true] {
        let place = Place::new();
        let mut store = place.start(Sync::Full);
        let former = Identity { id: replica("c"), former: vec![replica("a"), replica("b")] };
        store.set_identity(&former).unwrap();
        let records: Vec<_> = [("a", 3), ("b", 1), ("a", 1), ("a", 2)]
            .into_iter()
            .map(|(origin, seq)| Arc::new(record(origin, seq)))
            .collect();
        for seq in 1..=2 {
            applied(&mut store, "a", seq);
        }
        let executed = vec![record("x", 9).executed(), record("y", 1).executed()];
        let state = State {
            value_timestamp: replicas(&[("a", 2)]),
            replica_timestamp: replicas(&[("a", 3), ("b", 1)]),
            starts: replicas(&[("b", 0)]),
            clock: Stamp(77),
            merging: Some(Merging { value_timestamp: replicas(&[("b", 1)]), retired: replicas(&[]), rows: 2 }),
            members: vec![SavedMember {
                id: replica("b"),
                durable: true,
                replica_timestamp: replicas(&[("a", 1), ("b", 5)]),
                heard_wall_ms: 7,
            }],
            cluster: ClusterNames {
                id: Some(ClusterId::new("ours").unwrap()),
                aliases: vec![ClusterId::new("theirs").unwrap()],
            },
            ran_ms: 80_000,
        };
        store.apply(key(1, 1), row(None, 5, 1)).unwrap();
        store.apply(key(3, 5), row(Some(9), 6, 2)).unwrap();
        store.apply(key(2, 5), row(Some(1), 7, 3)).unwrap();
        let staged = [(key(1, 2), row(Some(3), 8, 4)), (key(3, 1), row(None, 9, 5))];
        store.stage(&mut staged.into_iter()).unwrap();
        let retired = vec![(replica("z"), Some(4)), (replica("q"), Some(8)), (replica("z"), None)];
        let known = vec![KnownAt { ran_ms: 75_000, updates: replicas(&[("a", 1), ("q", 8)]) }];
        let changes = Changes {
            held: records.clone(),
            executed: executed.clone(),
            retired,
            state: Some(state.clone()),
            known: Some(known.clone()),
            ..Changes::default()
        };
        store.save(&changes).unwrap();
        store.commit().unwrap();
        let before = seen(&store);
        if clean {
            store.close_cleanly().unwrap();
            assert!(!place.file("replica.sqlite-wal").exists());
        } else {
            drop(store);
        }

        let (mut store, recovered) = place.open();
        assert_eq!(seen(&store), before);
        assert_eq!(recovered.identity, Some(former));
        assert_eq!((recovered.clean, recovered.sync_before), (clean, Some(Sync::Full)));
        let Saved { state: found, records: mut found_records, executed: found_executed, retired, known: found_known } =
            recovered.saved;
        let mut records = records;
        records.sort_by_key(|record| record.name());
        found_records.sort_by_key(|record| record.name());
        assert_eq!((found, found_records, found_executed), (state, records, executed));
        assert_eq!((retired, found_known), (counts(&[("q", 8)]), known));
        assert_eq!(store.take_staged(10).unwrap(), staged);
        store.commit().unwrap();
    }
}

#[test]
fn what_is_forgotten_is_gone_and_what_is_learnt_again_in_the_same_batch_stays() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    save_one(&mut store, 2);
    let executed = vec![record("x", 1).executed(), record("x", 2).executed()];
    store.save(&Changes { executed, ..Changes::default() }).unwrap();
    store.commit().unwrap();
    let forgotten = vec![name("a", 1), name("x", 1), name("x", 2)];
    let executed = vec![record("x", 2).executed()];
    store.save(&Changes { forgotten, executed, ..Changes::default() }).unwrap();
    store.commit().unwrap();
    drop(store);
    let saved = place.open().1.saved;
    assert_eq!(saved.records, [Arc::new(record("a", 2))]);
    assert_eq!(saved.executed, [record("x", 2).executed()]);
}

#[test]
fn a_batch_that_was_not_committed_is_not_there() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let before = seen(&store);
    store.apply(key(3, 2), row(Some(4), 9999, 1)).unwrap();
    store.save(&Changes { held: vec![Arc::new(record("a", 2))], state: Some(state(2)), ..Changes::default() }).unwrap();
    drop(store);
    let (store, recovered) = place.open();
    assert_eq!(seen(&store), before);
    assert_eq!((held(&recovered.saved), recovered.saved.records.len()), (1, 1));
}

#[test]
fn rows_put_aside_are_dropped_unless_they_are_being_merged() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    store.stage(&mut [(key(1, 2), row(Some(3), 8, 4))].into_iter()).unwrap();
    store.save(&Changes { state: Some(state(0)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    drop(store);
    let (mut store, _) = place.open();
    assert_eq!(store.take_staged(10).unwrap(), []);
}

#[test]
fn a_batch_of_rows_alone_is_saved_with_its_checksum() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    store.apply(key(3, 2), row(Some(4), 9999, 1)).unwrap();
    store.save(&Changes::default()).unwrap();
    store.commit().unwrap();
    let before = seen(&store);
    drop(store);
    assert_eq!(seen(&place.open().0), before);
}

#[test]
fn a_batch_in_which_nothing_was_written_costs_no_write() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let bytes = |name: &str| fs::read(place.file(name)).unwrap();
    let before = (bytes("replica.sqlite"), bytes("replica.sqlite-wal"));
    for _ in 0..100 {
        store.row(key(1, 1)).unwrap();
        store.save(&Changes::default()).unwrap();
        store.commit().unwrap();
    }
    assert_eq!((bytes("replica.sqlite"), bytes("replica.sqlite-wal")), before);
}

#[test]
fn the_way_in_which_a_replica_writes_is_remembered() {
    let place = Place::new();
    let mut store = place.start(Sync::Normal);
    save_one(&mut store, 1);
    drop(store);
    let (store, recovered) = place.open();
    assert_eq!((recovered.sync_before, recovered.clean), (Some(Sync::Normal), false));
    store.close_cleanly().unwrap();
    let (_store, recovered) = place.open();
    assert_eq!((recovered.sync_before, recovered.clean), (Some(Sync::Full), true));
}

#[test]
fn a_store_that_is_not_closed_cleanly_says_so_ever_after_until_one_is() {
    let place = Place::new();
    place.start(Sync::Full).close_cleanly().unwrap();
    assert!(place.open().1.clean);
    let (store, recovered) = place.open();
    assert!(!recovered.clean);
    store.close_cleanly().unwrap();
    assert!(place.open().1.clean);
}

#[test]
fn checkpoints_lose_nothing_and_keep_the_log_short() {
    let place = Place::new();
    let copies = tempfile::TempDir::new().unwrap();
    let mut store = place.start(Sync::Normal);
    let mut seq = 0;
    for round in 0..4 {
        while store.log_bytes().unwrap() <= 1 << 20 {
            seq += 1;
            save_one(&mut store, seq);
        }
        let copy = copies.path().join(format!("{round}"));
        copy_directory(&place.path(), &copy);
        let (copied, recovered) = place.open_at(&copy, Sync::Full).unwrap();
        assert_eq!((held(&recovered.saved), seen(&copied)), (seq, seen(&store)));
        store.checkpoint_if_idle().unwrap();
        assert!(store.log_bytes().unwrap() < 1 << 14, "{}", store.log_bytes().unwrap());
        let copy = copies.path().join(format!("{round} checkpointed"));
        copy_directory(&place.path(), &copy);
        let (copied, recovered) = place.open_at(&copy, Sync::Full).unwrap();
        assert_eq!((held(&recovered.saved), seen(&copied)), (seq, seen(&store)));
        let bytes = store.log_bytes().unwrap();
        store.checkpoint_if_idle().unwrap();
        assert_eq!(store.log_bytes().unwrap(), bytes, "it is short already");
    }
    let before = seen(&store);
    drop(store);
    let (store, recovered) = place.open();
    assert_eq!((seen(&store), held(&recovered.saved)), (before, seq));
    assert_eq!(recovered.saved.records.len() as u64, seq);
}

#[test]
fn a_long_log_is_moved_with_the_commit_that_made_it_long() {
    let place = Place::new();
    let mut store = place.start(Sync::Normal);
    let mut longest = 0;
    let mut seq = 0;
    for _ in 0..5 {
        let held: Vec<_> = (1..=25_000).map(|n| applied(&mut store, "a", seq + n)).collect();
        seq += held.len() as u64;
        store.save(&Changes { held, state: Some(state(seq)), ..Changes::default() }).unwrap();
        store.commit().unwrap();
        longest = longest.max(store.log_bytes().unwrap());
    }
    let file_bytes = place.file("replica.sqlite-wal").metadata().unwrap().len();
    assert!(longest <= 16 << 20 && file_bytes > 16 << 20, "{longest}, {file_bytes}");
    drop(store);
    let recovered = place.open().1;
    assert_eq!((recovered.saved.records.len() as u64, held(&recovered.saved)), (seq, seq));
}

#[test]
fn a_store_in_memory_takes_no_notice() {
    let place = Place::new();
    let mut store = Store::open(&place.source).unwrap();
    assert!(!store.is_durable());
    assert_eq!(store.directory(), None);
    store.apply(key(1, 1), row(Some(3), 5, 1)).unwrap();
    store.commit().unwrap();
    store.check_files().unwrap();
    store.checkpoint_if_idle().unwrap();
    store.set_identity(&identity("a")).unwrap();
    store.close_cleanly().unwrap();
    assert!(!place.path().exists());
}

#[test]
fn a_durable_store_may_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Place::new().open().0);
}

#[test]
fn a_directory_is_free_again_when_its_store_is_gone() {
    let place = Place::new();
    let store = place.start(Sync::Full);
    assert!(DataDirectory::open(&place.path()).is_err());
    store.close_cleanly().unwrap();
    assert!(DataDirectory::open(&place.path()).is_ok());
}
