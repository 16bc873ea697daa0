//! The layout of the two databases of a store, in one place.
//!
//! The **base** is what the data set came with and is never written again: a SQLite file that `dataset import` or
//! `dataset generate` made, attached read-only, so that 32 million ratings need no load; or the same tables in memory,
//! built from CSV files. The **overlay** has only the rows that updates wrote, deletion markers among them. It is in memory
//! ([`crate::store`]); the main database of a durable replica has it too. `rating` is clustered by (user, movie) in both,
//! and has no other index: a second one would halve the rate of updates.

/// Marks a SQLite file as a Natter data set: "NATR" in ASCII, in the file's `application_id`.
pub const APPLICATION_ID: i32 = 0x4e41_5452;

/// The version of the base's layout. A file with a greater one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// The name under which the base is attached.
pub const BASE: &str = "base";

/// Text that MovieLens writes in place of an empty list of genres.
pub const NO_GENRES: &str = "(no genres listed)";

/// The longest title, in bytes: so that a hundred movies, each byte escaped, fit into one reply.
pub const TITLE_BYTES_MAX: usize = 1000;

/// The longest list of genres, in bytes, for the same reason.
pub const GENRES_BYTES_MAX: usize = 300;

/// The base: the data set.
pub const CREATE_BASE: &str = "
    -- Movies. `genres` is MovieLens' list, parted by '|', empty where there are none; `count` and `sum_half_stars` are
    -- over the ratings of the data set, so that an average never needs a scan.
    CREATE TABLE base.movie (
        movie_id INTEGER PRIMARY KEY,
        title TEXT NOT NULL,
        genres TEXT NOT NULL,
        count INTEGER NOT NULL,
        sum_half_stars INTEGER NOT NULL
    ) STRICT;

    -- Ratings, from 1 (0.5) to 10 (5.0) half stars; `timestamp` in Unix seconds.
    CREATE TABLE base.rating (
        user_id INTEGER NOT NULL,
        movie_id INTEGER NOT NULL,
        half_stars INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        PRIMARY KEY (user_id, movie_id)
    ) STRICT, WITHOUT ROWID;

    -- How many ratings each user has.
    CREATE TABLE base.user (
        user_id INTEGER PRIMARY KEY,
        count INTEGER NOT NULL
    ) STRICT;

    -- format (the version of this layout), fingerprint, digest, movies, users, ratings.
    CREATE TABLE base.meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// The overlay: what updates wrote, as a durable replica keeps it.
pub const CREATE_OVERLAY: &str = "
    -- Less the rows that records bring back. `half_stars` is NULL for a deletion marker. `stamp` is the update's, its 64
    -- bits as a signed integer; `update_id` the 16 bytes of a UUID, NULL only where a row has none.
    CREATE TABLE main.rating (
        user_id INTEGER NOT NULL,
        movie_id INTEGER NOT NULL,
        half_stars INTEGER,
        timestamp INTEGER NOT NULL,
        stamp INTEGER NOT NULL,
        update_id BLOB,
        PRIMARY KEY (user_id, movie_id)
    ) STRICT, WITHOUT ROWID;
";

/// Rows of a snapshot that is not complete yet: like the overlay, and no query sees them.
pub const CREATE_STAGE: &str = "
    CREATE TABLE IF NOT EXISTS main.staged (
        user_id INTEGER NOT NULL,
        movie_id INTEGER NOT NULL,
        half_stars INTEGER,
        timestamp INTEGER NOT NULL,
        stamp INTEGER NOT NULL,
        update_id BLOB,
        PRIMARY KEY (user_id, movie_id)
    ) STRICT, WITHOUT ROWID;
";

/// Marks the file of a durable replica: "NATD" in ASCII, in its `application_id`.
pub const DURABLE_APPLICATION_ID: i32 = 0x4e41_5444;

/// The version of the layout of a durable replica's file. A file with any other version is refused.
pub const DURABLE_FORMAT_VERSION: u32 = 3;

/// The last commit of this project that reads a durable replica's file of an earlier version.
pub const DURABLE_FORMAT_OLD_COMMIT: &str = "b421cf7";

