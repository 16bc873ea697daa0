//! The store of a replica: the data set and what updates made of it.
//!
//! [`Store`] is `natter_common::value::Value` over SQLite, whose layout is in [`schema`]. Its parts, in the order to read
//! them:
//!
//! - `rows`: rows in memory, of updates and of the data set
//! - `catalogue`: movies with their averages, and the search by title
//! - `answers`: how queries are answered
//!
//! A store on disk has the rest of its methods in [`crate::durability`].

mod answers;
pub(crate) mod catalogue;
pub(crate) mod rows;

use std::collections::HashMap;

use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_common::replica_manager::Changes;
use natter_common::request::{Answer, Query};
use natter_common::value::{Commit, Digest, QueryError, Row, Value, ValueError};
use rusqlite::{Connection, OptionalExtension};

use crate::dataset::build::base_row;
use crate::dataset::{Counts, DataSource, Description, file};
use crate::durability::Durable;
use crate::error::{DataError, FileProblem};
use crate::fingerprint::{Fingerprint, add, overlay_hash, subtract};
use crate::schema;
use crate::sqlite::{connect, failed, keyed_row, number_id, stars};
use catalogue::Catalogue;
use rows::{Overlay, ReadRows};

/// Ratings, each with the update that wrote it: a data set that is never written, in SQLite, under an overlay of what
/// updates wrote, in memory and, where the store is durable, in SQLite too ([`schema`]).
///
/// Averages, counts and the digest are kept up to date with each update, never by a scan. After a [`ValueError`] they
/// may differ from the rows: the store is then to be dropped.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) catalogue: Catalogue,
    description: Description,
    digest: Digest,
    users: HashMap<UserId, UserCounts>,
    pub(crate) overlay: Overlay,
    /// Rows of the data set that were read lately.
    read: ReadRows,
    /// Whether a transaction is open: it begins with the first write of a turn.
    pub(crate) is_writing: bool,
    /// The sum of the overlay's rows, where the store is durable: the rows on disk are checked against it.
    pub(crate) overlay_sum: u64,
    /// State that keeps the main database on disk; `None` where it is in memory.
    pub(crate) durable: Option<Durable>,
}

/// Memory for what was read of the data set lately, unless [`Store::limit_cache`] says otherwise, in bytes.
pub const CACHE_BYTES: u64 = 64 << 20;

/// Number of ratings of a user.
#[derive(Clone, Copy, Debug, Default)]
struct UserCounts {
    /// In the data set. If zero, lookups for this user skip the data set.
    in_base: u32,
    /// Current number.
    now: i64,
}

impl Store {
    /// Opens a data set, with no updates applied. CSV files are read into memory; a SQLite file needs no load.
    pub fn open(source: &DataSource) -> Result<Self, DataError> {
        let connection = connect()?;
        source.attach(&connection)?;
        Self::new(connection).map_err(|problem| DataError::File { path: source.to_string(), problem })
    }

    fn new(connection: Connection) -> Result<Self, FileProblem> {
        let (description, catalogue) = file::load(&connection)?;
        let sqlite = |error: rusqlite::Error| FileProblem::Damaged(error.to_string());
        connection.execute_batch(schema::CREATE_STAGE).map_err(sqlite)?;
        Self::assemble(connection, description, catalogue).map_err(sqlite)
    }

