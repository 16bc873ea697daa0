//! Values from columns of SQLite: ids, ratings, rows, errors.

use natter_common::clock::Stamp;
use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::value::{Row, ValueError};
use uuid::Uuid;

/// User and movie id, and what follows them.
pub(crate) fn keyed_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(RatingKey, Row)> {
    let key = RatingKey { user_id: number_id(row, 0)?, movie_id: number_id(row, 1)? };
    Ok((key, value_row(row, 2)?))
}

/// Rating, timestamp, stamp and update id in four columns, of which `first` is the first.
fn value_row(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Row> {
    let stamp: i64 = row.get(first + 2)?;
    Ok(Row {
        stars: stars(row, first)?,
        timestamp: row.get(first + 1)?,
        stamp: Stamp(stamp as u64),
        update_id: update_id(row, first + 3)?,
    })
}

/// The user or movie id in a column.
pub(crate) fn number_id<T: TryFrom<u64>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let number: u32 = row.get(column)?;
    T::try_from(u64::from(number)).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
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

/// Makes an error of SQLite one of the store.
pub(crate) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> ValueError {
    move |error| ValueError { doing, reason: error.to_string() }
}
