//! Directories that can't be used, and their errors.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use natter_common::replica_manager::Changes;
use natter_common::value::Value;
use natter_database::Sync;
use rusqlite::Connection;

use crate::common::key;
use crate::replica_files::{Place, applied, copy_directory, held, record, row, save_one, seen, state};

pub(crate) const AGAIN: &str = "read it out with `dataset export --data-dir DIR FILE --compare`, which also says whether \
    a replica that runs has all of it; then move it away and start with an empty directory: the replica takes everything \
    that the others hold";
pub(crate) const ANEW: &str = "start with an empty directory: the replica takes everything that the others hold";

/// A directory with 40 batches, closed cleanly or not.
pub(crate) fn saved(clean: bool) -> Place {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for seq in 1..=40 {
        save_one(&mut store, seq);
    }
    if clean {
        store.close_cleanly().unwrap();
    }
    place
}

/// Changes the database of a directory that was closed cleanly, behind the replica's back.
pub(crate) fn change(place: &Place, sql: &str) {
    Connection::open(place.file("replica.sqlite")).unwrap().execute_batch(sql).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn length(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

#[test]
fn a_second_replica_is_told_who_has_the_directory() {
    let place = Place::new();
    let store = place.start(Sync::Full);
    let process = std::process::id();
    let expected = format!(
        "--data-dir DIR: another replica (process {process}) uses this directory: stop it, or give this one a directory \
         of its own"
    );
    assert_eq!(place.refusal(), expected);
    store.check_files().unwrap();
}

#[test]
fn a_second_replica_is_refused_though_somebody_removed_the_lock() {
    let place = Place::new();
    let _store = place.start(Sync::Full);
    fs::remove_file(place.file("lock")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: another replica uses this directory: stop it, or give this one a directory of its own"
    );
}

#[test]
fn what_cannot_be_a_directory_is_refused() {
    let place = Place::new();
    fs::write(place.path(), "a file").unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: this is a file and should be a directory: give another path, or move the file away"
    );
    let below = place.path().join("below");
    assert_eq!(
        place.refusal_at(&below),
        "--data-dir DIR: cannot make this directory (Not a directory (os error 20)): give a path that can be made and \
         written by this user"
    );
}

#[test]
fn a_directory_whose_files_cannot_be_written_is_refused() {
    let place = Place::new();
    // Directories in the place of files cannot be written by any user.
    fs::create_dir_all(place.file("lock")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: cannot write lock (Is a directory (os error 21)): give a directory that this user may write, on \
         a disk with room"
    );
    fs::remove_dir(place.file("lock")).unwrap();
    fs::create_dir_all(place.file("replica.sqlite.new")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: cannot write replica.sqlite (Is a directory (os error 21)): give a directory that this user may \
         write, on a disk with room"
    );
}

#[test]
fn a_log_that_cannot_be_opened_is_refused() {
    let place = saved(true);
    fs::create_dir(place.file("replica.sqlite-wal")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: replica.sqlite cannot be read and written (Is a directory (os error 21)): check the rights on \
         the files, and the disk"
    );
}

#[test]
fn what_is_no_database_of_a_replica_is_refused() {
    let place = saved(true);
    let path = place.file("replica.sqlite");
    fs::write(&path, "garbage ".repeat(1000)).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: replica.sqlite is not a SQLite file: give another directory, or move this file away"
    );
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: replica.sqlite is a SQLite file, but not a replica's: give another directory, or move this file \
         away"
    );
    File::create(&path).unwrap();
    assert_eq!(place.refusal(), format!("--data-dir DIR: replica.sqlite is damaged (it is empty): {AGAIN}"));
}

#[test]
fn a_truncated_database_is_refused() {
    for clean in [true, false] {
        let place = saved(clean);
        let path = place.file("replica.sqlite");
        let bytes = length(&path);
        for left in [bytes - 4096, bytes / 2, 4096, 5000] {
            let copy = place.file(&format!("cut to {left}"));
            fs::create_dir(&copy).unwrap();
            for name in ["replica.sqlite", "replica.sqlite-wal"] {
                if place.file(name).exists() {
                    fs::copy(place.file(name), copy.join(name)).unwrap();
                }
            }
            cut(&copy.join("replica.sqlite"), left);
            let result = place.open_at(&copy, Sync::Full);
            match result {
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("replica.sqlite is damaged (") && error.contains(ANEW), "{left}: {error}");
                }
                // The pages that are missing are all in the log.
                Ok((_, recovered)) => assert!(!clean && held(&recovered.saved) == 40, "{left}"),
            }
        }
    }
}

#[test]
fn every_flipped_byte_is_noticed_or_does_no_harm() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    for seq in 1..=300 {
        store.apply(key(1 + seq as u32 % 100, 1), row((seq % 4 > 0).then_some(5), 1000 + seq, seq)).unwrap();
        let held = vec![applied(&mut store, "a", seq)];
        store.save(&Changes { held, ..Changes::default() }).unwrap();
    }
    store.save(&Changes { state: Some(state(300)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
    let before = seen(&store);
    store.close_cleanly().unwrap();
    let saved = {
        let (store, recovered) = place.open();
        store.close_cleanly().unwrap();
        recovered.saved
    };
    let path = place.file("replica.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut refusals = 0;
    for at in (100..whole.len()).step_by(whole.len() / 400) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        let _ = fs::remove_file(place.file("replica.sqlite-wal"));
        match place.open_at(&place.path(), Sync::Full) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("--data-dir ") && !error.contains("panic"), "{at}: {error}");
                refusals += 1;
            }
            Ok((store, recovered)) => {
                assert_eq!((&seen(&store), &recovered.saved), (&before, &saved), "{at}");
            }
        }
    }
    assert!(refusals > 150, "{refusals}");
}

