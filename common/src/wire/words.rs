//! Errors of the decoders in words: libraries name types of this program in them, which no sender knows.

use std::fmt::Display;

/// Words after which a decoder says what it expected.
const EXPECTED: &str = "expected ";

/// Words before the name of a byte that begins a value of a wrong type.
const WRONG_MARKER: &str = "wrong msgpack marker ";

/// Text of a decoder's error, with words in place of the names of types.
pub(super) fn in_words(error: &dyn Display) -> String {
    let text = error.to_string().replacen("unknown variant ", "unknown name ", 1);
    if let Some(marker) = text.strip_prefix(WRONG_MARKER) {
        return format!("{} stands in a wrong place", of_marker(marker));
    }
    let Some((before, expected)) = text.rsplit_once(EXPECTED) else { return text };
    // The place in the payload may follow.
    let (name, rest) = match expected.split_once(" at line ") {
        Some((name, place)) => (name, format!(" at line {place}")),
        None => (expected, String::new()),
    };
    let words = match name {
        "u8" => integer_to(u8::MAX.into()),
        "u16" => integer_to(u16::MAX.into()),
        "u32" => integer_to(u32::MAX.into()),
        "u64" | "usize" | "u128" => integer_to(u64::MAX),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "an integer".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        _ => match name.split_once(' ') {
            Some(("struct", _)) => "a map".to_owned(),
            Some(("enum", _)) => "a name".to_owned(),
            Some(("tuple", _)) => "a list".to_owned(),
            _ => match name.strip_prefix("a tuple of size ") {
                Some(length) => format!("a list of {length}"),
                None => return text,
            },
        },
    };
    format!("{before}{EXPECTED}{words}{rest}")
}

/// A value in words, by the name that the decoder gives its first byte.
fn of_marker(name: &str) -> &'static str {
    let kind = name.split_once('(').map_or(name, |(kind, _)| kind).trim_start_matches("Fix");
    match kind.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "Str" => "a text",
        "Bin" => "a text or bytes",
        "Map" => "a map",
        "Array" => "a list",
        "Pos" | "Neg" | "U" | "I" => "an integer",
        "F" => "a float",
        "True" | "False" => "a boolean",
        "Null" => "nil",
        "Ext" => "an extension value",
        _ => "a value",
    }
}

fn integer_to(greatest: u64) -> String {
    format!("an integer from 0 to {greatest}")
}

#[cfg(test)]
mod tests {
    use crate::messages::{Mode, Refusal, SnapshotRequest, StatusRequest};
    use crate::wire::{Format, WireError};
    use serde::Deserialize;
    use serde_json::{Value, json};

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only errors matter")]
    struct Sample {
        byte: Option<u8>,
        count: Option<u64>,
        ratio: Option<f32>,
        refusal: Option<Refusal>,
        pair: Option<(u8, u8)>,
        inner: Option<StatusRequest>,
    }

    fn errors<T: for<'de> Deserialize<'de>>(value: &Value) -> Vec<String> {
        let error = |format: Format| -> Result<T, WireError> { format.decode(&format.encode(value).unwrap()) };
        let texts =
            [Format::Json, Format::MessagePack].map(|format| error(format).err().map(|error| error.to_string()));
        texts.into_iter().flatten().collect()
    }

    #[test]
    fn errors_name_no_types_of_this_program() {
        for (value, words) in [
            (json!({"byte": 300}), "expected an integer from 0 to 255"),
            (json!({"count": -1}), "expected an integer from 0 to 18446744073709551615"),
            (json!({"refusal": 2}), "expected one of movie_not_found, rating_not_found, rating_exists"),
            (json!({"refusal": "x"}), "unknown name `x`, expected one of `movie_not_found`"),
            (json!({"pair": 5}), "expected a list of 2"),
            (json!({"inner": 5}), "expected a map"),
            (json!({"inner": {"mode": 2}}), "expected a mode: active, overloaded, offline, arbitrary or measured"),
        ] {
            let texts = errors::<Sample>(&value);
            assert_eq!(texts.len(), 2, "{value}");
            for text in texts {
                assert!(text.contains(words), "{value}: {text}");
            }
        }
        for (value, json, packed) in [
            (json!({"byte": "x"}), "expected an integer from 0 to 255 at line 1", "a text stands in a wrong place"),
            (json!({"count": [1]}), "expected an integer from 0 to 18446744073709551615", "a list stands"),
            (json!({"ratio": "x"}), "expected a number", "a text stands"),
        ] {
            let texts = errors::<Sample>(&value);
            assert!(texts.len() == 2 && texts[0].contains(json) && texts[1].contains(packed), "{texts:?}");
        }
        let request = json!({"id": "a", "snapshot": 1, "from": 7});
        for text in errors::<SnapshotRequest>(&request) {
            assert!(text.contains("expected one of start, "), "{text}");
        }
        assert!(errors::<StatusRequest>(&json!({"mode": Mode::Active})).is_empty());
    }
}
