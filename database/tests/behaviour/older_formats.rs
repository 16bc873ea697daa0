//! Directories of formats that this version no longer reads.

use std::fs;

use natter_common::record::Record;
use natter_common::wire;
use natter_database::Sync;
use natter_database::export::read_out;
use rusqlite::Connection;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::replica_files::{Place, files, record, save_one};

/// The command that reads such a directory, and the rest of the refusal. `DIR` stands for the directory.
const HOW_TO_EXPORT: &str = "keep it, and export it with commit b421cf7 of Natter, the last one that reads it: `git checkout \
     b421cf7`, then `cargo run --release -p natter-dataset -- export --data-dir DIR FILE.sqlite` (with the --database that \
     the replica began with). Replicas of this version start from that file: `--database FILE.sqlite`, each with a new \
     --data-dir";

/// Number of updates in the directory.
const UPDATES: u64 = 30;

/// A directory of the present format, closed cleanly.
fn closed() -> Place {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    (1..=UPDATES).for_each(|seq| save_one(&mut store, seq));
    store.close_cleanly().unwrap();
    place
}

/// Returns the bytes of a message in a file, with its checksum.
fn sealed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = wire::encode(message).unwrap();
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// Checksums of the second format.
#[derive(serde::Serialize, serde::Deserialize)]
struct Checksums {
    digest: u64,
    overlay: u64,
    written: u64,
}

fn checksums(connection: &Connection) -> Checksums {
    let select = "SELECT body FROM state WHERE name = 'checksums'";
    let body: Vec<u8> = connection.query_row(select, (), |row| row.get(0)).unwrap();
    wire::decode(&body[..body.len() - 8]).unwrap()
}

/// The second format: marks count logs, and the checksums do not repeat them.
fn make_second_format(place: &Place) {
    let connection = Connection::open(place.file("replica.sqlite")).unwrap();
    let body = sealed(&checksums(&connection));
    connection.execute("UPDATE state SET body = ?1 WHERE name = 'checksums'", [body]).unwrap();
    connection.execute_batch("UPDATE meta SET value = '2' WHERE key = 'format'; PRAGMA user_version = -2;").unwrap();
}

/// The first format: also each record in a row of its own, and checksums among the short texts.
fn make_first_format(place: &Place) {
    make_second_format(place);
    let connection = Connection::open(place.file("replica.sqlite")).unwrap();
    let Checksums { digest, overlay, .. } = checksums(&connection);
    connection
        .execute_batch(
            "DROP TABLE batch; DELETE FROM state WHERE name = 'checksums'; UPDATE meta SET value = '1' WHERE key = 'format';
             CREATE TABLE record (origin TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
                 PRIMARY KEY (origin, seq)) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
    for (key, sum) in [("digest", digest), ("overlay", overlay)] {
        connection.execute("INSERT INTO meta VALUES (?1, ?2)", (key, format!("{sum:016x}"))).unwrap();
    }
    let records: Vec<Record> = (1..=UPDATES).map(|seq| record("a", seq)).collect();
    for record in &records {
        let values = (record.i.as_str(), record.seq as i64, sealed(record));
        connection.execute("INSERT INTO record VALUES (?1, ?2, ?3)", values).unwrap();
    }
}

#[test]
fn a_directory_of_an_older_format_is_refused_with_the_commit_that_exports_it() {
    for (format, make) in [(1, make_first_format as fn(&Place)), (2, make_second_format)] {
        let place = closed();
        make(&place);
        let refusal = format!(
            "--data-dir DIR: replica.sqlite was written by an older Natter (format {format}, this one knows 3): {HOW_TO_EXPORT}"
        );
        // A refused start changes nothing, so the directory can be exported.
        assert_eq!(place.refusal(), refusal);
        let before = files(&place.path());
        let beside = TempDir::new().unwrap();
        let error = read_out(&place.path(), beside.path(), &place.source).unwrap_err().to_string();
        assert_eq!(error.replace(&place.path().display().to_string(), "DIR"), refusal, "so is its export");
        assert_eq!(files(&place.path()), before);
        assert_eq!(fs::read_dir(beside.path()).unwrap().count(), 0, "no copy is left");
    }
}
