//! The layout of the two databases of a store, in one place.
//!
//! The **base** is what the data set came with and is never written again: a SQLite file that `dataset import` or
//! `dataset generate` made, attached read-only, so that 32 million ratings need no load; or the same tables in memory,
//! built from CSV files. The **overlay** has only the rows that updates wrote, deletion markers among them. A point
//! read looks into the overlay first, then into the base. `rating` is clustered by (user, movie) in both, and has no
//! other index: a second one would halve the rate of updates.

/// Marks a SQLite file as a Natter data set: "NATR" in ASCII, in the file's `application_id`.
pub const APPLICATION_ID: i32 = 0x4e41_5452;

/// The version of the base's layout. A file with a greater one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// The name under which the base is attached.
pub const BASE: &str = "base";

/// What MovieLens writes in place of an empty list of genres.
pub const NO_GENRES: &str = "(no genres listed)";

/// The longest title, in bytes: so that a hundred films, each byte escaped, fit into one reply.
pub const TITLE_BYTES_MAX: usize = 1000;

/// The longest list of genres, in bytes, for the same reason.
pub const GENRES_BYTES_MAX: usize = 300;

/// The base: the data set.
pub const CREATE_BASE: &str = "
    -- Films. `genres` is MovieLens' list, parted by '|', empty where there are none; `count` and `sum_half_stars` are
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

/// The overlay: what updates wrote.
pub const CREATE_OVERLAY: &str = "
    -- `half_stars` is NULL for a deletion marker. `stamp` is the update's, its 64 bits as a signed integer;
    -- `update_id` the 16 bytes of a UUID, NULL only where a row has none.
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

/// One row, wherever it stands: the overlay's comes first and ends the search.
pub(crate) const SELECT_ROW: &str = "
    SELECT half_stars, timestamp, stamp, update_id FROM main.rating WHERE user_id = ?1 AND movie_id = ?2
    UNION ALL
    SELECT half_stars, timestamp, 0, NULL FROM base.rating WHERE user_id = ?1 AND movie_id = ?2
    LIMIT 1";

/// Writes a row of the overlay.
pub(crate) const UPSERT_ROW: &str = "
    INSERT OR REPLACE INTO main.rating (user_id, movie_id, half_stars, timestamp, stamp, update_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// A page of a user's ratings: the two tables merged in the order of their keys, without sorting.
pub(crate) const SELECT_PAGE: &str = "
    SELECT movie_id, half_stars, timestamp, update_id FROM main.rating
    WHERE user_id = ?1 AND movie_id > ?2 AND half_stars IS NOT NULL
    UNION ALL
    SELECT movie_id, half_stars, timestamp, NULL FROM base.rating AS b
    WHERE user_id = ?1 AND movie_id > ?2
        AND NOT EXISTS (SELECT 1 FROM main.rating AS o WHERE o.user_id = ?1 AND o.movie_id = b.movie_id)
    ORDER BY movie_id LIMIT ?3";

/// How many ratings a user has in the data set.
pub(crate) const SELECT_USER_COUNT: &str = "SELECT count FROM base.user WHERE user_id = ?1";
