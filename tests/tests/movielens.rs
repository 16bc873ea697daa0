//! A live cluster on the real ml-latest-small: all seven operations agree with the files.
//!
//! The files are in `MOVIELENS_DIR`, or in `../shared/movielens` beside the checkout. Without them this test is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use natter_tests::harness::{Session, Wire, World, update_id_v7};
use serde_json::{Value, json};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
/// Number of requests that wait for their answers at the same time.
const AT_ONCE: usize = 24;

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/movielens");
    let folder = std::env::var_os("MOVIELENS_DIR").map_or(beside, PathBuf::from);
    (folder.join("movies.csv").exists() && folder.join("ratings.csv").exists()).then_some(folder)
}

/// A movie, as the file has it.
struct Movie {
    title: String,
    genres: Vec<String>,
    /// Half stars of all its ratings.
    ratings: Vec<u32>,
}

impl Movie {
    fn average(&self) -> Value {
        let sum: u32 = self.ratings.iter().sum();
        if self.ratings.is_empty() { Value::Null } else { json!(f64::from(sum) / 2.0 / self.ratings.len() as f64) }
    }
}

/// The files, read without anything of Natter's.
struct Files {
    movies: BTreeMap<u64, Movie>,
    /// Half stars and Unix seconds, by user, then movie.
    ratings: BTreeMap<u64, BTreeMap<u64, (u32, u64)>>,
}

impl Files {
    fn read(folder: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let mut movies = BTreeMap::new();
        for line in text("movies.csv").lines().skip(1) {
            let fields = fields(line);
            let [id, title, genres] = &fields[..] else { panic!("{line}") };
            let genres = genres.split('|').filter(|&genre| genre != "(no genres listed)").map(str::to_owned).collect();
            movies.insert(id.parse().unwrap(), Movie { title: title.clone(), genres, ratings: Vec::new() });
        }
        let mut ratings: BTreeMap<u64, BTreeMap<u64, (u32, u64)>> = BTreeMap::new();
        for line in text("ratings.csv").lines().skip(1) {
            let fields = fields(line);
            let [user, movie, stars, seconds] = &fields[..] else { panic!("{line}") };
            let half_stars = (stars.parse::<f64>().unwrap() * 2.0) as u32;
            let movie = movie.parse().unwrap();
            movies.get_mut(&movie).unwrap().ratings.push(half_stars);
            let of_user = ratings.entry(user.parse().unwrap()).or_default();
            of_user.insert(movie, (half_stars, seconds.parse().unwrap()));
        }
        Self { movies, ratings }
    }

    fn rating(&self, user_id: u64, movie_id: u64) -> Value {
        let found = self.ratings[&user_id].get(&movie_id);
        json!({"user_id": user_id, "movie_id": movie_id, "title": self.movies[&movie_id].title,
            "rating": found.map(|(half_stars, _)| f64::from(*half_stars) / 2.0), "timestamp": found.map(|(_, seconds)| seconds),
            "update_id": null})
    }

    fn average(&self, movie_id: u64) -> Value {
        let movie = &self.movies[&movie_id];
        json!({"movie_id": movie_id, "title": movie.title, "average": movie.average(), "count": movie.ratings.len()})
    }

    /// Best known first, then by number.
    fn search(&self, part: &str, limit: usize) -> Value {
        let part = part.to_lowercase();
        let found = self.movies.iter().filter(|(_, movie)| movie.title.to_lowercase().contains(&part));
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(id, movie)| (std::cmp::Reverse(movie.ratings.len()), **id));
        let movies: Vec<Value> = found
            .into_iter()
            .take(limit)
            .map(|(id, movie)| {
                json!({"movie_id": id, "title": movie.title, "genres": movie.genres, "average": movie.average(),
                    "count": movie.ratings.len()})
            })
            .collect();
        json!({"movies": movies})
    }
}

/// The fields of a line of CSV, with quotes where there are commas.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    fields.push(field);
    fields
}

async fn value_of(wire: &Wire, operation: &str, map: Value) -> Value {
    wire.ask(operation, map).await.ok()["value"].take()
}

#[tokio::test]
async fn all_operations_agree_with_the_files_of_movielens() {
    let Some(folder) = folder() else {
        println!("skipped: no MovieLens data (set MOVIELENS_DIR to a folder with movies.csv and ratings.csv)");
        return;
    };
    let files = Files::read(&folder);
    let world = World::new(ROLES).await;
    let started = Instant::now();
    let cluster = world.cluster("ratings").database(&folder).start(1, 2).await;
    println!("{} films and {} users; ready after {:?}", files.movies.len(), files.ratings.len(), started.elapsed());
    let wire = &cluster.wire;
    timed("all ratings of every user", every_users_ratings(wire, &files)).await;
    timed("reads of every user", reads_of_every_user(wire, &files)).await;
    timed("the average of every film", every_average(wire, &files)).await;
    timed("searches", searches(wire, &files)).await;
    timed("updates", updates_are_seen_and_averages_follow(wire, &files)).await;
    cluster.until_agreed(&["r1", "r2"]).await;
    cluster.finish().await;
}

async fn timed(what: &str, work: impl Future<Output = usize>) {
    let started = Instant::now();
    println!("{what}: {} requests in {:?}", work.await, started.elapsed());
}

