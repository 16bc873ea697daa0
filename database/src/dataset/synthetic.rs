//! `dataset generate`: synthetic ratings of any number, the same for the same seed on every machine.
//!
//! Made to look like people: few movies have most of the ratings, some users rate much more than others, movies are of
//! different quality, users of different kindness, and whole stars are given more often than halves. It holds one number
//! a user and three a movie in memory, whatever the number of ratings. The random generator is Natter's own, so that a seed
//! means the same data set in every version of every library.

use std::path::Path;

use natter_common::counted::counted;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};

use super::build::{BuildError, Builder, create};
use super::{Description, Progress, RATINGS_PER_REPORT, movielens};
use crate::error::DataError;

/// MovieLens' vocabulary.
const GENRES: [&str; 18] = [
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// The earliest time that a user may begin to rate, in Unix seconds (September 2001).
const BEGINNING: i64 = 1_000_000_000;

/// Within how many seconds after that every user has begun (19 years).
const SPAN_SECONDS: u64 = 600_000_000;

/// Parameters of a synthetic data set.
#[derive(Clone, Debug)]
pub struct Plan {
    users: u32,
    /// Ascending.
    movie_ids: Vec<MovieId>,
    ratings: u64,
    seed: u64,
}

impl Plan {
    /// Users 1 to `users`, movies 1 to `movies`. Fails where there aren't as many pairs of them as `ratings`.
    pub fn new(users: u32, movies: u32, ratings: u64, seed: u64) -> Result<Self, DataError> {
        let movie_ids = (1..=movies).filter_map(|id| MovieId::new(id).ok()).collect();
        Self::of_movies(users, movie_ids, ratings, seed)
    }

    /// Users 1 to `users`, and these movies.
    pub fn of_movies(users: u32, mut movie_ids: Vec<MovieId>, ratings: u64, seed: u64) -> Result<Self, DataError> {
        movie_ids.sort_unstable();
        movie_ids.dedup();
        let impossible = |why| {
            let what = format!(
                "{} by {} of {}",
                counted(ratings, "rating"),
                counted(users, "user"),
                counted(movie_ids.len(), "movie")
            );
            Err(DataError::Impossible { what, why })
        };
        if users == 0 || movie_ids.is_empty() {
            return impossible("there must be at least one user and one movie");
        }
        if u128::from(ratings) > u128::from(users) * movie_ids.len() as u128 {
            return impossible("a user rates a movie once, so there are at most users times movies");
        }
        Ok(Self { users, movie_ids, ratings, seed })
    }

    /// Makes the ratings, in ascending user, then movie. Stops at the first error of `take`.
    pub fn for_each<E>(&self, mut take: impl FnMut(RatingKey, Stars, i64) -> Result<(), E>) -> Result<(), E> {
        let mut random = Random::new(self.seed);
        let counts = self.ratings_per_user(&mut random);
        let ratings_per_user = self.ratings as f64 / f64::from(self.users);
        let mut movies = Movies::new(self.movie_ids.len(), ratings_per_user, &mut random);
        let mut chosen = Vec::new();
        let scale: Vec<Stars> = (1..=10).filter_map(|half_stars| Stars::from_half_stars(half_stars).ok()).collect();
        for (user, count) in (1..=self.users).zip(counts) {
            let Ok(user_id) = UserId::new(user) else { continue };
            let kindness = 0.4 * random.normal();
            let beginning = BEGINNING + random.below(SPAN_SECONDS) as i64;
            movies.choose(count as usize, &mut random, &mut chosen);
            for position in &chosen {
                let position = *position as usize;
                let opinion = 3.4 + movies.quality[position] + kindness + 0.9 * random.normal();
                let stars = scale[half_stars(opinion, &mut random) - 1];
                let timestamp = beginning + random.below(u64::from(count) * 120) as i64;
                take(RatingKey { user_id, movie_id: self.movie_ids[position] }, stars, timestamp)?;
            }
        }
        Ok(())
    }

    /// Number of ratings of each user: a third of the mean for everyone, and the rest by weights of which a few are
    /// much greater than the others.
    fn ratings_per_user(&self, random: &mut Random) -> Vec<u32> {
        let (users, movies) = (u64::from(self.users), self.movie_ids.len() as u64);
        let least = self.ratings / users / 3;
        let rest = self.ratings - least * users;
        let weights: Vec<f32> = (0..users).map(|_| (1.0 / (0.05 + random.unit())) as f32).collect();
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let (mut weight_before, mut given) = (0.0, 0);
        let mut counts = Vec::with_capacity(weights.len());
        for weight in weights {
            weight_before += f64::from(weight);
            // The part of `rest` that falls to all users up to this one, rounded down, less the ratings given to those
            // before.
            let share = ((rest as f64 * (weight_before / sum)) as u64).clamp(given, rest) - given;
            let count = (least + share).min(movies);
            given += share;
            counts.push(count as u32);
        }
        // Ratings left over by rounding or by a full list of movies go evenly to the users with room.
        let mut left = self.ratings - counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        while left > 0 {
            let share = (left / users).max(1);
            for count in &mut counts {
                let more = share.min(movies - u64::from(*count)).min(left);
                *count += more as u32;
                left -= more;
            }
        }
        counts
    }
}

/// The plan by which the sample's ratings were made.
pub fn sample_plan() -> Result<Plan, DataError> {
    Plan::of_movies(610, movielens::sample_movie_ids()?, 21_000, 42)
}

/// The movies, by position: how good they are, and how popular.
struct Movies {
    /// In stars, around 0.
    quality: Vec<f64>,
    /// Positions of the movies, most popular first.
    by_popularity: Vec<u32>,
    /// Evenness of the choice: from near 0, where a few movies get most, towards 1.
    evenness: f64,
    /// All false between two choices.
    is_chosen: Vec<bool>,
}

impl Movies {
    fn new(number: usize, ratings_per_user: f64, random: &mut Random) -> Self {
        let mut by_popularity: Vec<u32> = (0..number as u32).collect();
        random.shuffle(&mut by_popularity);
        let mut quality = vec![0.0; number];
        for (rank, position) in by_popularity.iter().enumerate() {
            // Movies that many users saw get a slightly better rating.
            quality[*position as usize] = 0.4 * random.normal() + 0.6 * (0.5 - rank as f64 / number as f64);
        }
        // A movie at the top is as many times likelier than the mean as lets about half of the users choose it.
        let times_the_mean = 0.6 * number as f64 / ratings_per_user;
        let evenness = (1.0 / (3.0 * times_the_mean)).sqrt().min(0.9);
        Self { quality, by_popularity, evenness, is_chosen: vec![false; number] }
    }

    /// A place in the order of popularity, from 0 to just below 1, low ones likelier: on a stretch of a cubic parabola.
    fn popular(&self, random: &mut Random) -> f64 {
        let cube = |x: f64| x * x * x;
        let start = cube(self.evenness);
        let place = self.evenness + (1.0 - self.evenness) * random.unit();
        ((cube(place) - start) / (1.0 - start)).clamp(0.0, 1.0 - f64::EPSILON)
    }

    /// Puts `count` different movies into `chosen`, popular ones more often; ascending.
    fn choose(&mut self, count: usize, random: &mut Random, chosen: &mut Vec<u32>) {
        let number = self.by_popularity.len();
        // To choose more than half, it is faster to choose those that are left out.
        let leaves_out = count > number / 2;
        let wanted = if leaves_out { number - count } else { count };
        chosen.clear();
        let mut attempts = 0;
        while chosen.len() < wanted {
            // Any movie will do once the popular ones are used up, so that the loop ends.
            let is_any = leaves_out || attempts > 8 * wanted;
            let place = if is_any { random.unit() } else { self.popular(random) };
            // Rounding may reach `number` itself.
            let position = self.by_popularity[((place * number as f64) as usize).min(number - 1)];
            attempts += 1;
            if !std::mem::replace(&mut self.is_chosen[position as usize], true) {
                chosen.push(position);
            }
        }
        if leaves_out {
            chosen.clear();
            chosen.extend((0..number as u32).filter(|position| !self.is_chosen[*position as usize]));
            self.is_chosen.fill(false);
        } else {
            chosen.sort_unstable();
            for position in chosen.iter() {
                self.is_chosen[*position as usize] = false;
            }
        }
    }
}

/// The nearest rating, from 1 to 10; whole stars a little more often.
fn half_stars(opinion: f64, random: &mut Random) -> usize {
    let half_stars = (opinion * 2.0).round().clamp(1.0, 10.0) as usize;
    let is_half = half_stars % 2 == 1;
    if is_half && half_stars > 1 && random.below(10) < 4 { half_stars + 1 } else { half_stars }
}

/// Generates a data set into a new file; `replace` says whether an existing file may go.
pub fn generate(
    plan: &Plan,
    file: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Description, DataError> {
    create(file, replace, progress, |builder, progress| {
        let movies = add_movies(plan, builder);
        let ratings = movies.and_then(|()| {
            plan.for_each(|key, stars, timestamp| {
                builder.rating(key, stars, timestamp)?;
                let ratings = builder.ratings();
                if ratings.is_multiple_of(RATINGS_PER_REPORT) {
                    let fraction = ratings as f64 / plan.ratings as f64;
                    progress(Progress { doing: "generating ratings", ratings, fraction });
                }
                Ok(())
            })
        });
        ratings.map_err(|error| match error {
            BuildError::Failed(error) => error.into(),
            // Never: the movies are different, and so are those that one user rates.
            BuildError::Refused(problem) => {
                DataError::Impossible { what: problem.to_string(), why: "this is a mistake in the generator" }
            }
        })
    })
}

fn add_movies(plan: &Plan, builder: &mut Builder<'_>) -> Result<(), BuildError> {
    // Random numbers of titles are another stream, so that ratings don't depend on the way titles are made.
    let mut random = Random::new(!plan.seed);
    for movie_id in &plan.movie_ids {
        let year = 1920 + random.below(105);
        let mut genres: Vec<&str> =
            (0..=random.below(3)).map(|_| GENRES[random.below(GENRES.len() as u64) as usize]).collect();
        genres.sort_unstable();
        genres.dedup();
        builder.movie(*movie_id, &format!("Synthetic Film {movie_id} ({year})"), &genres.join("|"))?;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Equal seeds, equal numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// An integer from 0 to `bound`−1. The bias is below 2⁻³² for the bounds in use, and harmless.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a number from 0 to just below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, mean 0, standard deviation 1, within ±3.5. Made of additions only, so that every machine agrees.
    pub(crate) fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 1.732_050_807_568_877_2
    }

    /// Puts `items` into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}
