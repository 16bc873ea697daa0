//! The real ml-latest-small, where it is: in `MOVIELENS_DIR`, or in `shared/movielens` beside the checkout.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::common::{all, average, open_path, search};
use natter_database::dataset::{import, silent, verify};

fn movielens() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/movielens"));
    let folder = std::env::var_os("MOVIELENS_DIR").map(PathBuf::from).unwrap_or(beside);
    if folder.join("ratings.csv").exists() {
        return Some(folder);
    }
    println!("skipped: no MovieLens data in {} (set MOVIELENS_DIR)", folder.display());
    None
}

/// Each user's ratings by movie: stars and timestamp.
type Ratings = BTreeMap<u32, BTreeMap<u32, (f64, i64)>>;

/// Reads ratings in the simplest way, without the reader that is tested.
fn ratings_of(text: &str) -> Ratings {
    let mut ratings = Ratings::new();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let rating = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        ratings.entry(fields[0].parse().unwrap()).or_default().insert(fields[1].parse().unwrap(), rating);
    }
    ratings
}

#[test]
fn all_and_average_agree_with_the_csv_files_for_every_user_and_film() {
    let Some(folder) = movielens() else { return };
    let ratings = ratings_of(&std::fs::read_to_string(folder.join("ratings.csv")).unwrap());
    let movies = std::fs::read_to_string(folder.join("movies.csv")).unwrap();
    let movie_ids: Vec<u32> =
        movies.lines().skip(1).map(|line| line.split_once(',').unwrap().0.parse().unwrap()).collect();
    let mut of_movie: HashMap<u32, Vec<f64>> = HashMap::new();
    for (movie_id, (stars, _)) in ratings.values().flatten() {
        of_movie.entry(*movie_id).or_default().push(*stars);
    }

    let target = tempfile::TempDir::new().unwrap();
    let file = target.path().join("movielens.sqlite");
    let description = import(&folder, &file, false, &mut silent).unwrap();
    assert_eq!(verify(&file, &mut silent).unwrap(), description);
    assert_eq!(description.counts.movies, movie_ids.len() as u64);
    assert_eq!(description.counts.users, ratings.len() as u64);
    assert_eq!(description.counts.ratings, ratings.values().map(|ratings| ratings.len() as u64).sum::<u64>());

    for path in [&folder, &file] {
        let store = open_path(path).unwrap();
        assert_eq!(store.description(), description);
        for (user_id, expected) in &ratings {
            let page = all(&store, *user_id, 5000, 0);
            assert_eq!((page.total, page.next), (expected.len() as u64, None));
            let shown = page.ratings.iter().map(|rating| {
                let stars = rating.rating.unwrap().as_f64();
                (rating.movie_id.get(), (stars, rating.timestamp.unwrap()))
            });
            assert!(shown.eq(expected.iter().map(|(movie_id, rating)| (*movie_id, *rating))));
        }
        for movie_id in &movie_ids {
            let stars = of_movie.get(movie_id).map_or(&[][..], Vec::as_slice);
            let shown = average(&store, *movie_id);
            assert_eq!(shown.count, stars.len() as u64);
            assert_eq!(shown.average, (!stars.is_empty()).then(|| stars.iter().sum::<f64>() / stars.len() as f64));
        }
    }
}

#[test]
fn titles_are_as_the_csv_file_has_them() {
    let Some(folder) = movielens() else { return };
    let store = open_path(&folder).unwrap();
    let movies = std::fs::read_to_string(folder.join("movies.csv")).unwrap();
    for line in movies.lines().skip(1) {
        let (movie_id, rest) = line.split_once(',').unwrap();
        let title = rest.rsplit_once(',').unwrap().0;
        let title = match title.strip_prefix('"').and_then(|title| title.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => title.to_owned(),
        };
        assert_eq!(average(&store, movie_id.parse().unwrap()).title, title);
    }
    let best_known = &search(&store, "toy story", 1)[0];
    assert_eq!(best_known.genres.len(), 5);
}
