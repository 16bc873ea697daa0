//! Answers to queries, from the ratings as they stand.

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{Movies, Rating, RatingKey, Ratings};
use natter_common::request::{ALL_LIMIT_MAX, Answer, Query, SEARCH_LIMIT_MAX};
use natter_common::value::{QueryError, Row, Value};

use super::Store;
use crate::dataset::build::base_row;
use crate::schema;
use crate::sqlite::{number_id, stars};

/// Maximum length of a page of ratings as JSON, in bytes: the broker's `max_payload` of 1 MiB, less room for the label
/// and the rest of the reply.
pub(crate) const PAGE_BYTES_MAX: usize = 900_000;

/// Maximum length of a rating with an empty title as JSON, in bytes: its names, and the longest numbers and update id.
const RATING_BYTES: usize = 200;

impl Store {
    pub(crate) fn answers(&self, query: &Query) -> Result<Answer, QueryError> {
        match query {
            Query::Read { user_id, movie_id } => {
                self.read(RatingKey { user_id: *user_id, movie_id: *movie_id }).map(Answer::Rating)
            }
            Query::All { user_id, limit, after } => self
                .all(*user_id, *limit, *after)
                .map(Answer::Ratings)
                .map_err(|error| self.failed("reading a user's ratings")(error).into()),
            Query::Average { movie_id } => {
                self.catalogue.average(*movie_id).map(Answer::Average).ok_or(QueryError::MovieNotFound(*movie_id))
            }
            Query::Search { title, limit } => {
                let limit = (*limit).clamp(1, SEARCH_LIMIT_MAX);
                Ok(Answer::Movies(Movies { movies: self.catalogue.search(title, limit as usize), shortened: false }))
            }
        }
    }

    fn read(&self, key: RatingKey) -> Result<Rating, QueryError> {
        let RatingKey { user_id, movie_id } = key;
        let title = self.title(movie_id).ok_or(QueryError::MovieNotFound(movie_id))?.to_owned();
        let row = self.row(key)?;
        Ok(Rating {
            user_id,
            movie_id,
            title,
            rating: row.and_then(|row| row.stars),
            timestamp: row.map(|row| row.timestamp),
            update_id: row.and_then(|row| row.update_id),
        })
    }

    fn all(&self, user_id: UserId, limit: u32, after: u32) -> rusqlite::Result<Ratings> {
        let limit = limit.clamp(1, ALL_LIMIT_MAX) as usize;
        let mut page = Ratings { ratings: Vec::new(), total: self.user_count(user_id), next: None };
        let mut page_bytes = 0;
        let mut select = self.connection.prepare_cached(schema::SELECT_BASE_PAGE)?;
        let mut base = select.query((user_id.get(), after))?;
        let mut in_base = next_in_base(&mut base)?;
        let mut overlay = self.overlay.of_user(user_id, after).peekable();
        // Two lists in the order of movies; of a movie in both, the overlay's row stands.
        loop {
            let is_overlay_next = match (overlay.peek(), &in_base) {
                (None, None) => break,
                (Some((written, _)), Some((movie_id, _))) => written <= movie_id,
                (written, _) => written.is_some(),
            };
            let (movie_id, row) = if is_overlay_next {
                let Some((movie_id, row)) = overlay.next() else { break };
                if in_base.as_ref().is_some_and(|(hidden, _)| *hidden == movie_id) {
                    in_base = next_in_base(&mut base)?;
                }
                (movie_id, *row)
            } else {
                let Some(next) = in_base.take() else { break };
                in_base = next_in_base(&mut base)?;
                next
            };
            let Some(stars) = row.stars else { continue };
            let title = self.title(movie_id).unwrap_or_default();
            page_bytes += RATING_BYTES + json_bytes(title);
            // One more rating than the page holds shows that another page follows.
            if page.ratings.len() == limit || (page_bytes > PAGE_BYTES_MAX && !page.ratings.is_empty()) {
                page.next = page.ratings.last().map(|rating| rating.movie_id);
                break;
            }
            page.ratings.push(Rating {
                user_id,
                movie_id,
                title: title.to_owned(),
                rating: Some(stars),
                timestamp: Some(row.timestamp),
                update_id: row.update_id,
            });
        }
        Ok(page)
    }
}

fn next_in_base(rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<Option<(MovieId, Row)>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let half_stars = stars(row, 1)?.ok_or(rusqlite::Error::InvalidQuery)?;
    Ok(Some((number_id(row, 0)?, base_row(half_stars, row.get(2)?))))
}

/// Returns the maximum length of a text within a JSON string, in bytes.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            0..=0x1f | 0x7f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        })
        .sum()
}
