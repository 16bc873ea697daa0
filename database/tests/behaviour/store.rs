//! The store against the simplest model of it: a map of rows, counted anew for each question.

use std::collections::BTreeMap;

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::request::{Answer, Query};
use natter_common::value::{QueryError, Row, Value};
use natter_database::Store;
use proptest::prelude::*;

use crate::common::{all, key, movie, open, user};

/// Three movies, four ratings; user 3 has none.
const MOVIES: &str = "movieId,title,genres\n1,One (2001),Drama\n2,Two (2002),Comedy|War\n5,Five (2005),Drama\n";
const RATINGS: &str = "userId,movieId,rating,timestamp\n1,1,4.0,100\n1,2,0.5,101\n2,1,5.0,102\n2,5,2.5,103\n";

fn update_id(number: u8) -> UpdateId {
    UpdateId::from_stamp(Stamp::new(1, 0), u64::from(number))
}

fn row(half_stars: Option<u8>, stamp: u64, id: u8) -> Row {
    Row {
        stars: half_stars.map(|number| Stars::from_half_stars(number).unwrap()),
        timestamp: stamp as i64,
        stamp: Stamp(stamp),
        update_id: Some(update_id(id)),
    }
}

type Model = BTreeMap<RatingKey, Row>;

fn base_model() -> Model {
    let base = |half_stars, timestamp| Row {
        stars: Some(Stars::from_half_stars(half_stars).unwrap()),
        timestamp,
        stamp: Stamp::ZERO,
        update_id: None,
    };
    [(key(1, 1), base(8, 100)), (key(1, 2), base(1, 101)), (key(2, 1), base(10, 102)), (key(2, 5), base(5, 103))].into()
}

fn apply_to_model(model: &mut Model, key: RatingKey, row: Row) {
    let stands = model.get(&key).is_some_and(|old| old.order() >= row.order());
    if !stands {
        model.insert(key, row);
    }
}

/// Everything that can be seen of the store agrees with the model.
fn assert_shows(store: &Store, model: &Model) {
    for user_number in 1..=3 {
        let live: Vec<_> = model
            .iter()
            .filter(|(key, row)| key.user_id == user(user_number) && row.stars.is_some())
            .map(|(key, row)| (key.movie_id, row.stars, Some(row.timestamp), row.update_id))
            .collect();
        let page = all(store, user_number, 5000, 0);
        let shown: Vec<_> = page
            .ratings
            .iter()
            .map(|rating| (rating.movie_id, rating.rating, rating.timestamp, rating.update_id))
            .collect();
        assert_eq!(shown, live);
        assert_eq!((page.total, page.next), (live.len() as u64, None));
        for movie_number in [1, 2, 5] {
            let key = key(user_number, movie_number);
            assert_eq!(store.row(key).unwrap(), model.get(&key).copied());
        }
    }
    for movie_number in [1, 2, 5] {
        let stars: Vec<f64> = model
            .iter()
            .filter(|(key, _)| key.movie_id == movie(movie_number))
            .filter_map(|(_, row)| row.stars.map(Stars::as_f64))
            .collect();
        let average = crate::common::average(store, movie_number);
        assert_eq!(average.count, stars.len() as u64);
        let mean = (!stars.is_empty()).then(|| stars.iter().sum::<f64>() / stars.len() as f64);
        assert_eq!(average.average, mean);
    }
}

