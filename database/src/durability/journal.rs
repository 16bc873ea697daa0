//! Records as the journal: changes that each turn writes, and the rows of the overlay that only a record has on disk.
//!
//! A row that a record wrote is not written with its turn: the record is on disk, and the process that opens the store
//! applies again what the value timestamp covers. Such a row is **unwritten**, and the record **carries** it. It is
//! written, many at a time and in the order of their keys, with the transaction that forgets the record or has a value
//! timestamp that does not cover it, where too many are unwritten, and when the replica is idle or ends. A row that no
//! record wrote, as one of a snapshot, is written with its turn.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use natter_common::ids::ReplicaId;
use natter_common::rating::RatingKey;
use natter_common::record::{Record, RecordRef};
use natter_common::replica_manager::Changes;
use natter_common::timestamp::Timestamp;
use natter_common::value::{Row, Value, ValueError};
use natter_common::wire::WireError;

use super::tables::{Checksums, ROW_RECORDS_MAX, RetiredCount, seal, write_checksums, write_record_row};
use crate::fingerprint::overlay_hash;
use crate::schema;
use crate::store::Store;
use crate::store::rows::Overlay;

/// Maximum number of unwritten rows: the next start has to apply them again, and each takes about 100 bytes of memory.
pub(crate) const UNWRITTEN_MAX: usize = 32_768;

/// Number of rows written at once beyond that maximum: few enough to delay no request, and neighbours share pages.
const ROWS_AT_ONCE: usize = 1024;

/// A row to be written, with the [`crate::fingerprint::overlay_hash`] of the row that it replaces on disk, 0 where
/// there is none.
pub(crate) type Due = (RatingKey, u64);

/// Records on disk, and what they carry.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Records on disk, by origin and number.
    records: BTreeMap<ReplicaId, BTreeMap<u64, Location>>,
    /// Number of records not forgotten yet, by row of the table `batch`.
    record_rows: BTreeMap<i64, usize>,
    /// The greatest number of such a row so far.
    last_row: i64,
    /// Rows of records that the value timestamp does not cover, by origin and number.
    waiting: BTreeMap<ReplicaId, BTreeMap<u64, (RatingKey, Row)>>,
    /// Rows of records that the value timestamp covers since the last commit.
    applied: Vec<(RatingKey, Row, RecordRef)>,
    /// The value timestamp that was saved last.
    value_timestamp: Timestamp,
    unwritten: BTreeMap<RatingKey, Unwritten>,
    /// Keys of the unwritten rows that must be written now, and perhaps of others.
    due: Vec<RatingKey>,
    /// Key of the last row that was written because too many were unwritten.
    swept: Option<RatingKey>,
}

/// Row of the table `batch` that has a record, and the rating that the record writes.
#[derive(Debug)]
struct Location {
    row: i64,
    key: Option<RatingKey>,
}

#[derive(Debug)]
struct Unwritten {
    carrier: RecordRef,
    /// See [`Due`].
    on_disk: u64,
    is_due: bool,
}

impl Journal {
    /// The number of the next row of records, which was never used.
    pub(crate) fn next_row(&self) -> i64 {
        self.last_row + 1
    }

    /// Whether the record is known.
    pub(crate) fn has(&self, record: &Record) -> bool {
        self.records.get(&record.i).is_some_and(|records| records.contains_key(&record.seq))
    }

    /// The record is in `row` from now on. Returns a row that has no record any more because of that.
    pub(crate) fn hold(&mut self, record: &Record, row: i64) -> Option<i64> {
        *self.record_rows.entry(row).or_default() += 1;
        self.last_row = self.last_row.max(row);
        let written = record.row();
        let location = Location { row, key: written.map(|(key, _)| key) };
        let old = self.records.entry(record.i.clone()).or_default().insert(record.seq, location);
        if record.seq > self.value_timestamp.get(&record.i)
            && let Some(written) = written
        {
            self.waiting.entry(record.i.clone()).or_default().insert(record.seq, written);
        }
        self.leave(old?.row)
    }

    /// The record is not known any more: what it carries is due. Returns its row, if that has no record any more.
    pub(crate) fn forget(&mut self, name: &RecordRef) -> Option<i64> {
        let location = remove(&mut self.records, name)?;
        remove(&mut self.waiting, name);
        self.applied.retain(|(.., applied)| applied != name);
        if let Some(key) = location.key
            && let Some(unwritten) = self.unwritten.get_mut(&key).filter(|row| row.carrier == *name)
        {
            unwritten.is_due = true;
            self.due.push(key);
        }
        self.leave(location.row)
    }

    fn leave(&mut self, row: i64) -> Option<i64> {
        let left = self.record_rows.get_mut(&row)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.record_rows.remove(&row);
        Some(row)
    }

