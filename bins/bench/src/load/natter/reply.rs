//! Reading the rating in a frontend's reply, without taking the rest apart.

use natter_common::edge::RatingReply;
use natter_common::wire::Format;
use rmp::Marker;
use rmp::decode::{read_int, read_map_len, read_marker, read_str_from_slice};

/// Rating in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RatingSeen {
    pub(super) user_id: Option<u32>,
    pub(super) movie_id: Option<u32>,
    pub(super) half_stars: Option<u8>,
}

impl RatingSeen {
    /// In a reply to a read or an update.
    pub(super) fn in_reply(payload: &[u8]) -> Result<Self, String> {
        if let Some(seen) = in_front(payload) {
            return Ok(seen);
        }
        // A reply may have its fields in another order.
        let reply: RatingReply = Format::MessagePack.decode(payload).map_err(|error| format!("no reply: {error}"))?;
        Ok(Self {
            user_id: Some(reply.value.user_id.get()),
            movie_id: Some(reply.value.movie_id.get()),
            half_stars: reply.value.rating.map(|stars| stars.half_stars()),
        })
    }
}

/// Reads a reply in which `value` comes first, and has only numbers, texts and nil.
fn in_front(payload: &[u8]) -> Option<RatingSeen> {
    let mut rest = payload;
    read_map_len(&mut rest).ok()?;
    if take_text(&mut rest)? != "value" {
        return None;
    }
    let mut seen = RatingSeen::default();
    for _ in 0..read_map_len(&mut rest).ok()? {
        match take_text(&mut rest)? {
            "user_id" => seen.user_id = Some(read_int(&mut rest).ok()?),
            "movie_id" => seen.movie_id = Some(read_int(&mut rest).ok()?),
            "rating" => seen.half_stars = take_number(&mut rest)?.map(|stars| (stars * 2.0).round() as u8),
            _ => skip(&mut rest)?,
        }
    }
    Some(seen)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (text, after) = read_str_from_slice(*rest).ok()?;
    *rest = after;
    Some(text)
}

/// A number, or nil: `Some(None)`.
fn take_number(rest: &mut &[u8]) -> Option<Option<f64>> {
    let mut ahead = *rest;
    match read_marker(&mut ahead).ok()? {
        Marker::Null => {
            *rest = ahead;
            Some(None)
        }
        Marker::F64 => {
            let (bytes, after) = ahead.split_first_chunk()?;
            *rest = after;
            Some(Some(f64::from_be_bytes(*bytes)))
        }
        Marker::F32 => {
            let (bytes, after) = ahead.split_first_chunk()?;
            *rest = after;
            Some(Some(f64::from(f32::from_be_bytes(*bytes))))
        }
        _ => read_int::<i32, _>(rest).ok().map(|number| Some(f64::from(number))),
    }
}

/// A text, an integer or nil.
fn skip(rest: &mut &[u8]) -> Option<()> {
    match Marker::from_u8(*rest.first()?) {
        Marker::Null => *rest = &rest[1..],
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            take_text(rest)?;
        }
        _ => {
            read_int::<i64, _>(rest).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(reply: &serde_json::Value) -> Result<RatingSeen, String> {
        RatingSeen::in_reply(&rmp_serde::to_vec_named(reply).unwrap())
    }

    #[test]
    fn the_rating_is_found_wherever_it_stands() {
        let rating = json!({"user_id": 42, "movie_id": 70_000, "title": "A (1999)", "rating": 4.5, "timestamp": 1_795_449_242,
            "update_id": "01a2091d-4547-7000-8046-63d56441e2f0"});
        let label = json!({"replicas": {"r1-abc": 3}, "clock": 9});
        let expected = RatingSeen { user_id: Some(42), movie_id: Some(70_000), half_stars: Some(9) };
        let usual = rmp_serde::to_vec_named(&json!({"value": rating, "label": label, "replicas": ["r1-abc"]})).unwrap();
        assert_eq!(RatingSeen::in_reply(&usual), Ok(expected));
        // Another order than frontends use.
        let mut other = vec![0x83];
        for (name, value) in [("replicas", &json!(["r1-abc"])), ("label", &label), ("value", &rating)] {
            other.extend(rmp_serde::to_vec_named(name).unwrap());
            other.extend(rmp_serde::to_vec_named(value).unwrap());
        }
        assert_eq!(in_front(&other), None);
        assert_eq!(RatingSeen::in_reply(&other), Ok(expected));
    }

    #[test]
    fn no_rating_is_none_and_no_reply_is_an_error() {
        let none = json!({"value": {"user_id": 1, "movie_id": 2, "title": "", "rating": null, "timestamp": null,
            "update_id": null}, "label": {}, "replicas": []});
        let expected = RatingSeen { user_id: Some(1), movie_id: Some(2), half_stars: None };
        assert_eq!(seen(&none), Ok(expected));
        assert!(seen(&json!({"error": "x"})).is_err());
        assert!(RatingSeen::in_reply(b"").is_err() && RatingSeen::in_reply(&[0xc1]).is_err());
    }
}
