//! Pages and searches.

use natter_common::clock::Stamp;
use natter_common::rating::Stars;
use natter_common::request::{Answer, SEARCH_LIMIT_MAX};
use natter_common::value::{Row, Value};
use natter_database::Store;

use crate::common::{all, key, open, search};

fn rate(store: &mut Store, user_number: u32, movie_number: u32, half_stars: Option<u8>) {
    let stars = half_stars.map(|number| Stars::from_half_stars(number).unwrap());
    let row = Row { stars, timestamp: 1, stamp: Stamp(1), update_id: None };
    store.apply(key(user_number, movie_number), row).unwrap();
}

/// `number` movies with this title, each rated by user 1.
fn films(number: u32, title: &str) -> Store {
    let mut movies = "movieId,title,genres\n".to_owned();
    let mut ratings = "userId,movieId,rating,timestamp\n".to_owned();
    for id in 1..=number {
        movies += &format!("{id},\"{title}\",Drama\n");
        ratings += &format!("1,{id},4.0,{}\n", i64::MIN);
    }
    open(movies, ratings)
}

#[test]
fn pages_follow_one_another_without_gap_or_repetition() {
    let mut store = films(25, "A Film");
    rate(&mut store, 1, 7, None);
    rate(&mut store, 1, 8, Some(1));
    let (mut movies, mut after, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = all(&store, 1, 8, after);
        assert_eq!(page.total, 24);
        movies.extend(page.ratings.iter().map(|rating| rating.movie_id.get()));
        pages += 1;
        match page.next {
            Some(next) => after = next.get(),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(movies, (1..=25).filter(|id| *id != 7).collect::<Vec<_>>());
}

#[test]
fn the_last_page_says_so_even_if_it_is_full() {
    let store = films(4, "A Film");
    assert_eq!(all(&store, 1, 4, 0).next, None);
    assert_eq!(all(&store, 1, 3, 0).next.map(|id| id.get()), Some(3));
    assert_eq!(all(&store, 1, 3, 4).ratings, []);
    assert_eq!(all(&store, 1, 3, u32::MAX).ratings, []);
}

#[test]
fn a_limit_off_its_range_is_the_nearest_one_in_it() {
    let store = films(3, "A Film");
    assert_eq!(all(&store, 1, 0, 0).ratings.len(), 1);
    assert_eq!(all(&store, 1, u32::MAX, 0).ratings.len(), 3);
}

#[test]
fn a_user_nobody_knows_has_no_ratings() {
    let page = all(&films(3, "A Film"), u32::MAX, 10, 0);
    assert_eq!((page.ratings.len(), page.total, page.next), (0, 0, None));
}

#[test]
fn a_user_known_only_by_updates_has_ratings() {
    let mut store = films(3, "A Film");
    rate(&mut store, 900, 2, Some(6));
    let page = all(&store, 900, 10, 0);
    assert_eq!((page.ratings.len(), page.total, page.next), (1, 1, None));
}

#[test]
fn a_page_ends_before_it_is_too_long_for_the_broker() {
    // The longest titles, and each letter of the first kind takes six in JSON.
    for title in ["\u{1}".repeat(1000), "x".repeat(1000), "é".repeat(500)] {
        let store = films(1500, &title);
        let mut after = 0;
        let mut seen = 0;
        loop {
            let page = all(&store, 1, 5000, after);
            seen += page.ratings.len();
            let next = page.next;
            let bytes = serde_json::to_vec(&Answer::Ratings(page)).unwrap().len();
            assert!(bytes < 1_000_000, "{bytes}");
            match next {
                Some(next) => {
                    assert!(bytes > 700_000, "{bytes}");
                    after = next.get();
                }
                None => break,
            }
        }
        assert_eq!(seen, 1500);
    }
}

#[test]
fn the_longest_search_result_fits_into_a_reply() {
    let mut movies = "movieId,title,genres\n".to_owned();
    for id in 1..=SEARCH_LIMIT_MAX {
        movies += &format!("{id},\"{}\",\"{}\"\n", "\u{1}".repeat(1000), "\u{1}|".repeat(150));
    }
    let found = search(&open(movies, "userId,movieId,rating,timestamp\n"), "", SEARCH_LIMIT_MAX);
    assert_eq!(found.len(), SEARCH_LIMIT_MAX as usize);
    assert!(serde_json::to_vec(&found).unwrap().len() < 1_000_000);
}

fn titled() -> Store {
    open(
        "movieId,title,genres\n\
         1,100% Wolf (2020),Animation|Children\n\
         2,100 Streets (2016),Drama\n\
         3,snake_case (1999),(no genres listed)\n\
         4,snakeXcase (1999),Drama\n\
         5,Le Fabuleux Destin d'Amélie Poulain (2001),Comedy|Romance\n\
         6,Die große Stille (2005),Documentary\n\
         7,Ο Θίασος (1975),Drama\n\
         8,Сталкер (1979),Sci-Fi\n\
         9,\"The \"\"Quoted\"\", and more (1990)\",Drama\n\
         10,C:\\Movies\\* [a-z]? (2000),Drama\n",
        "userId,movieId,rating,timestamp\n1,4,3.0,1\n1,3,3.0,1\n2,4,4.0,1\n1,9,5.0,1\n",
    )
}

fn ids(store: &Store, title: &str) -> Vec<u32> {
    search(store, title, 100).iter().map(|movie| movie.movie_id.get()).collect()
}

#[test]
fn signs_with_a_meaning_elsewhere_mean_themselves() {
    let store = titled();
    for (title, found) in [
        ("100%", vec![1]),
        ("100", vec![1, 2]),
        ("e_c", vec![3]),
        ("%", vec![1]),
        ("_", vec![3]),
        ("\"", vec![9]),
        ("'", vec![5]),
        ("\\", vec![10]),
        ("*", vec![10]),
        ("[a-z]?", vec![10]),
        (".", vec![]),
        ("\0", vec![]),
    ] {
        assert_eq!(ids(&store, title), found, "{title:?}");
    }
}

#[test]
fn case_does_not_count_in_any_script() {
    let store = titled();
    for (title, found) in [
        ("AMÉLIE", 5),
        ("ame\u{301}lie", 5),
        ("GROSSE", 6),
        ("groẞe", 6),
        ("ΘΊΑΣΟΣ", 7),
        ("θίασοσ", 7),
        ("сТАЛКЕР", 8),
        ("STREETS", 2),
    ] {
        assert_eq!(ids(&store, title), [found], "{title:?}");
    }
}

#[test]
fn the_best_known_come_first_and_equals_by_id() {
    let mut store = titled();
    assert_eq!(ids(&store, ""), [4, 3, 9, 1, 2, 5, 6, 7, 8, 10]);
    for user_number in 1..=3 {
        rate(&mut store, user_number, 8, Some(9));
    }
    rate(&mut store, 1, 4, None);
    assert_eq!(ids(&store, ""), [8, 3, 4, 9, 1, 2, 5, 6, 7, 10]);
    for limit in 1..=10 {
        let found: Vec<_> = search(&store, "", limit).iter().map(|movie| movie.movie_id.get()).collect();
        assert_eq!(found, [8, 3, 4, 9, 1, 2, 5, 6, 7, 10][..limit as usize]);
    }
}

#[test]
fn a_found_film_tells_all_about_itself() {
    let store = titled();
    let found = search(&store, "SNAKE", 2);
    assert_eq!(found[0].title, "snakeXcase (1999)");
    assert_eq!((found[0].average, found[0].count), (Some(3.5), 2));
    assert_eq!(found[0].genres, ["Drama"]);
    assert_eq!(found[1].genres, [""; 0]);
    let found = search(&store, "wolf", 1);
    assert_eq!((found[0].average, found[0].count), (None, 0));
    assert_eq!(found[0].genres, ["Animation", "Children"]);
}
