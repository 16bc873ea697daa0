//! Answers in words for people. Texts from the data set are shown without what would play with the terminal.

use std::fmt::Write as _;

use natter_common::edge::{AverageReply, MoviesReply, RatingReply, RatingsReply};
use natter_common::ids::ReplicaId;
use natter_common::rating::{Movie, Rating, Stars};
use natter_common::request::Update;

/// The effect of an update, in one line.
pub fn update(update: &Update, reply: &RatingReply) -> String {
    let rating = &reply.value;
    let (user, title) = (rating.user_id, clean(&rating.title));
    match update {
        Update::Create { rating: stars, .. } => {
            format!("user {user} rated {title}: {}", rating.rating.unwrap_or(*stars))
        }
        Update::Update { rating: stars, .. } => {
            format!("user {user} now rates {title}: {}", rating.rating.unwrap_or(*stars))
        }
        Update::Delete { .. } => match rating.rating {
            Some(stars) => format!("user {user} no longer rates {title}, which had {stars}"),
            None => format!("a later rating of {title} by user {user} stands: nothing was taken away"),
        },
    }
}

/// One rating: one line.
pub fn rating(reply: &RatingReply) -> String {
    let Rating { user_id, title, rating, timestamp, .. } = &reply.value;
    let title = clean(title);
    match rating {
        Some(stars) => {
            let when = timestamp.map(|seconds| format!(" on {}", date(seconds))).unwrap_or_default();
            format!("user {user_id} rated {title}: {stars}{when}")
        }
        None => format!("no rating: user {user_id} has not rated {title}"),
    }
}

/// The rows of a table of ratings, its head first.
pub fn rating_rows(ratings: &[Rating]) -> Vec<String> {
    let mut rows = vec![format!("{:>10}  {:>6}  {:<10}  title", "movie", "rating", "date")];
    rows.extend(ratings.iter().map(|rating| {
        let stars = rating.rating.map_or_else(|| "-".to_owned(), |stars: Stars| stars.to_string());
        let date = rating.timestamp.map_or_else(|| "-".to_owned(), date);
        format!("{:>10}  {stars:>6}  {date:<10}  {}", rating.movie_id, clean(&rating.title))
    }));
    rows
}

/// Number of a user's ratings in a table, in one line.
pub fn ratings_summary(user_id: impl std::fmt::Display, reply: &RatingsReply) -> String {
    let (shown, total) = (reply.value.ratings.len() as u64, reply.value.total);
    let mut line = match total {
        0 => format!("user {user_id} has no ratings"),
        _ if shown == total => format!("{} by user {user_id}", count(total, "rating")),
        _ => format!("{shown} of {} by user {user_id}", count(total, "rating")),
    };
    if let Some(next) = reply.value.next {
        let _ = write!(line, "; the next ones: --after {next}");
    }
    line
}

/// A movie's average: one line.
pub fn average(reply: &AverageReply) -> String {
    let title = clean(&reply.value.title);
    match reply.value.average {
        Some(mean) => format!("{title}: {mean:.2} on average of {}", count(reply.value.count, "rating")),
        None => format!("{title}: no ratings yet"),
    }
}

/// The rows of a table of movies, its head first.
pub fn movie_rows(movies: &[Movie]) -> Vec<String> {
    let mut rows = vec![format!("{:>10}  {:>7}  {:>7}  title", "movie", "average", "ratings")];
    rows.extend(movies.iter().map(|movie| {
        let mean = movie.average.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}"));
        let genres = match movie.genres.as_slice() {
            [] => String::new(),
            genres => format!("  [{}]", clean(&genres.join(", "))),
        };
        format!("{:>10}  {mean:>7}  {:>7}  {}{genres}", movie.movie_id, movie.count, clean(&movie.title))
    }));
    rows
}

/// The number of movies found: one line.
pub fn movies_summary(title: &str, limit: u32, reply: &MoviesReply) -> String {
    let found = reply.value.movies.len() as u64;
    match found {
        0 => format!("no movie has \"{}\" in its title", clean(title)),
        // The reply doesn't say whether there are more.
        _ if found >= u64::from(limit) => {
            format!("the {found} best known movies with \"{}\" in their titles", clean(title))
        }
        1 => format!("1 movie has \"{}\" in its title", clean(title)),
        _ => format!("{found} movies have \"{}\" in their titles", clean(title)),
    }
}

/// `r1, r2`.
pub fn names(replicas: &[ReplicaId]) -> String {
    match replicas {
        [] => "no replica".to_owned(),
        _ => replicas.iter().map(ReplicaId::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Without control characters, which could play with the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// `2026-07-30`: the day of these Unix seconds, in UTC, by the Gregorian calendar.
fn date(seconds: i64) -> String {
    // Days are counted in eras of 400 years from 0000-03-01, so that the leap day is the last of its year.
    let days = i128::from(seconds.div_euclid(86_400)) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_785_369_600, "2026-07-30"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), day);
        }
        // No timestamp of another program makes the date overflow.
        let _ = (date(i64::MIN), date(i64::MAX));
    }

    #[test]
    fn titles_cannot_play_with_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}é"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}é");
    }
}
