//! SQLite files: what `dataset import` makes, and files that are broken in one way or another.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{all, average, folder, open_path};
use natter_database::dataset::{import, silent, verify};
use natter_database::{DataError, DataSource, Store};
use rusqlite::Connection;
use tempfile::TempDir;

/// A folder of CSV files with enough ratings for many pages, and `data.sqlite`, imported from them.
fn imported() -> (TempDir, PathBuf) {
    let mut movies = "movieId,title,genres\n".to_owned();
    let mut ratings = "userId,movieId,rating,timestamp\n".to_owned();
    for id in 1..=100 {
        movies += &format!("{},Film {id},Drama|War\n", id * 10);
    }
    for user in 1..=100 {
        for id in 1..=50 {
            ratings += &format!("{user},{},{}.0,{}\n", id * 20, (user + id) % 5 + 1, 1_000_000_000 + user);
        }
    }
    let folder = folder(movies, ratings);
    let file = folder.path().join("data.sqlite");
    import(folder.path(), &file, false, &mut silent).unwrap();
    (folder, file)
}

fn refused(path: &Path) -> String {
    let error = open_path(path).unwrap_err().to_string();
    error.replace(&format!("{} ", path.display()), "")
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_imported_file_shows_what_its_folder_shows() {
    let (folder, file) = imported();
    let [csv, sqlite] = [folder.path(), &file].map(|path| open_path(path).unwrap());
    assert_eq!(csv.description(), sqlite.description());
    assert_eq!(verify(&file, &mut silent).unwrap(), csv.description());
    for user in 1..=100 {
        assert_eq!(all(&csv, user, 30, 100), all(&sqlite, user, 30, 100));
    }
    for id in 1..=100 {
        assert_eq!(average(&csv, id * 10), average(&sqlite, id * 10));
    }
}

#[test]
fn a_file_is_never_written_by_a_store() {
    use natter_common::value::{Row, Value};
    let (_folder, file) = imported();
    let before = fs::read(&file).unwrap();
    let mut store = open_path(&file).unwrap();
    let key = crate::common::key(1, 20);
    let old = store.row(key).unwrap().unwrap();
    store.apply(key, Row { stars: None, stamp: natter_common::clock::Stamp(1), ..old }).unwrap();
    assert_eq!(all(&store, 1, 10, 0).total, 49);
    drop(store);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(all(&open_path(&file).unwrap(), 1, 10, 0).total, 50);
}

#[test]
fn a_path_may_hold_signs_that_mean_something_in_a_uri() {
    let (folder, file) = imported();
    let odd = folder.path().join("50%20 off? #1 &mode=rw é.sqlite");
    import(folder.path(), &odd, false, &mut silent).unwrap();
    assert_eq!(open_path(&odd).unwrap().description(), open_path(&file).unwrap().description());
}

#[test]
fn an_import_replaces_a_file_only_if_told_to() {
    let (folder, file) = imported();
    let error = import(folder.path(), &file, false, &mut silent).unwrap_err().to_string();
    assert_eq!(error, format!("{} exists: choose another name, or say --force to replace it", file.display()));
    fs::write(&file, "something else").unwrap();
    import(folder.path(), &file, true, &mut silent).unwrap();
    assert_eq!(open_path(&file).unwrap().counts().ratings, 5000);
}

#[test]
fn a_failed_import_leaves_everything_as_it_was() {
    let (folder, file) = imported();
    let before = (names(folder.path()), fs::read(&file).unwrap());
    let mut ratings = fs::read_to_string(folder.path().join("ratings.csv")).unwrap();
    ratings += "1,20,9.0,1\n";
    fs::write(folder.path().join("ratings.csv"), ratings).unwrap();
    for (name, replace) in [("new.sqlite", false), ("data.sqlite", true)] {
        let error = import(folder.path(), &folder.path().join(name), replace, &mut silent).unwrap_err();
        assert!(error.to_string().contains("ratings.csv, line 5002: rating is \"9.0\""), "{error}");
    }
    assert_eq!((names(folder.path()), fs::read(&file).unwrap()), before);
}

#[test]
fn an_import_into_a_folder_that_is_not_there_says_so() {
    let (folder, _file) = imported();
    let nowhere = folder.path().join("no/where.sqlite");
    let error = import(folder.path(), &nowhere, false, &mut silent).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write {}: ", nowhere.display())), "{error}");
    let error = import(&folder.path().join("no"), &nowhere, false, &mut silent).unwrap_err();
    assert!(matches!(error, DataError::NotFound { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn other_users_may_read_an_imported_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, file) = imported();
    let usual = fs::metadata(folder.path().join("movies.csv")).unwrap().permissions().mode();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode(), usual);
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let (folder, file) = imported();
    let hint = "is not a SQLite file: give a folder of CSV files, or a file that `dataset import` made";
    assert_eq!(refused(&folder.path().join("movies.csv")), hint);
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&file), hint);
    let other = folder.path().join("other.sqlite");
    change(&other, "CREATE TABLE movie (movie_id)");
    assert_eq!(refused(&other), "is a SQLite file, but not a data set of Natter: make one with `dataset import`");
}

