//! Synthetic data sets.

use std::collections::BTreeSet;
use std::convert::Infallible;

use natter_database::Description;
use natter_database::dataset::{Plan, generate, silent, verify};
use proptest::prelude::*;

fn generated(users: u32, movies: u32, ratings: u64, seed: u64) -> Description {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("synthetic.sqlite");
    let plan = Plan::new(users, movies, ratings, seed).unwrap();
    let description = generate(&plan, &file, false, &mut silent).unwrap();
    assert_eq!(verify(&file, &mut silent).unwrap(), description);
    description
}

#[test]
fn a_seed_means_the_same_data_set_for_ever() {
    let one = generated(100, 200, 5000, 7);
    assert_eq!(one, generated(100, 200, 5000, 7));
    assert_ne!(one.fingerprint, generated(100, 200, 5000, 8).fingerprint);
    // A change of this breaks the promise that other machines and versions make the same.
    assert_eq!(one.fingerprint.to_string(), "f4dfa54a6d27d523");
}

#[test]
fn some_films_are_much_more_popular_than_others() {
    let mut counts = vec![0u32; 1000];
    let plan = Plan::new(500, 1000, 50_000, 1).unwrap();
    let done: Result<(), Infallible> = plan.for_each(|key, _, _| {
        counts[key.movie_id.get() as usize - 1] += 1;
        Ok(())
    });
    done.unwrap();
    counts.sort_unstable();
    let top: u32 = counts[900..].iter().sum();
    assert!((12_000..35_000).contains(&top), "a tenth of the films has {top} of 50,000 ratings");
}

#[test]
fn more_ratings_than_pairs_are_refused() {
    let error = Plan::new(3, 4, 13, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot generate 13 ratings by 3 users of 4 movies: a user rates a movie once, so there are at most users times \
         movies"
    );
    for (users, movies) in [(0, 1), (1, 0)] {
        let error = Plan::new(users, movies, 0, 1).unwrap_err().to_string();
        assert!(error.ends_with("there must be at least one user and one movie"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_are_exactly_as_many_ratings_as_asked_for_each_of_another_pair(
        (users, movies, ratings) in (1u32..40, 1u32..40)
            .prop_flat_map(|(users, movies)| (Just(users), Just(movies), 0..=u64::from(users * movies))),
        seed: u64,
    ) {
        let mut pairs = BTreeSet::new();
        let mut last = None;
        let plan = Plan::new(users, movies, ratings, seed).unwrap();
        let done: Result<(), Infallible> = plan.for_each(|key, _, _| {
            assert!(last < Some(key), "in ascending order");
            last = Some(key);
            pairs.insert(key);
            Ok(())
        });
        done.unwrap();
        prop_assert_eq!(pairs.len() as u64, ratings);
        let is_within = pairs.iter().all(|key| key.user_id.get() <= users && key.movie_id.get() <= movies);
        prop_assert!(is_within);
    }
}