    /// Marks the records that `value_timestamp` covers as applied: the next start applies them again, and no others.
    pub(crate) fn cover(&mut self, value_timestamp: &Timestamp) {
        // The value timestamp leaves out a retired replica.
        if !value_timestamp.covers(&self.value_timestamp) {
            let is_left_out = |name: &RecordRef| value_timestamp.get(&name.i) < name.seq;
            for (key, row) in self.unwritten.iter_mut().filter(|(_, row)| is_left_out(&row.carrier)) {
                row.is_due = true;
                self.due.push(*key);
            }
            self.applied.retain(|(.., name)| !is_left_out(name));
            self.waiting.retain(|_, waiting| !waiting.is_empty());
        }
        for (origin, waiting) in &mut self.waiting {
            let covered = value_timestamp.get(origin);
            while let Some(first) = waiting.first_entry().filter(|first| *first.key() <= covered) {
                let seq = *first.key();
                let (key, row) = first.remove();
                self.applied.push((key, row, RecordRef { i: origin.clone(), seq }));
            }
        }
        self.value_timestamp.clone_from(value_timestamp);
    }

    /// Takes notice of a turn's rows, which are in order and each there once. Gives those that are to be written with it,
    /// in order.
    pub(crate) fn settle(&mut self, unsaved: Vec<Due>, overlay: &Overlay) -> Vec<Due> {
        let mut rows = self.note_unwritten(unsaved, overlay);
        for key in std::mem::take(&mut self.due) {
            if self.unwritten.get(&key).is_some_and(|row| row.is_due) {
                rows.extend(self.take(key).map(|on_disk| (key, on_disk)));
            }
        }
        let too_many = self.unwritten.len().saturating_sub(UNWRITTEN_MAX);
        if too_many > 0 {
            rows.extend(self.take_some(too_many.max(ROWS_AT_ONCE)));
        }
        rows.sort_unstable();
        rows
    }

    /// Notes those rows of `unsaved` as unwritten that a record wrote which was applied since the last commit. Returns
    /// the others.
    pub(crate) fn note_unwritten(&mut self, unsaved: Vec<Due>, overlay: &Overlay) -> Vec<Due> {
        let mut applied = std::mem::take(&mut self.applied);
        applied.retain(|(key, row, _)| overlay.get(*key) == Some(row));
        applied.sort_unstable_by_key(|(key, ..)| *key);
        let mut others = Vec::new();
        for (key, on_disk) in unsaved {
            let Ok(at) = applied.binary_search_by_key(&key, |(key, ..)| *key) else {
                others.push((key, self.take(key).unwrap_or(on_disk)));
                continue;
            };
            let carrier = applied[at].2.clone();
            // For a row that is unwritten already, the hash noted before is that of the row on disk.
            let row = self.unwritten.entry(key).or_insert_with(|| Unwritten {
                carrier: carrier.clone(),
                on_disk,
                is_due: false,
            });
            (row.carrier, row.is_due) = (carrier, false);
        }
        others
    }

    /// The row is unwritten no more.
    fn take(&mut self, key: RatingKey) -> Option<u64> {
        self.unwritten.remove(&key).map(|row| row.on_disk)
    }

    /// Takes the next unwritten rows, at most `rows_max`.
    pub(crate) fn take_some(&mut self, rows_max: usize) -> Vec<Due> {
        let after = self.swept.map_or(Unbounded, Excluded);
        let ahead = self.unwritten.range((after, Unbounded));
        let behind = self.swept.into_iter().flat_map(|swept| self.unwritten.range(..=swept));
        let keys: Vec<_> = ahead.chain(behind).take(rows_max).map(|(key, _)| *key).collect();
        self.swept = keys.last().copied();
        keys.into_iter().filter_map(|key| self.take(key).map(|on_disk| (key, on_disk))).collect()
    }
}

fn remove<T>(records: &mut BTreeMap<ReplicaId, BTreeMap<u64, T>>, name: &RecordRef) -> Option<T> {
    let of_origin = records.get_mut(&name.i)?;
    let removed = of_origin.remove(&name.seq);
    if of_origin.is_empty() {
        records.remove(&name.i);
    }
    removed
}

/// Maximum rows that an idle replica writes in one transaction.
const IDLE_ROWS: usize = 4096;

const SAVING: &str = "saving a turn";

pub(crate) fn unencodable(error: WireError) -> ValueError {
    ValueError { doing: SAVING, reason: error.to_string() }
}

