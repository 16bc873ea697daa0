//! A replica's ratings as a data set.

use std::fs;
use std::path::Path;

use natter_common::rating::RatingKey;
use natter_common::value::{Row, Value};
use natter_database::dataset::{import, silent, verify};
use natter_database::export::{write_csv, write_sqlite};
use natter_database::{Counts, DataError, DataSource, Store};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::common::{all, average, folder, key, open_path};
use crate::replica_files::{MOVIE_NUMBERS, MOVIES, RATINGS, row};

type Write = fn(&Path, &DataSource, Vec<(RatingKey, Row)>) -> Result<Counts, DataError>;

const WRITERS: [(&str, Write); 2] = [("folder", write_csv), ("file", write_sqlite)];

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn source() -> (TempDir, DataSource) {
    let folder = folder(MOVIES, RATINGS);
    let source = DataSource::at(Some(folder.path())).unwrap();
    (folder, source)
}

/// Checks that ratings and averages are those of `store`, but for the updates that wrote them.
fn assert_shows(found: &Store, store: &Store) {
    for number in 1..=4 {
        let [mut expected, found] = [store, found].map(|store| all(store, number, 5000, 0));
        expected.ratings.iter_mut().for_each(|rating| rating.update_id = None);
        assert_eq!(found, expected);
    }
    for number in MOVIE_NUMBERS {
        assert_eq!(average(found, number), average(store, number));
    }
}

#[test]
fn what_is_written_is_what_stands() {
    let (_folder, source) = source();
    let changed = vec![
        (key(1, 1), row(None, 5, 1)),
        (key(1, 5), row(Some(7), 6, 1)),
        (key(2, 5), row(Some(10), 7, 1)),
        (key(3, 1), row(None, 8, 1)),
        (key(4, 2), row(Some(1), -9i64 as u64, 1)),
    ];
    let target = TempDir::new().unwrap();
    let written = target.path().join("written");
    let counts = write_csv(&written, &source, changed.clone()).unwrap();
    assert_eq!(counts, Counts { movies: 3, users: 3, ratings: 5 });
    assert_eq!(
        fs::read_to_string(written.join("ratings.csv")).unwrap(),
        "userId,movieId,rating,timestamp\n1,2,0.5,101\n1,5,3.5,6\n2,1,5.0,102\n2,5,5.0,7\n4,2,0.5,-9\n"
    );
    assert_eq!(fs::read_to_string(written.join("movies.csv")).unwrap(), MOVIES);
    assert_eq!(names(target.path()), ["written"]);
    let file = target.path().join("written.sqlite");
    assert_eq!(write_sqlite(&file, &source, changed).unwrap(), counts);
    assert_eq!(verify(&file, &mut silent).unwrap(), open_path(&written).unwrap().description());
}

#[test]
fn a_data_set_without_changes_is_written_as_it_is() {
    let (folder, base) = source();
    let file = folder.path().join("base.sqlite");
    import(folder.path(), &file, false, &mut silent).unwrap();
    for source in [base, DataSource::SqliteFile(file), DataSource::Sample] {
        let description = Store::open(&source).unwrap().description();
        for (name, write) in WRITERS {
            let target = TempDir::new().unwrap();
            let path = target.path().join(name);
            assert_eq!(write(&path, &source, Vec::new()).unwrap(), description.counts);
            assert_eq!(open_path(&path).unwrap().description(), description);
        }
    }
}

#[test]
fn titles_that_need_quotes_come_back() {
    let movies = "movieId,title,genres\n1,\"One, \"\"Two\"\"\nand three\",Drama\n2, \u{e9}t\u{e9} ,War|Drama\n";
    let folder = folder(movies, "userId,movieId,rating,timestamp\n");
    let source = DataSource::at(Some(folder.path())).unwrap();
    for (name, write) in WRITERS {
        let target = TempDir::new().unwrap();
        let path = target.path().join(name);
        write(&path, &source, Vec::new()).unwrap();
        assert_eq!(open_path(&path).unwrap().fingerprint(), Store::open(&source).unwrap().fingerprint());
    }
}

#[test]
fn nothing_is_overwritten() {
    let (_folder, source) = source();
    for (name, write) in WRITERS {
        let target = TempDir::new().unwrap();
        let path = target.path().join(name);
        for is_file in [true, false] {
            if is_file {
                fs::write(&path, "mine").unwrap();
            } else {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
            let error = write(&path, &source, Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), format!("{} exists: choose another name, or move it away", path.display()));
        }
        assert_eq!(names(target.path()), [name]);
    }
}

#[test]
fn changes_that_cannot_stand_are_refused_and_leave_nothing() {
    let (_folder, source) = source();
    for (changed, expected) in [
        (
            vec![(key(1, 2), row(Some(1), 5, 1)), (key(1, 1), row(Some(1), 5, 1))],
            "user 1's rating of movie 1 is not in the order of users, then movies",
        ),
        (
            vec![(key(9, 1), row(Some(1), 5, 1)), (key(9, 1), row(Some(1), 5, 1))],
            "user 9's rating of movie 1 is not in the order of users, then movies",
        ),
        (
            vec![(key(1, 3), row(Some(1), 5, 1))],
            "user 1's rating of movie 3 is of a movie that the data set does not have: was it taken from a replica of \
             another one?",
        ),
    ] {
        for (name, write) in WRITERS {
            let target = TempDir::new().unwrap();
            let error = write(&target.path().join(name), &source, changed.clone()).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(names(target.path()), [""; 0]);
        }
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let (folder, source) = source();
    for (name, write) in WRITERS {
        let path = folder.path().join("movies.csv").join(name);
        let error = write(&path, &source, Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}: Not a directory", path.display())), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_written_may_be_read_by_those_who_may_read_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, source) = source();
    let target = TempDir::new().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let (usual, written) = (target.path().join("usual"), target.path().join("written"));
    fs::create_dir(&usual).unwrap();
    write_csv(&written, &source, Vec::new()).unwrap();
    assert_eq!(mode(&written), mode(&usual));
    fs::write(usual.join("file"), "").unwrap();
    assert_eq!(mode(&written.join("ratings.csv")), mode(&usual.join("file")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ratings_averages_and_user_counts_come_back(
        updates in prop::collection::vec((1u32..=4, prop::sample::select(MOVIE_NUMBERS.to_vec()), 0u8..=10, 1u64..9), 0..30)
    ) {
        let (_folder, source) = source();
        let mut store = Store::open(&source).unwrap();
        for (n, (user_number, movie_number, half_stars, stamp)) in (0..).zip(updates) {
            let row = row((half_stars > 0).then_some(half_stars), stamp, n);
            store.apply(key(user_number, movie_number), row).unwrap();
        }
        let changed = store.changed_after(None, 1000).unwrap();
        let target = TempDir::new().unwrap();
        let mut digests = Vec::new();
        for (name, write) in WRITERS {
            let path = target.path().join(name);
            let counts = write(&path, &source, changed.clone()).unwrap();
            let found = open_path(&path).unwrap();
            assert_shows(&found, &store);
            prop_assert_eq!(found.counts(), counts);
            digests.push(found.description());
        }
        prop_assert_eq!(digests[0], digests[1]);
    }
}