    /// A store to whose overlay nothing was added yet, in memory.
    pub(crate) fn assemble(
        connection: Connection,
        description: Description,
        catalogue: Catalogue,
    ) -> rusqlite::Result<Self> {
        let mut users = HashMap::with_capacity(usize::try_from(description.counts.users).unwrap_or(0).min(1 << 20));
        let mut select = connection.prepare(schema::SELECT_USERS)?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let in_base = row.get(1)?;
            users.insert(number_id(row, 0)?, UserCounts { in_base, now: i64::from(in_base) });
        }
        drop(rows);
        drop(select);
        Ok(Self {
            connection,
            catalogue,
            description,
            digest: description.digest,
            users,
            overlay: Overlay::default(),
            read: ReadRows::new(CACHE_BYTES, description.counts.ratings),
            is_writing: false,
            overlay_sum: 0,
            durable: None,
        })
    }

    /// Returns the identity of the data set.
    pub fn fingerprint(&self) -> Fingerprint {
        self.description.fingerprint
    }

    /// Returns the sizes of the data set, before any update.
    pub fn counts(&self) -> Counts {
        self.description.counts
    }

    /// Returns the description of the data set.
    pub fn description(&self) -> Description {
        self.description
    }

    /// Returns the number of movies.
    pub fn movie_count(&self) -> usize {
        self.catalogue.len()
    }

    /// Keeps rows read of the data set from now on, in at most `bytes`. A data set that needs less gets less.
    pub fn limit_cache(&mut self, bytes: u64) {
        self.read = ReadRows::new(bytes, self.description.counts.ratings);
    }

    /// Begins the turn's transaction, if it has not begun yet.
    pub(crate) fn begin_writing(&mut self) -> Result<(), ValueError> {
        if !self.is_writing {
            self.execute("BEGIN", "beginning a transaction")?;
            self.is_writing = true;
        }
        Ok(())
    }

    /// Ends a turn: what was applied since the one before is written together. A durable store has it on disk then; what
    /// it says of its turns may be told to others.
    pub fn commit(&mut self) -> Result<(), ValueError> {
        if !self.end_transaction()? {
            return Ok(());
        }
        self.log_sync().map_or(Ok(()), |log| log.wait())?;
        self.after_commit()
    }

    /// Commits the transaction, if one is open. The disk need not have it then.
    fn end_transaction(&mut self) -> Result<bool, ValueError> {
        self.write_due_rows()?;
        if !self.is_writing {
            return Ok(false);
        }
        self.save_checksums()?;
        self.check_owner()?;
        self.execute("COMMIT", "committing a transaction")?;
        self.is_writing = false;
        Ok(true)
    }

    /// Makes an error of SQLite one of this store, and names the file that it is about.
    pub(crate) fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> ValueError {
        move |error| match &self.durable {
            Some(durable) => durable.failed(doing, &error),
            None => failed(doing)(error),
        }
    }

    pub(crate) fn execute(&self, sql: &'static str, doing: &'static str) -> Result<(), ValueError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(()))
            .map(drop)
            .map_err(self.failed(doing))
    }

    /// Returns the number of ratings of the user.
    pub(crate) fn user_count(&self, user_id: UserId) -> u64 {
        self.users.get(&user_id).map_or(0, |counts| counts.now.max(0) as u64)
    }

    /// Returns the row that the data set has for `key`.
    fn find_in_base(&self, key: RatingKey) -> rusqlite::Result<Option<Row>> {
        if self.users.get(&key.user_id).is_none_or(|counts| counts.in_base == 0) {
            return Ok(None);
        }
        if let Some(read) = self.read.get(key) {
            return Ok(read);
        }
        let mut select = self.connection.prepare_cached(schema::SELECT_BASE_ROW)?;
        let base = |row: &rusqlite::Row<'_>| {
            let timestamp = row.get(1)?;
            Ok(stars(row, 0)?.map(|stars| base_row(stars, timestamp)))
        };
        let found = select.query_row((key.user_id.get(), key.movie_id.get()), base).optional()?.flatten();
        self.read.put(key, found);
        Ok(found)
    }

    /// The first rows that were put aside, which are not any more.
    fn unstage(&self, limit: usize) -> rusqlite::Result<Vec<(RatingKey, Row)>> {
        let mut select = self.connection.prepare_cached(schema::SELECT_STAGED)?;
        let rows = select.query_map([limit as i64], keyed_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
        if let Some((last, _)) = rows.last() {
            let mut delete = self.connection.prepare_cached(schema::DELETE_STAGED)?;
            delete.execute((last.user_id.get(), last.movie_id.get()))?;
        }
        Ok(rows)
    }

    pub(crate) fn upsert(&self, sql: &str, key: RatingKey, row: &Row) -> rusqlite::Result<()> {
        let mut upsert = self.connection.prepare_cached(sql)?;
        let half_stars = row.stars.map(Stars::half_stars);
        let update_id = row.update_id.as_ref().map(UpdateId::as_bytes);
        let (user_id, movie_id) = (key.user_id.get(), key.movie_id.get());
        upsert.execute((user_id, movie_id, half_stars, row.timestamp, row.stamp.0 as i64, update_id))?;
        Ok(())
    }

    /// Takes notice of a row that was in the overlay already, and of the base's that it hides.
    pub(crate) fn account_for_overlay(&mut self, key: RatingKey, base: Option<&Row>, row: &Row) {
        self.overlay.insert(key, *row);
        self.account(key, base, row);
        self.sum_overlay(key, base, row);
    }

    /// Keeps the sum of the overlay's rows in step with a row that takes the place of another.
    fn sum_overlay(&mut self, key: RatingKey, old: Option<&Row>, new: &Row) {
        let gone = old.map_or(0, |old| overlay_hash(key, old));
        self.overlay_sum = self.overlay_sum.wrapping_sub(gone).wrapping_add(overlay_hash(key, new));
    }

    /// Keeps averages, counts and the digest in step with a row that takes the place of another.
    fn account(&mut self, key: RatingKey, old: Option<&Row>, new: &Row) {
        let old_stars = old.and_then(|row| row.stars);
        self.catalogue.replace(key.movie_id, old_stars, new.stars);
        let change = i64::from(new.stars.is_some()) - i64::from(old_stars.is_some());
        if change != 0 {
            self.users.entry(key.user_id).or_default().now += change;
        }
        if let Some(old) = old {
            subtract(&mut self.digest, key, old);
        }
        add(&mut self.digest, key, new);
    }
}