/// Reads the ratings of every user, with pages of different sizes.
async fn every_users_ratings(wire: &Wire, files: &Files) -> usize {
    let asking = files.ratings.iter().map(|(&user_id, ratings)| async move {
        let limit = [7, 100, 1000, 5000][user_id as usize % 4].max(ratings.len() / 20);
        let (mut found, mut after, mut pages) = (Vec::new(), json!(null), 0);
        loop {
            let map = json!({"user_id": user_id, "limit": limit, "after": after});
            let page = value_of(wire, "all", map).await;
            assert_eq!(page["total"], ratings.len(), "user {user_id}");
            let ratings = page["ratings"].as_array().unwrap();
            assert!(ratings.len() <= limit);
            found.extend(ratings.iter().cloned());
            after = page["next"].clone();
            pages += 1;
            if after.is_null() {
                break;
            }
        }
        let expected: Vec<Value> = ratings.keys().map(|&movie_id| files.rating(user_id, movie_id)).collect();
        assert_eq!(found, expected, "user {user_id}");
        pages
    });
    stream::iter(asking).buffer_unordered(AT_ONCE).collect::<Vec<usize>>().await.into_iter().sum()
}

/// Reads some ratings of each user, and one that does not exist.
async fn reads_of_every_user(wire: &Wire, files: &Files) -> usize {
    let mut asked: Vec<(u64, u64)> = Vec::new();
    for (&user_id, ratings) in &files.ratings {
        asked.extend(ratings.keys().step_by(ratings.len() / 3).map(|&movie_id| (user_id, movie_id)));
        asked.extend(files.movies.keys().find(|movie_id| !ratings.contains_key(movie_id)).map(|&id| (user_id, id)));
    }
    let count = asked.len();
    let asking = asked.into_iter().map(|(user_id, movie_id)| async move {
        let value = value_of(wire, &format!("read.{user_id}"), json!({"movie_id": movie_id})).await;
        assert_eq!(value, files.rating(user_id, movie_id));
    });
    stream::iter(asking).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    count
}

async fn every_average(wire: &Wire, files: &Files) -> usize {
    let asking = files.movies.keys().map(|&movie_id| async move {
        assert_eq!(value_of(wire, "average", json!({"movie_id": movie_id})).await, files.average(movie_id));
    });
    stream::iter(asking).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await.len()
}

async fn searches(wire: &Wire, files: &Files) -> usize {
    // A few by hand, and a part of every 97th title, in another case.
    let parts =
        ["toy", "STAR WARS", "the", "(1995)", "é", "%", "_", "\\", "'", "\"", ", The", "", "no such film", "100%"];
    let mut parts: Vec<String> = parts.map(str::to_owned).to_vec();
    for movie in files.movies.values().step_by(97) {
        let part: String = movie.title.chars().skip(1).take(7).collect();
        parts.extend([part.to_uppercase(), part]);
    }
    let count = parts.len();
    let asking = parts.into_iter().enumerate().map(|(number, part)| async move {
        let limit = [20, 100, 3][number % 3];
        let map = json!({"title": part, "limit": limit});
        assert_eq!(value_of(wire, "search", map).await, files.search(&part, limit), "{part:?}");
    });
    stream::iter(asking).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    count
}

async fn updates_are_seen_and_averages_follow(wire: &Wire, files: &Files) -> usize {
    let mut writer = Session::new(wire);
    let mut reader = Session::new(wire);
    let users: Vec<u64> = files.ratings.keys().copied().step_by(61).collect();
    let mut requests = 0;
    for user_id in users {
        let ratings = &files.ratings[&user_id];
        let &movie_id = files.movies.keys().rfind(|movie_id| !ratings.contains_key(movie_id)).unwrap();
        let movie = &files.movies[&movie_id];
        let sum: u32 = movie.ratings.iter().sum();
        for (operation, half_stars) in [("create", Some(9)), ("update", Some(3)), ("delete", None)] {
            let id = update_id_v7(Duration::ZERO);
            let mut map = json!({"user_id": user_id, "movie_id": movie_id, "id": id});
            if let Some(half_stars) = half_stars {
                map["rating"] = json!(f64::from(half_stars) / 2.0);
            }
            let written = writer.ask(operation, map).await.ok();
            // The write is seen by every later read: of its session, of one that got its label, and of any other by way
            // of the same frontend.
            reader.merge(&written["label"]);
            let map = json!({"user_id": user_id, "movie_id": movie_id});
            for read in [
                writer.ask("read", map.clone()).await.ok(),
                reader.ask("read", map.clone()).await.ok(),
                wire.ask("read", map.clone()).await.ok(),
            ] {
                assert_eq!(
                    read["value"]["rating"],
                    json!(half_stars.map(|half_stars: u32| f64::from(half_stars) / 2.0))
                );
            }
            let count = movie.ratings.len() + usize::from(half_stars.is_some());
            let average = (sum + half_stars.unwrap_or(0)) as f64 / 2.0 / count as f64;
            let average = if count == 0 { Value::Null } else { json!(average) };
            let told = reader.ask("average", json!({"movie_id": movie_id})).await.ok();
            assert_eq!((&told["value"]["average"], &told["value"]["count"]), (&average, &json!(count)), "{operation}");
            let all = reader.ask("all", json!({"user_id": user_id, "limit": 1})).await.ok();
            assert_eq!(all["value"]["total"], ratings.len() + usize::from(half_stars.is_some()));
            requests += 6;
        }
    }
    requests
}
