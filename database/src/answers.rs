//! Answers to queries, from the ratings as they stand.

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{Movies, Rating, RatingKey, Ratings};
use natter_common::request::{ALL_LIMIT_MAX, Answer, Query, SEARCH_LIMIT_MAX};
use natter_common::value::{QueryError, Value};

use crate::schema;
use crate::store::{Store, stars, update_id};

/// How long a page of ratings may be as JSON, in bytes: the broker's `max_payload` of 1 MiB, less room for the label
/// and the rest of the reply.
pub(crate) const PAGE_BYTES_MAX: usize = 900_000;

/// How long a rating with an empty title may be as JSON: its names, and the longest numbers and update id.
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
                Ok(Answer::Movies(Movies { movies: self.catalogue.search(title, limit as usize) }))
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
        let total = self.user_count(user_id)?;
        let mut page = Ratings { ratings: Vec::new(), total, next: None };
        let mut page_bytes = 0;
        let mut select = self.connection.prepare_cached(schema::SELECT_PAGE)?;
        // One more than the page holds tells whether another page follows.
        let mut rows = select.query((user_id.get(), after, limit as i64 + 1))?;
        while let Some(row) = rows.next()? {
            let id: u32 = row.get(0)?;
            let movie_id = MovieId::new(id).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, i64::from(id)))?;
            let title = self.title(movie_id).unwrap_or_default();
            page_bytes += RATING_BYTES + json_bytes(title);
            if page.ratings.len() == limit || (page_bytes > PAGE_BYTES_MAX && !page.ratings.is_empty()) {
                page.next = page.ratings.last().map(|rating| rating.movie_id);
                break;
            }
            page.ratings.push(Rating {
                user_id,
                movie_id,
                title: title.to_owned(),
                rating: stars(row, 1)?,
                timestamp: Some(row.get(2)?),
                update_id: update_id(row, 3)?,
            });
        }
        Ok(page)
    }
}

/// How long a text is within a JSON string, at most.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            0..=0x1f | 0x7f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        })
        .sum()
}