impl Value for Store {
    fn title(&self, movie_id: MovieId) -> Option<&str> {
        self.catalogue.title(movie_id)
    }

    fn row(&self, key: RatingKey) -> Result<Option<Row>, ValueError> {
        match self.overlay.get(key) {
            Some(row) => Ok(Some(*row)),
            None => self.find_in_base(key).map_err(self.failed("reading a rating")),
        }
    }

    fn apply(&mut self, key: RatingKey, row: Row) -> Result<bool, ValueError> {
        let old = match self.overlay.get_mut(key) {
            Some(stands) if stands.order() >= row.order() => return Ok(*stands == row),
            Some(stands) => {
                let old = std::mem::replace(stands, row);
                self.overlay.note_write(key, Some(&old));
                Some(old)
            }
            None => {
                let base = self.find_in_base(key).map_err(self.failed("reading a rating"))?;
                if let Some(base) = base.filter(|base| base.order() >= row.order()) {
                    return Ok(base == row);
                }
                self.overlay.insert(key, row);
                base
            }
        };
        self.account(key, old.as_ref(), &row);
        if self.overlay.are_writes_noted() {
            self.sum_overlay(key, old.as_ref(), &row);
        }
        Ok(true)
    }

    fn changed_after(&self, after: Option<RatingKey>, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        Ok(self.overlay.after(after).take(limit).collect())
    }

    fn changed_count(&self) -> u64 {
        self.overlay.len() as u64
    }

    fn stage(&mut self, rows: &mut dyn Iterator<Item = (RatingKey, Row)>) -> Result<(), ValueError> {
        self.begin_writing()?;
        for (key, row) in rows {
            self.upsert(schema::STAGE_ROW, key, &row).map_err(self.failed("putting rows of a snapshot aside"))?;
        }
        Ok(())
    }

    fn clear_stage(&mut self) -> Result<(), ValueError> {
        self.begin_writing()?;
        self.execute(schema::CLEAR_STAGE, "dropping rows of a snapshot")
    }

    fn take_staged(&mut self, limit: usize) -> Result<Vec<(RatingKey, Row)>, ValueError> {
        self.begin_writing()?;
        self.unstage(limit).map_err(self.failed("reading rows of a snapshot"))
    }

    /// If the disk has to be waited for, the caller does that with [`Store::log_sync`], and then calls
    /// [`Store::after_commit`].
    fn commit_turn(&mut self, changes: &Changes) -> Result<Commit, ValueError> {
        self.save(changes)?;
        if !self.end_transaction()? {
            return Ok(Commit::Done);
        }
        if self.log_sync().is_some() {
            return Ok(Commit::UnderWay);
        }
        self.after_commit()?;
        Ok(Commit::Done)
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        self.answers(query)
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}