/// The records of a durable replica. `body` is MessagePack and its checksum.
pub const CREATE_BATCH: &str = "
    -- Accepted updates, those that were saved together in one row: those of the log, those that only the
    -- executed-operation table needs, and of those that are forgotten some that were saved together with others.
    CREATE TABLE main.batch (
        number INTEGER PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
";

/// Tables of a durable replica beside the overlay. Each `body` is MessagePack and its checksum.
pub const CREATE_DURABLE: &str = "
    -- What is known of updates by a snapshot, without their records.
    CREATE TABLE main.executed (
        origin TEXT NOT NULL,
        seq INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (origin, seq)
    ) STRICT, WITHOUT ROWID;

    -- Retired replicas, with the number of their last update.
    CREATE TABLE main.retired (
        id TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- identity (the replica's id, and its former ones), state (where it stands), checksums (of the ratings as they stand,
    -- of the overlay, of its rows in `rating`).
    CREATE TABLE main.state (
        name TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- format (the version of this layout), fingerprint (of the data set), sync (how it was written last).
    CREATE TABLE main.meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Keeps records.
pub(crate) const INSERT_BATCH: &str = "INSERT INTO main.batch VALUES (?1, ?2)";

/// Keeps the knowledge of an update.
pub(crate) const INSERT_EXECUTED: &str = "INSERT OR IGNORE INTO main.executed VALUES (?1, ?2, ?3)";

/// Drops records.
pub(crate) const DELETE_BATCH: &str = "DELETE FROM main.batch WHERE number = ?1";

/// Drops the knowledge of an update.
pub(crate) const DELETE_EXECUTED: &str = "DELETE FROM main.executed WHERE origin = ?1 AND seq = ?2";

/// Keeps that a replica is retired.
pub(crate) const UPSERT_RETIRED: &str = "INSERT OR REPLACE INTO main.retired VALUES (?1, ?2)";

/// Drops that a replica is retired.
pub(crate) const DELETE_RETIRED: &str = "DELETE FROM main.retired WHERE id = ?1";

/// Keeps the identity, the state or the checksums.
pub(crate) const UPSERT_STATE: &str = "INSERT OR REPLACE INTO main.state VALUES (?1, ?2)";

/// Keeps one of the short texts.
pub(crate) const UPSERT_META: &str = "INSERT OR REPLACE INTO main.meta VALUES (?1, ?2)";

/// Rows of the overlay after a place, each with the base's rating that it hides.
pub(crate) const SELECT_OVERLAY: &str = "
    SELECT o.user_id, o.movie_id, o.half_stars, o.timestamp, o.stamp, o.update_id, b.half_stars, b.timestamp
    FROM main.rating AS o LEFT JOIN base.rating AS b ON b.user_id = o.user_id AND b.movie_id = o.movie_id
    WHERE (o.user_id, o.movie_id) > (?1, ?2) ORDER BY o.user_id, o.movie_id LIMIT ?3";

/// Puts a row aside.
pub(crate) const STAGE_ROW: &str = "
    INSERT OR REPLACE INTO main.staged (user_id, movie_id, half_stars, timestamp, stamp, update_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// The first rows that were put aside.
pub(crate) const SELECT_STAGED: &str = "
    SELECT user_id, movie_id, half_stars, timestamp, stamp, update_id FROM main.staged
    ORDER BY user_id, movie_id LIMIT ?1";

/// Drops what was put aside, up to a place.
pub(crate) const DELETE_STAGED: &str = "DELETE FROM main.staged WHERE (user_id, movie_id) <= (?1, ?2)";

/// Drops all that was put aside.
pub(crate) const CLEAR_STAGE: &str = "DELETE FROM main.staged";

/// One rating of the data set.
pub(crate) const SELECT_BASE_ROW: &str =
    "SELECT half_stars, timestamp FROM base.rating WHERE user_id = ?1 AND movie_id = ?2";

/// Writes a row of the overlay.
pub(crate) const UPSERT_ROW: &str = "
    INSERT OR REPLACE INTO main.rating (user_id, movie_id, half_stars, timestamp, stamp, update_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// A user's ratings in the data set, in ascending movie id, after one.
pub(crate) const SELECT_BASE_PAGE: &str = "
    SELECT movie_id, half_stars, timestamp FROM base.rating WHERE user_id = ?1 AND movie_id > ?2 ORDER BY movie_id";

/// Selects the number of ratings of each user in the data set.
pub(crate) const SELECT_USERS: &str = "SELECT user_id, count FROM base.user";
