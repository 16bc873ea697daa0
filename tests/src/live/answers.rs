//! Answers of the wire contract, as the history knows them. An answer that breaks the contract is an error.

use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::rating::Stars;
use serde_json::Value;

use natter_simulation::history::{Cell, Kind, Mean, Row, Seen};

/// Returns the observation that an answer's `value` gives to the sender of an operation of this kind.
pub(super) fn seen(kind: &Kind, value: &Value) -> Result<Seen, String> {
    match *kind {
        Kind::Write { request, .. } => {
            let row = row(value)?;
            // A delete says what it took away where it was accepted; a concurrent update that its session has not seen may
            // stand all the same.
            let Some(stars) = request.stars() else { return same_key(&row, row.key() == request.key(), Seen::Done) };
            let fits = row.key() == request.key() && row.cell.rating == Some(stars) && row.cell.update_id.is_some();
            same_key(&row, fits, Seen::Cell(row.cell))
        }
        Kind::Read { user_id, movie_id } => {
            let row = row(value)?;
            same_key(&row, (row.user_id, row.movie_id) == (user_id, movie_id), Seen::Cell(row.cell))
        }
        Kind::All { user_id, .. } => {
            let ratings = value["ratings"].as_array().ok_or("a page without ratings")?;
            let rows: Vec<Row> = ratings.iter().map(row).collect::<Result<_, _>>()?;
            let ascends = rows.windows(2).all(|pair| pair[0].movie_id < pair[1].movie_id);
            if !ascends || rows.iter().any(|row| row.user_id != user_id || row.cell.rating.is_none()) {
                return Err("a page that is not of this user's ratings in ascending order".to_owned());
            }
            let until = optional(&value["next"], movie_id)?;
            Ok(Seen::Page { rows, until })
        }
        Kind::Average { movie_id } => {
            let mean = mean(value)?;
            if mean.movie_id == movie_id { Ok(Seen::Mean(mean)) } else { Err("another film's mean".to_owned()) }
        }
    }
}

fn same_key(row: &Row, fits: bool, seen: Seen) -> Result<Seen, String> {
    if fits { Ok(seen) } else { Err(format!("not what was asked for, but {row:?}")) }
}

/// A rating on the wire.
pub(super) fn row(value: &Value) -> Result<Row, String> {
    let update_id = |id: &Value| id.as_str().and_then(|text| text.parse::<UpdateId>().ok()).ok_or("no update id");
    let rating =
        optional(&value["rating"], |stars| stars.as_f64().and_then(|n| Stars::try_from(n).ok()).ok_or("no stars"))?;
    Ok(Row {
        user_id: integer(&value["user_id"]).and_then(|n| UserId::new(n).ok()).ok_or("no user")?,
        movie_id: movie_id(&value["movie_id"])?,
        cell: Cell { rating, update_id: optional(&value["update_id"], update_id)? },
    })
}

/// A mean on the wire.
pub(super) fn mean(value: &Value) -> Result<Mean, String> {
    let average = optional(&value["average"], |mean| mean.as_f64().ok_or("no mean"))?;
    let count = value["count"].as_u64().ok_or("no count")?;
    Ok(Mean { movie_id: movie_id(&value["movie_id"])?, average, count })
}

fn movie_id(value: &Value) -> Result<MovieId, &'static str> {
    integer(value).and_then(|n| MovieId::new(n).ok()).ok_or("no film")
}

fn integer(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| n.try_into().ok())
}

fn optional<T>(value: &Value, read: impl Fn(&Value) -> Result<T, &'static str>) -> Result<Option<T>, &'static str> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}
