//! Changes that each batch of a durable store writes: records, the rows of the overlay that are due, and the state of
//! the replica.

use std::sync::Arc;

use natter_common::record::{Record, RecordRef};
use natter_common::replica_manager::Changes;
use natter_common::value::{Value, ValueError};
use natter_common::wire::WireError;

use crate::fingerprint::overlay_hash;
use crate::kept::Due;
use crate::saved::{BATCH_RECORDS, Checksums, RetiredCount, write_batch, write_checksums};
use crate::schema;
use crate::sealed::seal;
use crate::store::Store;

/// Maximum rows that an idle replica writes in one transaction.
const IDLE_ROWS: usize = 4096;

const SAVING: &str = "saving a turn";

pub(crate) fn unencodable(error: WireError) -> ValueError {
    ValueError { doing: SAVING, reason: error.to_string() }
}

impl Store {
    /// Saves what a batch changed, in the transaction that also has what it did to the ratings: before its
    /// [`Store::commit`].
    pub fn save(&mut self, changes: &Changes) -> Result<(), ValueError> {
        if changes.is_empty() || !self.is_durable() {
            return Ok(());
        }
        self.begin_writing()?;
        // Forgotten records are dropped first: a record that a batch forgot and learnt again is kept. The next life
        // forgets again what is kept without need.
        for record in &changes.forgotten {
            self.drop_record(record)?;
        }
        for records in changes.held.chunks(BATCH_RECORDS) {
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
                durable.kept.cover(&state.value_timestamp.replicas);
            }
        }
        if let Some(known) = &changes.known {
            let body = seal(known).map_err(unencodable)?;
            self.run(schema::UPSERT_STATE, &[&"known", &body])?;
        }
        Ok(())
    }

    /// A statement of a batch's transaction. Gives how many rows it changed.
    fn run(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<u64, ValueError> {
        let execute = || self.connection.prepare_cached(sql)?.execute(parameters);
        execute().map(|rows| rows as u64).map_err(self.failed(SAVING))
    }

    fn drop_record(&mut self, name: &RecordRef) -> Result<(), ValueError> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let (emptied, executed) = (durable.kept.forget(name), durable.executed);
        self.drop_batch(emptied)?;
        if executed == 0 {
            return Ok(());
        }
        let dropped = self.run(schema::DELETE_EXECUTED, &[&name.i.as_str(), &(name.seq as i64)])?;
        if let Some(durable) = &mut self.durable {
            durable.executed = executed - dropped;
        }
        Ok(())
    }

    fn drop_batch(&self, number: Option<i64>) -> Result<(), ValueError> {
        number.map_or(Ok(()), |number| self.run(schema::DELETE_BATCH, &[&number]).map(drop))
    }

    fn save_records(&mut self, records: &[Arc<Record>]) -> Result<(), ValueError> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let number = durable.kept.next_batch();
        let emptied: Vec<_> = records.iter().filter_map(|record| durable.kept.hold(record, number)).collect();
        write_batch(&self.connection, number, records).map_err(self.failed(SAVING))?;
        emptied.into_iter().try_for_each(|number| self.drop_batch(Some(number)))
    }

    /// Writes those of a batch's rows that no record brings back, and others that it is time for: part of each
    /// transaction.
    pub(crate) fn write_due_rows(&mut self) -> Result<(), ValueError> {
        let unsaved = self.overlay.take_unsaved();
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let rows = durable.kept.settle(unsaved, &self.overlay);
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

    /// Writes all rows that only records have on disk. Between batches only, and not while a row is newer than the value
    /// timestamp on disk: it would be written, and the value timestamp not.
    pub(crate) fn write_all_rows(&mut self) -> Result<(), ValueError> {
        if self.overlay.has_unsaved() {
            return Ok(());
        }
        while let Some(durable) = &mut self.durable {
            let rows = durable.kept.take_some(IDLE_ROWS);
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