#[test]
fn a_log_that_was_cut_gives_an_earlier_batch_and_nothing_half() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let log = place.file("replica.sqlite-wal");
    let mut ends = vec![(length(&log), 0, seen(&store))];
    for seq in 1..=10 {
        save_one(&mut store, seq);
        ends.push((length(&log), seq, seen(&store)));
    }
    drop(store);
    let whole = length(&log);
    for left in (ends[0].0..=whole).rev().step_by(1500) {
        let copies = tempfile::TempDir::new().unwrap();
        let copy = copies.path().join("copy");
        copy_directory(&place.path(), &copy);
        cut(&copy.join("replica.sqlite-wal"), left);
        let (store, recovered) = place.open_at(&copy, Sync::Full).unwrap();
        let (_, seq, expected) = ends.iter().rev().find(|(end, ..)| *end <= left).unwrap();
        assert_eq!(
            (held(&recovered.saved), recovered.saved.records.len() as u64, &seen(&store)),
            (*seq, *seq, expected)
        );
    }
}

#[test]
fn a_log_that_is_missing_or_garbage_is_refused() {
    let missing = format!(
        "--data-dir DIR: replica.sqlite-wal is missing, or is no write-ahead log: the directory is damaged or was copied \
         while it was in use; {AGAIN}"
    );
    let place = saved(false);
    let log = place.file("replica.sqlite-wal");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, "garbage ".repeat(2000)).unwrap();
    assert_eq!(place.refusal(), missing);
    fs::write(&log, "").unwrap();
    assert_eq!(place.refusal(), missing);
    fs::remove_file(&log).unwrap();
    assert_eq!(place.refusal(), missing);
    for at in [0, 4, 9, 14, 17, 25] {
        fs::write(&log, &whole).unwrap();
        overwrite(&log, at, &[0xaa]);
        assert_eq!(place.refusal(), missing, "{at}");
    }
    fs::write(&log, &whole).unwrap();
    let (_, recovered) = place.open();
    assert_eq!(held(&recovered.saved), 40);
}

#[test]
fn a_log_without_its_database_is_refused() {
    let place = saved(false);
    fs::remove_file(place.file("replica.sqlite")).unwrap();
    assert_eq!(
        place.refusal(),
        "--data-dir DIR: replica.sqlite-wal is there, but replica.sqlite is not: put that file back. If it is lost, nothing \
         of the directory can be read out: move it away and start with an empty directory: the replica takes everything \
         that the others hold"
    );
}

#[test]
fn a_database_and_a_log_of_different_times_are_refused() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    let copies = tempfile::TempDir::new().unwrap();
    let mut seq = 0;
    for n in 0..4 {
        copy_directory(&place.path(), &copies.path().join(format!("{n}")));
        while store.log_bytes().unwrap() <= 1 << 20 {
            seq += 1;
            save_one(&mut store, seq);
        }
        store.checkpoint_if_idle().unwrap();
    }
    store.close_cleanly().unwrap();
    for main in 0..4 {
        for log in 0..4 {
            let mixed = copies.path().join(format!("{main} {log}"));
            fs::create_dir(&mixed).unwrap();
            for (of, name) in [(main, "replica.sqlite"), (log, "replica.sqlite-wal")] {
                fs::copy(copies.path().join(format!("{of}")).join(name), mixed.join(name)).unwrap();
            }
            if main == log {
                place.open_at(&mixed, Sync::Full).unwrap();
            } else {
                assert_eq!(
                    place.refusal_at(&mixed),
                    format!(
                        "--data-dir DIR: replica.sqlite-wal does not go with replica.sqlite: the directory is damaged or \
                         was copied while it was in use; {AGAIN}"
                    ),
                    "{main} {log}"
                );
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_or_replaced_under_a_replica_stops_it() {
    for name in ["replica.sqlite", "replica.sqlite-wal"] {
        for replaced in [false, true] {
            let place = Place::new();
            let mut store = place.start(Sync::Full);
            save_one(&mut store, 1);
            store.check_files().unwrap();
            let path = place.file(name);
            let copy = place.file("copy");
            fs::copy(&path, &copy).unwrap();
            fs::remove_file(&path).unwrap();
            if replaced {
                fs::rename(&copy, &path).unwrap();
            }
            let outcome = match name {
                "replica.sqlite" => {
                    let rescued = place.file("rescued-1");
                    format!(
                        "all that was committed was copied, start the replica with --data-dir {}",
                        rescued.display()
                    )
                }
                _ => "all that was committed is now in replica.sqlite".to_owned(),
            };
            let expected = format!(
                "the store failed while looking after its files: {} was deleted or replaced while it was in use: {outcome}",
                path.display()
            );
            assert_eq!(store.check_files().unwrap_err().to_string(), expected);
            store.save(&Changes { state: Some(state(2)), ..Changes::default() }).unwrap();
            assert_eq!(store.commit().unwrap_err().to_string(), expected);
            let untouched = replaced.then(|| fs::read(&path).unwrap());
            assert_eq!(store.close_cleanly().unwrap_err().to_string(), expected);
            assert_eq!(untouched, fs::read(&path).ok(), "what was put there is not ours to write or remove");
        }
    }
}

#[test]
fn a_full_disk_is_told_in_plain_words() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let before = seen(&store);
    store.limit_pages(1).unwrap();
    let error = (2..10_000)
        .find_map(|seq| store.save(&Changes { held: vec![Arc::new(record("a", seq))], ..Changes::default() }).err())
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the store failed while saving a turn: database or disk is full ({}): make room on its disk: the \
             replica tries again every few seconds",
            place.file("replica.sqlite").display()
        )
    );
    drop(store);
    let (store, recovered) = place.open();
    assert_eq!((seen(&store), held(&recovered.saved)), (before, 1));
}