/// Updates of 3 users and 3 movies, often of the same key, now and then twice with one order: with its content then.
fn updates() -> impl Strategy<Value = Vec<(RatingKey, Row)>> {
    let one = (1u32..=3, prop::sample::select(vec![1u32, 2, 5]), 0u64..6, 0u8..3);
    prop::collection::vec(one, 0..40).prop_map(|updates| {
        updates
            .into_iter()
            .map(|(user_number, movie_number, stamp, id)| {
                let half_stars = ((u64::from(user_number) + stamp * 3 + u64::from(id)) % 11) as u8;
                (key(user_number, movie_number), row((half_stars > 0).then_some(half_stars), stamp, id))
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_repetition_of_updates_gives_the_same_ratings(
        (updates, shuffled) in updates().prop_flat_map(|updates| {
            let twice = [updates.clone(), updates.clone()].concat();
            (Just(updates), Just(twice).prop_shuffle())
        })
    ) {
        let (mut one, mut other, mut model) = (open(MOVIES, RATINGS), open(MOVIES, RATINGS), base_model());
        for (key, row) in updates {
            one.apply(key, row).unwrap();
            apply_to_model(&mut model, key, row);
        }
        for (key, row) in shuffled {
            other.apply(key, row).unwrap();
        }
        other.commit().unwrap();
        assert_shows(&one, &model);
        assert_shows(&other, &model);
        prop_assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn the_digest_depends_on_what_stands_and_on_nothing_else(updates in updates()) {
        let (mut store, mut model) = (open(MOVIES, RATINGS), base_model());
        for (key, row) in updates {
            store.apply(key, row).unwrap();
            apply_to_model(&mut model, key, row);
        }
        // Straight to the end: each row that stands, and no row that was ever replaced.
        let mut fresh = open(MOVIES, RATINGS);
        for (key, row) in model {
            fresh.apply(key, row).unwrap();
        }
        prop_assert_eq!(store.digest(), fresh.digest());
    }

    #[test]
    fn apply_says_whether_the_row_stands(updates in updates()) {
        let mut store = open(MOVIES, RATINGS);
        for (key, row) in updates {
            let stands = store.apply(key, row).unwrap();
            prop_assert_eq!(stands, store.row(key).unwrap() == Some(row));
        }
    }
}

#[test]
fn two_updates_that_share_an_id_by_mistake_leave_the_same_rating_in_either_order() {
    let rows = [row(Some(3), 9, 1), row(Some(7), 9, 1), row(None, 9, 1)];
    let digests: Vec<_> = [[0, 1, 2], [2, 1, 0], [1, 2, 0]]
        .into_iter()
        .map(|order| {
            let mut store = open(MOVIES, RATINGS);
            for index in order {
                store.apply(key(3, 1), rows[index]).unwrap();
            }
            store.digest()
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn deleting_everything_leaves_the_digest_of_no_ratings() {
    let mut store = open(MOVIES, RATINGS);
    for (key, _) in base_model() {
        store.apply(key, row(None, 1, 0)).unwrap();
    }
    assert_eq!(store.digest(), open(MOVIES, "userId,movieId,rating,timestamp\n").digest());
    assert_eq!(crate::common::average(&store, 1).average, None);
}

#[test]
fn the_digest_tells_every_part_of_a_rating() {
    let standing = |half_stars, timestamp, id: Option<u8>, user_number, movie_number| {
        let mut store = open(MOVIES, RATINGS);
        let stars = Some(Stars::from_half_stars(half_stars).unwrap());
        let row = Row { stars, timestamp, stamp: Stamp(1), update_id: id.map(update_id) };
        store.apply(key(user_number, movie_number), row).unwrap();
        store.digest()
    };
    let digests = [
        standing(1, 1, None, 3, 1),
        standing(2, 1, None, 3, 1),
        standing(1, 2, None, 3, 1),
        standing(1, 1, Some(0), 3, 1),
        standing(1, 1, Some(1), 3, 1),
        standing(1, 1, None, 1, 5),
        standing(1, 1, None, 3, 2),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "{index}");
    }
}

#[test]
fn the_digest_does_not_depend_on_the_stamp() {
    let [mut one, mut other] = [open(MOVIES, RATINGS), open(MOVIES, RATINGS)];
    let row = row(Some(4), 7, 1);
    one.apply(key(1, 1), row).unwrap();
    other.apply(key(1, 1), Row { stamp: Stamp(u64::MAX), ..row }).unwrap();
    assert_eq!(one.digest(), other.digest());
    assert_eq!(other.row(key(1, 1)).unwrap().unwrap().stamp, Stamp(u64::MAX));
}

#[test]
fn a_rating_that_is_not_there_is_read_as_such() {
    let mut store = open(MOVIES, RATINGS);
    let read = |store: &Store, movie_number| match store
        .answer(&Query::Read { user_id: user(3), movie_id: movie(movie_number) })
    {
        Ok(Answer::Rating(rating)) => Ok((rating.title, rating.rating, rating.timestamp, rating.update_id)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(read(&store, 1).unwrap(), ("One (2001)".to_owned(), None, None, None));
    store.apply(key(3, 1), row(None, 77, 4)).unwrap();
    assert_eq!(read(&store, 1).unwrap(), ("One (2001)".to_owned(), None, Some(77), Some(update_id(4))));
    assert!(matches!(read(&store, 3), Err(QueryError::MovieNotFound(id)) if id == movie(3)));
}

#[test]
fn the_average_of_a_film_that_is_not_there_is_an_error() {
    let store = open(MOVIES, RATINGS);
    let error = store.answer(&Query::Average { movie_id: movie(3) }).unwrap_err();
    assert_eq!(error.to_string(), "there is no movie 3");
    assert_eq!(store.title(movie(3)), None);
    assert_eq!(store.title(movie(5)), Some("Five (2005)"));
}

#[test]
fn an_update_of_a_film_that_is_not_there_does_no_harm() {
    let mut store = open(MOVIES, RATINGS);
    assert!(store.apply(key(1, 99), row(Some(3), 5, 1)).unwrap());
    assert_eq!(all(&store, 1, 10, 0).total, 3);
    assert_eq!(all(&store, 1, 10, 2).ratings[0].title, "");
}

#[test]
fn a_store_may_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&open(MOVIES, RATINGS));
}