impl Store {
    /// Saves what a turn changed, in the transaction that also has what it did to the ratings: before its
    /// [`Store::commit`].
    pub fn save(&mut self, changes: &Changes) -> Result<(), ValueError> {
        if changes.is_empty() || !self.is_durable() {
            return Ok(());
        }
        self.begin_writing()?;
        // Forgotten records are dropped first: a record that a turn forgot and learnt again is kept. The next life
        // forgets again what is kept without need.
        for record in &changes.forgotten {
            self.drop_record(record)?;
        }
        for records in changes.held.chunks(ROW_RECORDS_MAX) {
            self.save_records(records)?;
        }
        for operation in &changes.executed {
            let body = seal(operation).map_err(unencodable)?;
            let new = self.run(schema::INSERT_EXECUTED, &[&operation.i.as_str(), &(operation.seq as i64), &body])?;
            if let Some(durable) = &mut self.durable {
                durable.executed += new;
            }
        }
        for (id, count) in &changes.retired {
            match *count {
                Some(count) => {
                    let body = seal(&RetiredCount { id: id.clone(), count }).map_err(unencodable)?;
                    self.run(schema::UPSERT_RETIRED, &[&id.as_str(), &body])?;
                }
                None => drop(self.run(schema::DELETE_RETIRED, &[&id.as_str()])?),
            }
        }
        if let Some(state) = &changes.state {
            let body = seal(state).map_err(unencodable)?;
            self.run(schema::UPSERT_STATE, &[&"state", &body])?;
            if let Some(durable) = &mut self.durable {
                durable.journal.cover(&state.value_timestamp.replicas);
            }
        }
        if let Some(known) = &changes.known {
            let body = seal(known).map_err(unencodable)?;
            self.run(schema::UPSERT_STATE, &[&"known", &body])?;
        }
        Ok(())
    }

    /// A statement of a turn's transaction. Gives how many rows it changed.
    fn run(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<u64, ValueError> {
        let execute = || self.connection.prepare_cached(sql)?.execute(parameters);
        execute().map(|rows| rows as u64).map_err(self.failed(SAVING))
    }

    fn drop_record(&mut self, name: &RecordRef) -> Result<(), ValueError> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let (emptied, executed) = (durable.journal.forget(name), durable.executed);
        self.drop_row(emptied)?;
        if executed == 0 {
            return Ok(());
        }
        let dropped = self.run(schema::DELETE_EXECUTED, &[&name.i.as_str(), &(name.seq as i64)])?;
        if let Some(durable) = &mut self.durable {
            durable.executed = executed - dropped;
        }
        Ok(())
    }

    fn drop_row(&self, number: Option<i64>) -> Result<(), ValueError> {
        number.map_or(Ok(()), |number| self.run(schema::DELETE_BATCH, &[&number]).map(drop))
    }

    fn save_records(&mut self, records: &[Arc<Record>]) -> Result<(), ValueError> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let number = durable.journal.next_row();
        let emptied: Vec<_> = records.iter().filter_map(|record| durable.journal.hold(record, number)).collect();
        write_record_row(&self.connection, number, records).map_err(self.failed(SAVING))?;
        emptied.into_iter().try_for_each(|number| self.drop_row(Some(number)))
    }

    /// Writes those of a turn's rows that no record brings back, and others that it is time for: part of each
    /// transaction.
    pub(crate) fn write_due_rows(&mut self) -> Result<(), ValueError> {
        let unsaved = self.overlay.take_unsaved();
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let rows = durable.journal.settle(unsaved, &self.overlay);
        self.write_rows(rows)
    }

    fn write_rows(&mut self, rows: Vec<Due>) -> Result<(), ValueError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.begin_writing()?;
        for (key, on_disk) in rows {
            let Some(row) = self.overlay.get(key) else { continue };
            self.upsert(schema::UPSERT_ROW, key, row).map_err(self.failed("writing a rating"))?;
            if let Some(durable) = &mut self.durable {
                durable.written_sum = durable.written_sum.wrapping_sub(on_disk).wrapping_add(overlay_hash(key, row));
            }
        }
        Ok(())
    }

    /// Writes all rows that only records have on disk. Between turns only, and not while a row is newer than the value
    /// timestamp on disk: it would be written, and the value timestamp not.
    pub(crate) fn write_all_rows(&mut self) -> Result<(), ValueError> {
        if self.overlay.has_unsaved() {
            return Ok(());
        }
        while let Some(durable) = &mut self.durable {
            let rows = durable.journal.take_some(IDLE_ROWS);
            if rows.is_empty() {
                break;
            }
            self.write_rows(rows)?;
            self.commit()?;
        }
        Ok(())
    }

    /// Writes the checksums where they are others than those on disk: part of each transaction.
    pub(crate) fn save_checksums(&mut self) -> Result<(), ValueError> {
        let (digest, overlay) = (self.digest().0, self.overlay_sum);
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let checksums = Checksums { digest, overlay, written: durable.written_sum, mark: durable.mark.version() };
        if std::mem::replace(&mut durable.checksums, checksums) == checksums {
            return Ok(());
        }
        write_checksums(&self.connection, checksums).map_err(self.failed(SAVING))
    }
}
