//! Answers cut to the size of a message: a list of ratings or movies becomes shorter, and says so.

use serde::Serialize;

use crate::rating::{Movies, Ratings};
use crate::request::Answer;
use crate::wire::Format;

/// Room for what a shorter list has more than a longer one: `next`, or `shortened`.
const SPARE_BYTES: usize = 32;

/// Takes items from the end of a list, until what encodes them in `format` is at least `excess` bytes shorter. `false` where
/// the answer has no list, or too short a one: at least one item stays, so that every page gets on.
///
/// A page of ratings has its `next` then, and says with it where to go on. Movies are the best known first, and say that
/// there was no room for the rest.
pub fn shorten(answer: &mut Answer, format: Format, excess: usize) -> bool {
    match answer {
        Answer::Ratings(Ratings { ratings, next, .. }) => {
            let is_done = shorten_list(ratings, format, excess);
            *next = ratings.last().map(|rating| rating.movie_id);
            is_done
        }
        Answer::Movies(Movies { movies, shortened }) => {
            *shortened = true;
            shorten_list(movies, format, excess)
        }
        Answer::Rating(_) | Answer::Average(_) => false,
    }
}

fn shorten_list<T: Serialize>(items: &mut Vec<T>, format: Format, excess: usize) -> bool {
    let wanted = excess + SPARE_BYTES;
    let separator_bytes = usize::from(format == Format::Json);
    let mut gone = 0;
    while gone < wanted && items.len() > 1 {
        // An item that cannot be encoded is as good as gone.
        gone += items.pop().and_then(|item| format.encode(&item).ok()).map_or(0, |bytes| bytes.len() + separator_bytes);
    }
    gone >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MovieId, UserId};
    use crate::rating::{Average, Movie, Rating, Stars};

    fn movie_id(n: u32) -> MovieId {
        MovieId::new(n).unwrap()
    }

    fn page(length: u32) -> Answer {
        let rating = |n| Rating {
            user_id: UserId::new(7).unwrap(),
            movie_id: movie_id(n),
            title: "x".repeat(n as usize % 50),
            rating: Some(Stars::from_half_stars(7).unwrap()),
            timestamp: Some(1),
            update_id: None,
        };
        Answer::Ratings(Ratings { ratings: (1..=length).map(rating).collect(), total: 900, next: None })
    }

    fn found(length: u32) -> Answer {
        let movie = |n| {
            let title = format!("Amélie {n}");
            Movie { movie_id: movie_id(n), title, genres: vec!["Drama".to_owned()], average: None, count: 0 }
        };
        Answer::Movies(Movies { movies: (1..=length).map(movie).collect(), shortened: false })
    }

    #[test]
    fn a_list_is_cut_to_the_size_that_is_left_and_not_much_shorter() {
        for format in [Format::Json, Format::MessagePack] {
            for answer in [page(200), found(100)] {
                let whole = format.encode(&answer).unwrap().len();
                for excess in [1, 100, whole / 2, whole - 1_000] {
                    let mut short = answer.clone();
                    assert!(shorten(&mut short, format, excess));
                    let bytes = format.encode(&short).unwrap().len();
                    assert!(
                        (whole - excess - 300..=whole - excess).contains(&bytes),
                        "{bytes} of {whole} less {excess}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_page_that_was_cut_says_where_the_next_begins() {
        let mut answer = page(200);
        assert!(shorten(&mut answer, Format::Json, 5_000));
        let Answer::Ratings(page) = answer else { panic!("another kind") };
        assert_eq!(page.next, page.ratings.last().map(|rating| rating.movie_id));
        assert!(page.ratings.len() < 200 && page.total == 900);
        let mut answer = found(100);
        assert!(shorten(&mut answer, Format::Json, 5_000));
        assert!(matches!(answer, Answer::Movies(Movies { shortened: true, movies }) if movies.len() < 100));
    }

    #[test]
    fn one_item_stays_and_what_is_no_list_stays_as_it_is() {
        for mut answer in [page(200), found(100), page(1)] {
            assert!(!shorten(&mut answer, Format::MessagePack, 1 << 20));
            assert!(
                matches!(&answer, Answer::Ratings(page) if page.ratings.len() == 1)
                    || matches!(&answer, Answer::Movies(found) if found.movies.len() == 1)
            );
        }
        let average = Average { movie_id: movie_id(1), title: String::new(), average: None, count: 0 };
        let mut answer = Answer::Average(average);
        let before = answer.clone();
        assert!(!shorten(&mut answer, Format::Json, 1) && answer == before);
    }
}