#[test]
fn a_file_of_a_newer_format_is_refused() {
    let (_folder, file) = imported();
    change(&file, "UPDATE meta SET value = '2' WHERE key = 'format'");
    assert_eq!(refused(&file), "has format 2, and this Natter knows up to 1: use a newer Natter, or import it again");
}

#[test]
fn a_truncated_file_is_refused() {
    let (_folder, file) = imported();
    let bytes = fs::read(&file).unwrap();
    for length in [100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..length]).unwrap();
        let error = refused(&file);
        let expected = format!("has {length} bytes and should have {}: it was not copied to its end", bytes.len());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_file_whose_films_do_not_fit_its_fingerprint_is_refused() {
    for sql in [
        "UPDATE movie SET title = 'Another' WHERE movie_id = 10",
        "UPDATE movie SET count = count + 1 WHERE movie_id = 10",
        "DELETE FROM movie WHERE movie_id = 10",
        "UPDATE meta SET value = '0000000000000000' WHERE key = 'digest'",
        "UPDATE meta SET value = 'none' WHERE key = 'users'",
        "DELETE FROM meta WHERE key = 'fingerprint'",
        "DROP TABLE movie",
    ] {
        let (_folder, file) = imported();
        change(&file, sql);
        let error = refused(&file);
        assert!(error.starts_with("is damaged (") && error.ends_with("copy or import it again"), "{sql}: {error}");
    }
}

#[test]
fn damage_among_the_ratings_is_found_by_verify() {
    for sql in [
        "UPDATE rating SET half_stars = 3 WHERE user_id = 5 AND movie_id = 20",
        "UPDATE rating SET half_stars = 11 WHERE user_id = 5 AND movie_id = 20",
        "UPDATE rating SET timestamp = 1 WHERE user_id = 5 AND movie_id = 20",
        "DELETE FROM rating WHERE user_id = 5 AND movie_id = 20",
        "UPDATE movie SET sum_half_stars = sum_half_stars + 1 WHERE movie_id = 10",
        "UPDATE user SET count = 1 WHERE user_id = 5",
        "INSERT INTO user VALUES (1000, 0)",
    ] {
        let (_folder, file) = imported();
        change(&file, sql);
        let error = verify(&file, &mut silent).unwrap_err().to_string();
        assert!(error.contains("is damaged ("), "{sql}: {error}");
    }
}

#[test]
fn overwritten_pages_give_errors_and_nothing_worse() {
    let (_folder, file) = imported();
    let bytes = fs::read(&file).unwrap();
    let page = 4096;
    for number in 0..bytes.len() / page {
        let mut broken = bytes.clone();
        // The first page's first 100 bytes are the header, which has tests of its own.
        let start = (number * page).max(100);
        broken[start..(number + 1) * page].fill(0xa5);
        fs::write(&file, &broken).unwrap();
        assert!(verify(&file, &mut silent).is_err(), "page {number}");
        if let Ok(store) = open_path(&file) {
            for user in 1..=100 {
                let query =
                    natter_common::request::Query::All { user_id: crate::common::user(user), limit: 99, after: 0 };
                let _ = natter_common::value::Value::answer(&store, &query);
            }
        }
    }
}

#[test]
fn a_file_that_is_deleted_under_a_store_goes_on_serving() {
    let (_folder, file) = imported();
    let store = Store::open(&DataSource::SqliteFile(file.clone())).unwrap();
    fs::remove_file(file).unwrap();
    assert_eq!(all(&store, 100, 99, 0).ratings.len(), 50);
}
