//! The store of a replica: the data set and what updates made of it.

use std::collections::HashMap;

use natter_common::clock::Stamp;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::request::{Answer, Query};
use natter_common::value::{Digest, QueryError, Row, Value, ValueError};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::base::{self, Counts, Description};
use crate::catalogue::Catalogue;
use crate::error::{DataError, FileProblem};
use crate::fingerprint::{Fingerprint, add, subtract};
use crate::schema;
use crate::source::DataSource;

/// Ratings, each with the update that wrote it: a data set that is never written, under an overlay of what updates
/// wrote ([`schema`]).
///
/// Averages, counts and the digest are kept up to date with each update, never by a scan. After a [`ValueError`] they
/// may differ from the rows: the store is then to be dropped.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) catalogue: Catalogue,
    description: Description,
    digest: Digest,
    /// How many ratings more (or fewer) a user has than in the data set; only users whose count changed.
    user_counts: HashMap<UserId, i64>,
}

/// Makes an error of SQLite one of the store.
pub(crate) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> ValueError {
    move |error| ValueError { doing, reason: error.to_string() }
}

impl Store {
    /// Opens a data set, with no updates applied. CSV files are read into memory; a SQLite file needs no load.
    pub fn open(source: &DataSource) -> Result<Self, DataError> {
        let connection = base::connect()?;
        source.attach(&connection)?;
        Self::new(connection).map_err(|problem| DataError::File { path: source.to_string(), problem })
    }

    fn new(connection: Connection) -> Result<Self, FileProblem> {
        let (description, catalogue) = base::load(&connection)?;
        connection.execute_batch(schema::CREATE_OVERLAY).map_err(|error| FileProblem::Damaged(error.to_string()))?;
        let digest = description.digest;
        Ok(Self { connection, catalogue, description, digest, user_counts: HashMap::new() })
    }

    /// What the data set is known by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.description.fingerprint
    }

    /// How much the data set came with, before any update.
    pub fn counts(&self) -> Counts {
        self.description.counts
    }

    /// What the data set says of itself.
    pub fn description(&self) -> Description {
        self.description
    }

    /// How many films there are.
    pub fn movie_count(&self) -> usize {
        self.catalogue.len()
    }

    /// Begins a batch: what is applied until [`Store::commit`] is written together.
    pub fn begin(&mut self) -> Result<(), ValueError> {
        self.execute("BEGIN", "beginning a transaction")
    }

    /// Ends a batch.
    pub fn commit(&mut self) -> Result<(), ValueError> {
        self.execute("COMMIT", "committing a transaction")
    }

    fn execute(&self, sql: &'static str, doing: &'static str) -> Result<(), ValueError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(()))
            .map(drop)
            .map_err(failed(doing))
    }

    /// How many ratings the user has.
    pub(crate) fn user_count(&self, user_id: UserId) -> rusqlite::Result<u64> {
        let mut select = self.connection.prepare_cached(schema::SELECT_USER_COUNT)?;
        let base: Option<i64> = select.query_row([user_id.get()], |row| row.get(0)).optional()?;
        let change = self.user_counts.get(&user_id).copied().unwrap_or(0);
        Ok(base.unwrap_or(0).saturating_add(change).max(0) as u64)
    }

    fn find(&self, key: RatingKey) -> rusqlite::Result<Option<Row>> {
        let mut select = self.connection.prepare_cached(schema::SELECT_ROW)?;
        select
            .query_row((key.user_id.get(), key.movie_id.get()), |row| {
                let stamp: i64 = row.get(2)?;
                Ok(Row {
                    stars: stars(row, 0)?,
                    timestamp: row.get(1)?,
                    stamp: Stamp(stamp as u64),
                    update_id: update_id(row, 3)?,
                })
            })
            .optional()
    }

    fn upsert(&self, key: RatingKey, row: &Row) -> rusqlite::Result<()> {
        let mut upsert = self.connection.prepare_cached(schema::UPSERT_ROW)?;
        let half_stars = row.stars.map(Stars::half_stars);
        let update_id = row.update_id.as_ref().map(UpdateId::as_bytes);
        let (user_id, movie_id) = (key.user_id.get(), key.movie_id.get());
        upsert.execute((user_id, movie_id, half_stars, row.timestamp, row.stamp.0 as i64, update_id))?;
        Ok(())
    }

    /// Keeps averages, counts and digest in step with a row that takes the place of another.
    fn account(&mut self, key: RatingKey, old: Option<&Row>, new: &Row) {
        let old_stars = old.and_then(|row| row.stars);
        self.catalogue.replace(key.movie_id, old_stars, new.stars);
        let change = i64::from(new.stars.is_some()) - i64::from(old_stars.is_some());
        if change != 0 {
            let count = self.user_counts.entry(key.user_id).or_default();
            *count += change;
            if *count == 0 {
                self.user_counts.remove(&key.user_id);
            }
        }
        if let Some(old) = old {
            subtract(&mut self.digest, key, old);
        }
        add(&mut self.digest, key, new);
    }
}

/// The rating in a column, `None` for a deletion marker.
pub(crate) fn stars(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Stars>> {
    let half_stars: Option<u8> = row.get(column)?;
    half_stars
        .map(|number| {
            Stars::from_half_stars(number)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
        })
        .transpose()
}

/// The update id in a column.
pub(crate) fn update_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<UpdateId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| UpdateId::from_uuid(Uuid::from_bytes(bytes))))
}

impl Value for Store {
    fn title(&self, movie_id: MovieId) -> Option<&str> {
        self.catalogue.title(movie_id)
    }

    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError> {
        self.find(key).map_err(failed("reading a rating"))
    }

    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError> {
        let old = self.row(key)?;
        if let Some(old) = &old
            && old.order() >= row.order()
        {
            return Ok(*old == row);
        }
        self.upsert(key, &row).map_err(failed("writing a rating"))?;
        self.account(key, old.as_ref(), &row);
        Ok(true)
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        self.answers(query)
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}
