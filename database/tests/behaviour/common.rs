//! Helpers that the tests of the database share.

use std::path::Path;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{Average, Movie, RatingKey, Ratings};
use natter_common::request::{Answer, Query};
use natter_common::value::Value;
use natter_database::{DataError, DataSource, Store};
use tempfile::TempDir;

pub(crate) fn user(number: u32) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn movie(number: u32) -> MovieId {
    MovieId::new(number).unwrap()
}

pub(crate) fn key(user_number: u32, movie_number: u32) -> RatingKey {
    RatingKey { user_id: user(user_number), movie_id: movie(movie_number) }
}

/// A folder with these two files.
pub(crate) fn folder(movies: impl AsRef<[u8]>, ratings: impl AsRef<[u8]>) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("movies.csv"), movies).unwrap();
    std::fs::write(folder.path().join("ratings.csv"), ratings).unwrap();
    folder
}

/// Opens the store at `path`.
pub(crate) fn open_path(path: &Path) -> Result<Store, DataError> {
    DataSource::at(Some(path)).and_then(|source| Store::open(&source))
}

/// The store of these two files.
pub(crate) fn open(movies: impl AsRef<[u8]>, ratings: impl AsRef<[u8]>) -> Store {
    open_path(folder(movies, ratings).path()).unwrap()
}

pub(crate) fn all(store: &Store, user_number: u32, limit: u32, after: u32) -> Ratings {
    match store.answer(&Query::All { user_id: user(user_number), limit, after }).unwrap() {
        Answer::Ratings(ratings) => ratings,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn average(store: &Store, movie_number: u32) -> Average {
    match store.answer(&Query::Average { movie_id: movie(movie_number) }).unwrap() {
        Answer::Average(average) => average,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn search(store: &Store, title: &str, limit: u32) -> Vec<Movie> {
    match store.answer(&Query::Search { title: title.to_owned(), limit }).unwrap() {
        Answer::Movies(movies) => movies.movies,
        other => panic!("{other:?}"),
    }
}
