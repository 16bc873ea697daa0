//! Bytes to messages and back: MessagePack maps with string keys, JSON where a person types. The rules of `strict` hold for
//! everything that is decoded.

pub(crate) mod number;
mod strict;
mod words;

use std::io::ErrorKind;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny};
use serde::{Deserialize, Serialize};

use strict::Strict;
use words::in_words;

/// Maximum depth of a payload.
pub const DEPTH_MAX: usize = 32;

/// Most messages are shorter than this, in bytes, and need their memory only once.
const USUAL_BYTES: usize = 512;

/// Reason why bytes are not the expected message. Their content is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not MessagePack, or not the fields of this message.
    #[error("not a MessagePack map of the expected fields: {0}")]
    MessagePack(String),
    /// Not JSON, or not the fields of this message.
    #[error("not a JSON object of the expected fields: {0}")]
    Json(String),
    /// Text, but no JSON object: typed by hand, most likely.
    #[error(
        "neither a JSON object nor a MessagePack map: it begins with {begin}; by hand, send JSON whose first character is \
         `{{`"
    )]
    ByHand {
        /// The first character, with its name where it cannot be seen.
        begin: String,
    },
    /// A value that cannot be written: a bug on this side.
    #[error("cannot be encoded: {0}")]
    Encode(String),
}

/// The two encodings. A payload whose first byte is `{` is JSON and is answered in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// MessagePack, for programs.
    MessagePack,
    /// JSON, for people.
    Json,
}

impl Format {
    /// The encoding of `payload`.
    pub fn of(payload: &[u8]) -> Self {
        if payload.first() == Some(&b'{') { Self::Json } else { Self::MessagePack }
    }

    /// Encodes `message`.
    pub fn encode<T: Serialize>(self, message: &T) -> Result<Vec<u8>, WireError> {
        match self {
            Self::MessagePack => encode(message),
            Self::Json => serde_json::to_vec(message).map_err(|error| WireError::Encode(error.to_string())),
        }
    }

    /// Decodes all of `payload`, in this encoding. An empty one is an empty map.
    pub fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, WireError> {
        self.decode_as(PhantomData, payload)
    }

    /// The same, by a seed that knows what the payload does not say.
    pub fn decode_as<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
        self,
        seed: S,
        payload: &[u8],
    ) -> Result<T, WireError> {
        const EMPTY_MAP: &[u8] = &[0x80];
        match self {
            Self::MessagePack => {
                let payload = if payload.is_empty() { EMPTY_MAP } else { payload };
                match payload.first().copied().and_then(by_hand) {
                    Some(begin) => Err(WireError::ByHand { begin }),
                    None => decode_as(seed, payload),
                }
            }
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_slice(payload);
                let message = seed.deserialize(Strict(&mut deserializer));
                let message = message.and_then(|message| deserializer.end().map(|()| message));
                message.map_err(|error| WireError::Json(in_words(&error)))
            }
        }
    }
}

/// A MessagePack map with string keys.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut payload = Vec::with_capacity(USUAL_BYTES);
    let mut serializer = rmp_serde::Serializer::new(&mut payload).with_struct_map();
    message.serialize(&mut serializer).map_err(|error| WireError::Encode(error.to_string()))?;
    Ok(payload)
}

/// Decodes all of `payload` from MessagePack. Lengths are checked against what is there before anything is reserved.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, WireError> {
    decode_as(PhantomData, payload)
}

fn decode_as<S: for<'de> DeserializeSeed<'de, Value = T>, T>(seed: S, payload: &[u8]) -> Result<T, WireError> {
    match payload.first() {
        // A list is no map either, but for an empty one: that is told where it is read.
        Some(0x80..=0x9f | 0xdc..=0xdf) => {}
        Some(b'{') => {
            let text = "it begins with `{`: JSON is taken only on subjects that clients and operators ask";
            return Err(WireError::MessagePack(text.to_owned()));
        }
        Some(_) => return Err(WireError::MessagePack("it does not begin with a map".to_owned())),
        None => return Err(WireError::MessagePack("it is empty".to_owned())),
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    deserializer.set_max_depth(DEPTH_MAX);
    let message =
        seed.deserialize(Strict(&mut deserializer)).map_err(|error| WireError::MessagePack(in_words(&error)))?;
    // The reader does not tell where it stands, but that it is at the end.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Ok(message)
        }
        _ => Err(WireError::MessagePack("something follows the map".to_owned())),
    }
}

/// The beginning of a payload that somebody typed, in words: of a MessagePack message, the byte would be all.
fn by_hand(byte: u8) -> Option<String> {
    match byte {
        // JSON, where only MessagePack is taken.
        b'{' => None,
        b' ' => Some("a blank".to_owned()),
        b'\t' => Some("a tab".to_owned()),
        b'\r' | b'\n' => Some("a line end".to_owned()),
        0xef => Some("a byte order mark".to_owned()),
        0x21..=0x7e => Some(format!("`{}`", char::from(byte))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;

    #[test]
    fn what_follows_a_map_is_refused() {
        assert!(decode::<Label>(&[0x80]).is_ok());
        assert!(decode::<Label>(&[0x80, 0x80]).is_err());
    }

    #[test]
    fn an_array_is_not_a_map() {
        assert!(decode::<Label>(&[0x92, 0x80, 0x05]).is_err());
        assert!(decode::<Label>(&[]).is_err());
    }

    #[test]
    fn nesting_has_an_end() {
        let mut payload = vec![0x81, 0xa1, b'x'];
        payload.extend([0x91; 100_000]);
        payload.push(0xc0);
        assert!(decode::<Label>(&payload).is_err());
    }

    #[test]
    fn a_length_beyond_the_payload_is_refused_without_reserving_it() {
        for marker in [0xdf, 0xdd, 0xdb, 0xc6] {
            assert!(decode::<Label>(&[marker, 0xff, 0xff, 0xff, 0xff]).is_err());
            let nested = [&[0x81, 0xa8][..], b"replicas", &[marker, 0xff, 0xff, 0xff, 0xff]].concat();
            assert!(decode::<Label>(&nested).is_err());
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_an_empty_payload_is_an_empty_map() {
        assert_eq!(Format::Json.decode::<Label>(br#"{"clock":3,"more":[1,{"x":2}]}"#).unwrap().clock.0, 3);
        assert_eq!(Format::MessagePack.decode::<Label>(b"").unwrap(), Label::new());
    }
}
